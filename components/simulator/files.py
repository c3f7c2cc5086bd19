"""A table in a file, written part by part."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = ("parquet", "csv", "jsonl")
_CLOCK = "%Y-%m-%dT%H:%M:%S%.3fZ"  # times in text files


class TableFile:
    """Writes Arrow tables one after the other into one new file, whose suffix says the format.

    A context manager; on the way out the file is complete.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._format = path.suffix.removeprefix(".")
        self._file = path.open("wb")
        self._parquet = (
            pq.ParquetWriter(self._file, schema, compression="zstd")
            if self._format == "parquet"
            else None
        )

    def write(self, table: pa.Table) -> None:
        """Appends `table`; Parquet gets a row group."""
        if self._parquet is not None:
            self._parquet.write_table(table)
            return
        frame = pl.DataFrame(pl.from_arrow(table)).with_columns(
            pl.col(pl.Datetime).dt.to_string(_CLOCK)
        )
        if self._format == "csv":
            frame.write_csv(self._file, include_header=self._file.tell() == 0)
        else:
            frame.write_ndjson(self._file)

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._file.close()
