"""`assets.extra/calibration.json`: what was fitted on the eval split and is constant in the graph.

The served graph holds the same numbers; the file is for people, papers and checks.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from components.config.decisions import Purpose
from components.contracts.contract import Contract, Part
from components.contracts.decision_results import DecisionMetrics


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
        threshold: the lowest probability of the class at which it is taken; as a float32 it is the
            constant in the graph.
        purpose: by which key of the configuration it was chosen.
        aim: the value of that key; None for `cost`.
        note: why the point is not what was aimed at; None where it is.
        promised: what it does on the eval split.
    """

    name: str
    class_: str = Field(alias="class")
    threshold: float
    purpose: Purpose = "threshold"
    aim: float | None = None
    note: str | None = None
    promised: DecisionMetrics | None = None


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
