"""Writes a table of any size as Parquet, CSV or JSON lines, a few chunks of rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.files.atomic import new_file

SUFFIXES = ("parquet", "csv", "jsonl")
GROUP_ROWS = 250_000  # of a row group, about; a chunk is never divided

_TIMES = "%Y-%m-%dT%H:%M:%S%.6fZ"  # in text files


@contextmanager
def new_table(path: Path) -> Iterator[TableWriter]:
    """Yields a table to append to, which replaces `path` at the end; its suffix is its format.

    If the block raises, `path` stays as it was and nothing is left beside it.
    """
    with new_file(path) as beside, beside.open("wb") as file:
        writer = TableWriter(file, path.suffix)
        try:
            yield writer
            writer.flush()
        finally:
            writer.close()


class TableWriter:
    """A table that chunks of rows are appended to, all of the same columns and types."""

    def __init__(self, file: BinaryIO, suffix: str) -> None:
        self._file = file
        self._suffix = suffix
        self._waiting: list[pl.DataFrame] = []
        self._parquet: pq.ParquetWriter | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Appends rows."""
        self._waiting.append(rows)
        if sum(frame.height for frame in self._waiting) >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that wait for a row group to be full."""
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        self._waiting = []
        if self._suffix == ".parquet":
            self._write_parquet(rows)
            return
        rows = rows.with_columns(pl.col(pl.Datetime).dt.to_string(_TIMES))
        if self._suffix == ".csv":
            rows.write_csv(self._file, include_header=self._file.tell() == 0)
        else:
            rows.write_ndjson(self._file)

    def close(self) -> None:
        """Completes a Parquet file."""
        if self._parquet is not None:
            self._parquet.close()

    def _write_parquet(self, rows: pl.DataFrame) -> None:
        table = rows.to_arrow()
        schema = pa.schema({field.name: _plain(field.type) for field in table.schema})
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd")
        self._parquet.write_table(table.cast(schema))


def _plain(dtype: pa.DataType) -> pa.DataType:
    """Returns the type of text that every reader of Parquet knows."""
    is_text = pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)
    return pa.string() if is_text else dtype
