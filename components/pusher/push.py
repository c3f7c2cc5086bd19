"""Puts a model into a folder that TensorFlow Serving watches, as one new version, complete or not at all.

TensorFlow Serving loads every folder with a number for a name. So a version is prepared in a hidden folder
beside, flushed to the disk, and renamed to its number: the rename is what claims the number, and is the moment
at which the version is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.errors import MasteryError
from components.files.atomic import open_regular, rename_to_new, sync, sync_tree
from components.model_version.folders import LARGEST, MANIFEST, SAVED_MODEL, index_versions

BESIDE = ".push-"  # prefix of the folders in which versions are prepared
LOCK = ".push.lock"  # held, shared, by everybody who prepares a version


class PushError(MasteryError):
    """The version could not be written; the folder is as it was."""


def push_version(model: Path, directory: Path, manifest: Mapping[str, Any]) -> tuple[int, Path]:
    """Copies a SavedModel to `directory/<version>`, with its manifest beside `saved_model.pb`.

    Any number of processes may push into one `directory` at the same time: each gets a version of its own.

    Args:
        model: the SavedModel's folder.
        directory: the folder that TensorFlow Serving watches; made when missing.
        manifest: what made the model, as JSON has it; the version's number is added.

    Returns:
        The version (the time in seconds, or the newest version plus one where that is more) and its folder.

    Raises:
        PushError: `model` is no SavedModel, or `directory` cannot be written to; no version was added.
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
            return _publish(copy, directory, manifest)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise PushError(
            f"{directory}: expected to write a new version of the model there, found: {error.strerror}{where}. "
            "Nothing was pushed; make room, or give this user the right to write, and run again."
        ) from error


def versions(directory: Path) -> list[int]:
    """Returns the numbers of the versions in `directory`, oldest first; none when there is no such folder."""
    if not directory.is_dir():
        return []
    return list(index_versions(item.name for item in directory.iterdir()))


def _copy(model: Path, copy: Path) -> None:
    """Copies files and folders without their modes: the server may well be another user."""
    copy.mkdir()
    for item in sorted(model.rglob("*")):
        target = copy / item.relative_to(model)
        if item.is_dir():
            target.mkdir()
        else:
            shutil.copyfile(item, target)


def _publish(copy: Path, directory: Path, manifest: Mapping[str, Any]) -> tuple[int, Path]:
    while True:
        newest = versions(directory)[-1:]
        version = max([int(time.time()), *(number + 1 for number in newest)])
        if version > LARGEST:
            raise PushError(
                f"{directory}: expected room for a newer version than {LARGEST}, found none, as that is the largest "
                "number of 64 bits. Nothing was pushed; give that folder another name."
            )

        text = json.dumps({"version": version, **manifest}, indent=2, ensure_ascii=False)
        (copy / MANIFEST).write_text(text + "\n", encoding="utf-8")
        sync(copy / MANIFEST)
        sync(copy)
        target = directory / str(version)
        if rename_to_new(copy, target):
            sync(directory)
            return version, target


@contextmanager
def _folder_beside(directory: Path) -> Iterator[Path]:
    """Yields a hidden folder in `directory`, removed in any case; takes away what dead pushes left."""
    with open_regular(directory / LOCK) as lock:
        with suppress(
            OSError
        ):  # somebody else is pushing, or the file system has no locks: then nothing is removed
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
    """Removes the folders of dead pushes; only for the holder of the whole lock, for then no push is alive."""
    for item in os.scandir(directory):
        if item.name.startswith(BESIDE):
            shutil.rmtree(item.path, ignore_errors=True)
