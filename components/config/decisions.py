"""Decisions: what is done about learners, and how the threshold for it is chosen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from components.config.section import KeyedError, Section

DecisionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Cost(Section):
    """What mistakes cost, in any unit: only their ratio matters."""

    miss: float = Field(gt=0, description="cost of a learner of the class who is not named")
    false_alarm: float = Field(gt=0, description="cost of another learner who is named")


class Decision(Section):
    """One decision about a class: it is taken where the class is probable enough.

    How probable is chosen on the eval split, by exactly one of the keys `cost`, `recall`,
    `precision`, `capacity` and `threshold`, and judged on the test split.
    """

    name: DecisionName = Field(description="its name: the model answers `decision_<name>`")
    class_: str = Field(alias="class", description="the class it is about")
    cost: Cost | None = Field(None, description="least cost of misses and false alarms")
    recall: float | None = Field(
        None, gt=0, le=1, description="highest threshold that finds this share of the class"
    )
    precision: float | None = Field(
        None, gt=0, le=1, description="lowest threshold at which this share of the named is right"
    )
    capacity: float | None = Field(
        None, gt=0, le=100, description="percent of all learners that can be cared for"
    )
    threshold: float | None = Field(None, gt=0, lt=1, description="a probability, not chosen")

    @model_validator(mode="after")
    def _has_one_purpose(self) -> Decision:
        names = ("cost", "recall", "precision", "capacity", "threshold")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise KeyedError("name", f"expected exactly one of {', '.join(names)}, found {found}")
        return self
