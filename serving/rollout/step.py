"""One step of a rollout: reads the evidence, decides, and, if it is to, changes what is served.

    shadow -> canary -> stable      while the evidence speaks for the challenger
    shadow, canary -> rejected      once it speaks against it

A change is made by the functions that people's commands call, with their gates, signatures and
approvals; nothing is ever forced. The audit log has the figures as the reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from components.contracts.contract import Part
from serving.models import promotion
from serving.models.changes import RefusedError, current_state, read_entries
from serving.rollout.judgement import Judged, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.config.rollout import Evidence, Rollout
    from components.contracts.serving_state import ApprovalPolicy, AuditEntry
    from components.model_version.signature import Trust
    from serving.models.storage import Storage
    from serving.rollout.pairs import Asked, Pair

Stage = Literal["none", "shadow", "canary"]
Decision = Literal["nothing", "continue", "canary", "promote", "stop canary", "reject"]

# What the reason of an automatic change begins with; a version that was rejected is known by it.
AUTOMATIC = "rollout"
REJECTED = f"{AUTOMATIC}: rejected"

_WORDS: dict[Decision, str] = {
    "nothing": "nothing to decide",
    "continue": "go on: the evidence does not decide yet",
    "canary": "make it the canary",
    "promote": "make it stable",
    "stop canary": "stop the canary",
    "reject": "do not take it further",
}


@dataclass(frozen=True)
class Contest:
    """Who is compared with whom.

    Attributes:
        champion: the stable version.
        challenger: the canary; without one, the newest version that is newer than the champion.
        stage: where the challenger is.
    """

    champion: int
    challenger: int
    stage: Stage


class Step(Part):
    """What a step found and did.

    Attributes:
        stage: where the challenger was.
        champion: the version in service; None without one.
        challenger: the version that may replace it; None without one.
        decision: what is right to do.
        reason: why, in words, with the figures.
        evidence: what the decision is based on.
        changed: whether the change was made.
        refused: why the change could not be made, such as missing approvals.
        revision: of the audit log's entry.
    """

    stage: Stage
    champion: int | None = None
    challenger: int | None = None
    decision: Decision
    reason: str
    evidence: list[Judged] = []
    changed: bool = False
    refused: str | None = None
    revision: int | None = None

    @property
    def exit_code(self) -> int:
        """0 while all is well; 1 if the challenger loses or the change was refused."""
        is_bad = self.decision in ("stop canary", "reject") or self.refused is not None
        return 1 if is_bad else 0


def find_contest(storage: Storage) -> Contest | None:
    """Returns who is compared with whom; None where there is nobody to compare.

    Raises:
        MasteryError: the serving folder cannot be read.
    """
    state, _ = current_state(storage)
    if state.stable is None or state.out_of_service:
        return None
    if state.canary is not None:
        return Contest(state.stable, state.canary, "canary")
    newest = max(promotion.available_versions(storage, state), default=None)
    if newest is None or newest <= state.stable or newest in _tried(storage):
        return None
    return Contest(state.stable, newest, "shadow")


def _tried(storage: Storage) -> set[int]:
    """Returns the versions that were canary or stable before; only a person tries them again."""
    entries = read_entries(storage)
    found = {number for entry in entries for number in (entry.before.stable, entry.before.canary)}
    return {number for number in found if number is not None}


def decide(
    contest: Contest,
    pairs: Sequence[Pair],
    asked: Mapping[str, Asked],
    rollout: Rollout,
    *,
    now: datetime,
) -> Step:
    """Judges the challenger, and says what is right to do.

    Whatever stage it is in, it loses once the evidence of outcomes is against it.

    Args:
        contest: who is compared with whom.
        pairs: see `judge`.
        asked: see `judge`.
        rollout: the rules.
        now: the moment of the look.
    """
    needed: Evidence = rollout.to_stable if contest.stage == "canary" else rollout.to_canary
    kinds: list[Evidence] = ["outcomes", "agreement"]
    found = {kind: judge(pairs, asked, rollout, kind, now=now) for kind in kinds}
    deciding, outcomes = found[needed], found["outcomes"]

    decision: Decision = "continue"
    if "loses" in (deciding.finding, outcomes.finding):
        decision = "stop canary" if contest.stage == "canary" else "reject"
    elif deciding.finding == "wins":
        decision = "promote" if contest.stage == "canary" else "canary"
    said = outcomes if outcomes.finding == "loses" else deciding
    return Step(
        stage=contest.stage,
        champion=contest.champion,
        challenger=contest.challenger,
        decision=decision,
        reason=f"{said.describe()}; alpha {said.alpha:g} at any time",
        evidence=[*found.values()],
    )


def nothing_to_decide(storage: Storage) -> Step:
    """Returns the step where nobody is compared, with the reason.

    Raises:
        MasteryError: the serving folder cannot be read.
    """
    state, _ = current_state(storage)
    if state.out_of_service:
        reason = f"{state.out_of_service.describe(state.name)}"
    elif state.stable is None:
        reason = "no version is stable; `mastery models promote VERSION` first"
    else:
        reason = "no version is newer than the stable one, apart from those that were tried"
    return Step(stage="none", champion=state.stable, decision="nothing", reason=reason)


def take(
    storage: Storage,
    step: Step,
    rollout: Rollout,
    *,
    trust: Trust | None = None,
    policy: ApprovalPolicy | None = None,
) -> Step:
    """Makes the change that a step found right, as people's commands do, and returns the result.

    Args:
        storage: the serving folder.
        step: what was decided.
        rollout: the rules, with the canary's share.
        trust: see `promotion.promote`.
        policy: see `promotion.promote`.

    Raises:
        MasteryError: the storage cannot be written to.
    """
    version = step.challenger
    if version is None:
        return step
    reason = f"{AUTOMATIC}: {step.reason}"
    entry: AuditEntry | None = None
    try:
        _require_unchanged(storage, step)
        if step.decision == "canary":
            entry = promotion.start_canary(
                storage, version, rollout.share, reason=reason, trust=trust, policy=policy
            )
        elif step.decision == "promote":
            entry = promotion.promote(storage, version, reason=reason, trust=trust, policy=policy)
        elif step.decision == "stop canary":
            entry = promotion.stop_canary(storage, f"{REJECTED}: {step.reason}")
    except RefusedError as error:
        return step.model_copy(update={"refused": str(error)})
    if entry is None:
        return step
    return step.model_copy(update={"changed": True, "revision": entry.revision})


def _require_unchanged(storage: Storage, step: Step) -> None:
    """Refuses a change if others have changed what is served since the evidence was read.

    Raises:
        RefusedError: they have.
    """
    contest = find_contest(storage)
    if contest != Contest(step.champion or 0, step.challenger or 0, step.stage):
        raise RefusedError("what is served was changed meanwhile; the next step looks again.")


def describe_step(step: Step, *, automatic: bool, dry_run: bool) -> str:
    """Returns a step in words.

    Args:
        step: what was found and done.
        automatic: whether changes are made.
        dry_run: whether this one was not to be.
    """
    if step.challenger is None:
        return f"Nothing to decide: {step.reason}."
    lines = [f"{step.stage}: {step.challenger} against {step.champion}"]
    lines += [f"  {item.describe()}: {item.finding}" for item in step.evidence]
    action = _WORDS[step.decision]
    is_change = step.decision in ("canary", "promote", "stop canary")
    if step.refused is not None:
        lines.append(f"To do: {action}; refused: {step.refused}")
    elif step.changed:
        lines.append(f"Done: {action} (revision {step.revision})")
    elif is_change and (dry_run or not automatic):
        why = "--dry-run" if dry_run else "rollout.automatic is off"
        lines.append(f"To do: {action}; nothing was changed ({why})")
    else:
        lines.append(f"To do: {action}")
    return "\n".join(lines)


def as_json(step: Step) -> str:
    """Returns a step for programs."""
    return json.dumps(step.model_dump(mode="json"), indent=1)
