"""Which folders count as versions: TensorFlow Serving's rule, in this one place.

TensorFlow Serving takes every child of a model's folder whose whole name reads as a signed 64-bit integer
(`absl::SimpleAtoi<int64_t>`): leading zeros, a sign and white space around it do no harm, other digits than ASCII's do.
Where two names say the same number, the one that sorts last by its bytes is the version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
SAVED_MODEL = "saved_model.pb"

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_MAX_CHARACTERS = (
    255  # of a name in a file system; longer texts are no names, and slow to read as numbers
)
_LEAST, LARGEST = -(2**63), 2**63 - 1


def version_number(name: str) -> int | None:
    """Returns the version that a folder's name stands for, or None where it stands for none.

    >>> version_number("1700000000"), version_number("00000123"), version_number("9223372036854775807")
    (1700000000, 123, 9223372036854775807)
    >>> version_number("9223372036854775808"), version_number("v2"), version_number("٣"), version_number("1.0")
    (None, None, None, None)
    """
    match = _NUMBER.fullmatch(name) if len(name) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    number = int(match[1])
    return number if _LEAST <= number <= LARGEST else None


def index_versions(names: Iterable[str]) -> dict[int, str]:
    """Returns the folder's name of every version, oldest version first.

    >>> index_versions(["gpu", "7", "models.config", "007", "12"])
    {7: '7', 12: '12'}
    """
    found: dict[int, str] = {}
    for name in sorted(names, key=os.fsencode):
        number = version_number(name)
        if number is not None:
            found[number] = name
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class VersionFolders:
    """The versions in a model's folder.

    Attributes:
        paths: folder of each version that can be loaded, oldest first.
        passed_over: why an entry of the folder is no version that can be loaded, by the entry's name. Hidden entries,
            files whose name is no number, and folders of other uses are not listed.
    """

    paths: dict[int, Path]
    passed_over: dict[str, str]


def find_versions(folder: Path, *, other_uses: Iterable[str] = ()) -> VersionFolders:
    """Lists the versions in a model's folder; none where there is no such folder.

    Args:
        folder: the model's folder.
        other_uses: names of folders that nobody takes for a version.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return VersionFolders({}, {})
    ignored = set(other_uses)
    names = [
        item.name
        for item in folder.iterdir()
        if not item.name.startswith(".") and item.name not in ignored
    ]
    by_number = index_versions(names)
    paths, passed_over = {}, {}
    for name in names:
        number = version_number(name)
        if number is None:
            if (folder / name).is_dir():
                passed_over[name] = "its name is not a whole number of at most 64 bits"
        elif by_number[number] != name:
            passed_over[name] = f"{by_number[number]} stands for the same version"
        elif not (folder / name / SAVED_MODEL).is_file():
            passed_over[name] = f"there is no {SAVED_MODEL} in it"
        else:
            paths[number] = folder / name
    return VersionFolders(dict(sorted(paths.items())), passed_over)
