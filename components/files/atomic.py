"""Whole-or-nothing writing of files and folders: write beside, flush to the disk, rename.

A reader sees the old content or the new one, never a part of it, even after a crash or power cut.
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
    """A link, a pipe or a device has the name of a file that Mastery writes."""


def write_bytes(path: str | Path, content: bytes, drafts: str | Path | None = None) -> None:
    """Writes `content` to `path`, replacing an earlier file; see `new_file`."""
    with new_file(path, drafts) as beside:
        beside.write_bytes(content)


def write_text(path: str | Path, text: str, drafts: str | Path | None = None) -> None:
    """Writes `text` to `path` as UTF-8, replacing an earlier file; see `new_file`."""
    write_bytes(path, text.encode(), drafts)


@contextmanager
def new_file(path: str | Path, drafts: str | Path | None = None) -> Iterator[Path]:
    """Yields a hidden path to write to, and renames it to `path` at the end.

    If the block raises, `path` stays as it was and nothing else is left.

    Args:
        path: the file; missing parent folders are made.
        drafts: a folder on the same file system that holds the file until then; default: the one
            of `path`. Where whoever started a job removes this folder at its end, a worker that
            was given up and goes on changes nothing any more: it finds no folder.

    Raises:
        FileNotFoundError: there is no folder `drafts`.
    """
    target = Path(path)
    with _hidden_folder(target, None if drafts is None else Path(drafts)) as folder:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = folder / target.name
        yield beside
        sync(beside)
        beside.replace(target)
    sync(target.parent)


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `path` to fill, and renames it to `path` at the end.

    If the block raises, nothing is left beside `path`.

    Raises:
        FileExistsError: `path` exists and is not an empty folder.
    """
    target = Path(path)
    with _hidden_folder(target) as folder:
        beside = folder / target.name
        beside.mkdir()
        yield beside
        sync_tree(beside)
        if not rename_to_new(beside, target):
            raise FileExistsError(f"{target} exists and is not an empty folder")
    sync(target.parent)


@contextmanager
def draft_folder(out: Path) -> Iterator[Path]:
    """Yields a hidden folder in `out`, from which complete files are moved there.

    It is removed at the end. After an error a new `out` is removed as well.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=out) as folder:
            yield Path(folder)
    except BaseException:
        if is_new:
            out.rmdir()
        raise


def rename_to_new(folder: Path, target: Path) -> bool:
    """Renames `folder` to `target` on the same file system, unless `target` exists.

    The rename is one step of the file system: of several processes that want the same name, exactly
    one gets it. (An empty folder called `target` counts as free.)

    Returns:
        Whether `folder` is now `target`; False if `target` exists, and nothing has changed.
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
    """Opens a file for locking, reading and appending; creates it if missing, never truncates.

    Links are not followed. Anybody who may write to the folder could place one, and have a file
    elsewhere changed with the rights of this process.

    Args:
        path: the file. Links in the path of its folder are followed.

    Returns:
        The file, unbuffered; writing appends to it.

    Raises:
        NotAFileError: there is a link, or something else that is not a file.
        OSError: it cannot be opened.
    """
    # O_NONBLOCK: without it, opening a pipe that has no reader would block; files ignore it.
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
        f"{path}: expected a regular file, found {found}. Nothing was changed; remove it."
    )


@contextmanager
def _hidden_folder(target: Path, parent: Path | None = None) -> Iterator[Path]:
    """Yields a folder with a unique name, and removes it at the end.

    Args:
        target: the prefix of the name.
        parent: where it is made; default: beside `target`, whose parents are made if missing.
    """
    if parent is None:
        parent = target.parent
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    try:
        yield folder
    except OSError as error:
        if error.errno and error.filename is None:  # as when the disk is full: add the place
            error.filename = str(target)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
