"""Checks a version before it is loaded: its files are the pushed ones, and no link leads out."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from components.command.escape import shorten
from components.contracts.contract import ContractError
from components.contracts.manifest import Manifest
from components.contracts.names import GPU, RELEASE
from components.contracts.slsa import Statement
from components.errors import VersionError
from components.model_version.folders import SIGNATURE

_SHOWN = 5  # files that a message names
_LONGEST_NAME = 200  # characters of each


# They are written about the other files, after them. A signature covers the first two as well.
WRITTEN_LATER = (Manifest.FILE, Statement.FILE, SIGNATURE)


def file_digests(folder: Path, left_out: Collection[str] = WRITTEN_LATER) -> dict[str, str]:
    """Returns the SHA-256 of every file of a version, in hexadecimal, by its path below the folder.

    Args:
        folder: the version's.
        left_out: paths below it of files to leave out.

    Raises:
        OSError: a file cannot be read.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = sorted(path.relative_to(folder).as_posix() for path in files)

    digests = {}
    for name in names:
        if name not in left_out:
            with (folder / name).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


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
    """Returns one SHA-256 for a version's model: the `model_sha256` of its manifest.

    Its papers are left out.

    Raises:
        OSError: a file cannot be read.
    """
    files = file_digests(folder)
    return combined_digest({name: files[name] for name in files if not _is_paper(name)})


def difference(folder: Path, manifest: Manifest) -> str | None:
    """Returns how a version's files differ from those that were pushed, or None if they do not.

    Args:
        folder: the version's folder.
        manifest: its manifest. Without `files`, `model_sha256` is compared, which names no file.

    Returns:
        Part of a sentence, such as "missing: assets/words; changed: saved_model.pb".

    Raises:
        OSError: a file cannot be read.
    """
    found = file_digests(folder)
    if manifest.files is None:
        model = {name: found[name] for name in found if name not in manifest.release}
        expected = manifest.model_sha256
        if expected is not None and combined_digest(model) != expected:
            return "the digest differs from its manifest's"
        found = {name: found[name] for name in found if name in manifest.release}

    pushed = {**(manifest.files or {}), **manifest.release}
    kinds = {
        "missing": pushed.keys() - found.keys(),
        "never pushed": found.keys() - pushed.keys(),
        "changed": {name for name in pushed.keys() & found.keys() if pushed[name] != found[name]},
    }
    return name_files(kinds) or None


def name_files(kinds: Mapping[str, Collection[str]]) -> str:
    """Returns names of files by what is the matter with them, the first of each.

    >>> name_files({"missing": [], "changed": ["a", "b"]})
    'changed: a, b'
    """
    texts = [f"{kind}: {_list_names(names)}" for kind, names in kinds.items() if names]
    return "; ".join(texts)


def verify_version(folder: Path, *, within: Path, require_manifest: bool = False) -> str | None:
    """Checks a version's files against its manifest, and that no link leads out of the version.

    Args:
        folder: the version's folder, such as `runs/sample/serving/1700000000`; it may be a link to
            a folder in `within`.
        within: the model's folder. A folder called `gpu` holds links to the exports in the versions
            beside it, so its parent is taken.
        require_manifest: whether a version without digests in a manifest is refused.

    Returns:
        A warning, as a sentence, if there is nothing to check the files against; else None.

    Raises:
        VersionError: a link leads elsewhere, something is neither file nor folder, the manifest
            cannot be used, or the files are not those that were pushed.
    """
    try:
        root = find_root(folder, within)
        for path in [root, *_list_entries(root)]:
            _check_entry(path, root)
        return _check_digests(folder, root, require_manifest=require_manifest)
    except OSError as error:
        raise VersionError(
            f"{folder}: could not be read: {error.strerror} ({error.filename})."
        ) from error


def find_root(folder: Path, within: Path) -> Path:
    """Returns the folder with the manifest: the version's own, or the one that its export is in.

    Args:
        folder: as for `verify_version`.
        within: as for `verify_version`.

    Raises:
        VersionError: it is a link to a folder elsewhere.
        OSError: it cannot be read.
    """
    real = folder.resolve(strict=True)
    allowed = within.resolve(strict=True)
    if allowed.name == GPU:
        allowed = allowed.parent
    if not real.is_relative_to(allowed):
        raise VersionError(
            f"{folder}: expected a folder in {allowed}, found a link to {real}; copy it there."
        )

    has_own_manifest = (real / Manifest.FILE).exists()
    is_export = real.name == GPU and not has_own_manifest and (real.parent / Manifest.FILE).exists()
    return real.parent if is_export else real


def _list_entries(root: Path) -> list[Path]:
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
                f"{path}: expected files inside the version, found a link to {target}; replace the "
                "link with a copy of that file."
            )
        return

    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise VersionError(
            f"{path}: expected a file or a folder, found a pipe, a socket or a device."
        )


def _check_digests(folder: Path, root: Path, *, require_manifest: bool) -> str | None:
    manifest = _read_manifest(root)
    if manifest is None or not manifest.has_digests:
        found = f"no {Manifest.FILE}" if manifest is None else f"a {Manifest.FILE} without digests"
        if require_manifest:
            raise VersionError(
                f"{folder}: expected a {Manifest.FILE} with the digests of what was pushed, found "
                f"{found}."
            )
        return f"{folder}: found {found}, so the files cannot be checked against what was pushed."

    changed = difference(root, manifest)
    if changed:
        raise VersionError(
            f"{folder}: expected the files that were pushed, found others ({changed}). Push the "
            "model again, or copy the version again from its source."
        )
    return None


def _read_manifest(root: Path) -> Manifest | None:
    if not (root / Manifest.FILE).exists():
        return None
    try:
        return Manifest.read(root)
    except ContractError as error:
        raise VersionError(str(error)) from error


def _is_paper(name: str) -> bool:
    return name.startswith(f"{RELEASE}/")


def _list_names(names: Collection[str]) -> str:
    shown = [shorten(name, _LONGEST_NAME) for name in sorted(names)[:_SHOWN]]
    if len(names) > _SHOWN:
        shown.append(f"and {len(names) - _SHOWN} more")
    return ", ".join(shown)
