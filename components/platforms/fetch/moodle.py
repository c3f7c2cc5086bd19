"""Fetches Moodle's tables: one pass over the ids of each, range by range.

A pass asks for rows that are new or have changed since the last complete one began, and for those
of an overlap before that. A row that becomes visible later than others with a larger id or a later
time (its transaction took longer, its web server wrote late) is so found by the next pass, if that
took no longer than the overlap; what was known already changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.platforms.fetch.moodle_database import Wanted
from components.platforms.fetch.moodle_tables import TABLES
from components.platforms.fetch.progress import TableProgress, read_progress
from components.platforms.fetch.table_files import Merged, TableFiles, range_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.config.fetch import Fetch, FetchFolder
    from components.platforms.fetch.moodle_database import MoodleDatabase, Present
    from components.platforms.fetch.moodle_tables import FetchedTable
    from components.platforms.fetch.progress import FetchProgress

LOG = "logstore_standard_log"


def fetch_moodle(
    database: MoodleDatabase, fetch: Fetch, folder: FetchFolder
) -> Iterator[tuple[str, Merged | None]]:
    """Yields for each table what came; None for one that this Moodle does not have.

    Raises:
        FetchError: the database cannot be read, or the folder holds files of another platform.
    """
    progress = read_progress(folder.path, database.origin)
    for name in fetch.tables:
        table = TABLES[name]
        present = database.find(table)
        if present is not None:
            task = _Pass(database, table, present, fetch, folder, progress)
            yield name, task.run()
            progress = task.progress
        elif name == LOG:
            raise database.explain_missing(table)
        else:
            yield name, None


class _Pass:
    """One pass over a table, or the rest of one that was stopped."""

    def __init__(
        self,
        database: MoodleDatabase,
        table: FetchedTable,
        present: Present,
        fetch: Fetch,
        folder: FetchFolder,
        progress: FetchProgress,
    ) -> None:
        self.progress = progress
        self._database = database
        self._table = table
        self._present = present
        self._overlap = int(fetch.overlap_seconds)
        self._folder = folder
        self._files = TableFiles(folder, table)
        since = seconds_of(fetch.since)
        found = progress.tables.get(table.name)
        self._at = found if found and found.since == since else TableProgress(since=since)

    def run(self) -> Merged:
        """Reads the table to its end; returns what came.

        After the rest of a pass that was stopped, another one finds what has come since it began.
        """
        came = Merged()
        if self._at.next_id is not None:
            self._go_on(came)
        now = self._database.now()
        self._at = self._at.model_copy(update={"started": now, "next_id": self._start()})
        self._go_on(came)
        return came

    def _go_on(self, came: Merged) -> None:
        """Reads from the next id to the end of the table."""
        while (first := self._database.first_id(self._table, self._at.next_id or 0)) is not None:
            ids = range_of(first)
            rows = self._database.read(self._table, self._present, ids, self._wanted())
            seen = self._at.seen_id
            if rows.height:
                came.add(self._files.merge(ids, rows))
                seen = max(seen, int(rows["id"][-1]))
            self._save(next_id=ids.stop, seen_id=seen)
        self._save(next_id=None, complete=self._at.started, last_id=self._at.seen_id)

    def _changed_since(self) -> int | None:
        complete = self._at.complete
        return None if complete is None else complete - self._overlap

    def _wanted(self) -> Wanted:
        return Wanted(self._at.since, self._changed_since(), self._at.last_id)

    def _start(self) -> int:
        """Returns the smallest id that may be new; where rows change, that is the first of all."""
        if not self._table.grows:
            return 0
        changed = self._changed_since()
        moment = self._at.since if changed is None else changed
        if moment is None:
            return 0
        first = self._database.first_id_since(self._table, moment)
        after = self._at.last_id + 1
        return after if first is None else first if changed is None else min(first, after)

    def _save(self, **changes: int | None) -> None:
        self._at = self._at.model_copy(update=changes)
        tables = {**self.progress.tables, self._table.name: self._at}
        self.progress = self.progress.model_copy(update={"tables": tables})
        self.progress.write(self._folder.path)


def seconds_of(day: str | None) -> int | None:
    """Returns the start of a day in UTC, in seconds since 1970.

    >>> seconds_of("1970-01-02")
    86400
    """
    if day is None:
        return None
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
