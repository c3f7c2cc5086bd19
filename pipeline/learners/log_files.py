"""Finds one learner in the files of a log, and rewrites those files without the learner's rows.

The log belongs to the platform, so nothing here happens unless somebody asks for it. Rows of others
keep their bytes in CSV and JSON lines; Parquet files are written anew with the same columns.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import polars as pl

from components.errors import MasteryError
from components.event_log.sources import LogFile, find_files
from components.event_log.spans import choose_spans
from components.files.atomic import new_file
from pipeline.learners.platform_files import count_records, remove_records

if TYPE_CHECKING:
    from components.config.mapping import EventMapping

Record = tuple[str, bool]  # its text with its line ends, and whether it is about the learner


@dataclass(frozen=True)
class LogRows:
    """How many rows of a file are about a learner.

    Attributes:
        file: the file.
        rows: how many.
        mapping: how its records become events; None for a file of events or outcomes.
    """

    file: LogFile
    rows: int
    mapping: EventMapping | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.file.path)


def find_rows(
    patterns: dict[str, list[str]],
    learner: str,
    column: str,
    *,
    span: str,
    mapping: EventMapping | None = None,
) -> list[LogRows]:
    """Returns the files of a log that hold rows of a learner.

    Args:
        patterns: files, folders or patterns of each table.
        learner: the id.
        column: the log's name of the column of ids.
        span: which spans are read, if patterns have placeholders.
        mapping: of `events`, how its records become events; it then says whose a record is.

    Raises:
        LogError: files are missing.
        MasteryError: a file cannot be read.
    """
    chosen = choose_spans([item for group in patterns.values() for item in group], span)
    found = []
    for table, group in patterns.items():
        of_table = mapping if table == "events" else None
        for file in find_files(table, chosen.fill(group), of_table).files:
            if of_table is not None:
                rows = count_records(file, learner, of_table)
            else:
                rows = _count(file, learner, column)
            found += [LogRows(file, rows, of_table)] if rows else []
    return found


def remove_rows(found: LogRows, learner: str, column: str) -> None:
    """Rewrites a file without the rows of a learner, whole or not at all.

    Raises:
        MasteryError: it is a file of a platform that cannot be rewritten; see `remove_records`.
    """
    if found.mapping is not None:
        remove_records(found.file, learner, found.mapping)
        return
    if found.file.format == "parquet":
        rows = pl.read_parquet(found.path)
        with new_file(found.path) as beside:
            rows.filter(~_is_learner(rows, learner, column)).write_parquet(beside)
        return

    with _open(found.path, "rt") as source, new_file(found.path) as beside:
        opened = gzip.open if found.path.suffix == ".gz" else open
        with opened(beside, "wt", encoding="utf-8", newline="") as target:
            for text, is_learner in _records(source, found.file.format, learner, column):
                if not is_learner:
                    target.write(text)


def _count(file: LogFile, learner: str, column: str) -> int:
    path = Path(file.path)
    if file.format == "parquet":
        if column in file.partition:
            return 0
        return int(_is_learner(pl.read_parquet(path, columns=[column]), learner, column).sum())
    try:
        with _open(path, "rt") as source:
            records = _records(source, file.format, learner, column)
            return sum(is_learner for _, is_learner in records)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise MasteryError(
            f"{path}: could not be read ({error}); `mastery check-log` says what is wrong with it."
        ) from None


def _is_learner(rows: pl.DataFrame, learner: str, column: str) -> pl.Series:
    return rows[column].cast(pl.String).eq(learner).fill_null(False)


def _open(path: Path, mode: str) -> IO[str]:
    opened: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open
    return opened(path, mode, encoding="utf-8", newline="")


def _records(source: IO[str], format_: str, learner: str, column: str) -> Iterator[Record]:
    return (_csv_records if format_ == "csv" else _json_records)(source, learner, column)


def _csv_records(source: IO[str], learner: str, column: str) -> Iterator[Record]:
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in source:
            lines.append(line)
            yield line

    place: int | None = None
    for fields in csv.reader(remembered(), strict=True):
        text = "".join(lines)
        lines.clear()
        if place is None:
            names = [name.removeprefix("\ufeff") for name in fields]
            place = names.index(column) if column in names else -1
            yield text, False
        else:
            yield text, 0 <= place < len(fields) and fields[place] == learner
    yield "".join(lines), False  # blank lines at the end


def _json_records(source: IO[str], learner: str, column: str) -> Iterator[Record]:
    for line in source:
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = None
        value = row.get(column) if isinstance(row, dict) else None
        yield line, value is not None and str(value) == learner
