"""Compares groups of learners: the gaps of every measure, with intervals that hold at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.contracts.fairness_results import (
    FairnessResults,
    Gap,
    GroupValue,
    MeasuredGaps,
    SmallGroup,
)
from components.contracts.names import (
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    decision_output,
)
from components.evaluator.analysis import rows_by_slices
from components.evaluator.draws import interval_of
from components.evaluator.fairness_gaps import (
    Comparable,
    Compared,
    Gaps,
    Ranking,
    Ratio,
    comparable_groups,
    gaps_of,
    joint_factor,
)
from components.evaluator.resampling import draw_metrics
from components.evaluator.scoring import LABEL, class_indices, probability_rows

if TYPE_CHECKING:
    from components.config.fairness import GapMetric
    from components.contracts.fairness_results import RemedyCost
    from components.evaluator.evaluator_settings import EvaluatorSettings
    from components.evaluator.fairness_gaps import Bools, Floats, Ints


@dataclass(frozen=True)
class Measured:
    """What is compared, as the configuration names it."""

    metric: GapMetric
    class_: str | None = None
    decision: str | None = None


@dataclass(frozen=True)
class Comparison:
    """One measure between the groups of some columns.

    Attributes:
        columns: whose values make groups.
        measured: which measure.
        measure: its values.
        names: the values of each group.
        rows: of each group.
        compared: places of the groups that have enough examples.
        gaps: of their pairs; None with fewer than two groups.
    """

    columns: list[str]
    measured: Measured
    measure: Comparable
    names: list[dict[str, str]]
    rows: list[Ints]
    compared: list[int]
    gaps: Gaps | None = None

    def places(self, pair: Ints) -> list[int]:
        """Returns the places of the two groups of a pair, of the one with the higher number first.

        Two ROC curves have no such order and stay as they are.
        """
        first, second = (self.compared[int(index)] for index in pair)
        is_lower = self.measure.of(self.rows[first]) < self.measure.of(self.rows[second])
        return [second, first] if is_lower else [first, second]


def compare_groups(predictions: Path, settings: EvaluatorSettings) -> list[Comparison]:
    """Returns every measure between the groups of every list of columns.

    Args:
        predictions: the model's Parquet file, which may hold the columns of decisions.
        settings: label, columns, decisions and draws.
    """
    compared = settings.compared
    if not compared or not settings.evaluation.draws:
        return []

    table = pl.read_parquet(predictions)
    learners = table[LEARNER].rank("dense").to_numpy().astype(int) - 1
    count = int(learners.max()) + 1
    least = settings.fairness.min_examples
    found = []
    for columns in compared:
        names, rows = _groups(table, columns)
        for measured, measure in _measures(table, settings):
            enough = comparable_groups(measure, rows, learners, least)
            found.append(Comparison(columns, measured, measure, names, rows, enough))

    to_draw = {
        place: Compared(item.measure, [item.rows[index] for index in item.compared])
        for place, item in enumerate(found)
        if len(item.compared) > 1
    }
    drawn = draw_metrics(
        {place: compared.to_draw(learners, count) for place, compared in to_draw.items()},
        learners=count,
        draws=settings.evaluation.draws,
    )
    gaps = {place: gaps_of(compared, drawn[place]) for place, compared in to_draw.items()}
    return [replace(item, gaps=gaps.get(place)) for place, item in enumerate(found)]


def fairness_results(
    comparisons: Sequence[Comparison],
    settings: EvaluatorSettings,
    *,
    before: Sequence[Comparison] = (),
    without: Sequence[Comparison] = (),
    cost: RemedyCost | None = None,
) -> FairnessResults | None:
    """Returns the gaps of a model for `metrics.json`; None where no column is compared.

    Args:
        comparisons: the model's.
        settings: columns and confidence.
        before: those of the blessed model on the same examples.
        without: those of the model that was fitted without remedies.
        cost: what remedies change in the metrics.
    """
    if not comparisons:
        return None

    confidence = settings.evaluation.confidence
    factors = _factors(comparisons, confidence)
    widest_before, widest_without = _widest(before), _widest(without)
    measures = [
        MeasuredGaps(
            columns=item.columns,
            metric=item.measured.metric,
            class_=item.measured.class_,
            decision=item.measured.decision,
            groups=_group_values(item, confidence),
            pairs=0 if item.gaps is None else len(item.gaps.sizes),
            gaps=_told_gaps(item, factors.get(item.measured)),
            before=widest_before.get(_key(item)),
            without=widest_without.get(_key(item)),
        )
        for item in _by_measure(comparisons)
    ]
    return FairnessResults(
        columns=settings.compared,
        min_examples=settings.fairness.min_examples,
        confidence=confidence,
        measures=measures,
        too_small=_too_small(comparisons, settings.fairness.min_examples),
        cost=cost,
    )


def _groups(table: pl.DataFrame, columns: Sequence[str]) -> tuple[list[dict[str, str]], list[Ints]]:
    """Returns the values and the rows of each group, in the order of their values."""
    found = sorted(
        ((tuple(values), rows) for values, rows in rows_by_slices(table, columns)),
        key=lambda item: item[0],
    )
    names = [dict(zip(columns, values, strict=True)) for values, _ in found]
    return names, [rows for _, rows in found]


def _measures(
    table: pl.DataFrame, settings: EvaluatorSettings
) -> Iterator[tuple[Measured, Comparable]]:
    """Yields all measures of a model's predictions, with what each is made of."""
    classes = settings.label.classes
    everybody = np.ones(len(table), bool)
    if not classes:
        errors = (table[PREDICTION] - table[LABEL]).to_numpy().astype(np.float64)
        yield Measured("mean_error"), Ratio(errors, everybody, is_share=False)
        yield Measured("mae"), Ratio(np.abs(errors), everybody, is_share=False)
        return

    labels = class_indices(table[LABEL], classes)
    predicted = class_indices(table[PREDICTED_CLASS], classes)
    probabilities = probability_rows(table[PROBABILITIES], len(classes)).astype(np.float64)
    for index, name in enumerate(classes):
        is_true, scores = labels == index, probabilities[:, index]
        for metric, ratio in _alarms(predicted == index, is_true):
            yield Measured(metric, class_=name), ratio
        said = Ratio(scores - is_true, everybody, is_share=False)
        yield Measured("calibration", class_=name), said
        yield Measured("abroca", class_=name), Ranking(is_true, scores)

    for decision in settings.decisions:
        column = decision_output(decision.name)
        if column in table.columns:
            taken = table[column].to_numpy().astype(bool)
            is_true = labels == classes.index(decision.class_)
            for metric, ratio in _alarms(taken, is_true):
                yield Measured(metric, decision=decision.name), ratio


def _alarms(named: Bools, is_true: Bools) -> Iterator[tuple[GapMetric, Ratio]]:
    """Yields the measures of who is named, against who is of the class."""
    right = (named & is_true).astype(np.float64)
    yield "recall", Ratio(right, is_true)
    yield "precision", Ratio(right, named)
    yield "alarm_rate", Ratio(named.astype(np.float64), np.ones(len(named), bool))


def _factors(comparisons: Sequence[Comparison], confidence: float) -> dict[Measured, float]:
    """Returns for each measure the factor with which its intervals hold at once, in all columns."""
    noises: dict[Measured, list[Floats]] = {}
    for item in comparisons:
        if item.gaps is not None:
            noises.setdefault(item.measured, []).append(item.gaps.noise)
    return {measured: joint_factor(parts, confidence) for measured, parts in noises.items()}


def _told_gaps(item: Comparison, factor: float | None) -> list[Gap]:
    """Returns the widest gap and all that are shown, by falling lower end."""
    if item.gaps is None or factor is None or not len(item.gaps.sizes):
        return []
    intervals, sizes = item.gaps.intervals(factor), item.gaps.sizes
    told = {int(sizes.argmax()), *np.flatnonzero(intervals[:, 0] > 0).tolist()}
    return [
        Gap(
            between=[item.names[group] for group in item.places(item.gaps.pairs[place])],
            size=float(sizes[place]),
            interval=(float(intervals[place, 0]), float(intervals[place, 1])),
        )
        for place in sorted(told, key=lambda place: (-intervals[place, 0], -sizes[place]))
    ]


def _group_values(item: Comparison, confidence: float) -> list[GroupValue]:
    values = []
    for order, place in enumerate(item.compared):
        value = item.measure.of(item.rows[place])
        drawn = None if item.gaps is None else item.gaps.drawn
        values.append(
            GroupValue(
                group=item.names[place],
                examples=item.measure.examples(item.rows[place]),
                value=value if np.isfinite(value) else None,
                interval=None if drawn is None else interval_of(drawn[:, order], confidence),
            )
        )
    return values


def _widest(comparisons: Sequence[Comparison]) -> dict[tuple[Measured, tuple[str, ...]], float]:
    return {
        _key(item): float(item.gaps.sizes.max())
        for item in comparisons
        if item.gaps is not None and len(item.gaps.sizes)
    }


def _key(item: Comparison) -> tuple[Measured, tuple[str, ...]]:
    return item.measured, tuple(item.columns)


def _by_measure(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Returns all comparisons, those of one measure after the other."""
    places: dict[Measured, int] = {}
    for item in comparisons:
        places.setdefault(item.measured, len(places))
    return sorted(comparisons, key=lambda item: places[item.measured])


def _too_small(comparisons: Sequence[Comparison], least: int) -> list[SmallGroup]:
    groups = {
        tuple(name.items()): SmallGroup(group=name, examples=len(rows))
        for item in comparisons
        for name, rows in zip(item.names, item.rows, strict=True)
        if len(rows) < least
    }
    return [*groups.values()]
