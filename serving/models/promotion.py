"""Changes what is served: promotions, rollbacks, canaries, and the removal of old versions.

Each change has an entry in the audit log. The state after a change is computed by a pure function,
without files.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from components.contracts.serving_state import ApprovalPolicy, AuditEntry, ServedState
from components.errors import MasteryError
from serving.models.approvals import require_approved
from serving.models.changes import RefusedError, change, current_state, newest_name
from serving.models.listing import Version, check_version

if TYPE_CHECKING:
    from components.model_version.signature import Trust
    from serving.models.storage import Storage

REMEMBERED = 50  # stable versions that rollbacks may go back through


def promote(
    storage: Storage,
    version: int,
    *,
    force: bool = False,
    reason: str | None = None,
    base_path: str | None = None,
    trust: Trust | None = None,
    without_approval: bool = False,
    policy: ApprovalPolicy | None = None,
) -> AuditEntry | None:
    """Makes a version stable.

    Args:
        storage: the serving folder.
        version: its number.
        force: also when a gate failed, the manifest is missing, or the files are not those that
            were pushed.
        reason: why; `force` and `without_approval` require one.
        base_path: where the server finds the versions; default: as before, at first the storage's
            address.
        trust: whose signature the version has to have; None where none is asked for.
        without_approval: also when approvals are missing, which `force` does not overrule.
        policy: the approvals that the caller's configuration asks for, besides those that the log
            and the version's own configuration do.

    Returns:
        The entry in the audit log; None when the version is stable already.

    Raises:
        RefusedError: there is a reason not to serve the version; nothing was changed.
        MasteryError: there is no such version, or the storage cannot be written to.
    """
    checked = check_version(storage, version, trust)

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        if state.stable == version and base_path in (None, state.base_path):
            return None

        forced = _require_servable(checked, state, force=force, reason=reason)
        unapproved, new_policy = require_approved(
            storage, checked, at_hand=policy, overrule=without_approval, reason=reason
        )
        after = with_name(storage, state, checked, base_path)
        if state.stable != version:
            after = _make_stable(after, version, _available_with(storage, state, version))
        return AuditEntry(
            action="promote",
            revision=revision,
            before=state,
            after=after,
            version=version,
            reason=reason,
            forced=(*forced, *unapproved),
            policy=new_policy,
        )

    return change(storage, decide)


def roll_back(storage: Storage, reason: str | None = None) -> AuditEntry:
    """Makes the version stable that was before; a second rollback goes one version further back.

    Raises:
        RefusedError: there is none; nothing was changed.
        MasteryError: the storage cannot be written to.
    """

    def decide(state: ServedState, revision: int) -> AuditEntry:
        after = _make_previous_stable(state, available_versions(storage, state))
        return AuditEntry(
            action="rollback",
            revision=revision,
            before=state,
            after=after,
            version=after.stable,
            reason=reason,
        )

    entry = change(storage, decide)
    assert entry is not None  # `decide` changes something or refuses
    return entry


def start_canary(
    storage: Storage,
    version: int,
    share: int,
    *,
    force: bool = False,
    reason: str | None = None,
    trust: Trust | None = None,
    without_approval: bool = False,
    policy: ApprovalPolicy | None = None,
) -> AuditEntry | None:
    """Gives a version the label canary, and records its share of the requests.

    Args:
        storage: the serving folder.
        version: its number.
        share: percent of the requests, 1 to 99.
        force: as for `promote`.
        reason: why; `force` and `without_approval` require one.
        trust: as for `promote`.
        without_approval: as for `promote`; a canary answers real learners.
        policy: as for `promote`.

    Returns:
        The entry in the audit log; None when nothing changes.

    Raises:
        RefusedError: there is a reason not to serve the version, or no version is stable; nothing
            was changed.
        MasteryError: there is no such version, or the storage cannot be written to.
    """
    checked = check_version(storage, version, trust)

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        if (state.canary, state.share) == (version, share):
            return None

        forced = _require_servable(checked, state, force=force, reason=reason)
        unapproved, new_policy = require_approved(
            storage, checked, at_hand=policy, overrule=without_approval, reason=reason
        )
        after = _give_canary(state, version, share, _available_with(storage, state, version))
        return AuditEntry(
            action="canary",
            revision=revision,
            before=state,
            after=after,
            version=version,
            reason=reason,
            forced=(*forced, *unapproved),
            policy=new_policy,
        )

    return change(storage, decide)


def stop_canary(storage: Storage, reason: str | None = None) -> AuditEntry | None:
    """Removes the label canary; returns None when there is no canary."""

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        if state.canary is None:
            return None
        return AuditEntry(
            action="canary stop",
            revision=revision,
            before=state,
            after=_without_canary(state, available_versions(storage, state)),
            version=state.canary,
            reason=reason,
        )

    return change(storage, decide)


def plan_prune(storage: Storage, keep: int) -> list[int]:
    """Returns the versions that `prune` would remove, oldest first."""
    state, _ = current_state(storage)
    return _to_prune(state, storage.versions(), available_versions(storage, state), keep)


def prune(storage: Storage, keep: int, reason: str | None = None) -> list[int]:
    """Removes old versions; the log records them before the first is removed.

    Args:
        storage: the serving folder.
        keep: how many of the newest stay. What is served, was served until now, is the target of a
            rollback or is newer than the stable version stays in any case.
        reason: why.

    Returns:
        The versions that were removed, oldest first.

    Raises:
        MasteryError: the storage cannot be written to; the next prune removes what is left.
    """

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        removed = tuple(
            _to_prune(state, storage.versions(), available_versions(storage, state), keep)
        )
        if not removed:
            return None
        return AuditEntry(
            action="prune",
            revision=revision,
            before=state,
            after=state.model_copy(update={"removing": removed}),
            reason=reason,
            removed=removed,
        )

    entry = change(storage, decide)
    removed = list(entry.removed) if entry else []
    for version in removed:  # the entry keeps others from promoting them
        storage.remove(version)
    return removed


def describe_change(entry: AuditEntry | None) -> str:
    """Returns what is served after a change, for a person."""
    if entry is None:
        return "Nothing was changed: this is already so."
    state = entry.after
    served = f"stable {state.stable or '–'}"
    if state.canary is not None:
        served += f"; canary {state.canary}, to get {state.share or 0} % of the requests"
    overruled = [f"overruled: {problem}" for problem in entry.forced]
    return "\n".join([f"{served} (revision {entry.revision})", *overruled])


def _require_servable(
    version: Version, state: ServedState, *, force: bool, reason: str | None
) -> tuple[str, ...]:
    """Returns the reasons not to serve a version, all of them overruled by `force`.

    Raises:
        RefusedError: there are reasons that `force` does not or cannot overrule.
    """
    number = version.number
    problems = version.problems
    if not version.servable:
        raise RefusedError(f"version {number}: {problems[0]}, so no server can load it.")
    if number in state.removing:
        raise RefusedError(
            f"version {number}: a prune has begun to remove it; see `mastery models log`."
        )
    stop = state.stop_of(number)
    if stop is not None:  # `--force` overrules what was found out, not what a person has decided
        raise RefusedError(
            f"version {number} cannot be served: {stop.describe(state.name)}. Nothing was changed; "
            f"`mastery models resume {'--all' if stop.version is None else number}` ends that."
        )

    if problems and not force:
        raise RefusedError(
            f"version {number} is not for serving: {'; '.join(problems)}. Nothing was changed. "
            "--force --reason TEXT overrules that, and is recorded."
        )
    if problems and not (reason or "").strip():
        raise RefusedError(f"version {number}: expected --reason TEXT with --force, found none.")
    return problems


def available_versions(storage: Storage, state: ServedState) -> frozenset[int]:
    """Returns the versions that a server can load, that no prune removes and nobody has stopped."""
    found = storage.servable() - set(state.removing)
    return frozenset(version for version in found if state.stop_of(version) is None)


def _available_with(storage: Storage, state: ServedState, version: int) -> frozenset[int]:
    """Returns what `_available` does, and checks that a version is among it.

    Raises:
        MasteryError: it was removed after it was checked.
    """
    found = available_versions(storage, state)
    if version not in found:
        raise MasteryError(
            f"{storage.address}: version {version} was removed just now. Nothing was changed."
        )
    return found


def with_name(
    storage: Storage, state: ServedState, version: Version | None, base_path: str | None
) -> ServedState:
    """Returns the state with the model's name and path, which the first change sets."""
    folder = PurePosixPath(storage.address)
    fallback = folder.parent.name if folder.name == "serving" else folder.name
    named = version.manifest.name if version and version.manifest else newest_name(storage)
    return state.model_copy(
        update={
            "name": state.name or named or fallback,
            "base_path": base_path or state.base_path or storage.address,
        }
    )


def _make_stable(state: ServedState, version: int, available: AbstractSet[int]) -> ServedState:
    """Makes a version stable; the one before becomes the target of a rollback."""
    before = () if state.stable is None else (state.stable,)
    after = state.model_copy(update={"stable": version, "earlier": (*state.earlier, *before)})
    return with_loaded(state, _end_canary_of(after, version), available)


def _make_previous_stable(state: ServedState, available: AbstractSet[int]) -> ServedState:
    """Makes the previous stable version stable again; each further call goes one version back.

    Raises:
        RefusedError: there is none.
    """
    target = state.previous(available)
    if target is None:
        raise RefusedError(
            "rollback: expected a version that was stable before and is still there, found none. "
            "`mastery models promote VERSION` makes any version stable; `mastery models list` "
            "shows them."
        )
    last = len(state.earlier) - 1 - state.earlier[::-1].index(target)
    after = state.model_copy(update={"stable": target, "earlier": state.earlier[:last]})
    return with_loaded(state, _end_canary_of(after, target), available)


def make_stable_again(state: ServedState, version: int, available: AbstractSet[int]) -> ServedState:
    """Makes the version stable that was until a stop."""
    earlier = state.earlier[:-1] if state.earlier[-1:] == (version,) else state.earlier
    after = state.model_copy(update={"stable": version, "earlier": earlier})
    return with_loaded(state, after, available)


def _give_canary(
    state: ServedState, version: int, share: int, available: AbstractSet[int]
) -> ServedState:
    """Gives a version the label canary and a share of the requests.

    Raises:
        RefusedError: there is no stable version for the other requests, or it is this one.
    """
    if state.stable is None:
        raise RefusedError(
            f"canary {version}: expected a stable version for the other requests, found none. "
            "`mastery models promote VERSION` first."
        )
    if version == state.stable:
        raise RefusedError(
            f"canary {version}: expected another version than the stable one, found the same."
        )
    after = state.model_copy(update={"canary": version, "share": share})
    return with_loaded(state, after, available)


def _without_canary(state: ServedState, available: AbstractSet[int]) -> ServedState:
    """Removes the label canary; the stable version gets all requests."""
    after = state.model_copy(update={"canary": None, "share": None})
    return with_loaded(state, after, available)


def _end_canary_of(state: ServedState, version: int) -> ServedState:
    """Removes the label canary from a version that has become stable."""
    if state.canary != version:
        return state
    return state.model_copy(update={"canary": None, "share": None})


def _to_prune(
    state: ServedState, versions: Sequence[int], available: AbstractSet[int], keep: int
) -> list[int]:
    """Returns the versions to remove, oldest first.

    These stay: the newest `keep`; those that are served, were until now, or were stopped; the
    target of a rollback; and those newer than the stable version, which nobody has decided on yet.
    Versions that an earlier prune has left are removed. Without a stable version the newest one
    stays, because a server without a `models.config` serves that.

    Args:
        state: what is served.
        versions: all versions, complete or not.
        available: those that can be served.
        keep: how many of the newest stay in any case.
    """
    stopped = {version for stop in state.stopped for version in (stop.version, stop.served)}
    protected = {state.stable, state.canary, state.previous(available), *state.loaded, *stopped}
    kept = max(keep, 1 if state.stable is None else 0)
    newest = set(sorted(versions, reverse=True)[:kept])
    undecided: set[int] = set()
    if state.stable is not None:
        undecided = {version for version in versions if version > state.stable}

    unfinished = set(state.removing) & set(versions)
    return sorted((set(versions) - newest - undecided | unfinished) - protected)


def with_loaded(
    before: ServedState, after: ServedState, available: AbstractSet[int]
) -> ServedState:
    """Adds the versions that the server is to load.

    They are the labelled ones, the target of a rollback, and those that had a label until now. A
    server takes the list of versions at once, but a label only when its version is loaded: if a
    version left the list in the same change that takes its label, requests to the label would fail
    in between.
    """
    # Labelled versions stay also where the files were removed: servers still have them in memory.
    labelled = {after.stable, after.canary}
    kept = {after.previous(available), before.stable, before.canary} & available
    loaded = tuple(sorted(version for version in labelled | kept if version is not None))
    return after.model_copy(update={"loaded": loaded, "earlier": after.earlier[-REMEMBERED:]})
