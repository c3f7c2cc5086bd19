"""A serving folder on this machine, or on a file system that several machines share."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from components.contracts.names import GPU
from components.contracts.serving_state import AuditEntry
from components.errors import MasteryError
from components.files.atomic import open_regular, sync, write_bytes
from components.files.safe_paths import refuse_links
from components.model_version.folders import SAVED_MODEL, index_versions
from serving.models.storage import Storage

LOCK = ".models.lock"
REMOVED = ".removed-"  # prefix of folders that are being removed; TensorFlow Serving ignores them
PATIENCE = 30.0  # seconds to wait for another process; a change takes milliseconds, a prune seconds
PAUSE = 0.02  # seconds between attempts to lock


def open_storage(address: str) -> Storage:
    """Returns the storage at a path or URL.

    Raises:
        MasteryError: there is no such folder, or this kind of URL is not supported.
    """
    if "://" in address:
        # fsspec takes half a second to import
        from serving.models.object_storage import ObjectStorage

        return ObjectStorage(address)

    folder = Path(address).resolve()
    if not folder.is_dir():
        raise MasteryError(
            f"{address}: expected the folder that versions are pushed to, found none. "
            "`mastery run` makes it with the first push; --models DIR_OR_URL names another one."
        )
    return LocalStorage(folder)


class LocalStorage(Storage):
    """Versions in a folder; one process at a time makes a change."""

    locks = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds the folder's lock, which ends with the process, even if that is killed."""
        with self._explained("write"), open_regular(self.folder / LOCK) as lock:
            self._acquire(lock.fileno())
            yield

    def _acquire(self, descriptor: int) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until:
                    raise MasteryError(
                        f"{self.folder}: another `mastery models` has been changing it for "
                        f"{PATIENCE:.0f} s. Nothing was changed; try again when it has finished."
                    ) from None
                time.sleep(PAUSE)

    def folders(self) -> dict[int, str]:
        """Returns the name of each version's folder, oldest version first."""
        with self._explained("read"):
            return index_versions(item.name for item in self.folder.iterdir() if item.is_dir())

    def servable(self) -> frozenset[int]:
        """Returns the versions with a `saved_model.pb`."""
        with self._explained("read"):
            folders = self.folders().items()
            return frozenset(
                number for number, name in folders if (self.folder / name / SAVED_MODEL).is_file()
            )

    def has_gpu_exports(self) -> bool:
        """Returns whether there is the folder with links to exports, which the Pusher makes."""
        return (self.folder / GPU).is_dir()

    def read(self, name: str) -> bytes | None:
        """Returns a file's content, or None when there is no such file."""
        with self._explained("read"):
            try:
                return (self.folder / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def replace(self, name: str, content: bytes) -> None:
        """Writes a temporary file beside it, flushes that, and renames it.

        Raises:
            UnsafePathError: a folder in the path is a link.
        """
        path = self.folder / name
        refuse_links(self.folder, path.parent)
        with self._explained("write"):
            write_bytes(path, content)

    def local_copy(self, version: int) -> nullcontext[Path]:
        """Returns a block with the folder itself."""
        return nullcontext(self.folder / self.folder_of(version))

    def remove(self, version: int) -> None:
        """Renames the version's folder to a hidden one and removes that.

        Hidden folders that an earlier removal left behind are removed as well.
        """
        refuse_links(self.folder, self.folder / GPU)
        with self._explained("remove versions"):
            name = self.folder_of(version)
            hidden = Path(tempfile.mkdtemp(prefix=f"{REMOVED}{version}-", dir=self.folder))
            with suppress(FileNotFoundError):  # another prune was quicker
                (self.folder / name).rename(hidden / name)
            (self.folder / GPU / name).unlink(missing_ok=True)
            sync(self.folder)

            for folder in self.folder.glob(f"{REMOVED}*"):
                shutil.rmtree(folder, ignore_errors=True)

    def append(self, revision: int, entry: bytes) -> bool:
        """Adds a line; call it inside `exclusive`, so that no other process takes the number."""
        line = entry + b"\n"
        with self._explained("write"), open_regular(self.folder / AuditEntry.FILE) as log:
            log.seek(0)
            whole = _whole_lines(log.readall())
            if whole.count(b"\n") >= revision:
                return False

            # A line that a power cut left without its end was never acted upon.
            log.truncate(len(whole))
            try:
                if log.write(line) < len(line):  # the disk had room for a part of it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(log.fileno())
            except OSError:
                log.truncate(len(whole))
                raise
        return True

    def entries(self, last: int | None = None) -> list[bytes]:
        """Returns the lines that are complete."""
        lines = _whole_lines(self.read(AuditEntry.FILE) or b"").splitlines()
        return lines if last is None else lines[-last:]

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "make room" if is_full else f"give this user the right to {verb}"
            raise MasteryError(
                f"{self.folder}: could not {verb} there: {error.strerror}{where}; {advice} and try "
                "again."
            ) from error


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
