"""Rows, charts and sentences about decisions: the point, how it went, and how early it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from components.config.metrics import Metric, describe_metric
from components.report.cell_charts import bar
from components.report.charts import Series, line_chart
from components.report.formats import count, days_ahead, exact, number, percent
from components.report.quality import slice_name, slices_by_column

if TYPE_CHECKING:
    from collections.abc import Callable

    from components.contracts.decision_results import (
        DecisionMetrics,
        DecisionResults,
        EarlyWarningResults,
        Interval,
        WarningDay,
    )
    from components.contracts.evaluation import Evaluation

SHARES = ("recall", "precision", "alarm_rate")
_CASES = {"recall": "of_class", "precision": "named"}  # what a metric is a mean over
MEASURED, PROMISED = 1, 2  # styles of the lines and dots of the two splits
RECALL, PRECISION = 3, 4  # styles of two lines over thresholds or days
DOT = 5.0  # pixels: radius of the chosen point

Tone = Literal["good", "bad", ""]


@dataclass(frozen=True)
class MetricOfDecision:
    """A metric on the test split beside what the eval split promised.

    Attributes:
        words: of the metric.
        value: on the test split.
        interval: of it.
        bar: both; empty for costs, which have no common scale.
        promised: on the eval split.
        kept: whether it differs from the promise by more than chance, and to which side; empty
            where that is not known.
        tone: whether that is good or bad; empty where it is neither.
        note: a remark beside the numbers.
    """

    words: Metric
    value: float | None
    interval: Interval | None
    bar: Markup
    promised: float | None
    kept: str
    tone: Tone
    note: str = ""


@dataclass(frozen=True)
class SliceOfDecision:
    """A decision in one slice."""

    value: str
    metrics: DecisionMetrics


@dataclass(frozen=True)
class DayRow:
    """What is found by a day, as text: a share or a number of days, its interval, and counts."""

    day: str
    asked: str
    found: tuple[str, str, str]
    right: tuple[str, str, str]
    ahead: tuple[str, str]


@dataclass(frozen=True)
class EarlyWarningFacts:
    """How early a decision is right.

    Attributes:
        results: the numbers.
        rows: the same as text.
        chart: shares found and alarms right, by day.
        asked: how many learners were asked about in the end.
        missing_lead: why there are no lead times; empty where there are.
    """

    results: EarlyWarningResults
    rows: list[DayRow]
    chart: Markup
    asked: str
    missing_lead: str


@dataclass(frozen=True)
class DecisionFacts:
    """One decision.

    Attributes:
        results: its point and what was promised.
        measured: how it went on all test examples.
        point: when it is taken, and why then, in a sentence.
        metrics: rows of the table.
        charts: each with its caption.
        slices: by the name of the column.
        early: how early it is right; None where days are not known.
    """

    results: DecisionResults
    measured: DecisionMetrics
    point: str
    metrics: list[MetricOfDecision]
    charts: list[tuple[str, Markup]]
    slices: dict[str, list[SliceOfDecision]]
    early: EarlyWarningFacts | None


def decision_facts(evaluation: Evaluation) -> list[DecisionFacts]:
    """Returns what a report says about each decision; nothing for a model that takes none."""
    return [
        _facts(results, measured, evaluation)
        for results in evaluation.decisions
        if (measured := evaluation.overall.decisions.get(results.name))
    ]


def _facts(
    results: DecisionResults, measured: DecisionMetrics, evaluation: Evaluation
) -> DecisionFacts:
    names = [*SHARES, *(["cost"] if results.cost else [])]
    early = results.early_warning
    slices = {
        " × ".join(columns): [
            SliceOfDecision(slice_name(item, columns), item.decisions[results.name])
            for item in items
            if results.name in item.decisions
        ]
        for columns, items in slices_by_column(evaluation).items()
    }
    return DecisionFacts(
        results=results,
        measured=measured,
        point=point_sentence(results),
        metrics=[_metric(name, measured, results.promised) for name in names],
        charts=_charts(results, measured),
        slices={column: rows for column, rows in slices.items() if rows},
        early=_early(early) if early and early.days else None,
    )


def point_sentence(results: DecisionResults) -> str:
    """Returns when a decision is taken, and why then, in a sentence."""
    aim, cost = results.aim or 0.0, results.cost
    why = {
        "recall": f"the highest threshold that finds {exact(100 * aim)}% of the class",
        "precision": (
            f"the threshold that finds most while {exact(100 * aim)}% of the named are right"
        ),
        "capacity": f"the lowest threshold that names no more than {exact(aim)}% of all",
        "threshold": "a probability that the configuration gives",
    }.get(results.purpose, "")
    if cost is not None:
        why = "the threshold of least cost"
    where = "" if results.purpose == "threshold" else " on the eval split"
    if cost is not None:
        miss, alarm = exact(cost.miss), exact(cost.false_alarm)
        where += f", where a miss costs {miss} and a false alarm {alarm}"
    at = number(results.threshold)
    return (
        f"The decision is taken where the probability of {results.class_} is at least {at}: "
        f"{why}{where}."
    )


def _metric(
    name: str, measured: DecisionMetrics, promised: DecisionMetrics | None
) -> MetricOfDecision:
    words = describe_metric(name)
    value = getattr(measured, name)
    interval = measured.intervals.get(name)
    before = getattr(promised, name) if promised else None
    note = ""
    if name == "cost":
        everybody, nobody = number(measured.cost_of_all), number(measured.cost_of_none)
        note = f"naming everybody costs {everybody}, naming nobody {nobody}"
    kept, tone = _kept(name, measured, promised)
    return MetricOfDecision(
        words=words,
        value=value,
        interval=interval,
        bar=Markup("") if name == "cost" else bar(value, interval=interval, mark=before),
        promised=before,
        kept=kept,
        tone=tone,
        note=note,
    )


def _kept(
    name: str, measured: DecisionMetrics, promised: DecisionMetrics | None
) -> tuple[str, Tone]:
    """Returns whether the test split keeps what the eval split promised, but for chance.

    Chance moves both numbers. The eval split was drawn as the test split was, so its interval has
    the width of the other, times the square root of how many times fewer cases it has; and what
    chance does to a difference is the root of the sum of both squares. More alarms than promised
    are neither good nor bad: they are work.
    """
    value, expected = getattr(measured, name), getattr(promised, name, None)
    interval = measured.intervals.get(name)
    if promised is None or value is None or expected is None or interval is None:
        return "", ""

    low, high = interval
    cases = _CASES.get(name, "examples")
    ratio = getattr(measured, cases) / max(1, getattr(promised, cases))
    wider = math.sqrt(1 + ratio)
    if low == high:  # no draw knows of errors that the test split does not have
        return "", ""
    if value - wider * (value - low) <= expected <= value + wider * (high - value):
        return "within chance", ""

    text = "higher than promised" if value > expected else "lower than promised"
    if name == "alarm_rate":
        return text, ""
    is_better = (value > expected) == describe_metric(name).more_is_better
    return text, "good" if is_better else "bad"


def _charts(results: DecisionResults, measured: DecisionMetrics) -> list[tuple[str, Markup]]:
    curve = results.curve
    if curve is None:
        return []
    unit = (0.0, 1.0)
    lines = [Series("test split", curve.recall, curve.precision, MEASURED)]
    for name, found, style in (
        ("eval split", results.promised, PROMISED),
        ("test split", measured, MEASURED),
    ):
        if found is not None and found.recall is not None and found.precision is not None:
            lines.append(Series(name, [found.recall], [found.precision], style, [DOT]))
    precision_recall = line_chart(
        lines,
        title=f"Precision against recall of decision {results.name}",
        x_label="recall",
        y_label="precision",
        x_domain=unit,
        y_domain=unit,
    )
    caption = "Precision against recall on the test split, with the chosen point on both splits"
    return [(caption, precision_recall), _over_thresholds(results, measured)]


def _over_thresholds(results: DecisionResults, measured: DecisionMetrics) -> tuple[str, Markup]:
    """Returns the cost at every threshold, or recall and precision for a decision without costs."""
    curve, unit = results.curve, (0.0, 1.0)
    assert curve is not None
    if results.cost is None:
        chart = line_chart(
            [
                Series("recall", curve.threshold, curve.recall, RECALL),
                Series("precision", curve.threshold, curve.precision, PRECISION),
            ],
            title=f"Recall and precision of decision {results.name} at every threshold",
            x_label="threshold",
            y_label="share",
            x_domain=unit,
            y_domain=unit,
            mark=results.threshold,
        )
        return "Recall and precision at every threshold; the chosen one is dashed", chart

    flat = [("everybody named", measured.cost_of_all), ("nobody named", measured.cost_of_none)]
    lines = [Series(name, unit, [cost, cost], 0) for name, cost in flat]
    lines.append(Series("cost", curve.threshold, curve.cost, MEASURED))
    if measured.cost is not None:
        lines.append(Series("chosen", [results.threshold], [measured.cost], MEASURED, [DOT]))
    chart = line_chart(
        lines,
        title=f"Cost of decision {results.name} at every threshold",
        x_label="threshold",
        y_label="cost per outcome",
        x_domain=unit,
        mark=results.threshold,
    )
    caption = (
        "Cost per outcome at every threshold; the chosen one is dashed, the faint lines are what "
        "naming everybody and naming nobody cost"
    )
    return caption, chart


def _early(results: EarlyWarningResults) -> EarlyWarningFacts:
    days = [day.day for day in results.days]
    lines = [
        Series(
            name,
            days,
            [getattr(day, name) for day in results.days],
            style,
            [3.0] * len(days),
            [day.intervals.get(name) for day in results.days],
        )
        for name, style in (("recall", RECALL), ("precision", PRECISION))
    ]
    chart = line_chart(
        lines,
        title="What is found by each day, and how many alarms are right",
        x_label="day" if results.by else "days from the first event",
        y_label="share",
        x_domain=(0.0, max(days) or 1.0),
        y_domain=(0.0, 1.0),
    )
    rows = [_day_row(day) for day in results.days]
    last = results.days[-1]
    asked = f"{count(last.learners)} learners and units, {count(last.of_class)} of the class"
    missing = (
        ""
        if results.has_lead
        else (
            "How many days ahead a warning comes is left out: evaluation.early_warning.outcome_day "
            "does not say when outcomes are known."
        )
    )
    return EarlyWarningFacts(results, rows, chart, asked, missing)


def _day_row(day: WarningDay) -> DayRow:
    def reach(name: str, text: Callable[[float], str]) -> str:
        return " to ".join(map(text, day.intervals.get(name, ())))

    return DayRow(
        day=f"Day {day.day:g}",
        asked=count(day.learners),
        found=(
            percent(day.recall),
            reach("recall", percent),
            f"{count(day.right)} of {count(day.of_class)}",
        ),
        right=(
            percent(day.precision),
            reach("precision", percent),
            f"{count(day.right)} of {count(day.named)}",
        ),
        ahead=(days_ahead(day.lead_days), reach("lead_days", days_ahead)),
    )
