"""Writes simulated logs whose records are objects of JSON, one per line."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

import numpy as np
import polars as pl

from components.simulator.platform_logs import json_text

if TYPE_CHECKING:
    from types import TracebackType

ROW = "_row"  # counts events from 0
UUID = "uuid"  # of a record
_PLACE, _LINE = "_place", "_line"

Record = dict[str, Any]


class JsonLog:
    """A file of records, one per line; complete when the block ends.

    Attributes:
        paths: the file.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[pl.DataFrame, int], pl.DataFrame],
        records: Sequence[tuple[pl.Expr, Record]],
    ) -> None:
        """Creates the file.

        Args:
            path: of the file, which is compressed if its name ends in `.gz`.
            prepare: returns events with `ROW` and the columns that records name. It gets events of
                one chunk of learners, and how many there were before.
            records: for which events there is which record, in the order in which those of one
                event are written. They may also name the column `uuid`.
        """
        self.paths = [path]
        self._files = ExitStack()
        self._file: BinaryIO = self._files.enter_context(path.open("wb"))
        if path.suffix == ".gz":  # without a time, so that the same log gives the same bytes
            packed = gzip.GzipFile("", "wb", compresslevel=5, fileobj=self._file, mtime=0)
            self._file = cast("BinaryIO", self._files.enter_context(packed))
        self._prepare = prepare
        self._records = records
        self._rows = 0

    def write(self, events: pl.DataFrame) -> None:
        """Appends events; see `platform_logs.PlatformLog`."""
        rows = self._prepare(events, self._rows)
        self._rows += events.height
        parts = []
        for place, (applies, record) in enumerate(self._records):
            chosen = rows.filter(applies)
            named = chosen.with_columns(_uuids(chosen.height, [self._rows, place]))
            line = json_text(record).alias(_LINE)
            parts.append(named.select(ROW, pl.lit(place).alias(_PLACE), line))
        lines = pl.concat(parts).sort(ROW, _PLACE).select(_LINE)
        lines.write_csv(self._file, include_header=False, quote_style="never")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()


def _uuids(count: int, seed: list[int]) -> pl.Series:
    """Returns random UUIDs (version 4), the same for the same seed."""
    digits = np.random.default_rng(seed).bytes(16 * count).hex()
    text = pl.Series(UUID, np.frombuffer(digits.encode(), "S32").astype(str))
    start, middle, end = (text.str.slice(*part) for part in ((0, 8), (8, 4), (20, 12)))
    version, variant = text.str.slice(13, 3), text.str.slice(17, 3)
    return start + "-" + middle + "-4" + version + "-8" + variant + "-" + end
