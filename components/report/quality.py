"""Rows and charts about how good the model is: metrics, classes, confusion, curves, slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from markupsafe import Markup

from components.config.metrics import Metric, describe_metric, foremost_metrics, main_metric_of
from components.contracts.evaluation import (
    MISSING,
    ClassMetrics,
    Evaluation,
    Interval,
    Result,
    SliceResult,
)
from components.report.cell_charts import bar
from components.report.charts import Series, line_chart, style_of
from components.report.formats import category

CLASS_BARS = ("precision", "recall", "f1")
FEW_EXAMPLES = 30  # a slice with fewer is marked
MOST_SLICES = 30  # rows of a table; the rest is in metrics.json
LARGE_SLICE = 500  # examples, from which on a calibration error is more than noise
FAR_OFF = 0.05  # calibration errors of large slices above it are marked
MOST_RECALLS = 4  # with more classes, recalls by slice would not fit a page


@dataclass(frozen=True)
class MetricRow:
    """A metric of the model, with its interval, beside the blessed model's."""

    words: Metric
    value: float | None
    baseline: float | None
    interval: Interval | None = None

    @property
    def change(self) -> float | None:
        """How much higher the model's value is."""
        if self.value is None or self.baseline is None:
            return None
        return self.value - self.baseline

    @property
    def direction(self) -> str:
        """`better`, `worse`, `same`, or nothing without a baseline."""
        if self.change is None:
            return ""
        if self.change == 0:
            return "same"
        return "better" if (self.change > 0) == self.words.more_is_better else "worse"


def metric_row(
    name: str,
    result: Result,
    before: Result | None,
    class_: str | None = None,
    decision: str | None = None,
) -> MetricRow:
    """Returns a metric of the model beside that of an earlier one.

    Args:
        name: the metric's name.
        result: the model's metrics.
        before: the earlier model's, or None.
        class_: the class the metric is taken for; None for all classes.
        decision: the decision it is taken for instead.
    """
    words = describe_metric(name)
    if decision is not None:
        words = replace(words, short=f"{words.short} of decision {decision}")
    elif class_ is not None:
        words = replace(words, short=f"{words.short} of {class_}")
    return MetricRow(
        words,
        value=result.value_of(name, class_, decision),
        baseline=before.value_of(name, class_, decision) if before else None,
        interval=result.interval_of(name, class_, decision),
    )


def metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Returns the overall metrics, in the Evaluator's order."""
    before = evaluation.baseline.overall if evaluation.baseline else None
    return [metric_row(name, evaluation.overall, before) for name in evaluation.overall.metrics]


def main_metric_row(evaluation: Evaluation) -> MetricRow:
    """Returns the one metric that models are ranked by."""
    before = evaluation.baseline.overall if evaluation.baseline else None
    return metric_row(main_metric_of(evaluation.task), evaluation.overall, before)


def comparison_rows(evaluation: Evaluation) -> list[MetricRow]:
    """Returns the rows that compare two models: the foremost metrics, and every class's recall."""
    if evaluation.baseline is None:
        return []
    result, before = evaluation.overall, evaluation.baseline.overall
    foremost = [metric_row(name, result, before) for name in foremost_metrics(evaluation.task)]
    recalls = [metric_row("recall", result, before, class_) for class_ in result.classes]
    return foremost + recalls


@dataclass(frozen=True)
class ClassRow:
    """Metrics of a class; `bars` show precision, recall and F1 with their intervals."""

    name: str
    metrics: ClassMetrics
    share: float | None
    bars: dict[str, Markup]


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """Returns the classes, in the configured order."""
    return [_class_row(evaluation.overall, name) for name in evaluation.classes]


def _class_row(result: Result, name: str) -> ClassRow:
    metrics = result.classes.get(name, ClassMetrics())
    bars = {
        metric: bar(getattr(metrics, metric), interval=metrics.intervals.get(metric))
        for metric in CLASS_BARS
    }
    share = metrics.support / result.examples if result.examples else None
    return ClassRow(name, metrics, share, bars)


@dataclass(frozen=True)
class ConfusionRow:
    """Examples of one true class by what was predicted; shares are of the row."""

    name: str
    cells: list[tuple[int, float]]
    total: int


def confusion_rows(evaluation: Evaluation) -> list[ConfusionRow]:
    """Returns the confusion matrix with row shares, in the configured order."""
    rows = []
    for name, counts in zip(evaluation.classes, evaluation.overall.confusion, strict=False):
        total = sum(counts)
        cells = [(cell, cell / max(1, total)) for cell in counts]
        rows.append(ConfusionRow(name, cells, total))
    return rows


@dataclass(frozen=True)
class CurveCharts:
    """Both curves of all classes, and their legend.

    Attributes:
        roc: the ROC curves.
        precision_recall: the precision-recall curves.
        legend: for each line its style, class, AUC, and the class's share of examples.
    """

    roc: Markup
    precision_recall: Markup
    legend: list[tuple[int, str, float | None, float]]


def curve_charts(evaluation: Evaluation) -> CurveCharts | None:
    """Returns ROC and precision-recall curves; None if no class has any."""
    result = evaluation.overall
    names = [name for name in evaluation.classes if name in result.curves]
    if not names:
        return None

    roc = [Series("a coin toss", (0, 1), (0, 1), 0)]
    precision_recall, legend = [], []
    for name in names:
        style = style_of(evaluation.classes.index(name))
        curves = result.curves[name]
        if curves.roc:
            roc.append(Series(name, curves.roc.fpr, curves.roc.tpr, style))
        if curves.pr:
            pairs = zip(curves.pr.recall, curves.pr.precision, strict=True)
            found = [(recall, precision) for recall, precision in pairs if recall > 0]
            recalls = [recall for recall, _ in found]
            precisions = [precision for _, precision in found]
            precision_recall.append(Series(name, recalls, precisions, style))

        metrics = result.classes.get(name, ClassMetrics())
        share = metrics.support / max(1, result.examples)
        legend.append((style, name, metrics.auc, share))

    return CurveCharts(
        roc=_unit_chart(roc, "ROC curves by class", "false positive rate", "true positive rate"),
        precision_recall=_unit_chart(
            precision_recall, "Precision-recall curves by class", "recall", "precision"
        ),
        legend=legend,
    )


def _unit_chart(lines: list[Series], title: str, x_label: str, y_label: str) -> Markup:
    unit = (0.0, 1.0)
    return line_chart(
        lines, title=title, x_label=x_label, y_label=y_label, x_domain=unit, y_domain=unit
    )


@dataclass(frozen=True)
class SliceRow:
    """Metrics of one slice; `bar` shows the first metric with its interval.

    `calibration` is the calibration error; None where it was not measured.
    """

    value: str
    examples: int
    metrics: list[float | None]
    recalls: list[float | None]
    bar: Markup
    interval: Interval | None
    calibration: float | None = None

    @property
    def few(self) -> bool:
        """Whether there are too few examples to say much."""
        return self.examples < FEW_EXAMPLES

    @property
    def is_off(self) -> bool:
        """Whether probabilities are far from what happens, on enough examples to say so."""
        return is_far_off(self.examples, self.calibration)


@dataclass(frozen=True)
class Gap:
    """How far the best and the worst slice lie apart in the first metric."""

    size: float
    best: SliceRow
    worst: SliceRow


@dataclass(frozen=True)
class SliceTable:
    """The slices of one column, in the Evaluator's order.

    Attributes:
        column: the name of the column, or of several.
        metrics: the metrics that have a column in the table.
        recalls: the classes whose recall has a column in the table.
        rows: the slices; the smallest are left out if there are many.
        left_out: how many are left out.
        gap: how far the slices lie apart; None with fewer than two large enough slices.
    """

    column: str
    metrics: list[Metric]
    recalls: list[str]
    rows: list[SliceRow]
    left_out: int
    gap: Gap | None

    @property
    def has_calibration(self) -> bool:
        """Whether the calibration error was measured in any slice."""
        return any(row.calibration is not None for row in self.rows)


def slice_tables(evaluation: Evaluation) -> list[SliceTable]:
    """Returns a table for every column (or combination of columns) that was sliced by."""
    return [
        _slice_table(evaluation, columns, slices)
        for columns, slices in slices_by_column(evaluation).items()
    ]


def is_far_off(examples: int, error: float | None) -> bool:
    """Returns whether a calibration error is large, on enough examples to say so."""
    return examples >= LARGE_SLICE and error is not None and error > FAR_OFF


def slices_by_column(evaluation: Evaluation) -> dict[tuple[str, ...], list[SliceResult]]:
    """Returns the slices by the column, or columns, that they are of, in the Evaluator's order."""
    groups: dict[tuple[str, ...], list[SliceResult]] = {}
    for item in evaluation.slices:
        groups.setdefault(tuple(item.slice), []).append(item)
    return groups


def slice_name(item: SliceResult, columns: Sequence[str]) -> str:
    """Returns the values of a slice, without the names of the columns."""
    return " × ".join(category(item.slice[column]) or MISSING for column in columns)


def _slice_table(
    evaluation: Evaluation, columns: tuple[str, ...], slices: list[SliceResult]
) -> SliceTable:
    names = foremost_metrics(evaluation.task)
    recalls = evaluation.classes if len(evaluation.classes) <= MOST_RECALLS else []
    overall = evaluation.overall.value_of(names[0])

    top = 1.0
    if evaluation.task == "regression":
        values = [overall, *(item.value_of(names[0]) for item in slices)]
        top = max((value for value in values if value is not None), default=1.0)

    rows = []
    for item in slices:
        metrics = [item.value_of(name) for name in names]
        interval = item.interval_of(names[0])
        row = SliceRow(
            value=slice_name(item, columns),
            examples=item.examples,
            metrics=metrics,
            recalls=[_recall(item, name) for name in recalls],
            bar=bar(metrics[0], domain=(0, top), interval=interval, mark=overall),
            interval=interval,
            calibration=item.value_of("ece"),
        )
        rows.append(row)

    return SliceTable(
        column=" × ".join(columns),
        metrics=[describe_metric(name) for name in names],
        recalls=recalls,
        rows=keep_largest(rows, MOST_SLICES),
        left_out=max(0, len(rows) - MOST_SLICES),
        gap=_find_gap(rows, describe_metric(names[0])),
    )


def _recall(item: SliceResult, name: str) -> float | None:
    found = item.classes.get(name, ClassMetrics())
    return found.recall if found.support else None  # recall is undefined without support


class _HasExamples(Protocol):
    @property
    def examples(self) -> int: ...


Row = TypeVar("Row", bound=_HasExamples)


def keep_largest(rows: Sequence[Row], most: int) -> list[Row]:
    """Returns the `most` rows with the most examples, in the order of `rows`."""
    by_size = sorted(range(len(rows)), key=lambda index: -rows[index].examples)
    return [rows[index] for index in sorted(by_size[:most])]


def _find_gap(rows: list[SliceRow], words: Metric) -> Gap | None:
    """Compares the slices with enough examples; None with fewer than two of them."""
    known = [(row.metrics[0], row) for row in rows if not row.few and row.metrics[0] is not None]
    if len(known) < 2:
        return None

    ordered = sorted(known, key=lambda item: item[0], reverse=words.more_is_better)
    (best, best_row), (worst, worst_row) = ordered[0], ordered[-1]
    return Gap(abs(best - worst), best_row, worst_row)
