"""The stop button: takes a version, or all of a model, out of service until it is resumed.

Who stops what servers answer with by default, the stable version, takes the model out of service:
that another version should answer in its place is a decision of its own (`promote`, `rollback`).
A canary, or the version that a rollback goes back to, can be stopped while the stable one answers.

TensorFlow Serving unloads a version that `models.config` no longer names, and knows no reason. The
embedded server reads the reason in `routing.json` and says it to callers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.contracts.contract import ContractError
from components.contracts.serving_state import (
    CANARY,
    STABLE,
    AuditEntry,
    Routing,
    ServedState,
    Stop,
    find_stop,
    whoami,
)
from components.errors import MasteryError
from serving.models.changes import RefusedError, change, current_state
from serving.models.promotion import (
    available_versions,
    make_stable_again,
    with_loaded,
    with_name,
)

if TYPE_CHECKING:
    from serving.models.storage import Storage


class StoppedError(MasteryError):
    """Somebody has stopped the model, and nobody has resumed it."""

    exit_code = 1


def stop(storage: Storage, version: int | None, reason: str) -> AuditEntry | None:
    """Takes a version out of service; servers follow at their next poll.

    Args:
        storage: the serving folder.
        version: its number; None for every version, also those that are pushed later.
        reason: why; shown to callers.

    Returns:
        The entry in the audit log; None when it is stopped already.

    Raises:
        RefusedError: there is no reason; nothing was changed.
        MasteryError: there is no such version, or the storage cannot be written to.
    """
    reason = reason.strip()
    if not reason:
        raise RefusedError("stop: expected --reason TEXT, found none. Nothing was changed.")
    if version is not None and version not in storage.versions():
        raise MasteryError(f"{storage.address}: expected a version, found no {version}.")

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        if any(found.version == version for found in state.stopped):
            return None
        made = _make_stop(storage, state, version, reason)
        return AuditEntry(
            action="stop",
            revision=revision,
            time=made.time,
            who=made.who,
            before=state,
            after=_after_stop(storage, with_name(storage, state, None, None), made),
            version=version,
            reason=reason,
        )

    return change(storage, decide)


def resume(storage: Storage, version: int | None, reason: str | None = None) -> AuditEntry:
    """Ends a stop; what was served before is served again, unless something else is by now.

    Args:
        storage: the serving folder.
        version: the number of the version that was stopped; None for everything that was.
        reason: why.

    Raises:
        RefusedError: it is not stopped, or what was served is gone; nothing was changed.
        MasteryError: the storage cannot be written to.
    """

    def decide(state: ServedState, revision: int) -> AuditEntry:
        ended = [found for found in state.stopped if version in (None, found.version)]
        if not ended:
            what = "the model" if version is None else f"version {version}"
            raise RefusedError(f"resume: expected {what} to be stopped, found that it is not.")
        return AuditEntry(
            action="resume",
            revision=revision,
            before=state,
            after=_after_resume(storage, state, ended),
            version=version,
            reason=reason,
        )

    entry = change(storage, decide)
    assert entry is not None  # `decide` changes something or refuses
    return entry


def require_in_service(storage: Storage, version: int | None = None) -> None:
    """Refuses to have answers made by what was stopped.

    Args:
        storage: the serving folder.
        version: the version that is to answer; None for whichever does.

    Raises:
        StoppedError: it was stopped; by whom, when and why.
        MasteryError: the storage cannot be read.
    """
    state, _ = current_state(storage)
    found = state.out_of_service if version is None else state.stop_of(version)
    if found is not None:
        raise StoppedError(
            f"{found.describe(state.name)}. Nothing was computed; `mastery models resume` ends "
            "the stop, `mastery models promote` chooses another version."
        )


def read_stop(storage: Storage, version: int) -> Stop | None:
    """Returns the stop that holds for a version, as `routing.json` shows it to readers.

    It is one small file, which pages may read for each request; None also where it is not there or
    cannot be used.
    """
    content = storage.read(Routing.FILE)
    try:
        routing = None if content is None else Routing.from_json(content)
    except ContractError:
        routing = None
    if routing is None:
        return None
    return routing.out_of_service or find_stop(routing.stopped, version)


def describe_stop(entry: AuditEntry | None) -> str:
    """Returns what is served after a stop or its end, for a person."""
    if entry is None:
        return "Nothing was changed: this is already stopped."
    state = entry.after
    found = state.out_of_service
    if found is not None:
        return (
            f"{state.name} is out of service (revision {entry.revision}): servers that poll answer "
            "no more with any version."
        )
    if entry.action == "stop":
        served = "nothing else changes" if state.stable is None else f"stable {state.stable} stays"
        return f"{entry.version} is stopped (revision {entry.revision}); {served}."
    served = "no version" if state.stable is None else f"stable {state.stable}"
    return f"{served} (revision {entry.revision})"


def _make_stop(storage: Storage, state: ServedState, version: int | None, reason: str) -> Stop:
    """Returns the stop that is recorded."""
    served = state.stable
    if served is None and state.out_of_service is None:
        # Nothing was promoted yet: servers answer with the newest version.
        served = max(available_versions(storage, state), default=None)
    elif served is None and state.out_of_service is not None:
        served = state.out_of_service.served

    labels = {state.stable: STABLE, state.canary: CANARY}
    is_whole = version is None or (version == served and state.out_of_service is None)
    return Stop(
        version=version,
        whole=is_whole,
        served=served if is_whole else None,
        label=None if version is None else labels.get(version),
        who=whoami(),
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        reason=reason,
    )


def _after_stop(storage: Storage, state: ServedState, made: Stop) -> ServedState:
    stopped = state.model_copy(update={"stopped": (*state.stopped, made)})
    if made.whole:
        before = () if state.stable is None else (state.stable,)
        nothing = {"stable": None, "canary": None, "share": None, "loaded": ()}
        return stopped.model_copy(update={**nothing, "earlier": (*state.earlier, *before)})

    if made.version == state.canary:
        stopped = stopped.model_copy(update={"canary": None, "share": None})
    if state.stable is None:
        return stopped
    return with_loaded(state, stopped, available_versions(storage, stopped))


def _after_resume(storage: Storage, state: ServedState, ended: list[Stop]) -> ServedState:
    remaining = tuple(found for found in state.stopped if found not in ended)
    after = state.model_copy(update={"stopped": remaining})
    whole = [found for found in ended if found.whole]
    if state.stable is not None or after.out_of_service is not None or not whole:
        return after

    served = whole[-1].served
    if served is None or after.stop_of(served) is not None:
        return after
    available = available_versions(storage, after)
    if served not in available:
        raise RefusedError(
            f"resume: expected version {served}, which was served before the stop, found it gone. "
            "Nothing was changed; stop it for good by `mastery models promote` of another version."
        )
    return make_stable_again(with_name(storage, after, None, None), served, available)
