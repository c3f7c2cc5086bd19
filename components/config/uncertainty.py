"""How sure answers are said to be, and how they are explained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.config.section import Section


class Uncertainty(Section):
    """Sets of classes that hold the true one as often as promised; intervals in a regression."""

    coverage: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="share of outcomes whose class is to be in the answered set, in every class "
        "and group; thresholds are fitted on the eval split",
    )
    min_examples: int = Field(
        100,
        ge=1,
        description="eval examples of a class that a group of `prior.group_by` needs for a "
        "threshold of its own; the others share that of a wider group",
    )
    familiar: float = Field(
        0.999,
        ge=0.9,
        lt=1,
        description="share of the eval examples that each check of what is familiar accepts; "
        "beyond it and some slack, a learner is unlike any that the model knows",
    )


class Explain(Section):
    """Reasons: how much each feature adds to an answer, by integrated gradients."""

    enabled: bool = Field(
        True, description="whether the served model has the signatures that explain its answers"
    )
    steps: int = Field(
        3,
        ge=1,
        le=256,
        description="points on the way from the group's average learner to the learner at which "
        "the gradient is taken at least; parts of the way that are not exact enough get more",
    )
    examples: int = Field(
        200,
        ge=0,
        le=100_000,
        description="test examples that the Evaluator explains for every class, to say which "
        "features matter and whether reasons hold; 0: none",
    )
    truth: Literal["none", "simulator"] = Field(
        "none",
        description="simulator: the log is that of `mastery simulate`, and reasons are compared "
        "with what it knows to have driven each answer",
    )
