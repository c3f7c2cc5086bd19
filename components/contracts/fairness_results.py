"""Gaps between groups of learners, as measured on the test split."""

from __future__ import annotations

from pydantic import Field

from components.config.fairness import GapMetric
from components.contracts.contract import Part


class GroupValue(Part):
    """A number of one group.

    Attributes:
        group: the columns' values, "" where there is none.
        examples: how many examples it is a mean or a share of.
        value: the number; None for a number of two groups, or where it is undefined.
        interval: of the number alone, not corrected.
    """

    group: dict[str, str]
    examples: int
    value: float | None = None
    interval: tuple[float, float] | None = None


class Gap(Part):
    """How far two groups lie apart.

    Attributes:
        between: the two groups, the one with the higher number first.
        size: the distance.
        interval: of the distance, corrected for all pairs that were compared: all intervals of the
            measure, over all columns, hold at once with the confidence.
    """

    between: list[dict[str, str]]
    size: float
    interval: tuple[float, float]

    @property
    def is_shown(self) -> bool:
        """Whether it is more than chance."""
        return self.interval[0] > 0


class MeasuredGaps(Part):
    """One measure, between the groups of one column or of an intersection.

    Attributes:
        columns: whose values make groups.
        metric: what is measured.
        class_: the class that it is taken for.
        decision: the decision that it is taken for.
        groups: the groups that were compared, with their numbers.
        pairs: how many pairs of groups were compared.
        gaps: the widest one, and all others that are shown, by falling lower end.
        before: the blessed model's widest gap; None without one.
        without: the widest gap of the model without remedies; None where none was fitted.
    """

    columns: list[str]
    metric: GapMetric
    class_: str | None = Field(None, alias="class")
    decision: str | None = None
    groups: list[GroupValue] = []
    pairs: int = 0
    gaps: list[Gap] = []
    before: float | None = None
    without: float | None = None

    @property
    def widest(self) -> Gap | None:
        """The gap with the largest size; None where nothing was compared."""
        return max(self.gaps, key=lambda gap: gap.size, default=None)


class SmallGroup(Part):
    """A group with too few examples to be compared."""

    group: dict[str, str]
    examples: int


class RemedyCost(Part):
    """What remedies change, beside the model without them on the same examples.

    Attributes:
        remedies: what was done, as in the configuration: `reweigh: gender`.
        metrics: of the model without remedies, by name.
        gains: of the model with remedies over it, by name: negative where they cost something.
        intervals: of the gains, from drawing learners.
    """

    remedies: list[str]
    metrics: dict[str, float | None] = {}
    gains: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}


class FairnessResults(Part):
    """Gaps by measure and column.

    Attributes:
        columns: the columns that were compared.
        min_examples: what a group needs.
        confidence: of the intervals; None where none were computed.
        measures: measure by measure, and for each the columns in their order.
        too_small: groups that were not compared at all.
        cost: of the remedies; None without any, or where it was not measured.
    """

    columns: list[list[str]] = []
    min_examples: int = 0
    confidence: float | None = None
    measures: list[MeasuredGaps] = []
    too_small: list[SmallGroup] = []
    cost: RemedyCost | None = None
