"""Decisions: what is done about learners, and how the threshold for it is chosen."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field, StringConstraints, model_validator

from components.config.section import InputName, KeyedError, Section
from components.contracts.decision_results import Purpose

DecisionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class EarlyWarning(Section):
    """How early decisions are right: from day to day, for learners asked about several times."""

    by: InputName | None = Field(
        None,
        description="column of outcomes with the day on which the model is asked, such as "
        "`horizon_days`; default: days from the first event that the model sees to `as_of`, which "
        "needs `time_to_as_of` among the steps",
    )
    days: list[Annotated[float, Field(ge=0)]] = Field(
        default_factory=list,
        description="days to report, such as [3, 7, 14]: an answer counts for the first of them "
        "that is not before it; default: every day in the column, or else 3, 7, 14, 21, 30, 60 "
        "and 90",
    )
    outcome_day: float | InputName | None = Field(
        None,
        description="day on which the outcome is known, counted as `by` is, or a column of "
        "outcomes with it; without it nothing is said of how many days ahead a warning comes",
    )

    @model_validator(mode="after")
    def _days_rise(self) -> EarlyWarning:
        if self.days != sorted(set(self.days)):
            raise KeyedError("days", f"expected days that rise, found {self.days}")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of outcomes that it reads."""
        return [name for name in (self.by, self.outcome_day) if isinstance(name, str)]


class Cost(Section):
    """What mistakes cost, in any unit: only their ratio matters."""

    miss: float = Field(gt=0, description="cost of a learner of the class who is not named")
    false_alarm: float = Field(gt=0, description="cost of another learner who is named")


PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Decision(Section):
    """One decision about a class: it is taken where the class is probable enough.

    How probable is chosen on the eval split, by exactly one of the keys `cost`, `recall`,
    `precision`, `capacity` and `threshold`, and judged on the test split. Learners with equal
    probabilities are named together or not at all.
    """

    name: DecisionName = Field(description="its name: the model answers `decision_<name>`")
    class_: str = Field(alias="class", description="the class it is about")
    who: str | None = Field(
        None,
        min_length=1,
        description="the learners of the class in words, for sentences: `those who drop out`; "
        "default: the class's name",
    )
    cost: Cost | None = Field(None, description="least cost of misses and false alarms")
    recall: float | None = Field(
        None, gt=0, le=1, description="highest threshold that finds this share of the class"
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="finds as many as it can while this share of the named is right",
    )
    capacity: float | None = Field(
        None, gt=0, le=100, description="percent of all learners that can be cared for"
    )
    threshold: float | None = Field(None, gt=0, lt=1, description="a probability, not chosen")

    @model_validator(mode="after")
    def _has_one_purpose(self) -> Decision:
        given = [name for name in PURPOSES if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise KeyedError(
                "name", f"expected exactly one of {', '.join(PURPOSES)}, found {found}"
            )
        return self

    @property
    def purpose(self) -> Purpose:
        """By which key the point is chosen."""
        return next(name for name in PURPOSES if getattr(self, name) is not None)

    @property
    def aim(self) -> float | None:
        """The value of that key; None for `cost`, which has two."""
        return None if self.cost else getattr(self, self.purpose)
