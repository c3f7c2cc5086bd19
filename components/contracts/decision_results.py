"""How decisions went on the test split, and how early they are right."""

from __future__ import annotations

from typing import Literal, Protocol, Self

from pydantic import ConfigDict, Field

from components.contracts.contract import Part

Interval = tuple[float, float]  # lower and upper end
Purpose = Literal["cost", "recall", "precision", "capacity", "threshold"]  # how a point is chosen


class Cost(Protocol):
    """What mistakes cost; `components.config.decisions.Cost` is one."""

    @property
    def miss(self) -> float:
        """Cost of a learner of the class who is not named."""

    @property
    def false_alarm(self) -> float:
        """Cost of another learner who is named."""


class RecordedCost(Part):
    """What mistakes were said to cost, as it is written down."""

    model_config = ConfigDict(from_attributes=True)

    miss: float
    false_alarm: float


class DecisionMetrics(Part):
    """How often a decision is taken, and how often that is right; undefined numbers are None.

    Attributes:
        examples: how many outcomes.
        of_class: how many of them are of the class.
        named: for how many the decision is taken.
        right: how many of those are of the class.
        recall: share of the class that is named.
        precision: share of the named that is of the class.
        alarm_rate: share of all outcomes that is named.
        cost: per outcome, in the unit of the configured costs; None without costs.
        cost_of_all: the cost of naming everybody.
        cost_of_none: the cost of naming nobody.
        intervals: by the name of a metric; empty where none were computed.
    """

    examples: int
    of_class: int
    named: int
    right: int
    recall: float | None = None
    precision: float | None = None
    alarm_rate: float | None = None
    cost: float | None = None
    cost_of_all: float | None = None
    cost_of_none: float | None = None
    intervals: dict[str, Interval] = {}

    @classmethod
    def of(cls, examples: int, of_class: int, named: int, right: int, cost: Cost | None) -> Self:
        """Returns the metrics of counts.

        >>> found = DecisionMetrics.of(10, 4, 5, 3, RecordedCost(miss=5, false_alarm=1))
        >>> found.recall, found.precision, found.alarm_rate, found.cost
        (0.75, 0.6, 0.5, 0.7)
        """
        costs = {}
        if cost is not None and examples:
            missed, wrong, others = of_class - right, named - right, examples - of_class
            costs = {
                "cost": (cost.miss * missed + cost.false_alarm * wrong) / examples,
                "cost_of_all": cost.false_alarm * others / examples,
                "cost_of_none": cost.miss * of_class / examples,
            }
        return cls(
            examples=examples,
            of_class=of_class,
            named=named,
            right=right,
            recall=right / of_class if of_class else None,
            precision=right / named if named else None,
            alarm_rate=named / examples if examples else None,
            **costs,
        )


class DecisionCurve(Part):
    """What every threshold would do, by falling threshold; the points are thinned for drawing.

    Attributes:
        threshold: the lowest probability that is named.
        recall: share of the class that is named then.
        precision: share of the named that is of the class.
        cost: per outcome; empty without costs.
    """

    threshold: list[float]
    recall: list[float]
    precision: list[float]
    cost: list[float] = []


class WarningDay(Part):
    """What a decision has found by one day, of the learners and units asked about by then.

    A learner counts as named from the first day on which the decision is taken.

    Attributes:
        day: counted as `by` of the early warning says.
        learners: learners and units that were asked about by then.
        of_class: how many of them are of the class.
        named: how many of them were named by then.
        right: how many of those are of the class.
        recall: share of the class that was named by then.
        precision: share of the named that is of the class.
        lead_days: mean days between the day on which a learner of the class was first named and the
            day on which the outcome is known; None where that day is not configured.
        intervals: of the last three, by name.
        on_day: the answers of this day alone.
        sentence: the same for people.
    """

    day: float
    learners: int
    of_class: int
    named: int
    right: int
    recall: float | None = None
    precision: float | None = None
    lead_days: float | None = None
    intervals: dict[str, Interval] = {}
    on_day: DecisionMetrics
    sentence: str = ""


class EarlyWarningResults(Part):
    """How early a decision is right.

    Attributes:
        by: the column that counts days; None for days from the first event that the model sees.
        days: what it has found by each day, in their order.
        has_lead: whether it is known when outcomes are.
        headline: the sentence of the first day by which it finds at least half of all that it
            finds by the last one.
        notes: what was left out, in sentences.
    """

    by: str | None = None
    days: list[WarningDay] = []
    has_lead: bool = False
    headline: str = ""
    notes: list[str] = []


class DecisionResults(Part):
    """One decision on all test examples; `Result.decisions` has its metrics, also by slice.

    Attributes:
        name: of the decision.
        class_: the class it is about.
        who: the learners of the class, in words.
        threshold: the probability at which it is taken.
        purpose: by which key the point was chosen.
        aim: the value of that key; None for `cost`.
        cost: what mistakes cost; None where the point was not chosen by cost.
        promised: how it does on the eval split, which the point was chosen on; None where the
            model does not say.
        note: why the point is not what was aimed at; None where it is.
        curve: what every threshold would do on the test split.
        early_warning: from day to day; None where days are not known.
    """

    name: str
    class_: str = Field(alias="class")
    who: str
    threshold: float
    purpose: Purpose
    aim: float | None = None
    cost: RecordedCost | None = None
    promised: DecisionMetrics | None = None
    note: str | None = None
    curve: DecisionCurve | None = None
    early_warning: EarlyWarningResults | None = None
