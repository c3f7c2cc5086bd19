"""Names that others chose, as paths below a folder: keys of object stores, paths in databases.

Anybody who may write to a bucket chooses its keys, and a key may be any text:
`../../etc/cron.d/x`, `/etc/passwd`, two names that a file system takes for the same. The functions
here map such a name to a path that cannot leave its folder, or refuse it.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from components.command.escape import shorten
from components.errors import MasteryError

LONGEST_PART = 255  # bytes of a file's name, on every file system in use
LONGEST_PATH = 4095  # bytes of a path that Linux opens


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
    >>> path_below(Path("/models"), "/etc/passwd")
    Traceback (most recent call last):
    components.files.safe_paths.UnsafePathError: '/etc/passwd': expected the name of a file below \
/models, found an absolute path. Nothing was written. If the name is not yours, find out who may \
write there.
    """
    parts = name.split("/")
    path = folder.joinpath(*parts)

    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise _refused(folder, name, "a control character, or bytes that are not UTF-8")
    if "\\" in name:
        raise _refused(folder, name, "a backslash")
    if name.startswith("/"):
        raise _refused(folder, name, "an absolute path")
    if {"", ".", ".."} & set(parts):
        raise _refused(folder, name, "an empty part, . or .. in it")
    longest = max(len(part.encode()) for part in parts)
    if longest > LONGEST_PART or len(os.fsencode(path)) > LONGEST_PATH:
        raise _refused(folder, name, "a name that is too long for a file")

    refuse_links(folder, path)
    return path


def paths_below(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Returns the paths that names have below a folder, each a different file.

    Raises:
        UnsafePathError: `path_below` refuses a name; a name is both a file and a folder; or the
            folder's file system takes two of them for the same file, because they differ only in
            case or in how accents are written.
    """
    paths = {name: path_below(folder, name) for name in names}

    for name in paths:
        for parent in PurePosixPath(name).parents:
            if str(parent) in paths:
                raise _refused(folder, str(parent), f"a file where {_shown(name)} needs a folder")

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
    """Checks that no part of `path` below `folder` is a link, so that nothing outside is changed.

    Raises:
        UnsafePathError: a part is a link.
    """
    for part in (path, *path.parents):
        if part == folder:
            return
        if part.is_symlink():
            name = path.relative_to(folder).as_posix()
            raise _refused(folder, name, f"a link at {part}; remove it")


def takes_names_for_one(folder: Path, one: str, other: str) -> bool:
    """Returns whether the file system of `folder` takes both names for one file, by trying."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=".names-", dir=existing) as scratch:
        Path(scratch, one.replace("/", "_")[:LONGEST_PART]).touch()
        return Path(scratch, other.replace("/", "_")[:LONGEST_PART]).exists()


def _refused(folder: Path, name: str, found: str) -> UnsafePathError:
    return UnsafePathError(
        f"{_shown(name)}: expected the name of a file below {folder}, found {found}. "
        "Nothing was written. If the name is not yours, find out who may write there."
    )


def _shown(name: str) -> str:
    return repr(shorten(name))
