"""The commands: promote, rollback, canary, prune. Each is one change with its entry in the audit log."""

from __future__ import annotations

from pathlib import PurePosixPath

from components.errors import MasteryError
from serving.models import state as states
from serving.models.audit import Action, Entry
from serving.models.changes import change, current_state
from serving.models.state import RefusedError, State
from serving.models.storage import Storage
from serving.models.versions import Version, check_version


def promote(
    storage: Storage,
    version: int,
    *,
    force: bool = False,
    reason: str | None = None,
    base_path: str | None = None,
) -> Entry | None:
    """Makes a version stable.

    Args:
        storage: the serving folder.
        version: its number.
        force: also when a gate failed, or the manifest is missing, or the files are not those that were pushed.
        reason: why; `force` wants one.
        base_path: where the server finds the versions; default: as before, at first the storage's address.

    Returns:
        The entry in the audit log; None when it is stable already.

    Raises:
        RefusedError: something speaks against the version; nothing was changed.
        MasteryError: there is no such version, or the storage cannot be written to.
    """
    checked = check_version(storage, version)

    def decide(state: State, revision: int) -> Entry | None:
        if state.stable == version and base_path in (None, state.base_path):
            return None
        forced = _check(checked, state, force, reason)
        before = _named(storage, state, checked, base_path)
        promoted = (
            before
            if state.stable == version
            else states.promote(before, version, _with(storage, state, version))
        )
        return _entry(
            "promote", revision, state, promoted, version=version, reason=reason, forced=forced
        )

    return change(storage, decide)


def roll_back(storage: Storage, reason: str | None = None) -> Entry:
    """Makes the version stable that was before.

    Raises:
        RefusedError: there is none; nothing was changed.
        MasteryError: the storage cannot be written to.
    """

    def decide(state: State, revision: int) -> Entry:
        back = states.roll_back(state, _available(storage, state))
        return _entry("rollback", revision, state, back, version=back.stable, reason=reason)

    return _made(change(storage, decide))


def start_canary(
    storage: Storage, version: int, share: int, *, force: bool = False, reason: str | None = None
) -> Entry | None:
    """Gives a version the label canary, and records its share of the requests in percent, 1 to 99.

    Returns:
        The entry in the audit log; None when it is so already.

    Raises:
        RefusedError: something speaks against the version, or there is no stable one; nothing was changed.
        MasteryError: there is no such version, or the storage cannot be written to.
    """
    checked = check_version(storage, version)

    def decide(state: State, revision: int) -> Entry | None:
        if (state.canary, state.share) == (version, share):
            return None
        forced = _check(checked, state, force, reason)
        after = states.start_canary(state, version, share, _with(storage, state, version))
        return _entry(
            "canary", revision, state, after, version=version, reason=reason, forced=forced
        )

    return change(storage, decide)


def stop_canary(storage: Storage, reason: str | None = None) -> Entry | None:
    """Takes the label canary away; returns None when there is no canary."""

    def decide(state: State, revision: int) -> Entry | None:
        if state.canary is None:
            return None
        after = states.stop_canary(state, _available(storage, state))
        return _entry("canary stop", revision, state, after, version=state.canary, reason=reason)

    return change(storage, decide)


def plan_prune(storage: Storage, keep: int) -> list[int]:
    """Returns the versions that `prune` would remove, oldest first."""
    state = current_state(storage)[0]
    return states.to_prune(state, storage.versions(), _available(storage, state), keep)


def prune(storage: Storage, keep: int, reason: str | None = None) -> list[int]:
    """Removes old versions; the log has them before the first is gone.

    Args:
        storage: the serving folder.
        keep: how many of the newest stay. What is served, was just now, is the target of a rollback or is newer than
            the stable version stays in any case.
        reason: why.

    Returns:
        The versions that are gone, oldest first.

    Raises:
        MasteryError: the storage cannot be written to; the next prune removes what is left.
    """

    def decide(state: State, revision: int) -> Entry | None:
        removed = states.to_prune(state, storage.versions(), _available(storage, state), keep)
        if not removed:
            return None
        after = state.model_copy(update={"removing": tuple(removed)})
        return _entry("prune", revision, state, after, reason=reason, removed=tuple(removed))

    entry = change(storage, decide)
    removed = list(entry.removed) if entry else []
    for version in removed:  # by now nobody promotes them any more
        storage.remove(version)
    return removed


def describe(entry: Entry | None) -> str:
    """Returns what is served after a change, for a person."""
    if entry is None:
        return "It is so already; nothing was changed."
    state = entry.after
    canary = (
        ""
        if state.canary is None
        else f"; canary {state.canary}, to get {state.share or 0} % of the requests"
    )
    lines = [f"stable {state.stable}{canary} (revision {entry.revision})"]
    return "\n".join([*lines, *(f"overruled: {problem}" for problem in entry.forced)])


def _check(version: Version, state: State, force: bool, reason: str | None) -> tuple[str, ...]:
    """Returns what speaks against a version where that is overruled.

    Raises:
        RefusedError: it is not overruled, or cannot be.
    """
    if not version.servable:
        raise RefusedError(
            f"version {version.number}: {version.problems[0]}, so no server can load it."
        )
    if version.number in state.removing:
        raise RefusedError(
            f"version {version.number}: a prune has set out to remove it; `mastery models log` says when."
        )
    if version.problems and not force:
        raise RefusedError(
            f"version {version.number} is not for serving: {'; '.join(version.problems)}. Nothing was changed. "
            "--force --reason TEXT overrules that, and is recorded."
        )
    if version.problems and not (reason or "").strip():
        raise RefusedError(
            f"version {version.number}: expected --reason TEXT with --force, found none."
        )
    return version.problems


def _available(storage: Storage, state: State) -> frozenset[int]:
    """Returns what a server can load, now and after a prune that may still be at work."""
    return storage.servable() - set(state.removing)


def _with(storage: Storage, state: State, version: int) -> frozenset[int]:
    """Returns the same, which a version has to be among: it may have gone since it was checked."""
    found = _available(storage, state)
    if version not in found:
        raise MasteryError(
            f"{storage.address}: expected version {version} to be still there, found it removed just now."
        )
    return found


def _named(storage: Storage, state: State, version: Version, base_path: str | None) -> State:
    """Returns the state with the model's name and place, which the first promotion decides on."""
    folder = PurePosixPath(storage.address)
    fallback = folder.parent.name if folder.name == "serving" else folder.name
    name = state.name or str(version.manifest.get("name") or fallback)
    return state.model_copy(
        update={"name": name, "base_path": base_path or state.base_path or storage.address}
    )


def _entry(action: Action, revision: int, before: State, after: State, **more: object) -> Entry:
    """Returns the entry of a change; a new one, so its time is the time of this try."""
    return Entry.model_validate(
        {"action": action, "revision": revision, "before": before, "after": after, **more}
    )


def _made(entry: Entry | None) -> Entry:
    assert entry is not None  # a rollback changes something or is refused
    return entry
