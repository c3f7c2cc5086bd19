"""Whether probabilities mean what they say: rows and the chart about calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from components.contracts.evaluation import (
    ClassMetrics,
    Evaluation,
    Interval,
    ReliabilityCurve,
    describe_slice,
)
from components.report.cell_charts import bar
from components.report.charts import Series, line_chart, style_of
from components.report.formats import number
from components.report.quality import FAR_OFF, is_far_off

ERROR = "ece"
DOT = 7.0  # pixels: radius of a dot that stands for all examples


@dataclass(frozen=True)
class CalibrationRow:
    """The calibration error of one class; `style` is that of its line, 0 without one."""

    name: str
    style: int
    error: float | None
    interval: Interval | None
    bar: Markup


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from what happens.

    Attributes:
        error: of the answers.
        interval: of it.
        rows: the classes, in the configured order.
        chart: what is said against what happens, a line per class; empty without bins.
        off: large slices that are far off, as text.
    """

    error: float | None
    interval: Interval | None
    rows: list[CalibrationRow]
    chart: Markup
    off: list[str]


def calibration(evaluation: Evaluation) -> Calibration | None:
    """Returns how far probabilities are from what happens; None where it was not measured."""
    result = evaluation.overall
    if ERROR not in result.metrics:
        return None

    curves = {name: curve.calibration for name, curve in result.curves.items() if curve.calibration}
    classes = [(name, result.classes.get(name, ClassMetrics())) for name in evaluation.classes]
    top = max([FAR_OFF, *(metrics.ece or 0.0 for _, metrics in classes)])
    rows = [
        CalibrationRow(
            name=name,
            style=style_of(index) if name in curves else 0,
            error=metrics.ece,
            interval=metrics.intervals.get(ERROR),
            bar=bar(metrics.ece, domain=(0, top), interval=metrics.intervals.get(ERROR)),
        )
        for index, (name, metrics) in enumerate(classes)
    ]

    return Calibration(
        error=result.value_of(ERROR),
        interval=result.interval_of(ERROR),
        rows=rows,
        chart=_reliability_chart(evaluation.classes, curves) if curves else Markup(""),
        off=_slices_far_off(evaluation),
    )


def _reliability_chart(classes: list[str], curves: dict[str, ReliabilityCurve]) -> Markup:
    lines = [Series("said = happened", (0, 1), (0, 1), 0)]
    for index, name in enumerate(classes):
        if name in curves:
            curve = curves[name]
            total = sum(curve.examples)
            sizes = [max(1.0, DOT * math.sqrt(count / total)) for count in curve.examples]
            lines.append(Series(name, curve.probability, curve.share, style_of(index), sizes))

    unit = (0.0, 1.0)
    return line_chart(
        lines,
        title="What the model says against what happens, by class",
        x_label="probability that is said",
        y_label="share that happens",
        x_domain=unit,
        y_domain=unit,
    )


def _slices_far_off(evaluation: Evaluation) -> list[str]:
    errors = [(item, item.value_of(ERROR)) for item in evaluation.slices]
    return [
        f"{describe_slice(item.slice)} ({number(error)})"
        for item, error in errors
        if is_far_off(item.examples, error)
    ]
