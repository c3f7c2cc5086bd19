"""Which version is in service: the stable one, or else the newest that can answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MasteryError
from serving.models.changes import current_state
from serving.models.stopping import require_in_service

if TYPE_CHECKING:
    from components.contracts.serving_state import ServedState
    from serving.models.storage import Storage


def number_in_service(storage: Storage) -> int:
    """Returns the version that is labelled stable, or else the newest that was not stopped.

    Raises:
        StoppedError: the model was taken out of service.
        MasteryError: there is none.
    """
    require_in_service(storage)
    state, _ = current_state(storage)
    is_there = state.stable in storage.servable()
    number = state.stable if is_there else newest_not_stopped(storage, state)
    if number is None:
        raise MasteryError(
            f"{storage.address}: expected a pushed version, found none. `mastery run` pushes one."
        )
    return number


def newest_not_stopped(storage: Storage, state: ServedState) -> int | None:
    """Returns the version that answers where none is labelled stable; None without any.

    Raises:
        MasteryError: the folder cannot be read.
    """
    free = (version for version in storage.servable() if state.stop_of(version) is None)
    return max(free, default=None)


@contextmanager
def open_in_service(storage: Storage, number: int | None = None) -> Iterator[Path]:
    """Yields the folder of a version on this machine; of one in an object store, a copy.

    Args:
        storage: the serving folder.
        number: the version; None for the one in service.

    Raises:
        StoppedError: the model was taken out of service, and no version is named.
        MasteryError: there is no such version.
    """
    wanted = number_in_service(storage) if number is None else number
    if wanted not in storage.servable():
        there = ", ".join(map(str, storage.versions()[-5:])) or "none"
        raise MasteryError(f"{storage.address}: expected a version {wanted}, found {there}.")
    with storage.local_copy(wanted) as folder:
        yield folder
