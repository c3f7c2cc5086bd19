"""One run at a time in a root."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import MasteryError
from components.files.atomic import open_regular


@contextmanager
def lock_root(root: Path) -> Iterator[None]:
    """Keeps a second run out of a root: two writers would wait for each other in the metadata store.

    Raises:
        MasteryError: another run is using the root, it cannot be written, or its lock is a link.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = open_regular(root / ".lock")
    except OSError as error:
        raise MasteryError(
            f"--root {root}: expected a folder that can be written ({error.strerror})."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MasteryError(
                f"--root {root}: another run is using it. Wait for it, or give another --root."
            ) from None
        yield
