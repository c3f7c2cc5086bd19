"""What `mastery models list`, `show` and `log` tell, as data."""

from __future__ import annotations

from typing import Any

from components.command.escape import in_one_line
from components.errors import MasteryError
from components.model_version.folders import version_number
from serving.models.audit import read_entries
from serving.models.changes import current_state
from serving.models.state import CANARY, STABLE, State
from serving.models.storage import Storage
from serving.models.versions import Version, read_version

Json = dict[str, Any]


def list_versions(storage: Storage) -> Json:
    """Returns the model's name, a note when something is amiss, and all versions with metrics and lineage.

    The content: {"address", "model", "note", "versions": [{"version", "labels", "share", "loaded", "servable",
    "problems", "pushed_at", "run", "data", "code", "config_fingerprint", "baseline", "metrics", "gates"}]}, the oldest
    first. A label's version is there also when its files are gone.

    Raises:
        MasteryError: the storage cannot be read.
    """
    state, note = current_state(storage)
    there = storage.servable()
    numbers = sorted(
        {
            *storage.versions(),
            *(number for number in (state.stable, state.canary) if number is not None),
        }
    )
    versions = [
        _describe(read_version(storage, number, number in there), state, state.previous(there))
        for number in numbers
    ]
    return {
        "address": storage.address,
        "model": state.name or None,
        "note": note,
        "versions": versions,
    }


def list_log(storage: Storage, last: int | None = None) -> list[Json]:
    """Returns the entries of the audit log, or the last ones, oldest first."""
    return [entry.model_dump(mode="json") for entry in read_entries(storage, last)]


def describe_log(entries: list[Json]) -> str:
    """Returns a line for every entry, with a second one where somebody said why or was warned; the latest last."""
    lines = []
    for entry in entries:
        changes = [
            f"{label} {entry['before'][label] or '–'} → {entry['after'][label] or '–'}"
            for label in (STABLE, CANARY)
            if entry["before"][label] != entry["after"][label]
        ]
        if entry["action"] == "canary":
            changes.append(f"share {entry['after']['share']} %")
        if entry["removed"]:
            changes.append(f"removed {', '.join(map(str, entry['removed']))}")
        time = entry["time"][:19].replace("T", " ")
        what = f"{entry['action']}: {'; '.join(changes) or '–'}"
        lines.append(f"{entry['revision']:>4}  {time}  {in_one_line(entry['who'])}  {what}")
        lines += [f"      overruled: {in_one_line(problem)}" for problem in entry["forced"]]
        lines += [f"      reason: {in_one_line(entry['reason'])}"] if entry["reason"] else []
    return "\n".join(lines) or "Nothing has been changed yet."


def resolve(storage: Storage, name: str) -> int:
    """Returns the version that a number or one of stable, canary, previous names.

    Raises:
        MasteryError: there is no such version.
    """
    numbers = storage.versions()
    number = version_number(name)
    if number is None:
        state = current_state(storage)[0]
        labels = {
            "stable": state.stable,
            "canary": state.canary,
            "previous": state.previous(storage.servable()),
        }
        number = labels.get(name)
    if number not in numbers:
        there = ", ".join(map(str, numbers[-5:])) or "none"
        raise MasteryError(
            f"{storage.address}: expected a version {name} (a number, or stable, canary, previous), found {there}."
        )
    return number


def _describe(version: Version, state: State, previous: int | None) -> Json:
    number, manifest = version.number, version.manifest
    roles = {"stable": state.stable, "canary": state.canary, "previous": previous}
    lineage = ("pushed_at", "run", "data", "code", "config_fingerprint", "baseline", "model_sha256")
    return {
        "version": number,
        "labels": [role for role, holder in roles.items() if holder == number],
        "share": state.share if number == state.canary else None,
        "loaded": number in state.loaded,
        "servable": version.servable,
        "problems": list(version.problems),
        **{name: manifest.get(name) for name in lineage},
        "metrics": manifest.get("metrics") or {},
        "gates": manifest.get("gates") or [],
    }
