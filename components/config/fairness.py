"""Fairness: between which learners the model is compared, and what is done about gaps."""

from __future__ import annotations

from pydantic import Field

from components.config.section import Section


class Fairness(Section):
    """Gaps between groups of learners, and what reduces them."""

    columns: list[list[str]] = Field(
        default_factory=list,
        description="columns whose values are compared, or lists of columns for their "
        "intersections; default: the protected ones among `evaluation.slices`",
    )
    min_examples: int = Field(
        50, ge=10, description="groups with fewer examples are named, but not compared"
    )
    reweigh: str | None = Field(
        None,
        description="a protected column: examples are weighted so that every class is as common in "
        "each of its groups",
    )
