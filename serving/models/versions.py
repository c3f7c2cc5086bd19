"""What is known of a version: its manifest, and what speaks against serving it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from components.errors import MasteryError
from components.model_version.digests import difference, has_digests
from components.model_version.folders import MANIFEST, SAVED_MODEL
from serving.models.storage import Storage


@dataclass(frozen=True)
class Version:
    """A version as its folder tells.

    Attributes:
        number: the name of the folder.
        servable: whether there is a `saved_model.pb`.
        manifest: the content of `manifest.json`; empty where there is none to be read.
        problems: what speaks against serving it, each a sentence's part.
    """

    number: int
    servable: bool
    manifest: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_version(storage: Storage, number: int, servable: bool) -> Version:
    """Returns what a version's manifest says, without reading the model."""
    missing = () if servable else (f"it is incomplete: there is no {SAVED_MODEL}",)
    manifest, problems = _read_manifest(storage, number)
    return Version(number, servable, manifest, (*missing, *problems))


def name_of(storage: Storage, number: int) -> str:
    """Returns the model's name in a version's manifest, "" where there is none."""
    return str(_read_manifest(storage, number)[0].get("name") or "")


def check_version(storage: Storage, number: int) -> Version:
    """Returns the same with what only a look at all files tells: whether they are those that were pushed.

    Raises:
        MasteryError: there is no such version.
    """
    numbers = storage.versions()
    if number not in numbers:
        there = ", ".join(map(str, numbers[-5:])) or "none"
        raise MasteryError(f"{storage.address}: expected a version {number}, found {there}.")
    version = read_version(storage, number, number in storage.servable())
    if not version.servable or not has_digests(version.manifest):
        return version
    try:
        with storage.local_copy(number) as folder:
            found = difference(folder, version.manifest)
        if found is None:
            return version
        changed = f"its files are not those that were pushed: {found}"
    except OSError as error:
        changed = f"its files cannot be read: {error.strerror} ({error.filename})"
    return Version(number, version.servable, version.manifest, (*version.problems, changed))


def _read_manifest(storage: Storage, number: int) -> tuple[dict[str, Any], list[str]]:
    content = storage.read(f"{number}/{MANIFEST}")
    if content is None and storage.folder_of(number) != str(number):
        content = storage.read(f"{storage.folder_of(number)}/{MANIFEST}")
    if content is None:
        return {}, [f"it has no {MANIFEST}: nobody knows whether it passed its gates"]
    try:
        manifest = json.loads(content)
        gates = [(bool(gate["passed"]), str(gate["text"])) for gate in manifest["gates"]]
    except (ValueError, KeyError, TypeError):
        return {}, [f"its {MANIFEST} cannot be read: nobody knows whether it passed its gates"]
    problems = [f"a gate failed: {text}" for passed, text in gates if not passed]
    if manifest.get("version") != number:
        problems.append(f"its {MANIFEST} is that of version {manifest.get('version')}")
    return manifest, problems
