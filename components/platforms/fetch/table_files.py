"""Fetched rows of a table in Parquet files: one row for each id, its newest state.

A file holds a range of ids: `quiz_attempts/quiz_attempts-000012.parquet`; with a folder for each
day also one day of their times: `2026-11-27/quiz_attempts-000012.parquet`. Rows are merged into the
file of their ids, so a row that is fetched twice is there once, whenever a fetch was stopped.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from components.files.atomic import new_file
from components.platforms.fetch.progress import FetchError

if TYPE_CHECKING:
    from components.config.fetch import FetchFolder
    from components.platforms.fetch.moodle_tables import FetchedTable

IDS = 50_000  # in a range; one is in memory at a time
_ID, _DAY = "id", "_day"


def range_of(id_: int) -> range:
    """Returns the range of ids that an id is in, which has files of its own.

    >>> range_of(50_001)
    range(50000, 100000)
    """
    start = id_ // IDS * IDS
    return range(start, start + IDS)


@dataclass
class Merged:
    """What came: rows that were not there, and rows whose state has changed."""

    new: int = 0
    changed: int = 0

    def add(self, other: Merged) -> None:
        """Adds what came with another range."""
        self.new += other.new
        self.changed += other.changed


@dataclass
class TableFiles:
    """The files of a table."""

    folder: FetchFolder
    table: FetchedTable
    _paths: dict[int, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        pattern = f"{'*' if self.folder.by_day else self.table.name}/{self.table.name}-*.parquet"
        for path in sorted(self.folder.path.glob(pattern)):
            if number := re.fullmatch(rf"{self.table.name}-(\d+)\.parquet", path.name):
                self._paths[int(number[1])].append(path)

    def merge(self, ids: range, rows: pl.DataFrame) -> Merged:
        """Puts rows into the files of their range of ids.

        Raises:
            FetchError: a file that was written before cannot be read.
        """
        number = ids.start // IDS
        known = {path: self._read(path) for path in self._paths[number]}
        old = pl.concat([self._empty(), *known.values()])
        merged = pl.concat([old, rows]).unique(_ID, keep="last").sort(_ID)
        # A fetch that was stopped may have left a row in the files of two days.
        before = old.unique(_ID, keep="last").sort(_ID)
        new = merged.height - before.height
        unchanged = before.join(merged, on=merged.columns, how="semi", nulls_equal=True).height

        files = self._divide(merged, number)
        for path, frame in sorted(files.items(), reverse=True):  # rows only move to later days
            if path not in known or not known[path].equals(frame):
                self._write(path, frame)
        for path in known.keys() - files.keys():
            path.unlink(missing_ok=True)
        self._paths[number] = [*files]
        return Merged(new, before.height - unchanged)

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.table.types)

    def _read(self, path: Path) -> pl.DataFrame:
        try:
            frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
            return frame.select(
                (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in self.table.types.items()
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise FetchError(
                f"{path}: expected a file that `mastery fetch` wrote, but it could not be read "
                f"({reason}). Remove it and .fetch.json in {self.folder.path}; everything is then "
                "fetched again, and nothing is there twice."
            ) from None

    def _divide(self, rows: pl.DataFrame, number: int) -> dict[Path, pl.DataFrame]:
        """Returns the rows of each file."""
        name = f"{self.table.name}-{number:06}.parquet"
        if not self.folder.by_day:
            return {self.folder.path / self.table.name / name: rows} if rows.height else {}
        day = pl.from_epoch(self.table.time, time_unit="s").dt.date().alias(_DAY)
        by_day = rows.with_columns(day).partition_by(_DAY, as_dict=True, include_key=False)
        return {self.folder.path / f"{day}" / name: frame for (day,), frame in by_day.items()}

    def _write(self, path: Path, rows: pl.DataFrame) -> None:
        with new_file(path) as beside:
            rows.write_parquet(beside)
