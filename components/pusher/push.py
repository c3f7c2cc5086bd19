"""Adds a model to a folder that TensorFlow Serving watches, as one version, complete or not at all.

TensorFlow Serving loads every folder whose name is a number. So a version is prepared in a hidden
folder beside, flushed to the disk, and renamed to its number: the rename claims the number, and it
is the moment at which the version appears.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from components.contracts.audit_chain import head_in
from components.contracts.manifest import Manifest
from components.errors import MasteryError
from components.files.atomic import open_regular, rename_to_new, sync, sync_tree
from components.model_version.folders import LARGEST, SAVED_MODEL, version_names

BESIDE = ".push-"  # prefix of the folders in which versions are prepared
LOCK = ".push.lock"  # held, shared, by every process that prepares a version


# Returns the content of every paper of a version by its path below the version's folder.
WritePapers = Callable[[Manifest], Mapping[str, bytes]]

Finish = Callable[[Path, Manifest], None]  # of the prepared folder, with its manifest


class PushError(MasteryError):
    """The version could not be written; the folder is as it was."""


def push_version(
    model: Path,
    directory: Path,
    manifest: Manifest,
    write_papers: WritePapers | None = None,
    finish: Finish | None = None,
) -> tuple[int, Path]:
    """Copies a SavedModel to `directory/<version>`, with its manifest beside `saved_model.pb`.

    Any number of processes may push into one `directory` at the same time; each gets its own
    version.

    Args:
        model: the SavedModel's folder.
        directory: the folder that TensorFlow Serving watches; made when missing.
        manifest: what made the model; the version's number, its papers and the audit log's head are
            added.
        write_papers: writes the papers of a version from its manifest, which has the number; it is
            called again if another push takes the number first.
        finish: adds to the prepared folder, which is complete but for that, and flushes what it
            adds to the disk: a signature at last. It is called again with another number, too.

    Returns:
        The version (the time in seconds, or one more than the newest version where that is later)
        and its folder.

    Raises:
        PushError: `model` is not a SavedModel, or `directory` cannot be written to; no version was
            added.
    """
    if not (model / SAVED_MODEL).is_file():
        raise PushError(
            f"{model}: expected a SavedModel, found no {SAVED_MODEL} in it. Nothing was pushed."
        )

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _folder_beside(directory) as folder:
            copy = folder / "model"
            _copy(model, copy)
            sync_tree(copy)
            return _publish(copy, directory, manifest, write_papers, finish)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise PushError(
            f"{directory}: could not write a new version of the model there: {error.strerror}"
            f"{where}. Nothing was pushed; make room, or give this user the right to write, and "
            "run again."
        ) from error


def _copy(model: Path, copy: Path) -> None:
    """Copies files and folders without their modes, because the server may be another user."""
    copy.mkdir()
    for item in sorted(model.rglob("*")):
        target = copy / item.relative_to(model)
        if item.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(item, target)


def _publish(
    copy: Path,
    directory: Path,
    manifest: Manifest,
    write_papers: WritePapers | None,
    finish: Finish | None,
) -> tuple[int, Path]:
    """Renames a prepared version to the next number that no other push has claimed."""
    while True:
        version = _next_version(directory)
        found = {"version": version, "audit_head": head_in(directory)}
        numbered = manifest.model_copy(update=found)
        if write_papers is not None:
            digests = _write_files(copy, write_papers(numbered))
            numbered = numbered.model_copy(update={"release": digests})
        (copy / Manifest.FILE).write_text(numbered.to_json(), encoding="utf-8")
        sync_tree(copy)
        if finish is not None:
            finish(copy, numbered)
        sync(copy)

        target = directory / str(version)
        if rename_to_new(copy, target):
            sync(directory)
            return version, target


def _write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Writes files below a folder; returns the SHA-256 of each, in hexadecimal, by its path."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _next_version(directory: Path) -> int:
    newest = max(version_names(directory), default=0)
    version = max(int(time.time()), newest + 1)
    if version > LARGEST:
        raise PushError(
            f"{directory}: there is no version after {LARGEST}, the largest number of 64 bits. "
            "Nothing was pushed; rename that folder."
        )
    return version


@contextmanager
def _folder_beside(directory: Path) -> Iterator[Path]:
    """Yields a hidden folder in `directory` and removes it at the end.

    Folders that killed pushes left behind are removed first, unless another push is at work or the
    file system has no locks.
    """
    with open_regular(directory / LOCK) as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_leftovers(directory)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)

        folder = Path(tempfile.mkdtemp(prefix=BESIDE, dir=directory))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(directory: Path) -> None:
    """Removes the folders of killed pushes; only while no push is at work."""
    for item in os.scandir(directory):
        if item.name.startswith(BESIDE):
            shutil.rmtree(item.path, ignore_errors=True)
