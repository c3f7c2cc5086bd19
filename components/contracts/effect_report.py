"""`effect.json`: what calling changed, as `mastery effect --json` prints it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from components.contracts.contract import Contract, Part

# What can be said: nobody was held out, too few outcomes came in, the interval holds 0, or not.
Verdict = Literal["no_hold_out", "too_few", "unclear", "better", "worse"]


class EffectEstimate(Part):
    """A number and its 95% interval; learners are the unit of chance.

    Attributes:
        value: the number.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


class EffectArm(Part):
    """Those who were named, or those who were held out.

    Attributes:
        cases: learners whom the lot put here, each period counted.
        learners: different ones among them.
        with_outcome: cases with an outcome in time.
        waiting: cases without one whose time is not over.
        outcome: share of good outcomes, or mean; None without any.
        acted: share of cases in which somebody called or helped; None without cases.
    """

    cases: int = 0
    learners: int = 0
    with_outcome: int = 0
    waiting: int = 0
    outcome: float | None = None
    acted: float | None = None


class EffectByAction(Part):
    """Named learners by what was done first; nobody drew lots about that.

    Attributes:
        kind: `called`, `helped`, `not_applicable`, `wrong`; `none` for nothing.
        cases: with an outcome.
        outcome: share of good outcomes, or mean.
        probability: mean of what the model had said: the lowest class's, or the need.
    """

    kind: str
    cases: int
    outcome: float
    probability: float


class EffectByGroup(Part):
    """One group of learners.

    Attributes:
        group: its id; empty for learners without a group.
        name: as people call it.
        difference: named minus held out; None with too few learners.
    """

    group: str
    name: str
    named: EffectArm
    held_out: EffectArm
    difference: EffectEstimate | None = None


class EffectCost(Part):
    """What one more good outcome cost.

    Attributes:
        currency: of the amounts.
        per_named: what actions cost more per named learner than per learner held out.
        per_kept: that, divided by the difference in good outcomes; None unless the difference is
            above 0.
        at_least: with the upper end of the difference's interval; None if that is not above 0.
        at_most: with the lower end; None if that is not above 0: no amount is too high.
    """

    currency: str
    per_named: float
    per_kept: float | None = None
    at_least: float | None = None
    at_most: float | None = None


class EffectPower(Part):
    """How much a trial of this size can see.

    Attributes:
        smallest: the difference that is worth knowing of.
        visible: the difference that is found four times in five with the outcomes so far.
        cases_needed: outcomes that find `smallest` four times in five.
        more_cases: how many of them are still missing; 0 once the difference is clear.
    """

    smallest: float
    visible: float
    cases_needed: int
    more_cases: int


class EffectReport(Contract):
    """What calling changed.

    Attributes:
        made_at: when it was reported.
        since: the earliest draw that counts; None for all.
        name: of the configuration.
        is_share: whether outcomes are counted as good or not; otherwise their mean is taken.
        good: the classes that count as good.
        hold_out: the share that is held out now.
        verdict: what can be said.
        words: the report in sentences.
        named: those who were named.
        held_out: those who were not, by lot.
        strata: in which both arms have an outcome.
        difference: outcome of the named minus outcome of those held out, as the lot had it.
        of_calling: the same per learner who was called or helped because he or she was named.
        missing_differs: whether outcomes are missing in one arm more than in the other.
        actions: named learners by what was done.
        groups: the same comparison in each group.
        cost: None unless the settings have costs.
        power: None without a difference.
    """

    FILE: ClassVar[str] = "effect.json"

    made_at: AwareDatetime
    since: AwareDatetime | None = None
    name: str
    is_share: bool
    good: list[str] = []
    hold_out: float = Field(ge=0.0, le=0.5)
    verdict: Verdict
    words: list[str] = []
    named: EffectArm = EffectArm()
    held_out: EffectArm = EffectArm()
    strata: int = 0
    difference: EffectEstimate | None = None
    of_calling: EffectEstimate | None = None
    missing_differs: bool = False
    actions: list[EffectByAction] = []
    groups: list[EffectByGroup] = []
    cost: EffectCost | None = None
    power: EffectPower | None = None
