"""Rows about how the model does on parts of the test split."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from components.report.charts import bar
from components.report.formats import category
from components.report.inputs import ClassFacts, EvaluationFacts, SliceFacts
from components.report.intervals import Interval, macro_f1_interval
from components.report.wording import FOREMOST, MetricWords, metric_words

FEW_EXAMPLES = 30  # below this a slice says little
MOST_SLICES = 30  # rows a table; the rest is in metrics.json
MOST_RECALLS = 4  # with more classes, recalls by slice would not fit a page


@dataclass(frozen=True)
class SliceRow:
    """Metrics where one column (or several) has one value; `bar` shows the first metric with its interval."""

    value: str
    examples: int
    metrics: list[float | None]
    recalls: list[float | None]
    bar: Markup
    interval: Interval | None

    @property
    def few(self) -> bool:
        """Whether there are too few examples to say much."""
        return self.examples < FEW_EXAMPLES


@dataclass(frozen=True)
class Gap:
    """How far the best and the worst slice lie apart in the first metric."""

    size: float
    best: SliceRow
    worst: SliceRow


@dataclass(frozen=True)
class SliceTable:
    """The slices of one column, in the evaluator's order; the smallest are left out where there are many."""

    column: str
    metrics: list[MetricWords]
    recalls: list[str]
    rows: list[SliceRow]
    left_out: int
    gap: Gap | None


def slice_tables(evaluation: EvaluationFacts) -> list[SliceTable]:
    """Returns a table for every column (or combination of columns) that was sliced by."""
    groups: dict[tuple[str, ...], list[SliceFacts]] = {}
    for item in evaluation.slices:
        groups.setdefault(tuple(item.slice), []).append(item)
    return [_slice_table(evaluation, columns, slices) for columns, slices in groups.items()]


def _slice_table(
    evaluation: EvaluationFacts, columns: tuple[str, ...], slices: list[SliceFacts]
) -> SliceTable:
    names = FOREMOST[evaluation.task]
    recalls = evaluation.classes if len(evaluation.classes) <= MOST_RECALLS else []
    overall = evaluation.overall.metrics.get(names[0])
    values = [overall, *(item.metrics.get(names[0]) for item in slices)]
    top = (
        1.0
        if evaluation.task == "classification"
        else max((v for v in values if v is not None), default=1.0)
    )
    rows = []
    for item in slices:
        value, interval = (
            item.metrics.get(names[0]),
            macro_f1_interval(item.confusion) if item.confusion else None,
        )
        rows.append(
            SliceRow(
                value=" × ".join(category(item.slice[column]) or "(none)" for column in columns),
                examples=item.examples,
                metrics=[item.metrics.get(name) for name in names],
                recalls=[_recall(item, name) for name in recalls],
                bar=bar(value, domain=(0, top), interval=interval, mark=overall),
                interval=interval,
            )
        )
    return SliceTable(
        column=" × ".join(columns),
        metrics=[metric_words(name) for name in names],
        recalls=recalls,
        rows=_keep_largest(rows),
        left_out=max(0, len(rows) - MOST_SLICES),
        gap=_find_gap(rows, metric_words(names[0])),
    )


def _recall(item: SliceFacts, name: str) -> float | None:
    found = item.classes.get(name, ClassFacts())
    return found.recall if found.support else None  # recall is undefined without support


def _keep_largest(rows: list[SliceRow]) -> list[SliceRow]:
    kept = sorted(range(len(rows)), key=lambda index: -rows[index].examples)[:MOST_SLICES]
    return [rows[index] for index in sorted(kept)]


def _find_gap(rows: list[SliceRow], words: MetricWords) -> Gap | None:
    """Compares slices that are large enough to say something; None with fewer than two of them."""
    known = [(row.metrics[0], row) for row in rows if not row.few and row.metrics[0] is not None]
    if len(known) < 2:
        return None
    ordered = sorted(known, key=lambda item: item[0] or 0.0, reverse=words.more_is_better)
    (best, best_row), (worst, worst_row) = ordered[0], ordered[-1]
    return Gap(abs((best or 0.0) - (worst or 0.0)), best_row, worst_row)
