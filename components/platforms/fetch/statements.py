"""Fetches statements into files of JSON lines: each statement once, by its id.

A fetch goes back by an overlap and passes over the statements it finds in files already, so it may
be stopped anywhere. A file is called after the first and the last moment in it,
`statements/statements-20261127T120130.000000-20261127T131500.000000.jsonl.gz`, with a folder for
each day instead of the first `statements` if the log is read by days.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from components.command.escape import shorten
from components.files.atomic import new_file
from components.platforms.fetch.progress import FetchError, read_progress
from components.platforms.fetch.record_store import Statement, read_moment

if TYPE_CHECKING:
    from components.config.fetch import Fetch, FetchFolder
    from components.platforms.fetch.record_store import RecordStore

BATCH = 20_000  # statements in memory, and at most in a file
_NAME = "statements"
_TIME = "%Y%m%dT%H%M%S.%f"
_MOMENT = r"(\d{8}T\d{6}\.\d{6})"
_FILE = re.compile(rf"{_NAME}-{_MOMENT}-{_MOMENT}(?:-\d+)?\.jsonl\.gz")

Moments = list[tuple[datetime, Statement]]


def fetch_statements(store: RecordStore, fetch: Fetch, folder: FetchFolder) -> int:
    """Fetches what is new; returns how many statements came.

    What was stored after the moment through which the store calls itself consistent is left for
    the next time (xAPI 1.0.3, part 3, 2.1.3: statements stored before may still appear).

    Raises:
        FetchError: the store cannot be read, or the folder holds files of another one.
    """
    progress = read_progress(folder.path, store.origin)
    if progress.since != fetch.since:
        progress = progress.model_copy(update={"since": fetch.since, "stored": None})
    overlap = timedelta(seconds=fetch.overlap_seconds)
    floor = None if fetch.since is None else datetime.fromisoformat(fetch.since).replace(tzinfo=UTC)
    start = floor if progress.stored is None else progress.stored - overlap
    # `since` leaves out the moment itself.
    just_before = None if start is None else start - timedelta(microseconds=1)

    files = _StatementFiles(folder, overlap)
    came = 0
    latest = progress.stored
    for batch in _batches(store, fetch, just_before):
        came += files.add([item for item in batch if floor is None or item[0] >= floor])
        latest = max([moment for moment, _ in batch] + ([latest] if latest else []))
        progress = progress.model_copy(update={"stored": latest})
        progress.write(folder.path)
    return came


def _batches(store: RecordStore, fetch: Fetch, since: datetime | None) -> Iterator[Moments]:
    """Yields statements in batches, each with its moment, in the order of moments."""
    waiting: Moments = []
    highest: datetime | None = None
    for page in store.pages(since):
        found = sorted(
            ((_moment(item, fetch, store), item) for item in page.statements),
            key=itemgetter(0),
        )
        if found and highest is not None:
            _expect_order(found[0][0], highest, fetch, store)
        highest = max(
            [moment for moment, _ in found] + ([highest] if highest else []), default=None
        )

        through = page.consistent_through
        waiting += [item for item in found if through is None or item[0] <= through]
        if len(waiting) >= BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _moment(statement: Statement, fetch: Fetch, store: RecordStore) -> datetime:
    """Returns when a statement was stored, or what else the store orders statements by."""
    moment = read_moment(statement.get(fetch.ordered_by))
    if moment is None or not isinstance(statement.get("id"), str):
        missing = "id" if moment is not None else fetch.ordered_by
        raise FetchError(
            f"{store.origin}: expected `id` and `{fetch.ordered_by}` in each statement, as a "
            f"record store sets them, found {missing} = "
            f"{shorten(json.dumps(statement.get(missing)), 60)}."
        )
    return moment


def _expect_order(first: datetime, highest: datetime, fetch: Fetch, store: RecordStore) -> None:
    if first < highest - timedelta(seconds=fetch.overlap_seconds):
        others = {"stored": "timestamp", "timestamp": "stored"}
        raise FetchError(
            f"{store.origin}: expected statements in the order of `{fetch.ordered_by}` "
            f"(ascending=true), found {first.isoformat()} after {highest.isoformat()}. Some stores "
            f"order them otherwise: set data.fetch.ordered_by to {others[fetch.ordered_by]}, or "
            "data.fetch.overlap_seconds to more."
        )


class _StatementFiles:
    """The files of statements, and the ids in those that may hold what comes again."""

    def __init__(self, folder: FetchFolder, overlap: timedelta) -> None:
        self._folder = folder
        self._overlap = overlap
        self._known: dict[str, datetime] = {}  # ids, with a moment that is not before theirs
        self._unread: list[tuple[datetime, datetime, Path]] = []
        for path in sorted(folder.path.glob(f"*/{_NAME}-*.jsonl.gz")):
            if match := _FILE.fullmatch(path.name):
                self._unread.append((_parse_name(match[1]), _parse_name(match[2]), path))

    def add(self, batch: Moments) -> int:
        """Writes the statements that are not in files yet; returns how many."""
        if not batch:
            return 0
        batch = sorted(batch, key=itemgetter(0))
        self._recall(batch[0][0] - self._overlap, batch[-1][0])
        new: dict[str, tuple[datetime, Statement]] = {}
        for moment, statement in batch:
            if statement["id"] not in self._known:
                new.setdefault(statement["id"], (moment, statement))
        by_day: defaultdict[str, Moments] = defaultdict(list)
        for item in new.values():
            by_day[f"{item[0]:%Y-%m-%d}" if self._folder.by_day else _NAME].append(item)
        for day, items in sorted(by_day.items()):
            self._write(self._folder.path / day, items)
        self._known.update({id_: moment for id_, (moment, _) in new.items()})
        return len(new)

    def _recall(self, start: datetime, end: datetime) -> None:
        """Reads the ids in files that may hold some of a stretch of time; forgets earlier ones."""
        self._known = {id_: moment for id_, moment in self._known.items() if moment >= start}
        unread = []
        for first, last, path in self._unread:
            if first > end:
                unread.append((first, last, path))
            elif last >= start:
                self._known.update(dict.fromkeys(self._ids_in(path), last))
        self._unread = unread

    def _write(self, folder: Path, items: Moments) -> None:
        """Writes a file of statements, whole or not at all."""
        name = f"{_NAME}-{items[0][0].strftime(_TIME)}-{items[-1][0].strftime(_TIME)}"
        path = folder / f"{name}.jsonl.gz"
        number = 2
        while path.exists():
            path = folder / f"{name}-{number}.jsonl.gz"
            number += 1
        with new_file(path) as beside, gzip.open(beside, "wt", encoding="ascii") as target:
            target.writelines(f"{json.dumps(item, separators=(',', ':'))}\n" for _, item in items)

    def _ids_in(self, path: Path) -> Iterator[str]:
        """Yields the ids of the statements in a file that was fetched before."""
        try:
            with gzip.open(path, "rt", encoding="utf-8") as source:
                for line in source:
                    yield json.loads(line)["id"]
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise FetchError(
                f"{path}: expected statements that `mastery fetch` wrote, but it could not be read "
                f"({type(error).__name__}). Remove it and .fetch.json in {self._folder.path}; "
                "everything is then fetched again, and nothing is there twice."
            ) from None


def _parse_name(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
