"""How sure answers are, and how often rightly so: draws of coverage, and where it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.config.decisions import EarlyWarning
from components.contracts.calibration import Calibration
from components.contracts.names import (
    BASIS,
    DAYS_SEEN,
    LEARNER,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    UNFAMILIAR,
)
from components.contracts.uncertainty_results import Kind, MeasuredCoverage, UncertaintyResults
from components.evaluator.analysis import rows_by_slices
from components.evaluator.draws import MIN_LEARNERS, Draws, interval_of
from components.evaluator.early_warning import days_to_report, place_of
from components.evaluator.measures import interval_columns, set_columns
from components.evaluator.resampling import (
    Floats,
    Ints,
    Measure,
    Sums,
    count_learners,
    draw_metrics,
    ratio,
    sums_by_learner,
)
from components.evaluator.scoring import LABEL, class_indices, intervals_of, sets_of

if TYPE_CHECKING:
    from components.config.data import Label
    from components.evaluator.evaluator_settings import EvaluatorSettings

COVERAGE = "coverage"
DAYS = "days"  # in `where` of a horizon


@dataclass(frozen=True)
class SureAnswers:
    """What prediction sets, or intervals, come to for n examples.

    Attributes:
        labels: index of the true class, [n]; zeros in a regression.
        classes: how many classes there are; 0 in a regression.
        columns: what is averaged, by the metric's name: [n] each.
    """

    labels: Ints
    classes: int
    columns: Mapping[str, Floats]

    @classmethod
    def of(cls, table: pl.DataFrame, label: Label) -> SureAnswers | None:
        """Returns those of a table of predictions; None for a model that does not say."""
        if PREDICTION_SET in table:
            labels = class_indices(table[LABEL], label.classes)
            columns = set_columns(labels, sets_of(table, len(label.classes)))
            return cls(labels, len(label.classes), columns)
        if PREDICTION_INTERVAL in table:
            columns = interval_columns(table[LABEL].to_numpy(), intervals_of(table))
            return cls(np.zeros(len(table), np.int64), 0, columns)
        return None

    @property
    def metrics(self) -> int:
        """How many metrics they have."""
        return len(self.columns) * (1 + self.classes)

    def at(self, rows: Ints) -> SureAnswers:
        """Returns those of some rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return SureAnswers(self.labels[rows], self.classes, columns)

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to the mean of each column.

        Args:
            learners: index of every row's learner, [n].
            count: L.
        """
        shape = (max(1, self.classes), count)
        columns = [np.ones(len(self.labels)), *self.columns.values()]
        sums = [
            sums_by_learner(self.labels, learners, column.astype(np.float64), shape)
            for column in columns
        ]
        return partial(_measure, sums, [*self.columns], self.classes)

    def values(self) -> dict[tuple[str, int | str | None], float]:
        """Returns the mean of each column on all rows, as `measure` names it."""
        everybody = np.zeros(len(self.labels), np.int64)
        drawn = self.measure(everybody, 1)(np.ones((1, 1)))
        return {key: float(values[0]) for key, values in drawn.items()}


def _measure(sums: list[Sums], names: list[str], classes: int, counts: Floats) -> Draws:
    examples, *others = (part @ counts for part in sums)
    draws: Draws = {}
    for name, of_class in zip(names, others, strict=True):
        draws[name, None] = ratio(of_class.sum(axis=0), examples.sum(axis=0))
        for index in range(classes):
            draws[name, index] = ratio(of_class[index], examples[index])
    return draws


@dataclass(frozen=True)
class _Place:
    """Examples of which coverage is measured.

    Attributes:
        kind: what they have in common.
        where: the values that they have in common.
        rows: which examples, [n].
    """

    kind: Kind
    where: dict[str, str]
    rows: Ints


def measure_uncertainty(
    model: Path,
    predictions: Path,
    slices: Sequence[Mapping[str, str]],
    settings: EvaluatorSettings,
) -> UncertaintyResults | None:
    """Returns how often sets hold the truth; None for a model that answers none.

    Args:
        model: its record says what is promised.
        predictions: its answers to the test split.
        slices: those that are reported, in their order.
        settings: label, horizons, draws and confidence.
    """
    table = pl.read_parquet(predictions)
    answers = SureAnswers.of(table, settings.label)
    if answers is None:
        return None

    learners = table[LEARNER].rank("dense").to_numpy().astype(np.int64) - 1
    count = int(learners.max()) + 1
    places = _places(table, slices, settings)
    measures = {
        index: answers.at(place.rows).measure(learners[place.rows], count)
        for index, place in enumerate(places)
        if count_learners(learners[place.rows]) >= MIN_LEARNERS
    }
    drawn = draw_metrics(measures, learners=count, draws=settings.evaluation.draws)

    measured = [
        line
        for index, place in enumerate(places)
        for line in _lines(place, answers.at(place.rows), drawn.get(index, {}), settings)
    ]
    named = _count_unfamiliar(table)
    return UncertaintyResults(
        promised=_promised(model, settings),
        measured=measured,
        sizes=_count_sizes(table, len(settings.label.classes)),
        unfamiliar=named,
        unfamiliar_examples=int((table[UNFAMILIAR] != "").sum()) if named is not None else 0,
    )


def _promised(model: Path, settings: EvaluatorSettings) -> float:
    """Returns the coverage that the model was fitted to, else the configured one."""
    if (model / Calibration.FILE).exists():
        conformal = Calibration.read(model).conformal
        if conformal is not None:
            return conformal.coverage
    return settings.uncertainty.coverage


def _places(
    table: pl.DataFrame, slices: Sequence[Mapping[str, str]], settings: EvaluatorSettings
) -> list[_Place]:
    rows = {
        frozenset(zip(columns, values, strict=True)): chosen
        for columns in settings.evaluation.slices
        for values, chosen in rows_by_slices(table, columns)
    }
    return [
        _Place("all", {}, np.arange(len(table))),
        *(_Place("slice", {**where}, rows[frozenset(where.items())]) for where in slices),
        *_horizons(table, settings.evaluation.early_warning or EarlyWarning()),
        *(
            _Place("basis", {BASIS: values[0]}, chosen)
            for values, chosen in rows_by_slices(table, [BASIS])
        ),
    ]


def _horizons(table: pl.DataFrame, early: EarlyWarning) -> list[_Place]:
    """Returns the examples by how much of a learner was seen; none where days are not known."""
    column = early.by or DAYS_SEEN
    if column not in table.columns:
        return []
    days = table[column].cast(pl.Float64, strict=False)
    known = days.is_finite().fill_null(value=False)
    reported = days_to_report(days.filter(known), early)
    if not reported:
        return []
    place = place_of(days.fill_null(float("inf")).fill_nan(float("inf")), reported).to_numpy()
    rows = [np.flatnonzero((place == index) & known.to_numpy()) for index in range(len(reported))]
    return [
        _Place("horizon", {DAYS: f"{day:g}"}, of_day)
        for day, of_day in zip(reported, rows, strict=True)
        if len(of_day)
    ]


def _lines(
    place: _Place, answers: SureAnswers, draws: Draws, settings: EvaluatorSettings
) -> list[MeasuredCoverage]:
    values = answers.values()
    names: list[tuple[int | None, str | None]] = [(None, None)]
    names += list(enumerate(settings.label.classes))
    lines = []
    for index, name in names:
        examples = len(answers.labels) if index is None else int((answers.labels == index).sum())
        if not examples:
            continue
        found = {metric: values[metric, index] for metric in answers.columns}
        lines.append(
            MeasuredCoverage(
                kind=place.kind,
                where=place.where,
                class_=name,
                examples=examples,
                interval=interval_of(draws.get((COVERAGE, index)), settings.evaluation.confidence),
                **{metric: value for metric, value in found.items() if np.isfinite(value)},
            )
        )
    return lines


def _count_sizes(table: pl.DataFrame, classes: int) -> list[int]:
    """Returns how many sets have one class, two, and so on."""
    if not classes:
        return []
    sizes = sets_of(table, classes).sum(axis=1)
    counts: list[int] = np.bincount(sizes, minlength=classes + 1)[1:].tolist()
    return counts


def _count_unfamiliar(table: pl.DataFrame) -> dict[str, int] | None:
    """Returns how many examples each name was given to, the most frequent first."""
    if UNFAMILIAR not in table:
        return None
    names = table[UNFAMILIAR].str.split(", ").explode()
    counts = names.filter(names != "").value_counts(sort=False)
    ordered = counts.sort("count", UNFAMILIAR, descending=[True, False])
    return dict(ordered.iter_rows())
