"""A prediction log in a folder: `date=2026-11-27/part-....parquet`, days in UTC.

Each file has the rows that one file of the spool had of one day. Its name tells which, so a file
that is written again replaces itself, and a row is never there twice. The rows that still are in
the spool are read with the others.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from components.files.atomic import sync
from serving.prediction_log.frames import Row, read_segment
from serving.prediction_log.log_store import Query, StoreAwayError
from serving.prediction_log.settings import FILE_MODE, SPOOL, make_folder
from serving.prediction_log.spool import segments

BESIDE = ".tmp"  # of a file in the spool's folder that is being written
SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "model": pl.String,
    "version": pl.Int64,
    "label": pl.String,
    "input_hash": pl.String,
    "answer": pl.String,  # JSON: each version may have other outputs
    "latency": pl.Float64,
    "shadow": pl.Boolean,  # files from before there were shadows lack it
}


class ParquetLog:
    """A log in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spool = folder / SPOOL

    def add(self, segment: str, rows: Iterable[Row]) -> None:
        """Adds the rows of a file of the spool; adding them again changes nothing.

        Raises:
            StoreAwayError: the disk is full, or the folder cannot be written.
        """
        by_day: dict[date, list[Row]] = defaultdict(list)
        for row in rows:
            by_day[row.at.date()].append(row)
        tables = {day: as_table(of_day) for day, of_day in by_day.items()}
        try:
            for day, table in tables.items():
                self._write(self._part(day, segment), table)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreAwayError(f"{self._folder}: {reason}") from None

    def read(self, query: Query) -> Iterator[Row]:
        """Yields rows: those of earlier days first, those of the spool last."""
        waiting, names = self._waiting(query)
        for _, parts in self._days(query, without=names):
            for part in parts:
                yield from _rows(_selected(_scan(part), query))
        yield from waiting

    def last(self, query: Query, count: int) -> list[Row]:
        """Returns the last rows, in the order of time."""
        found, names = self._waiting(query)
        for _, parts in reversed(self._days(query, without=names)):
            scanned = pl.concat([_scan(part) for part in parts])
            found += _rows(_selected(scanned, query).top_k(count, by="at"))
            if len(found) >= count:
                break
        return sorted(found, key=lambda row: (row.at, row.id))[-count:]

    def count_before(self, moment: datetime) -> int:
        """Returns how many rows are older than a midnight in UTC."""
        return sum(_count(part) for _, parts in self._before(moment) for part in parts)

    def purge(self, before: datetime) -> int:
        """Removes the days before a midnight in UTC, and returns the number of their rows."""
        self._remove_unfinished()
        removed = 0
        for day, parts in self._before(before):
            removed += sum(map(_count, parts))
            shutil.rmtree(self._day(day))
        return removed

    def erase(self, hashes: Collection[str]) -> int:
        """Removes the rows of some inputs, and returns their number."""
        erased = 0
        wanted = pl.col("input_hash").is_in(list(hashes))
        for _, parts in self._days(Query()):
            for part in parts:
                found = pl.scan_parquet(part, glob=False).filter(wanted).select(pl.len()).collect()
                if not found.item():
                    continue
                erased += found.item()
                left = pl.read_parquet(part, glob=False, hive_partitioning=False).filter(~wanted)
                if left.is_empty():
                    part.unlink()
                else:
                    self._write(part, left)
        return erased

    def close(self) -> None:
        """Does nothing: no file stays open."""

    def _write(self, path: Path, frame: pl.DataFrame) -> None:
        make_folder(path.parent)
        make_folder(self._spool)
        beside = self._spool / f"{path.name}{BESIDE}"
        frame.write_parquet(beside, compression="zstd")
        beside.chmod(FILE_MODE)
        sync(beside)
        beside.replace(path)
        sync(path.parent)

    def _remove_unfinished(self) -> None:
        """Removes what a killed process has left; the caller is the only mover."""
        for beside in self._spool.glob(f"*{BESIDE}"):
            beside.unlink()

    def _waiting(self, query: Query) -> tuple[list[Row], set[str]]:
        """Returns rows of the spool, and the names of the log's files that have the same rows.

        The spool is read before the log, so a file that is moved meanwhile is in both, not in none.
        """
        found: list[Row] = []
        names: set[str] = set()
        for path in segments(self._spool):
            try:
                rows = read_segment(path).rows
            except FileNotFoundError:  # moved meanwhile, so it is found in the log
                continue
            names.add(_part_name(path.stem))
            found += filter(query.has, rows)
        return found, names

    def _days(self, query: Query, without: Collection[str] = ()) -> list[tuple[date, list[Path]]]:
        """Returns the files of each day that can have such rows, in the order of time."""
        found = []
        for folder in sorted(self._folder.glob("date=*")):
            try:
                day = date.fromisoformat(folder.name.removeprefix("date="))
            except ValueError:
                continue
            is_early = query.since is not None and day < query.since.astimezone(UTC).date()
            is_late = query.until is not None and day > query.until.astimezone(UTC).date()
            parts = [] if is_early or is_late else sorted(folder.glob("part-*.parquet"))
            parts = [part for part in parts if part.name not in without]
            if parts:
                found.append((day, parts))
        return found

    def _before(self, moment: datetime) -> list[tuple[date, list[Path]]]:
        return [item for item in self._days(Query()) if item[0] < moment.date()]

    def _day(self, day: date) -> Path:
        return self._folder / f"date={day.isoformat()}"

    def _part(self, day: date, segment: str) -> Path:
        return self._day(day) / _part_name(segment)


def _part_name(segment: str) -> str:
    return f"part-{segment}.parquet"


def as_table(rows: list[Row]) -> pl.DataFrame:
    """Returns rows as a table, with their answers as JSON."""
    answers = [json.dumps(row.answer, ensure_ascii=False) for row in rows]
    written = [row._replace(answer=text) for row, text in zip(rows, answers, strict=True)]  # type: ignore[arg-type]
    return pl.DataFrame(written, schema=SCHEMA, orient="row")


def _scan(part: Path) -> pl.LazyFrame:
    """Returns a file's rows; those of a file without the column `shadow` were all returned."""
    frame = pl.scan_parquet(part, glob=False, schema=SCHEMA, missing_columns="insert")
    return frame.with_columns(pl.col("shadow").fill_null(False))


def _rows(frame: pl.LazyFrame) -> list[Row]:
    found = map(Row._make, frame.select(list(SCHEMA)).collect().iter_rows())
    return [row._replace(answer=json.loads(str(row.answer))) for row in found]


def _selected(frame: pl.LazyFrame, query: Query) -> pl.LazyFrame:
    conditions = []
    if query.since is not None:
        conditions.append(pl.col("at") >= query.since)
    if query.until is not None:
        conditions.append(pl.col("at") < query.until)
    if query.version is not None:
        conditions.append(pl.col("version") == query.version)
    if query.label is not None:
        conditions.append(pl.col("label") == query.label)
    if query.input_hash is not None:
        conditions.append(pl.col("input_hash").str.starts_with(query.input_hash))
    if query.shadow is not None:
        conditions.append(pl.col("shadow") == query.shadow)
    return frame.filter(*conditions) if conditions else frame


def _count(part: Path) -> int:
    return int(pl.scan_parquet(part, glob=False).select(pl.len()).collect().item())
