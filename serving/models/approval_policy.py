"""The policy: which approvals a version needs before it is served.

It is in the audit log. The first promotion of a version whose configuration asks for approvals
takes that over, and `mastery models policy` changes it. From then on a version cannot ask for less,
whatever configuration it was pushed with: the largest number counts, and roles, means and keys are
those of the log. Otherwise whoever pushes a version would decide who has to approve it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from components.contracts.serving_state import ApprovalPolicy, AuditEntry, ServedState
from components.errors import MasteryError
from serving.models.changes import change, read_entries

if TYPE_CHECKING:
    from components.config.approvals import Approvals
    from components.contracts.manifest import Manifest
    from serving.models.storage import Storage

DEFAULT_ROLES = ("admin",)


def as_policy(approvals: Approvals) -> ApprovalPolicy:
    """Returns the section of a configuration as the audit log has it."""
    return ApprovalPolicy.model_validate(approvals.model_dump())


def policy_in(entries: Sequence[AuditEntry]) -> ApprovalPolicy | None:
    """Returns the policy that is in force after these entries; None before the first one."""
    return next((entry.policy for entry in reversed(entries) if entry.policy is not None), None)


def policy_for(
    manifest: Manifest | None, entries: Sequence[AuditEntry], at_hand: ApprovalPolicy | None = None
) -> ApprovalPolicy:
    """Returns what a version needs: the most that the log, its manifest or the caller asks for.

    Args:
        manifest: the version's.
        entries: of the audit log.
        at_hand: of the configuration that the caller has.
    """
    in_force = policy_in(entries)
    own = _policy_of(manifest)
    chosen = in_force or max((own, at_hand or own), key=lambda policy: policy.needed)
    asked = [policy.needed for policy in (in_force, own, at_hand) if policy is not None]
    return chosen.model_copy(update={"needed": max(asked)})


def _policy_of(manifest: Manifest | None) -> ApprovalPolicy:
    section = (manifest.config or {}).get("approvals") if manifest else None
    try:
        return ApprovalPolicy.model_validate(section or {})
    except ValidationError:  # nobody knows what it asks for, so nothing is enough
        return ApprovalPolicy(needed=1, accept=())


def set_policy(storage: Storage, policy: ApprovalPolicy, reason: str) -> AuditEntry | None:
    """Writes a policy into the audit log; returns None if it is in force already.

    Raises:
        MasteryError: no reason is given, or the storage cannot be written to.
    """
    if not reason.strip():
        raise MasteryError("expected --reason TEXT, found none: it is recorded.")

    def decide(state: ServedState, revision: int) -> AuditEntry | None:
        if policy_in(read_entries(storage)) == policy:
            return None
        return AuditEntry(
            action="policy",
            revision=revision,
            before=state,
            after=state,
            reason=reason,
            policy=policy,
        )

    return change(storage, decide)
