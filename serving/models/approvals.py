"""Approvals: who says that a version may be served, and whether that is enough.

Approvals are entries of the audit log, bound to the digest of the version's manifest, and with it
to that of every file. What is needed, `serving.models.approval_policy` says.

People are told apart by what stands before the @, ignoring case: `ann@laptop`, `Ann@github` and the
board's `ann@example.org` are one person. So nobody approves what they pushed themselves by another
way; two people of the same name count once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.command.escape import in_one_line
from components.contracts.contract import Part
from components.contracts.manifest import Manifest
from components.contracts.serving_state import (
    Approval,
    ApprovalPolicy,
    AuditEntry,
    Means,
    ServedState,
    whoami,
)
from components.errors import MasteryError
from serving.models.approval_policy import DEFAULT_ROLES, policy_for, policy_in
from serving.models.changes import RefusedError, change, read_entries

if TYPE_CHECKING:
    from serving.models.approval_signatures import PrivateKey
    from serving.models.listing import Version
    from serving.models.storage import Storage


@dataclass(frozen=True)
class Approver:
    """Somebody who approves, or does so no more.

    Attributes:
        name: a user's name on a machine, a user of the board, or the name of a key.
        means: how that is known.
        role: of a user of the board.
        key: that signs.
    """

    name: str
    means: Means
    role: str | None = None
    key: PrivateKey | None = None


class GivenApproval(Part):
    """An approval as lists show it.

    Attributes:
        by: who.
        means: how that is known.
        role: of a user of the board.
        time: when, ISO 8601 in UTC.
        reason: why.
        why_not: why it does not count; None if it does.
    """

    by: str
    means: Means
    role: str | None
    time: str
    reason: str | None
    why_not: str | None


class ApprovalStatus(Part):
    """Whether a version has the approvals that it needs.

    Attributes:
        needed: how many.
        given: those that were not revoked, the oldest first.
        pushed_by: who pushed it, as far as its manifest says.
        roles: roles of the board whose approvals count.
        accept: which approvals count.
    """

    needed: int
    given: list[GivenApproval]
    pushed_by: str | None
    roles: tuple[str, ...]
    accept: tuple[Means, ...]

    @property
    def counting(self) -> list[GivenApproval]:
        """Those that count."""
        return [item for item in self.given if item.why_not is None]

    @property
    def missing(self) -> str | None:
        """What is missing, as a part of a sentence; None if nothing is."""
        if len(self.counting) >= self.needed:
            return None
        text = "it needs an approval" if self.needed == 1 else f"it needs {self.needed} approvals"
        if self.pushed_by:
            text += f" by others than {self.pushed_by}, who pushed it"
        else:
            text += ", one more than usual, as its manifest does not say who pushed it"
        people = ", ".join(item.by for item in self.counting)
        text += f"; found {len(self.counting)}, by {people}" if people else "; found none"
        refused = [f"that by {item.by} does not count: {item.why_not}" for item in self.given
                   if item.why_not is not None]  # fmt: skip
        return "; ".join([text, *refused])


def status_of(
    storage: Storage,
    version: Version,
    entries: Sequence[AuditEntry],
    at_hand: ApprovalPolicy | None = None,
) -> ApprovalStatus:
    """Returns the approvals of a version, and whether they are enough.

    Args:
        storage: the serving folder.
        version: as its folder describes it.
        entries: of the whole audit log.
        at_hand: of the configuration that the caller has.
    """
    manifest = version.manifest
    policy = policy_for(manifest, entries, at_hand)
    pushed_by = manifest.pushed_by if manifest else None
    of_version = [entry for entry in entries if entry.approval and entry.version == version.number]
    given: list[GivenApproval] = []
    if of_version:
        digest = manifest_digest(storage, version.number)
        counted: set[str] = set()
        for entry in _latest(of_version):
            why_not = _why_not(entry, policy, pushed_by, digest, counted)
            given.append(_given(entry, why_not))
            if why_not is None:
                counted.add(person(given[-1].by))

    # Of several people, at most one can be the one who pushed it.
    extra = 1 if policy.needed and pushed_by is None else 0
    return ApprovalStatus(
        needed=policy.needed + extra,
        given=given,
        pushed_by=pushed_by,
        roles=policy.roles or DEFAULT_ROLES,
        accept=policy.accept,
    )


def status_after(storage: Storage, version: Version) -> ApprovalStatus:
    """Returns what `status_of` does, by the log as it is now."""
    return status_of(storage, version, read_entries(storage))


def approve(
    storage: Storage, version: Version, approver: Approver, reason: str, *, revoke: bool = False
) -> AuditEntry | None:
    """Records that somebody approves a version, or does so no more.

    Args:
        storage: the serving folder.
        version: as `check_version` found it.
        approver: who.
        reason: why.
        revoke: whether an earlier approval by the same person is taken back.

    Returns:
        The entry in the audit log; None if that is so already.

    Raises:
        RefusedError: the approval would not count; nothing was recorded.
        MasteryError: no reason is given, or the storage cannot be written to.
    """
    if not reason.strip():
        raise MasteryError("expected a reason (--reason TEXT), found none: it is recorded.")
    if not revoke:
        _require_known_files(version)

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        entries = read_entries(storage)
        status = status_of(storage, version, entries)
        own = [item for item in status.given if person(item.by) == person(approver.name)]
        if revoke and not own:
            raise RefusedError(
                f"version {version.number}: expected an approval by {approver.name} to revoke, "
                f"found those by {', '.join(item.by for item in status.given) or 'nobody'}."
            )
        if not revoke and any(item.why_not is None for item in own):
            return None

        entry = _entry(storage, version, approver, reason, state, revision, revoke=revoke)
        if not revoke:
            _require_that_it_counts(entry, status_of(storage, version, [*entries, entry]))
        return entry

    return change(storage, decide)


def require_approved(
    storage: Storage,
    version: Version,
    *,
    at_hand: ApprovalPolicy | None,
    overrule: bool,
    reason: str | None,
) -> tuple[tuple[str, ...], ApprovalPolicy | None]:
    """Refuses to serve a version that lacks approvals.

    Args:
        storage: the serving folder.
        version: as its folder describes it.
        at_hand: of the configuration that the caller has.
        overrule: serve it all the same.
        reason: why; `overrule` requires one.

    Returns:
        What was overruled, and the policy that the log is to have from now on, where it had none.

    Raises:
        RefusedError: approvals are missing.
    """
    entries = read_entries(storage)
    status = status_of(storage, version, entries, at_hand)
    policy = policy_for(version.manifest, entries, at_hand)
    new_policy = policy if policy.needed and policy_in(entries) is None else None
    missing = status.missing
    if missing is None:
        return (), new_policy

    number = version.number
    if not overrule:
        raise RefusedError(
            f"version {number} is not approved: {missing}. Nothing was changed. Another person "
            f"approves it with `mastery models approve {number} --reason TEXT`, or on the board. "
            "--without-approval --reason TEXT does without, and is recorded; --force is not enough."
        )
    if not (reason or "").strip():
        raise RefusedError(
            f"version {number}: expected --reason TEXT with --without-approval, found none."
        )
    return (f"without approval: {missing}",), new_policy


def describe_approvals(status: ApprovalStatus) -> list[str]:
    """Returns one line per approval."""
    known = {
        "account": "a user's name on a machine, no proof",
        "board": "logged in on the board",
        "signature": "signed",
    }
    lines = []
    for item in status.given:
        how = known[item.means] + (f" as {item.role}" if item.role else "")
        line = f"approved by {in_one_line(item.by)} ({how}) on {item.time[:10]}"
        line += f": {in_one_line(item.reason)}" if item.reason else ""
        lines.append(line + (f"; does not count: {item.why_not}" if item.why_not else ""))
    return lines


def person(name: str) -> str:
    """Returns what tells people apart.

    >>> person("Ann@laptop") == person("ann@github") == person("ann")
    True
    """
    return name.partition("@")[0].strip().casefold()


def manifest_digest(storage: Storage, number: int) -> str | None:
    """Returns the SHA-256 of a version's manifest; None where it has none."""
    content = storage.read(f"{storage.folder_of(number)}/{Manifest.FILE}")
    return None if content is None else hashlib.sha256(content).hexdigest()


def _require_known_files(version: Version) -> None:
    """Refuses to approve a version of which nobody knows whether it is the one that was pushed."""
    problem = version.altered
    if version.manifest is None or not version.manifest.has_digests:
        problem = f"it has no {Manifest.FILE} with the digests of its files"
    if problem is not None:
        raise RefusedError(
            f"version {version.number} cannot be approved: {problem}. Nothing was recorded."
        )


def _require_that_it_counts(entry: AuditEntry, status: ApprovalStatus) -> None:
    """Refuses an approval that would not count."""
    found = [
        item for item in status.given if (item.time, item.reason) == (entry.time, entry.reason)
    ]
    why_not = found[-1].why_not if found else "a revocation has a later time; check the clocks"
    if why_not is not None:
        by = entry.approval.by if entry.approval else ""
        raise RefusedError(
            f"version {entry.version}: an approval by {by} does not count: {why_not}. "
            "Nothing was recorded."
        )


def _entry(
    storage: Storage, version: Version, approver: Approver, reason: str, state: ServedState,
    revision: int, *, revoke: bool,
) -> AuditEntry:  # fmt: skip
    manifest = version.manifest
    entry = AuditEntry(
        action="revoke" if revoke else "approve",
        who=f"{approver.name} (board)" if approver.means == "board" else whoami(),
        revision=revision,
        before=state,
        after=state,
        version=version.number,
        reason=reason,
        approval=Approval(
            by=approver.name,
            means=approver.means,
            role=approver.role,
            model_sha256=(manifest.model_sha256 if manifest else None) or "",
            manifest_sha256=manifest_digest(storage, version.number) or "",
        ),
    )
    if approver.key is None or entry.approval is None:
        return entry

    from serving.models.approval_signatures import sign

    signed = entry.approval.model_copy(update={"signature": sign(approver.key, entry)})
    return entry.model_copy(update={"approval": signed})


def _latest(entries: Sequence[AuditEntry]) -> list[AuditEntry]:
    """Returns the approvals that were not revoked, at most one per person and means.

    A signed approval from before the person's revocation stays revoked, even if somebody adds it to
    the log once more.
    """
    given: dict[tuple[str, Means], AuditEntry] = {}
    revoked: dict[str, str] = {}
    for entry in entries:
        approval = entry.approval
        assert approval is not None, "the caller leaves out other entries"
        who = person(approval.by)
        if entry.action == "revoke":
            revoked[who] = max(entry.time, revoked.get(who, ""))
            for means in [means for name, means in given if name == who]:
                del given[who, means]
        elif entry.time > revoked.get(who, ""):
            given[who, approval.means] = entry
    return [*given.values()]


def _why_not(
    entry: AuditEntry,
    policy: ApprovalPolicy,
    pushed_by: str | None,
    digest: str | None,
    counted: set[str],
) -> str | None:
    """Returns why an approval does not count, as a part of a sentence; None if it does."""
    approval = entry.approval
    assert approval is not None, "the caller leaves out other entries"
    roles = policy.roles or DEFAULT_ROLES
    if approval.manifest_sha256 != digest:
        return "the version was changed since"
    if pushed_by is not None and person(approval.by) == person(pushed_by):
        return f"{pushed_by} pushed the version"
    if person(approval.by) in counted:
        return "the same person approved it before"
    if approval.means not in policy.accept:
        return f"approvals by {approval.means} are not accepted ({', '.join(policy.accept)})"
    if approval.means == "board" and approval.role not in roles:
        return f"the role {approval.role} is none of those that approve ({', '.join(roles)})"
    if approval.means != "signature":
        return None

    from serving.models.approval_signatures import is_signed

    public_key = policy.keys.get(approval.by)
    if public_key is None:
        return "approvals.keys does not list the key"
    return None if is_signed(entry, public_key) else "its signature is wrong"


def _given(entry: AuditEntry, why_not: str | None) -> GivenApproval:
    approval = entry.approval
    assert approval is not None, "the caller leaves out other entries"
    return GivenApproval(
        by=approval.by,
        means=approval.means,
        role=approval.role,
        time=entry.time,
        reason=entry.reason,
        why_not=why_not,
    )
