"""Fetches what is new into the folder of `data.events`: the entry to this package.

Files are whole or not there, so whoever reads the folder meanwhile reads a log that was complete at
some moment; and a fetch that was stopped anywhere goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.platforms.fetch.moodle import fetch_moodle
from components.platforms.fetch.moodle_database import open_moodle
from components.platforms.fetch.progress import locked
from components.platforms.fetch.record_store import open_store
from components.platforms.fetch.statements import fetch_statements

if TYPE_CHECKING:
    from components.config.fetch import Fetch, FetchFolder


def fetch_events(fetch: Fetch, folder: FetchFolder) -> Iterator[str]:
    """Fetches what is new, and yields a line about each part once it is there.

    Args:
        fetch: where from.
        folder: where files are written.

    Raises:
        MasteryError: it could not be fetched; files that were there before can still be read.
    """
    with locked(folder.path):
        if fetch.database_env is None:
            with open_store(fetch) as store:
                yield f"{'statements':<26} {fetch_statements(store, fetch, folder):>9,} new"
            return
        with open_moodle(fetch) as database:
            for name, came in fetch_moodle(database, fetch, folder):
                if came is None:
                    yield f"{name:<26} not in this Moodle"
                else:
                    yield f"{name:<26} {came.new:>9,} new rows, {came.changed:,} changed"
