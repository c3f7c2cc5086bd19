"""`assets.extra/calibration.json`: what was fitted on the eval split and is constant in the graph.

The served graph holds the same numbers; the file is for people, papers and checks.
"""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract, Part


class ConformalThresholds(Part):
    """The thresholds of prediction sets.

    Attributes:
        coverage: what is promised.
        groups: how many groups have thresholds of their own.
    """

    coverage: float
    groups: int = 1


class ChosenPoint(Part):
    """The point of a decision.

    Attributes:
        name: of the decision.
        class_: the class it is about.
        threshold: the lowest probability of the class at which it is taken.
    """

    name: str
    class_: str
    threshold: float


class Calibration(Contract):
    """What was fitted on the eval split.

    Attributes:
        examples: how many examples the split has.
        temperature: what the network's logits are divided by; None without.
        conformal: thresholds of prediction sets, or of intervals in a regression.
        decisions: points of decisions, in their configured order.
    """

    FILE: ClassVar[str] = "assets.extra/calibration.json"

    examples: int
    temperature: float | None = None
    conformal: ConformalThresholds | None = None
    decisions: list[ChosenPoint] = []
