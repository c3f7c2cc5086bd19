"""Reads a file of any format chunk by chunk: the one interface, and the reader of Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.config.csv_dialect import CsvDialect
from components.event_log.chunks import Chunk
from components.event_log.csv_reader import read_csv
from components.event_log.jsonl_reader import read_jsonl
from components.event_log.mapped_reader import read_mapped
from components.event_log.problems import Problem, describe, repeated_column

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.event_log.sources import LogFile

CHUNK_VALUES = 5_000_000  # of Parquet; text is read in blocks of bytes


def read_chunks(
    file: LogFile,
    columns: Sequence[str],
    mapping: EventMapping | None = None,
    csv: CsvDialect | None = None,
) -> Iterator[Chunk | Problem]:
    """Reads a file chunk by chunk, in bounded memory.

    Args:
        file: the file.
        columns: which columns, as the file calls them; those that neither the file nor its path has
            are left out. With a mapping, columns of events.
        mapping: how the records of the file become events, if it does not hold events already.
        csv: how a CSV file is written; None for the standard way.

    Yields:
        Chunks in the order of the file (none for a text file without rows and header), and the
        problems of the file.
    """
    csv = csv or CsvDialect()
    if mapping is not None:
        read_lookup = partial(_read_raw, nested=True, csv=csv)
        read = partial(read_lookup, records=mapping.records, line_start=mapping.line_start)
        dialect = csv.model_dump_json()
        yield from read_mapped(read, read_lookup, file, columns, mapping, dialect)
    else:
        yield from _read_raw(file, columns, csv=csv)


def _read_raw(
    file: LogFile,
    columns: Sequence[str],
    *,
    csv: CsvDialect,
    nested: bool = False,
    records: str | None = None,
    line_start: str | None = None,
) -> Iterator[Chunk | Problem]:
    if file.format in ("jsonl", "json"):
        chunks = read_jsonl(file, columns, nested=nested, records=records, line_start=line_start)
    elif file.format == "csv":
        chunks = read_csv(file, columns, csv)
    else:
        chunks = read_parquet(file, columns, nested=nested)
    for item in chunks:
        yield item if isinstance(item, Problem) else _with_partition(item, file, columns)


def _with_partition(chunk: Chunk, file: LogFile, columns: Sequence[str]) -> Chunk:
    """Adds columns that only the path holds, as in `unit_id=algebra/part-0.csv`."""
    added = {name: value for name, value in file.partition.items() if name not in chunk.header}
    if not added:
        return chunk
    wanted = [
        _constant(value, chunk).alias(name) for name, value in added.items() if name in columns
    ]
    frame = pl.DataFrame([*chunk.frame.get_columns(), *wanted])
    return replace(chunk, frame=frame, header=[*chunk.header, *added])


def _constant(value: str | None, chunk: Chunk) -> pl.Series:
    rows = len(chunk.numbers)
    # An integer in the path is an integer where the file has typed columns.
    if chunk.typed and value is not None and re.fullmatch(r"0|-?[1-9]\d{0,17}", value):
        return pl.repeat(int(value), rows, dtype=pl.Int64, eager=True)
    return pl.repeat(value, rows, dtype=pl.String, eager=True)


def read_parquet(
    file: LogFile, columns: Sequence[str], *, nested: bool = False
) -> Iterator[Chunk | Problem]:
    """Reads a Parquet file; see `read_chunks`.

    Args:
        file: the file.
        columns: which columns.
        nested: whether structs and lists are values.
    """
    try:
        # int96 as nanoseconds would wrap around beyond the year 2262.
        with pq.ParquetFile(file.path, coerce_int96_timestamp_unit="us") as source:
            yield from _read_open_parquet(file, source, columns, nested=nested)
    except _UnsupportedType as error:
        yield Problem(
            subject=file.path, column=error.column, expected=error.expected, found=error.found
        )
    except (pa.ArrowException, OSError) as error:
        found = _describe_content(file.path, error)
        yield Problem(subject=file.path, expected="a complete Parquet file", found=found)


def _read_open_parquet(
    file: LogFile, source: pq.ParquetFile, columns: Sequence[str], *, nested: bool
) -> Iterator[Chunk | Problem]:
    header = source.schema_arrow.names
    if problem := repeated_column(file.path, header, columns):
        yield problem
        return

    known = [name for name in columns if name in header]
    rows = 0
    for batch in _batches(source, known):
        frame = pl.DataFrame(_for_polars(pa.Table.from_batches([batch]), nested=nested)).select(
            known
        )
        numbers = range(rows + 1, rows + 1 + len(batch))
        yield Chunk(frame, numbers, header, typed=True, unit="row")
        rows += len(batch)

    promised = source.metadata.num_rows
    if rows != promised:
        found = f"{rows:,} rows, but {promised:,} in its footer"
        yield Problem(subject=file.path, expected="a complete Parquet file", found=found)


def _batches(source: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yields the rows of some columns, after a batch without rows that shows their types."""
    schema = pa.schema([source.schema_arrow.field(name) for name in columns])
    yield pa.RecordBatch.from_pylist([], schema=schema)
    if source.num_row_groups:
        rows = max(1, CHUNK_VALUES // len(columns)) if columns else CHUNK_VALUES
        yield from source.iter_batches(rows, columns=columns)


class _UnsupportedType(Exception):
    """A column whose type or values Polars cannot hold."""

    def __init__(self, column: str, expected: str, found: str) -> None:
        super().__init__(found)
        self.column = column
        self.expected = expected
        self.found = found


def _for_polars(table: pa.Table, *, nested: bool) -> pa.Table:
    """Returns the table with types that Polars knows: a zone such as +05:30 ends its process.

    Raises:
        _UnsupportedType: a decimal has too many digits, bytes within a nested type are no text, or
            such a zone is within one that is no value.
    """
    columns = {}
    for field in table.schema:
        column = table.column(field.name)
        known = _known_type(field.type)
        if pa.types.is_nested(known) and not nested and "tz=" in str(known):
            expected = "text, numbers, booleans or times"
            raise _UnsupportedType(field.name, expected, describe(field.type))
        try:
            columns[field.name] = column if known == field.type else column.cast(known)
        except pa.ArrowInvalid:
            if pa.types.is_nested(known):
                expected, found = "text in UTF-8 instead of bytes", f"others in {field.type}"
            else:
                expected, found = "decimals of at most 38 digits", f"a longer one in {field.type}"
            raise _UnsupportedType(field.name, expected, found) from None
    return pa.table(columns)


def _known_type(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_decimal256(dtype):
        return pa.decimal128(38, dtype.scale)
    if pa.types.is_timestamp(dtype) and dtype.tz:
        return pa.timestamp(dtype.unit, "UTC")  # the stored values do not depend on the zone
    if pa.types.is_struct(dtype):
        return pa.struct([field.with_type(_known_within(field.type)) for field in dtype.fields])
    if pa.types.is_list(dtype):
        return pa.list_(dtype.value_field.with_type(_known_within(dtype.value_type)))
    return dtype


def _known_within(dtype: pa.DataType) -> pa.DataType:
    """Returns the type of a value in a nested one, which becomes JSON and so holds no bytes."""
    return pa.string() if pa.types.is_binary(dtype) else _known_type(dtype)


def _describe_content(path: str, error: Exception) -> str:
    """Describes a file that is not complete Parquet.

    A writer that was stopped leaves a file that begins as Parquet and has no footer.
    """
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
        return f"one without its footer ({size:,} bytes): the writer was stopped; write it again"
    return f"one that cannot be read: {str(error).strip().splitlines()[0]}"
