"""Rows and charts about how good the model is: metrics, classes, confusion, curves."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from components.report.charts import Series, bar, line_chart, style_of
from components.report.inputs import ClassFacts, EvaluationFacts
from components.report.intervals import Interval, class_intervals
from components.report.wording import FOREMOST, MAIN_METRIC, MetricWords, metric_words

CLASS_BARS = ("precision", "recall", "f1")


@dataclass(frozen=True)
class MetricRow:
    """A metric of the model beside the blessed model's."""

    words: MetricWords
    value: float | None
    baseline: float | None

    @property
    def change(self) -> float | None:
        """How much higher the model's value is."""
        return None if self.value is None or self.baseline is None else self.value - self.baseline

    @property
    def direction(self) -> str:
        """`better`, `worse`, `same`, or nothing without a baseline."""
        if self.change is None:
            return ""
        if self.change == 0:
            return "same"
        return "better" if (self.change > 0) == self.words.more_is_better else "worse"


def metric_rows(evaluation: EvaluationFacts) -> list[MetricRow]:
    """Returns the overall metrics, in the evaluator's order."""
    return [_metric_row(evaluation, name) for name in evaluation.overall.metrics]


def main_metric(evaluation: EvaluationFacts) -> MetricRow:
    """Returns the metric that stands for the whole model: macro F1, or RMSE."""
    return _metric_row(evaluation, MAIN_METRIC[evaluation.task])


def comparison_rows(evaluation: EvaluationFacts) -> list[MetricRow]:
    """Returns what a change of model is judged by: the foremost metrics, and the recall of every class."""
    if evaluation.baseline is None:
        return []
    before, recall = evaluation.baseline.overall.classes, metric_words("recall")
    recalls = [
        MetricRow(
            replace(recall, name=f"recall of {name}"),
            metrics.recall,
            before.get(name, ClassFacts()).recall,
        )
        for name, metrics in evaluation.overall.classes.items()
    ]
    return [_metric_row(evaluation, name) for name in FOREMOST[evaluation.task]] + recalls


def _metric_row(evaluation: EvaluationFacts, name: str) -> MetricRow:
    before = evaluation.baseline.overall.metrics.get(name) if evaluation.baseline else None
    return MetricRow(metric_words(name), evaluation.overall.metrics.get(name), before)


@dataclass(frozen=True)
class ClassRow:
    """Metrics of a class; `bars` show precision, recall and F1 with their intervals."""

    name: str
    metrics: ClassFacts
    share: float | None
    intervals: dict[str, Interval | None]
    bars: dict[str, Markup]


def class_rows(evaluation: EvaluationFacts) -> list[ClassRow]:
    """Returns the classes, in the configured order."""
    result, rows = evaluation.overall, []
    for index, name in enumerate(evaluation.classes):
        metrics = result.classes.get(name, ClassFacts())
        intervals = (
            class_intervals(result.confusion, index)
            if result.confusion
            else dict.fromkeys(CLASS_BARS)
        )
        bars = {
            metric: bar(getattr(metrics, metric), interval=intervals[metric])
            for metric in CLASS_BARS
        }
        share = metrics.support / result.examples if result.examples else None
        rows.append(ClassRow(name, metrics, share, intervals, bars))
    return rows


@dataclass(frozen=True)
class ConfusionRow:
    """Examples of one true class by what was predicted; shares are of the row."""

    name: str
    cells: list[tuple[int, float]]
    total: int


def confusion_rows(evaluation: EvaluationFacts) -> list[ConfusionRow]:
    """Returns the confusion matrix with row shares, in the configured order."""
    return [
        ConfusionRow(name, [(cell, cell / max(1, sum(row))) for cell in row], sum(row))
        for name, row in zip(evaluation.classes, evaluation.overall.confusion, strict=False)
    ]


@dataclass(frozen=True)
class CurveCharts:
    """Both curves of all classes, and what each line is."""

    roc: Markup
    precision_recall: Markup
    legend: list[tuple[int, str, float | None, float]]  # style, class, AUC, share of the class


def curve_charts(evaluation: EvaluationFacts) -> CurveCharts | None:
    """Returns ROC and precision-recall curves; None where there are none."""
    curves = evaluation.overall.curves
    names = [name for name in evaluation.classes if name in curves]
    if not names:
        return None
    roc = [Series("a coin", (0, 1), (0, 1), 0)]
    precision_recall, legend = [], []
    for name in names:
        style = style_of(evaluation.classes.index(name))
        curve, metrics = curves[name], evaluation.overall.classes.get(name, ClassFacts())
        if curve.roc:
            roc.append(Series(name, curve.roc.fpr, curve.roc.tpr, style))
        if curve.pr:
            found = [
                (x, y) for x, y in zip(curve.pr.recall, curve.pr.precision, strict=True) if x > 0
            ]
            precision_recall.append(
                Series(name, [x for x, _ in found], [y for _, y in found], style)
            )
        legend.append(
            (style, name, metrics.auc, metrics.support / max(1, evaluation.overall.examples))
        )
    unit = (0.0, 1.0)
    return CurveCharts(
        roc=line_chart(
            roc,
            title="ROC curves by class",
            x_label="false positive rate",
            y_label="true positive rate",
            x_domain=unit,
            y_domain=unit,
        ),
        precision_recall=line_chart(
            precision_recall,
            title="Precision-recall curves by class",
            x_label="recall",
            y_label="precision",
            x_domain=unit,
            y_domain=unit,
        ),
        legend=legend,
    )
