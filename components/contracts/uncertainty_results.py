"""How often prediction sets hold the true class, as measured on the test split."""

from __future__ import annotations

from components.contracts.contract import Part


class UncertaintyResults(Part):
    """Coverage against what was promised.

    Attributes:
        promised: the coverage that was asked for.
    """

    promised: float


def most_classes_said(classes: int) -> int:
    """Returns the size of the largest prediction set that says something: two thirds of all.

    >>> [most_classes_said(classes) for classes in (2, 3, 4, 5, 10)]
    [1, 2, 2, 3, 6]
    """
    return 2 * classes // 3
