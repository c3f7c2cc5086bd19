"""Which version was in service at a moment, by the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from components.errors import MasteryError
from serving.models.changes import read_entries

if TYPE_CHECKING:
    from components.contracts.serving_state import AuditEntry
    from serving.models.storage import Storage


@dataclass(frozen=True)
class InService:
    """A version, and why it is the one that is asked.

    Attributes:
        version: its number.
        why: in words.
    """

    version: int
    why: str


def find_version(storage: Storage, moment: datetime) -> InService:
    """Returns the version that was stable at a moment.

    Raises:
        MasteryError: none was, by the log.
    """
    entries = read_entries(storage)
    before = [entry for entry in entries if datetime.fromisoformat(entry.time) <= moment]
    if not before or before[-1].after.stable is None:
        first = next((entry for entry in entries if entry.after.stable is not None), None)
        since = (
            f"the first version was stable from {first.time} on" if first else "nothing ever was"
        )
        raise MasteryError(
            f"{storage.address}: no version was stable at {moment.isoformat()} by the audit log "
            f"({since}); --version names one."
        )

    number = before[-1].after.stable
    since_entry = _since(before, number)
    why = f"stable since {since_entry.time[:19]}Z (revision {since_entry.revision})"
    canary = before[-1].after.canary
    return InService(number, f"{why}; {canary} was a canary then" if canary is not None else why)


def require_there(storage: Storage, number: int) -> None:
    """Refuses a version whose files are gone.

    Raises:
        MasteryError: they were pruned, or there never were any.
    """
    if number in storage.servable():
        return
    entries = read_entries(storage)
    pruned = next((entry for entry in reversed(entries) if number in entry.removed), None)
    if pruned is None:
        raise MasteryError(
            f"{storage.address}: expected version {number}, found no such version; "
            "`mastery models list` shows them."
        )
    raise MasteryError(
        f"{storage.address}: version {number} was pruned on {pruned.time[:10]} by {pruned.who} "
        f"(revision {pruned.revision}), so it can answer no more. With a copy of its folder, put "
        "that into another folder and name it by --models and --version."
    )


def _since(entries: list[AuditEntry], number: int) -> AuditEntry:
    """Returns the entry from which on a version was stable without a break, up to the last one."""
    since = entries[-1]
    for entry in reversed(entries):
        if entry.after.stable != number:
            break
        since = entry
    return since
