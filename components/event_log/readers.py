"""Reading a file of the log in chunks: Parquet here, text formats by their own readers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.event_log.chunks import Chunk, repeated_column
from components.event_log.problems import Problem, describe
from components.event_log.sources import LogFile


def read_chunks(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a file chunk by chunk, in bounded memory.

    Args:
        file: the file.
        columns: which columns, as the file calls them; those that neither it nor its path has are
            left out.

    Yields:
        Chunks in the order of the file (none for a text file without rows and header), and what is
        wrong with it.
    """
    for item in _read(file, columns):
        yield item if isinstance(item, Problem) else _with_partition(item, file, columns)


def _read(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    if file.format == "parquet":
        yield from read_parquet(file, columns)
    elif file.format == "csv":
        from components.event_log.csv_reader import read_csv

        yield from read_csv(file, columns)
    else:
        from components.event_log.jsonl_reader import read_jsonl

        yield from read_jsonl(file, columns)


def _with_partition(chunk: Chunk, file: LogFile, columns: Sequence[str]) -> Chunk:
    """Adds columns that only the path holds, as in `unit_id=algebra/part-0.csv`."""
    added = {name: value for name, value in file.partition.items() if name not in chunk.header}
    if not added:
        return chunk
    wanted = [
        _constant(value, chunk).alias(name) for name, value in added.items() if name in columns
    ]
    return replace(
        chunk,
        frame=pl.DataFrame([*chunk.frame.get_columns(), *wanted]),
        header=[*chunk.header, *added],
    )


def _constant(value: str | None, chunk: Chunk) -> pl.Series:
    rows = len(chunk.numbers)
    # What would be an integer in a file that says of which type its columns are, is one here as
    # well.
    if chunk.typed and value is not None and re.fullmatch(r"0|-?[1-9]\d{0,17}", value):
        return pl.repeat(int(value), rows, dtype=pl.Int64, eager=True)
    return pl.repeat(value, rows, dtype=pl.String, eager=True)


CHUNK_ROWS = 1_000_000


def read_parquet(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a Parquet file; see `readers.read_chunks`."""
    try:
        # int96 as nanoseconds would wrap around beyond the year 2262.
        with pq.ParquetFile(file.path, coerce_int96_timestamp_unit="us") as source:
            schema = source.schema_arrow
            if problem := repeated_column(file, schema.names, columns):
                yield problem
                return
            known = [name for name in columns if name in schema.names]
            row = 1
            for batch in _batches(source, known):
                frame = pl.DataFrame(_for_polars(pa.Table.from_batches([batch]))).select(known)
                yield Chunk(frame, range(row, row + len(batch)), schema.names, typed=True)
                row += len(batch)
            if row - 1 != source.metadata.num_rows:
                found = f"{row - 1:,} rows where its footer says {source.metadata.num_rows:,}"
                yield Problem(subject=file.path, expected="a complete Parquet file", found=found)
    except _NoSuchType as fault:
        yield Problem(
            subject=file.path, column=fault.column, expected=fault.expected, found=fault.found
        )
    except (pa.ArrowException, OSError) as error:
        yield Problem(
            subject=file.path,
            expected="a complete Parquet file",
            found=_what_is_there(file.path, error),
        )


def _batches(source: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yields the rows of some columns, after a batch without rows that shows their types."""
    yield pa.RecordBatch.from_pylist(
        [], schema=pa.schema([source.schema_arrow.field(name) for name in columns])
    )
    if source.num_row_groups:
        yield from source.iter_batches(CHUNK_ROWS, columns=columns)


class _NoSuchType(Exception):
    """A column whose type or values Polars has no place for."""

    def __init__(self, column: str, expected: str, found: str) -> None:
        super().__init__(found)
        self.column, self.expected, self.found = column, expected, found


def _for_polars(table: pa.Table) -> pa.Table:
    """Returns the table with types that Polars knows: it ends the process over a zone such as +05:30.

    Raises:
        _NoSuchType: a decimal has too many digits, or such a zone is within a list or the like.
    """
    columns = {}
    for field in table.schema:
        column, known = table.column(field.name), _known_type(field.type)
        if pa.types.is_nested(known) and "tz=" in str(known):
            raise _NoSuchType(field.name, "text, numbers, booleans or times", describe(field.type))
        try:
            columns[field.name] = column if known == field.type else column.cast(known)
        except pa.ArrowInvalid:
            raise _NoSuchType(
                field.name, "decimals of at most 38 digits", f"a longer one in {field.type}"
            ) from None
    return pa.table(columns)


def _known_type(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal256(dtype):
        return pa.decimal128(38, dtype.scale)
    if pa.types.is_timestamp(dtype) and dtype.tz:
        return pa.timestamp(dtype.unit, "UTC")  # what is stored does not depend on the zone
    return dtype


def _what_is_there(path: str, error: Exception) -> str:
    """Says in what way a file is no Parquet: a writer that was stopped leaves one that begins but does not end."""
    size = Path(path).stat().st_size
    if size == 0:
        return "an empty file (0 bytes)"
    with Path(path).open("rb") as source:
        start = source.read(4)
        source.seek(-min(size, 4), 2)
        end = source.read()
    if start != b"PAR1":
        return f"another format (it starts with {start!r})"
    if end != b"PAR1":
        return f"one without its footer ({size:,} bytes): it was cut off or is still being written; write it again"
    return f"one that cannot be read: {str(error).strip().splitlines()[0]}"
