"""Fetches what is new into the folder of `data.events`: the entry to this package.

Files are whole or not there, so whoever reads the folder meanwhile reads a log that was complete at
some moment; and a fetch that was stopped anywhere goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.config.fetch import fetch_folder
from components.platforms.fetch.moodle import fetch_moodle
from components.platforms.fetch.moodle_database import open_moodle
from components.platforms.fetch.progress import locked
from components.platforms.fetch.record_store import open_store
from components.platforms.fetch.statements import fetch_statements

if TYPE_CHECKING:
    from components.config.data import Data


def fetch_events(data: Data) -> Iterator[str]:
    """Fetches what is new, and yields a line about each part once it is there.

    Args:
        data: with `fetch`; without it nothing happens.

    Raises:
        MasteryError: it could not be fetched; files that were there before can still be read.
    """
    if data.fetch is None:
        return
    folder = fetch_folder(data.events[0])
    with locked(folder.path):
        if data.fetch.database_env is not None:
            with open_moodle(data.fetch) as database:
                for name, came in fetch_moodle(database, data.fetch, folder):
                    if came is None:
                        yield f"{name:<26} not in this Moodle"
                    else:
                        yield f"{name:<26} {came.new:>9,} new rows, {came.changed:,} changed"
        else:
            with open_store(data.fetch) as store:
                came_in = fetch_statements(store, data.fetch, folder)
            yield f"{'statements':<26} {came_in:>9,} new"
