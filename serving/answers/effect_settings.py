"""The section `effect` of `answers.yaml`: whom a lot holds out, to learn what calling does."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from components.config.section import Section
from components.effect.lots import whole_percents
from serving.answers.alerts.condition import parse_condition
from serving.answers.alerts.timing import parse_duration


def _checked_share(share: float) -> float:
    whole_percents(share)
    return share


def _checked_condition(text: str | None) -> str | None:
    if text is not None:
        parse_condition(text)
    return text


def _checked_duration(text: str | None) -> str | None:
    if text is not None and not parse_duration(text):
        raise ValueError(f"expected a time above 0, found {text!r}")
    return text


MaybeCondition = Annotated[str | None, AfterValidator(_checked_condition)]


class Effect(Section):
    """Whether somebody is held out by lot, who never is, and how the effect is reported."""

    hold_out: Annotated[float, AfterValidator(_checked_share)] = Field(
        0.0,
        description="share of those who would be named that is not, drawn by lot: whole percents "
        "up to 0.5; 0: nobody, and whoever is held out is named again at once",
    )
    who: MaybeCondition = Field(
        None,
        description="lots are also drawn about whoever fits this condition, for the worklist, e.g. "
        "`need >= 0.6`; default: only about those of whom a rule of `alerts` would tell",
    )
    exempt: MaybeCondition = Field(
        None,
        description="whoever fits this condition is never held out, e.g. "
        "`p(not_mastered) >= 0.95 or days_since_visit >= 21`; nor is whoever fits a rule with "
        "`must_tell`",
    )
    opt_out: str | None = Field(
        None,
        description="a list of learners who are never held out, as `mastery learner opt-out "
        "--list` writes it",
    )
    keep: Annotated[str, AfterValidator(_checked_duration)] = Field(
        "28d",
        description="how long a lot holds; whoever was held out is named for as long afterwards",
    )
    seed: str = Field(
        "mastery",
        min_length=1,
        max_length=200,
        description="key of the lots: whoever knows it could foresee them",
    )
    good: list[str] = Field(
        default_factory=list,
        description="classes that count as a good outcome; default: all but the lowest",
    )
    outcome_within: Annotated[str | None, AfterValidator(_checked_duration)] = Field(
        None,
        description="how long after the lot an outcome in the unit counts, the last one of several;"
        " default: as long as the lot holds",
    )
    smallest: float = Field(
        0.05,
        gt=0,
        description="the difference that is worth knowing of, for `how many more are needed`: as a "
        "share of learners, or in the label's numbers",
    )
    cost_per_action: dict[Literal["called", "helped"], Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="what one action costs, e.g. `{called: 12, helped: 40}`"
    )
    currency: str = Field("EUR", max_length=20, description="of the costs, as text")

    @property
    def share(self) -> Fraction:
        """The share that is held out."""
        return whole_percents(self.hold_out)

    @property
    def period(self) -> timedelta:
        """How long a lot holds."""
        return parse_duration(self.keep)

    @property
    def window(self) -> timedelta:
        """How long after the lot an outcome counts."""
        return parse_duration(self.outcome_within or self.keep)
