"""Before a version is loaded: is it what was pushed, and does it stay inside of its folder?"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from components.errors import MasteryError
from components.model_version.digests import difference, has_digests
from components.model_version.exports import GPU
from components.model_version.folders import MANIFEST


class VersionError(MasteryError):
    """The version must not be loaded."""


def verify_version(folder: Path, *, within: Path, require_manifest: bool = False) -> str | None:
    """Checks a version's files against its manifest, and that no link leads out of the version.

    Args:
        folder: the version's, such as `runs/sample/serving/1700000000`; it may be a link to a folder in `within`.
        within: the model's folder. Of one called `gpu`, which holds links to the exports in the versions beside it,
            the folder above counts.
        require_manifest: whether a version that nobody can check is an error.

    Returns:
        What is amiss and no error, as a sentence; None where the files are those that were pushed.

    Raises:
        VersionError: a link leads elsewhere, something is neither file nor folder, the manifest cannot be read, or
            the files are not those that were pushed.
    """
    try:
        root = _root(folder, within)
        for path in [root, *_entries(root)]:
            _check_entry(path, root)
        return _check_digests(folder, root, require_manifest)
    except OSError as error:
        raise VersionError(
            f"{folder}: expected files that can be read, found: {error.strerror} ({error.filename})."
        ) from error


def _root(folder: Path, within: Path) -> Path:
    """Returns the folder that holds the version's manifest: the version's own, or that which its export lies in."""
    real = folder.resolve(strict=True)
    allowed = within.resolve(strict=True)
    allowed = allowed.parent if allowed.name == GPU else allowed
    if not real.is_relative_to(allowed):
        raise VersionError(
            f"{folder}: expected a folder in {allowed}, found a link to {real}; copy it there."
        )
    is_export = (
        real.name == GPU and not (real / MANIFEST).exists() and (real.parent / MANIFEST).exists()
    )
    return real.parent if is_export else real


def _entries(root: Path) -> list[Path]:
    return [
        Path(parent, name)
        for parent, folders, files in os.walk(root, onerror=_raise)
        for name in folders + files
    ]


def _raise(error: OSError) -> None:
    raise error


def _check_entry(path: Path, root: Path) -> None:
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(root) or not target.exists():
            raise VersionError(
                f"{path}: expected files inside of the version, found a link to {target}; copy what it leads to."
            )
        return
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise VersionError(
            f"{path}: expected a file or a folder, found a pipe, a socket or a device."
        )


def _check_digests(folder: Path, root: Path, require_manifest: bool) -> str | None:
    manifest = _read_manifest(root)
    if manifest is None or not has_digests(manifest):
        found = f"no {MANIFEST}" if manifest is None else f"a {MANIFEST} without digests"
        if require_manifest:
            raise VersionError(
                f"{folder}: expected a {MANIFEST} with the digests of what was pushed, found {found}."
            )
        return f"{folder}: found {found}, so nobody knows whether its files are those that were pushed."

    changed = difference(root, manifest)
    if changed:
        raise VersionError(
            f"{folder}: expected the files that were pushed, found others ({changed}). Push the model again, or copy "
            "the version anew from where it came."
        )
    return None


def _read_manifest(root: Path) -> dict[str, Any] | None:
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise VersionError(
            f"{path}: expected JSON, found what cannot be read as that ({error})."
        ) from error
    if not isinstance(manifest, dict):
        raise VersionError(f"{path}: expected a JSON object, found something else.")
    return manifest
