"""Whole-or-nothing writing of files and folders: write beside, flush to the disk, rename.

A reader sees the old content or the new one, never a part of it, also after a crash or a power cut.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import MasteryError


class NotAFileError(MasteryError):
    """Something else stands where a file of ours should be: a link, a pipe, a device."""


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content` to `path`, replacing what was there; missing parent folders are made."""
    with new_file(path) as beside:
        beside.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` to `path` as UTF-8, replacing what was there; missing parent folders are made."""
    write_bytes(path, text.encode())


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yields a hidden path beside `path` to write to, and renames it to `path` when the block ends well.

    When the block raises, `path` stays as it was and nothing is left beside it.
    """
    target = Path(path)
    with _hidden_folder_beside(target) as folder:
        beside = folder / target.name
        yield beside
        sync(beside)
        beside.replace(target)
    sync(target.parent)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder to fill beside `path`, and renames it to `path` when the block ends well.

    When the block raises, nothing is left beside `path`.

    Raises:
        FileExistsError: `path` is there and is not an empty folder.
    """
    target = Path(path)
    with _hidden_folder_beside(target) as folder:
        beside = folder / target.name
        beside.mkdir()
        yield beside
        sync_tree(beside)
        if not rename_to_new(beside, target):
            raise FileExistsError(f"expected no {target} yet, found one")
    sync(target.parent)


def rename_to_new(folder: Path, target: Path) -> bool:
    """Renames `folder` to `target` on the same file system, unless something is there already.

    The rename is one step of the file system, so of many processes that want the same name exactly one gets it.
    (An empty folder called `target` counts as not there.)

    Returns:
        Whether `folder` is now `target`; False means that `target` was taken and nothing has changed.
    """
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def sync_tree(folder: Path) -> None:
    """Flushes every file and folder below `folder`, and `folder` itself, to the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def sync(path: Path) -> None:
    """Flushes a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> io.FileIO:
    """Opens a file for locking, reading and appending; creates it when missing, never truncates.

    Links are not followed. Whoever may write to the folder could place one, and have a file elsewhere
    changed with the rights of this process.

    Args:
        path: the file. Links in the path of its folder are followed.

    Returns:
        The file, unbuffered; what is written goes to its end.

    Raises:
        NotAFileError: there is a link, or another thing that is no file.
        OSError: it cannot be opened.
    """
    # O_NONBLOCK: a pipe without a reader would be waited for; it changes nothing for a file.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_a_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_a_file(path)
    return io.FileIO(descriptor, "a+")


def _not_a_file(path: Path) -> NotAFileError:
    found = "a link" if path.is_symlink() else "something else"
    return NotAFileError(
        f"{path}: expected a file of ours, found {found}. Nothing was changed; remove it."
    )


@contextmanager
def _hidden_folder_beside(target: Path) -> Iterator[Path]:
    """Yields a folder on `target`'s file system, of a name that nobody else has; it is removed in any case."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    except OSError as error:
        if error.errno and error.filename is None:  # of writing to a full disk: say where
            error.filename = str(target)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
