"""`assets.extra/calibration.json`: what was fitted on the eval split and is constant in the graph.

The served graph holds the same numbers; the file is for people, papers and checks.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from components.contracts.contract import Contract, Part
from components.contracts.decision_results import DecisionMetrics, Purpose


class ConformalCell(Part):
    """Examples that share a threshold: of one class, in one group.

    Attributes:
        basis: `sequence`, or `prior` for cold starts.
        class_: the class; "" in a regression.
        grouped_by: the columns whose values the group has in common; none for all examples.
        examples: how many the threshold was fitted to.
        threshold: the lowest probability of the class that puts it in the set, or minus the
            greatest distance of a number; None where there are too few examples for any.
    """

    basis: str
    class_: str = ""
    grouped_by: list[str] = []
    examples: int
    threshold: float | None = None


class ConformalThresholds(Part):
    """The thresholds of prediction sets.

    Attributes:
        coverage: what is promised.
        groups: how many groups have thresholds of their own.
        cells: what each threshold was fitted to.
    """

    coverage: float
    groups: int = 1
    cells: list[ConformalCell] = []


class Familiar(Part):
    """What examples are like that the model knows.

    Attributes:
        share: of the eval examples, how many each check is to accept.
        checked: the columns that are checked, and `sequence`.
        examples: how many eval examples the bounds were fitted to.
        distances: the greatest familiar distances of a sequence: the mean one, and the largest.
        called: share of the eval examples, by name, that the bounds call unfamiliar.
    """

    share: float
    checked: list[str]
    examples: int
    distances: list[float] = []
    called: dict[str, float] = {}


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
        familiar: bounds of what is familiar; None where there are too few examples for any.
        decisions: points of decisions, in their configured order.
    """

    FILE: ClassVar[str] = "assets.extra/calibration.json"

    examples: int
    temperature: float | None = None
    conformal: ConformalThresholds | None = None
    familiar: Familiar | None = None
    decisions: list[ChosenPoint] = []
