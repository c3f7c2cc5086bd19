"""Which folders are versions, by TensorFlow Serving's rule; no other module decides that.

TensorFlow Serving takes every child of a model's folder whose whole name reads as a signed 64-bit
integer (`absl::SimpleAtoi<int64_t>`): leading zeros, a sign and white space around it are allowed,
digits other than those of ASCII are not. If two names read as the same number, the one that sorts
last by its bytes is the version.

```
<model's folder>/
  1700000000/           a version
    saved_model.pb      its graph: without it, the folder is not a version that can be loaded
    variables/          its weights
    assets.extra/       the model card, warm-up requests, weights for a warm start
    gpu/                the export for GPUs, where there is one
    release/            its papers: the model card, the technical file and others
    manifest.json       what made the version, and the digests of the files above
  gpu/                  a link per version, for servers with GPUs
  models.config, ...    which versions are served; see `serving.models.storage`
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.contracts.names import GPU

SAVED_MODEL = "saved_model.pb"
SIGNATURE = "model.sig"
LARGEST = 2**63 - 1

_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_LONGEST = 255  # characters of a file's name; longer numbers would be slow to read
_LEAST = -(2**63)


def version_number(name: str) -> int | None:
    """Returns the number of the version that a folder's name reads as, or None.

    >>> version_number("1700000000"), version_number("00000123")
    (1700000000, 123)
    >>> version_number("9223372036854775807")
    9223372036854775807
    >>> [version_number(name) for name in ("9223372036854775808", "v2", "٣", "1.0")]
    [None, None, None, None]
    """
    match = _NUMBER.fullmatch(name) if len(name) <= _LONGEST else None
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


def version_names(folder: Path) -> dict[int, str]:
    """Returns the name of every version in a model's folder, complete or not, oldest version first.

    Files count as well, because their numbers are taken. Without such a folder there are none.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return {}
    return index_versions(item.name for item in folder.iterdir())


@dataclass(frozen=True)
class VersionFolders:
    """The versions in a model's folder.

    Attributes:
        paths: folder of each version that can be loaded, oldest first.
        passed_over: why an entry of the folder is not a version that can be loaded, by the entry's
            name. Hidden entries, the links for servers with GPUs, and files whose name is not a
            number are left out.
    """

    paths: dict[int, Path]
    passed_over: dict[str, str]


def find_versions(folder: Path) -> VersionFolders:
    """Lists the versions in a model's folder; none if there is no such folder.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return VersionFolders({}, {})
    names = [item.name for item in folder.iterdir()]
    names = [name for name in names if not name.startswith(".") and name != GPU]

    by_number = index_versions(names)
    paths: dict[int, Path] = {}
    passed_over: dict[str, str] = {}
    for name in names:
        number = version_number(name)
        if number is None:
            if (folder / name).is_dir():
                passed_over[name] = "its name is not a whole number of at most 64 bits"
        elif by_number[number] != name:
            passed_over[name] = f"{by_number[number]} is the same version"
        elif not (folder / name / SAVED_MODEL).is_file():
            passed_over[name] = f"there is no {SAVED_MODEL} in it"
        else:
            paths[number] = folder / name
    return VersionFolders(dict(sorted(paths.items())), passed_over)
