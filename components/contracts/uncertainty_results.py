"""How often prediction sets hold the true class, as measured on the test split."""

from __future__ import annotations

from components.contracts.contract import Part


class UncertaintyResults(Part):
    """Coverage against what was promised.

    Attributes:
        promised: the coverage that was asked for.
    """

    promised: float
