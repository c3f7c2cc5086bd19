"""Names that others chose, as paths below a folder: keys of object stores, paths in databases.

Whoever may write to a bucket chooses its keys, and a key may be any text: `../../etc/cron.d/x`,
`/etc/passwd`, two names that one file system takes for one. Everything here maps such a name to a
path that cannot leave its folder, or refuses.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from components.errors import MasteryError

LONGEST_PART = 255  # bytes of a file's name, on every file system in use
LONGEST_PATH = 4095  # bytes of a path that Linux opens
SHOWN = 80  # characters of a refused name in the error


class UnsafePathError(MasteryError):
    """A name would lead out of its folder, or cannot be a file of it."""


def path_below(folder: Path, name: str) -> Path:
    """Returns the path that a name has below a folder.

    Args:
        folder: the folder; it need not exist yet. Links in its own path are followed.
        name: parts separated by `/`, as in keys of object stores.

    Raises:
        UnsafePathError: the name is absolute, has an empty part, `.` or `..` in it, a backslash or
            a control character, is too long, or goes through a link.

    >>> str(path_below(Path("/models"), "7/variables/variables.index"))
    '/models/7/variables/variables.index'
    >>> path_below(Path("/models"), "7/../../etc/passwd")
    Traceback (most recent call last):
    components.files.safe_paths.UnsafePathError: '7/../../etc/passwd': expected the name of a file below
    /models, found ...
    """
    parts = name.split("/")
    path = folder.joinpath(*parts)

    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise _refused(folder, name, "a control character, or bytes that are no UTF-8")
    if "\\" in name:
        raise _refused(folder, name, "a backslash")
    if name.startswith("/"):
        raise _refused(folder, name, "an absolute path")
    if {"", ".", ".."} & set(parts):
        raise _refused(folder, name, "an empty part, . or .. in it")
    if (
        max(len(part.encode()) for part in parts) > LONGEST_PART
        or len(os.fsencode(path)) > LONGEST_PATH
    ):
        raise _refused(folder, name, "a name that is too long for a file")

    refuse_links(folder, path)
    return path


def paths_below(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Returns the paths that names have below a folder, all of them different files.

    Raises:
        UnsafePathError: `path_below` refuses one; one is both a file and a folder; or the folder's
            file system takes two of them for the same file, because they differ in case or in how
            accents are written only.
    """
    paths = {name: path_below(folder, name) for name in names}

    for name in paths:
        for parent in PurePosixPath(name).parents:
            if str(parent) in paths:
                raise _refused(folder, str(parent), f"a file where {_shown(name)} wants a folder")

    alike = defaultdict(list)
    for name in sorted(paths):
        alike[unicodedata.normalize("NFC", name).casefold()].append(name)
    clash = next((group for group in alike.values() if len(group) > 1), None)
    if clash and takes_names_for_one(folder, clash[0], clash[1]):
        raise _refused(
            folder,
            clash[1],
            f"another spelling of {_shown(clash[0])}, the same file on this file system",
        )

    return paths


def refuse_links(folder: Path, path: Path) -> None:
    """Makes sure that no part of `path` below `folder` is a link, so nothing outside is touched.

    Raises:
        UnsafePathError: one of them is.
    """
    for part in (path, *path.parents):
        if part == folder:
            return
        if part.is_symlink():
            raise _refused(
                folder, path.relative_to(folder).as_posix(), f"a link at {part}; remove it"
            )


def takes_names_for_one(folder: Path, one: str, other: str) -> bool:
    """Tells, by trying, whether the file system of `folder` takes both names for one file."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=".names-", dir=existing) as scratch:
        Path(scratch, one.replace("/", "_")[:LONGEST_PART]).touch()
        return Path(scratch, other.replace("/", "_")[:LONGEST_PART]).exists()


def _refused(folder: Path, name: str, found: str) -> UnsafePathError:
    return UnsafePathError(
        f"{_shown(name)}: expected the name of a file below {folder}, found {found}. Nothing was written. "
        "If it is none of yours, find out who may write there."
    )


def _shown(name: str) -> str:
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}...")
