"""Digests of a version's files: what was pushed is what is there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.model_version.folders import MANIFEST

_SHOWN = 5  # files that a message names


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of a version, in hexadecimal, by its path below the folder.

    A version's own `manifest.json` is left out, as it holds them.

    Raises:
        OSError: a file cannot be read.
    """
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    found = {}
    for name in names:
        if name != MANIFEST:
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def combined_digest(files: Mapping[str, str]) -> str:
    """Returns one SHA-256 for the names and contents of all files, in hexadecimal.

    >>> combined_digest({})[:16]
    'e3b0c44298fc1c14'
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + bytes.fromhex(content))
    return digest.hexdigest()


def model_digest(folder: Path) -> str:
    """Returns one SHA-256 for a version's files; a pushed version has the digest that its manifest names.

    Raises:
        OSError: a file cannot be read.
    """
    return combined_digest(file_digests(folder))


def has_digests(manifest: Mapping[str, Any]) -> bool:
    """Says whether a manifest tells what the files were when they were pushed."""
    return isinstance(manifest.get("files"), dict) or isinstance(manifest.get("model_sha256"), str)


def difference(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """Returns how a version's files differ from those that were pushed, as a part of a sentence; None if they do not.

    Args:
        folder: the version's.
        manifest: the content of its `manifest.json`. One without `files` has `model_sha256`, which names no file.

    Raises:
        OSError: a file cannot be read.
    """
    found = file_digests(folder)
    pushed = manifest.get("files")
    if not isinstance(pushed, dict):
        expected = manifest.get("model_sha256")
        same = expected is None or combined_digest(found) == expected
        return None if same else "the digest differs from its manifest's"

    kinds = {
        "missing": pushed.keys() - found.keys(),
        "never pushed": found.keys() - pushed.keys(),
        "changed": {name for name in pushed.keys() & found.keys() if pushed[name] != found[name]},
    }
    texts = [f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names]
    return "; ".join(texts) or None


def _listed(names: set[str]) -> str:
    shown = [name[:200] for name in sorted(names)[:_SHOWN]]
    return ", ".join([*shown, f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else shown)
