"""The spool: files to which a server appends what it answers, until they are moved to the log.

What `write` has taken is in the system's memory, and stays when the process is killed: that is what
a server acknowledges. A power cut loses what has not been flushed; a thread does that every second.
Each file is locked by the server that appends to it. The system releases the lock when the process
ends, however it ends, so whoever can take it knows that the file is complete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from components.files.atomic import open_regular, sync
from serving.prediction_log.frames import MAGIC, Layout
from serving.prediction_log.settings import FILE_MODE, make_folder

log = logging.getLogger("mastery.serving")

SUFFIX = ".spool"
LOCK = "lock"  # the file that whoever moves or erases rows has locked
SEGMENT_BYTES = 8 * 2**20
MAX_BYTES = 2**30  # of a folder; more rows are lost
PAUSE_SECONDS = 5.0  # after a failure, until writing is tried again
SLOW_SECONDS = 0.5  # a write that takes longer is a failure, because answers wait for it


@dataclass
class Tally:
    """Rows since the start of the server.

    Attributes:
        logged: taken by the system, and acknowledged.
        synced: of them, flushed to the disk.
        lost: not logged, because writing failed.
        left_out: not in the sample.
    """

    logged: int = 0
    synced: int = 0
    lost: int = 0
    left_out: int = 0


class Spool:
    """The file that a server appends to; any thread may append.

    Attributes:
        tally: counts of rows.
        waiting: bytes of the folder's files at the last `measure`.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self.tally = Tally()
        self.waiting = 0

        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._is_broken = False  # whether the file ends in a part of a frame
        self._size = 0
        self._opened_at = 0.0
        self._layouts: set[int] = set()  # in the file
        self._paused_until = 0.0
        self._failure = ""  # the last one, as long as it lasts
        self._lost_before = 0  # rows lost when it began

    def append(self, layout: Layout, frame: bytes, rows: int) -> bool:
        """Appends a frame; the rows are lost if that fails.

        Returns:
            Whether the rows survive the end of this process.
        """
        with self._lock:
            is_paused = time.monotonic() < self._paused_until
            if self._descriptor is None or self._is_broken or is_paused:
                self.tally.lost += rows
                return False
            if self.waiting + self._size + len(frame) > self._max_bytes:
                self._fail(f"more than {self._max_bytes} bytes wait in {self._folder}")
                self.tally.lost += rows
                return False

            is_new = layout.number not in self._layouts
            if not self._write(layout.frame + frame if is_new else frame):
                self.tally.lost += rows
                return False
            self._layouts.add(layout.number)
            self.tally.logged += rows
            return True

    def lose(self, rows: int) -> None:
        """Counts rows that were not even appended."""
        with self._lock:
            self.tally.lost += rows

    def leave_out(self, rows: int) -> None:
        """Counts rows that are not in the sample."""
        with self._lock:
            self.tally.left_out += rows

    def _write(self, data: bytes) -> bool:
        assert self._descriptor is not None
        started = time.monotonic()
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                self._is_broken = True
                os.ftruncate(self._descriptor, self._size)
                self._is_broken = False
                raise _disk_full()
        except OSError as error:
            self._fail(f"{self._folder}: {error.strerror}")
            return False

        self._size += written
        seconds = time.monotonic() - started
        if seconds > SLOW_SECONDS:
            self._fail(f"{self._folder}: writing took {seconds:.1f} s")
        elif self._failure:
            self._recover()
        return True

    def _fail(self, reason: str) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        if not self._failure:
            self._lost_before = self.tally.lost
            log.warning(
                "The prediction log loses rows (%s); requests are answered as before.", reason
            )
        self._failure = reason

    def _recover(self) -> None:
        lost = self.tally.lost - self._lost_before
        log.info("The prediction log takes rows again; %d were lost.", lost)
        self._failure = ""

    # What one thread calls every second.

    def open(self) -> None:
        """Begins a new file; the one before it is complete.

        Raises:
            OSError: that is not possible; the file stays the one before.
        """
        make_folder(self._folder)
        path = self._folder / f"{uuid4().hex}{SUFFIX}"
        beside = path.with_suffix(".new")  # nobody takes it for complete before it is locked
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(beside, flags, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.write(descriptor, MAGIC) < len(MAGIC):
                raise _disk_full()
            beside.rename(path)
            sync(self._folder)
        except OSError:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
            raise

        with self._lock:
            before, self._descriptor = self._descriptor, descriptor
            self._is_broken = False
            self._size = len(MAGIC)
            self._opened_at = time.monotonic()
            self._layouts.clear()
            logged = self.tally.logged
        if before is not None:
            self._close(before)
            self.tally.synced = max(self.tally.synced, logged)

    def sync(self) -> None:
        """Flushes what has been appended to the disk."""
        logged, descriptor = self.tally.logged, self._descriptor
        if descriptor is None or logged == self.tally.synced:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            with self._lock:
                self._fail(f"{self._folder}: {error.strerror}")
            return
        self.tally.synced = logged

    def renew(self, seconds: float) -> None:
        """Begins a new file if this one is old, large, or has been removed.

        Args:
            seconds: the age at which a file is old.
        """
        descriptor = self._descriptor
        if descriptor is not None and os.fstat(descriptor).st_nlink and not self._is_broken:
            is_empty = self._size <= len(MAGIC)
            is_old = time.monotonic() - self._opened_at >= seconds
            if is_empty or not (is_old or self._size >= SEGMENT_BYTES):
                return
        try:
            self.open()
        except OSError as error:
            with self._lock:
                self._fail(f"{error.filename or self._folder}: {error.strerror}")

    def measure(self) -> None:
        """Counts the bytes of the folder's complete files."""
        own = self._size
        self.waiting = max(0, spool_bytes(self._folder) - own)

    def close(self) -> None:
        """Ends the file: everything in it is flushed and complete."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._close(descriptor)
            self.tally.synced = self.tally.logged

    def _close(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)  # releases the lock


def _disk_full() -> OSError:
    """Returns the error that the system leaves out where it writes only a part."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def segments(folder: Path) -> list[Path]:
    """Returns a folder's files, those in use included, oldest first."""
    found = []
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):  # moved meanwhile
            found.append((entry.stat().st_mtime_ns, entry.path))
    return [Path(path) for _, path in sorted(found)]


def spool_bytes(folder: Path) -> int:
    """Returns the bytes of a folder's files."""
    total = 0
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_size
    return total


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def complete(path: Path) -> Iterator[bool]:
    """Yields whether a file is complete: no server appends to it, and it still exists."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield bool(os.fstat(descriptor).st_nlink)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_mover(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Yields whether this process alone may now move, erase or purge rows.

    Args:
        folder: the spool's.
        wait: whether to wait for others that do.
    """
    make_folder(folder)
    with open_regular(folder / LOCK) as file:
        os.fchmod(file.fileno(), FILE_MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
