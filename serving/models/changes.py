"""How a change is made: whole or not at all, and without losing another one made at the same time.

The audit log comes first: an entry holds what is to be served after it, and only one process can
take its number (under a lock in a folder; by a put-if-absent in an object store, where the other
process looks again and starts over). Then `models.config`, the same for servers with a GPU and,
last, `routing.json` are replaced, each in one step.

`routing.json` names the revision it shows. So a change that was cut off is noticed and finished by
the next one. A `models.config` that differs from the log although no change was cut off was edited
by hand. Servers follow the file, so the log takes it over.

Every entry holds the digest of the one before it (`components.contracts.audit_chain`). Only one
process can take a number, and it has read the entry before; so there is one chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.command.escape import shorten
from components.contracts.audit_chain import recorded_digest, seal
from components.contracts.contract import ContractError
from components.contracts.serving_state import AuditEntry, Routing, ServedState, find_stop
from components.errors import MasteryError
from serving.models.server_config import (
    GPU_MODELS_CONFIG,
    MODELS_CONFIG,
    for_gpu_servers,
    parse,
    read_state,
    render,
)

if TYPE_CHECKING:
    from serving.models.storage import Storage

TRIES = 20  # attempts; each failed one means that another process has made its change
SETTLING = 1.0  # seconds; without a lock, another process may be between two of its writes

_SHOWN = 80  # characters of an entry in an error

Decide = Callable[[ServedState, int], AuditEntry | None]


class RefusedError(MasteryError):
    """A change that must not be made; nothing was changed."""

    exit_code = 1


def read_entries(storage: Storage, last: int | None = None) -> list[AuditEntry]:
    """Returns the entries of the audit log, or the `last` ones, oldest first.

    Raises:
        MasteryError: an entry cannot be used.
    """
    return [_parse_entry(storage, content) for content in storage.entries(last)]


def last_entry(storage: Storage) -> AuditEntry | None:
    """Returns the newest entry, or None where nothing has been changed yet."""
    entries = read_entries(storage, last=1)
    return entries[0] if entries else None


def current_state(storage: Storage) -> tuple[ServedState, str | None]:
    """Returns what is served and what was before, and a note when files and log do not agree.

    Raises:
        MasteryError: `models.config` or the log cannot be read.
    """
    last = last_entry(storage)
    served = _read_served(storage, last)
    if last is None:
        return served or ServedState(), None
    if not _differs(served, last):
        return last.after, None
    if served is None:
        return last.after, f"{MODELS_CONFIG} is missing; the next change writes it again."
    if _names_what_is_stopped(served, last.after):
        note = f"{MODELS_CONFIG} names what was stopped; the next change takes it out again."
        return last.after, note

    if _published_revision(storage) < last.revision:
        note = (
            f"revision {last.revision} is not finished; unless a process is at work on it now, the "
            "next change finishes it."
        )
        return _take_over(last.before, served), note
    note = (
        f"{MODELS_CONFIG} was edited since revision {last.revision}; the next change takes over "
        "what it says."
    )
    return _take_over(last.after, served), note


def change(storage: Storage, decide: Decide) -> AuditEntry | None:
    """Makes one change.

    Args:
        storage: the serving folder.
        decide: takes what is served, and the revision that the change would have; returns the
            entry, or None if there is nothing to do. It may be called again, after a change that
            another process made.

    Returns:
        The entry as recorded, when `models.config` shows it.

    Raises:
        RefusedError: `decide` refuses; nothing was changed.
        MasteryError: the storage cannot be read or written to.
    """
    with storage.exclusive():
        for _ in range(TRIES):
            last = last_entry(storage)
            adoption = _settle(storage, last)
            if adoption is not None:
                last = _append(storage, adoption)
                if last is None:
                    continue
                _publish(storage, last)

            state = last.after if last else _read_served(storage, None) or ServedState()
            entry = decide(state, last.revision + 1 if last else 1)
            if entry is None:
                return None
            added = _append(storage, entry)
            if added is not None:
                _publish(storage, added)
                return added

    raise MasteryError(
        f"{storage.address}: other processes made {TRIES} changes while this one was attempted. "
        "Nothing was changed; `mastery models log` shows who is changing it."
    )


def _append(storage: Storage, entry: AuditEntry) -> AuditEntry | None:
    """Adds an entry to the log and its chain; returns it as added, None if its number is taken."""
    before = storage.entries(1)
    if before and recorded_digest(before[0]) is None:  # of a log from before there were digests
        before = storage.entries()
    sealed = seal(entry, before)
    return sealed if storage.append(sealed.revision, sealed.to_line()) else None


def _parse_entry(storage: Storage, content: bytes) -> AuditEntry:
    try:
        return AuditEntry.from_json(content)
    except ContractError as error:
        shown = shorten(content.decode(errors="replace"), _SHOWN)
        raise MasteryError(
            f"{storage.address}: the audit log has an entry that cannot be used, {shown!r}: {error}"
        ) from None


def _settle(storage: Storage, last: AuditEntry | None) -> AuditEntry | None:
    """Finishes a change that was cut off.

    Returns:
        An entry that takes over what was edited by hand, if `models.config` was.
    """
    if last is None:
        return None
    if _published_revision(storage) < last.revision:
        _publish(storage, last)
        return None

    served = _read_served(storage, last)
    if _differs(served, last) and not storage.locks:
        time.sleep(SETTLING)
        served = _read_served(storage, last)
    if not _differs(served, last):
        return None
    # A deleted file does not mean that less is to be served, and only `resume` ends a stop.
    if served is None or _names_what_is_stopped(served, last.after):
        _publish(storage, last)
        return None

    after = _take_over(last.after, served)
    return AuditEntry(
        revision=last.revision + 1,
        action="adopt",
        version=after.stable,
        before=last.after,
        after=after,
        reason=f"{MODELS_CONFIG} was edited by other means",
    )


def _publish(storage: Storage, entry: AuditEntry) -> None:
    """Writes the files that an entry stands for, and then those of entries added meanwhile.

    Without a lock a slower process may write after a quicker one. The process that writes last also
    reads the log last, so in the end the files show the newest entry.
    """
    while True:
        content = storage.read(MODELS_CONFIG)
        before = None if content is None else parse(content, storage.address)
        # While no version is stable, nothing has been decided: a file would unload what is served.
        if entry.after.stable is not None or entry.after.out_of_service:
            rendered = render(entry.after, before)
            storage.replace(MODELS_CONFIG, rendered)
            if storage.has_gpu_exports():
                storage.replace(GPU_MODELS_CONFIG, for_gpu_servers(rendered, entry.after))
        storage.replace(Routing.FILE, Routing.of(entry).to_json().encode())

        newest = last_entry(storage)
        if newest is None or newest.revision <= entry.revision:
            return
        entry = newest


def _published_revision(storage: Storage) -> int:
    """Returns the revision that the files show; 0 where it is unknown: they are then rewritten."""
    try:
        return Routing.from_json(storage.read(Routing.FILE) or b"").revision
    except ContractError:
        return 0


def _read_served(storage: Storage, last: AuditEntry | None) -> ServedState | None:
    """Returns what `models.config` says, or None where there is none."""
    content = storage.read(MODELS_CONFIG)
    if content is None:
        return None
    config = parse(content, storage.address)
    if last is None:
        return read_state(config, newest_name(storage))
    return read_state(config, last.after.name, last.after.base_path)


def newest_name(storage: Storage) -> str:
    """Returns the model's name in the newest version's manifest; "" where there is none."""
    versions = storage.versions()
    if not versions:
        return ""
    try:
        manifest = storage.read_manifest(versions[-1])
    except ContractError:
        return ""
    return (manifest.name if manifest else None) or ""


def _names_what_is_stopped(served: ServedState, recorded: ServedState) -> bool:
    named = {served.stable, served.canary, *served.loaded} - {None}
    if recorded.out_of_service and not named:  # the newest version, or all: nobody decided on that
        return True
    return any(find_stop(recorded.stopped, version) for version in named)


def _differs(served: ServedState | None, last: AuditEntry) -> bool:
    if served is None:
        return last.after.stable is not None or last.after.out_of_service is not None
    if served == ServedState():  # the model is not in the file
        return last.after.stable is not None
    if last.after.out_of_service:
        return True
    fields = {"stable", "canary", "loaded", "name", "base_path"}
    return served.model_dump(include=fields) != last.after.model_dump(include=fields)


def _take_over(recorded: ServedState, served: ServedState) -> ServedState:
    """Returns the state in an edited file, with the history in the log."""
    was_replaced = recorded.stable is not None and served.stable != recorded.stable
    earlier = (*recorded.earlier, recorded.stable) if was_replaced else recorded.earlier
    return served.model_copy(
        update={
            "name": served.name or recorded.name,
            "base_path": served.base_path or recorded.base_path,
            "share": recorded.share if served.canary == recorded.canary else None,
            "earlier": earlier,
            "removing": recorded.removing,
            "stopped": recorded.stopped,
        }
    )
