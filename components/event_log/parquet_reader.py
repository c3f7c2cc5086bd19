"""Reading Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.event_log.files import LogFile
from components.event_log.problems import Problem, describe
from components.event_log.readers import Chunk, repeated_column

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
