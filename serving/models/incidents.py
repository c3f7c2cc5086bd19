"""Incidents of a version: what happened, who said so and when, in the same log as all changes.

A serious incident is what the EU's AI Act calls so (Article 3(49)): one that leads to a person's
death or serious harm to health, to a serious and irreversible disruption of critical
infrastructure, to an infringement of obligations that protect fundamental rights (such as that to
education), or to serious harm to property or the environment. Its provider reports it to the
authority, as a rule within 15 days (Article 73).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from components.contracts.contract import Part
from components.contracts.serving_state import AuditEntry, ServedState, Severity
from components.errors import MasteryError
from serving.models.changes import RefusedError, change, read_entries

if TYPE_CHECKING:
    from serving.models.storage import Storage


class Incident(Part):
    """One incident.

    Attributes:
        version: the version that it is about.
        severity: "serious" or "other".
        text: what happened.
        who: user and machine that recorded it.
        time: when it was recorded, ISO 8601 in UTC.
        revision: of its entry in the audit log.
    """

    version: int
    severity: Severity
    text: str
    who: str
    time: str
    revision: int

    def describe(self) -> str:
        """Returns the incident in one line."""
        moment = self.time[:16].replace("T", " ")
        return f"{moment} UTC, {self.severity}, recorded by {self.who}: {self.text}"


def record_incident(
    storage: Storage, version: int, text: str, severity: Severity = "other"
) -> AuditEntry:
    """Adds an incident to the audit log; what is served stays as it is.

    Args:
        storage: the serving folder.
        version: the version's number; one that was removed since may have had incidents too.
        text: what happened.
        severity: how bad it is.

    Raises:
        RefusedError: there is no text; nothing was recorded.
        MasteryError: there is and was no such version, or the storage cannot be written to.
    """
    text = text.strip()
    if not text:
        raise RefusedError("incident: expected --text TEXT, found none. Nothing was recorded.")

    known = {*storage.versions()}
    for entry in read_entries(storage):
        known |= {*entry.removed, *entry.after.earlier}
    if version not in known:
        raise MasteryError(f"{storage.address}: expected a version, found no {version}.")

    def decide(state: ServedState, revision: int) -> AuditEntry:
        return AuditEntry(
            action="incident",
            revision=revision,
            before=state,
            after=state,
            version=version,
            reason=text,
            severity=severity,
        )

    recorded = change(storage, decide)
    assert recorded is not None  # `decide` always returns one
    return recorded


def incidents_of(storage: Storage, version: int) -> list[Incident]:
    """Returns the incidents of a version, oldest first.

    Raises:
        MasteryError: the log cannot be read.
    """
    return [item for item in incidents_in(read_entries(storage)) if item.version == version]


def incidents_in(entries: Iterable[AuditEntry]) -> list[Incident]:
    """Returns the incidents of all versions, in the order of the log's entries."""
    return [
        Incident(
            version=entry.version,
            severity=entry.severity or "other",
            text=entry.reason or "",
            who=entry.who,
            time=entry.time,
            revision=entry.revision,
        )
        for entry in entries
        if entry.action == "incident" and entry.version is not None
    ]
