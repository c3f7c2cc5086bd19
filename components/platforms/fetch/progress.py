"""How far fetching into a folder has come, and the lock that lets one process fetch at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import AwareDatetime

from components.contracts.contract import Contract, ContractError, Part
from components.errors import MasteryError
from components.files.atomic import open_regular

_LOCK = ".fetch.lock"


class FetchError(MasteryError):
    """Nothing more could be fetched; files that were fetched before stay as they are."""


class TableProgress(Part):
    """How far a table has been read. Times are the database's own, in seconds since 1970.

    Attributes:
        since: rows before it were not asked for.
        complete: when the latest complete pass over the table began.
        last_id: the largest id that complete passes have seen.
        seen_id: the largest id that any pass has seen.
        started: when the pass that is going on, or was stopped, began.
        next_id: the id where that pass goes on; None if there is none.
    """

    since: int | None = None
    complete: int | None = None
    last_id: int = 0
    seen_id: int = 0
    started: int = 0
    next_id: int | None = None


class FetchProgress(Contract):
    """`.fetch.json`, in the folder that is fetched into; without it everything is fetched again.

    Attributes:
        origin: where the folder's files come from.
        tables: by table of Moodle.
        since: of statements: rows before it were not asked for.
        stored: statements that were stored up to here have been fetched.
    """

    FILE: ClassVar[str] = ".fetch.json"

    origin: str
    tables: dict[str, TableProgress] = {}
    since: str | None = None
    stored: AwareDatetime | None = None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder, and waits until no other process fetches into it.

    Raises:
        MasteryError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open_regular(folder / _LOCK)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MasteryError(
            f"{folder}: expected a folder for fetched files that can be written to ({reason})."
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_progress(folder: Path, origin: str) -> FetchProgress:
    """Returns how far fetching has come; at the start, nowhere.

    Raises:
        FetchError: the folder's files come from somewhere else, or its file cannot be read.
    """
    path = folder / FetchProgress.FILE
    again = "everything is then fetched again, and what is known is not written twice"
    if not path.exists():
        return FetchProgress(origin=origin)
    try:
        found = FetchProgress.read(folder)
    except ContractError as error:
        raise FetchError(f"{error} Remove {path}: {again}.") from None
    if found.origin != origin:
        raise FetchError(
            f"{folder}: expected files from {origin}, found those from {found.origin}. Fetch into "
            f"another folder (data.events); or, if it is the same platform at a new address, "
            f"remove {path}: {again}."
        )
    return found
