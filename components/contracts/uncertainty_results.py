"""How often prediction sets hold the true class, as measured on the test split."""

from __future__ import annotations

from typing import Literal

from components.contracts.contract import Part

Kind = Literal["all", "slice", "horizon", "basis"]


class MeasuredCoverage(Part):
    """How sure answers are for some examples, and how often rightly so.

    Attributes:
        kind: what the examples have in common: nothing, the values of columns, the days seen, or
            what answers rest on.
        where: the values, by column; `days` for a horizon, `basis` for a basis.
        class_: of their true class only; None for all, and in a regression.
        examples: how many there are.
        coverage: share of them whose truth is in the set, or in the interval.
        interval: of the coverage, from drawing learners with replacement; None where there are too
            few of them.
        set_size: mean number of classes in a set; None in a regression.
        not_sure: share of sets with so many classes that they say nothing.
        interval_width: mean width of an interval in a regression.
    """

    kind: Kind
    where: dict[str, str] = {}
    class_: str | None = None
    examples: int
    coverage: float | None = None
    interval: tuple[float, float] | None = None
    set_size: float | None = None
    not_sure: float | None = None
    interval_width: float | None = None


class UncertaintyResults(Part):
    """Coverage against what was promised.

    Attributes:
        promised: the coverage that was asked for.
        measured: on all examples, then by slice, by horizon and by basis; each time of all classes
            and of each.
        sizes: how many sets have one class, two, and so on; empty in a regression.
        unfamiliar: how many examples are unlike the eval split in what is named; None for a model
            that does not look.
        unfamiliar_examples: how many are so in anything.
    """

    promised: float
    measured: list[MeasuredCoverage] = []
    sizes: list[int] = []
    unfamiliar: dict[str, int] | None = None
    unfamiliar_examples: int = 0

    def of(self, kind: Kind) -> list[MeasuredCoverage]:
        """Returns what was measured of one kind."""
        return [item for item in self.measured if item.kind == kind]


def most_classes_said(classes: int) -> int:
    """Returns the size of the largest prediction set that says something: two thirds of all.

    >>> [most_classes_said(classes) for classes in (2, 3, 4, 5, 10)]
    [1, 2, 2, 3, 6]
    """
    return 2 * classes // 3
