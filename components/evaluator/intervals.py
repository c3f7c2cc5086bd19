"""Adds to metrics how far chance reaches: their intervals, and those of gains over other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from components.config.metrics import METRICS
from components.contracts.evaluation import Gain, Interval, ModelResults, Result
from components.contracts.names import (
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    decision_output,
)
from components.evaluator.analysis import rows_by_slices
from components.evaluator.decisions import DecisionAnswers, add_decisions
from components.evaluator.draws import (
    BASELINE,
    CANDIDATE,
    DrawnMetrics,
    Draws,
    difference,
    interval_of,
    key_of_gate,
)
from components.evaluator.resampling import (
    AllAnswers,
    Answers,
    ClassAnswers,
    Ints,
    NumberAnswers,
    count_learners,
    resample,
)
from components.evaluator.scoring import LABEL, class_indices, probability_rows
from components.evaluator.uncertainty import SureAnswers

if TYPE_CHECKING:
    from components.config.data import Label
    from components.config.decisions import Decision
    from components.config.gates import Gate
    from components.evaluator.evaluator_settings import EvaluatorSettings

Gains = dict[str, Gain]  # by the metric's name
SomeResult = TypeVar("SomeResult", bound=Result)


@dataclass(frozen=True)
class MeasuredModels:
    """Models on the same examples, with intervals.

    Attributes:
        results: the metrics of each model, by its name.
        gains: of the candidate over each simple model: on all examples, then in every slice.
        drawn: what gates with a confidence judge by.
    """

    results: dict[str, ModelResults]
    gains: dict[str, list[Gains]]
    drawn: DrawnMetrics


def add_intervals(
    predictions: Mapping[str, Path],
    results: Mapping[str, ModelResults],
    settings: EvaluatorSettings,
    decided: Mapping[str, Sequence[Decision]] | None = None,
) -> MeasuredModels:
    """Returns results with an interval for every metric that has one, and the candidate's gains.

    Learners are drawn with replacement, the same ones for all models.

    Args:
        predictions: each model's Parquet file, by its name, with the same examples. All models but
            `CANDIDATE`, which is among them, and `BASELINE` are simple models.
        results: their metrics.
        settings: label, slices, gates, draws and confidence.
        decided: the decisions that models take, by their names.
    """
    label, rules = settings.label, settings.evaluation
    places = [{}, *(result.slice for result in results[CANDIDATE].slices)]
    learners, rows = _learners_and_rows(predictions[CANDIDATE], rules.slices, places)
    answers = {
        name: _read_answers(path, label, (decided or {}).get(name, ()))
        for name, path in predictions.items()
    }
    results = {name: add_decisions(model, answers[name], rows) for name, model in results.items()}

    drawn = DrawnMetrics(label.classes)
    found: dict[str, list[Result]] = {name: [] for name in results}
    gains: dict[str, list[Gains]] = {
        name: [] for name in results if name not in (CANDIDATE, BASELINE)
    }
    draws_by_place = resample(learners, answers, rows, draws=rules.draws)
    for number, (where, draws) in enumerate(zip(places, draws_by_place, strict=True)):
        place = frozenset(where.items())
        drawn.learners[place] = count_learners(learners[rows[number]])
        drawn.draws[place] = _asked_by(settings.gates, draws, label.classes)

        here = {
            name: model.slices[number - 1] if number else model.overall
            for name, model in results.items()
        }
        for name, result in here.items():
            found[name].append(with_intervals(result, draws[name], label, rules.confidence))
        for name in gains:
            pair = [(here[model], draws[model]) for model in (CANDIDATE, name)]
            gains[name].append(gains_over(*pair, confidence=rules.confidence))

    filled = {
        name: model.model_copy(update={"overall": found[name][0], "slices": found[name][1:]})
        for name, model in results.items()
    }
    return MeasuredModels(filled, gains, drawn)


def with_intervals(result: SomeResult, draws: Draws, label: Label, confidence: float) -> SomeResult:
    """Returns a result with the intervals of its metrics, those of classes and decisions too."""
    classes = {
        name: metrics.model_copy(update={"intervals": _intervals(draws, index, confidence)})
        for index, name in enumerate(label.classes)
        if (metrics := result.classes.get(name))
    }
    decisions = {
        name: metrics.model_copy(update={"intervals": _intervals(draws, name, confidence)})
        for name, metrics in result.decisions.items()
    }
    overall = _intervals(draws, None, confidence)
    parts = {"intervals": overall, "classes": classes, "decisions": decisions}
    return result.model_copy(update=parts)


def gains_over(
    candidate: tuple[Result, Draws], other: tuple[Result, Draws], *, confidence: float
) -> Gains:
    """Returns how much better the candidate is than another model, metric by metric.

    Args:
        candidate: its metrics, and their draws.
        other: those of the other model, on the same examples and draws.
        confidence: of the intervals.
    """
    (own, own_draws), (others, other_draws) = candidate, other
    gains = {}
    for name, value in own.metrics.items():
        than = others.metrics.get(name)
        if value is None or than is None:
            gains[name] = Gain()
            continue
        drawn = difference(own_draws.get((name, None)), other_draws.get((name, None)))
        sign = 1 if METRICS[name].more_is_better else -1
        interval = None if drawn is None else interval_of(sign * drawn, confidence)
        gains[name] = Gain(value=sign * (value - than), interval=interval)
    return gains


def _intervals(draws: Draws, of: int | str | None, confidence: float) -> dict[str, Interval]:
    """Returns intervals of the metrics of a class by its index, of a decision, or of all."""
    found = {
        name: interval_of(values, confidence)
        for (name, part), values in draws.items()
        if part == of
    }
    return {name: interval for name, interval in found.items() if interval is not None}


def _asked_by(
    gates: Sequence[Gate], draws: Mapping[str, Draws], classes: Sequence[str]
) -> dict[str, Draws]:
    """Returns the draws of the metrics that gates with a confidence name: only they are kept."""
    asked = {key_of_gate(gate, classes) for gate in gates if gate.confidence is not None}
    return {
        name: {key: values for key, values in metrics.items() if key in asked}
        for name, metrics in draws.items()
    }


def _learners_and_rows(
    predictions: Path, slices: Sequence[Sequence[str]], places: Sequence[Mapping[str, str]]
) -> tuple[Ints, list[Ints]]:
    """Returns the index of every row's learner, and the rows of each place.

    Indices follow the order of the ids: the same learners are drawn whatever the order of rows.
    """
    names = [*dict.fromkeys([LEARNER, *(name for columns in slices for name in columns)])]
    table = pl.read_parquet(predictions, columns=names)
    rows = {
        frozenset(zip(columns, values, strict=True)): chosen
        for columns in ([], *slices)
        for values, chosen in rows_by_slices(table, columns)
    }
    learners = table[LEARNER].rank("dense").to_numpy().astype(int) - 1
    return learners, [rows[frozenset(where.items())] for where in places]


def _read_answers(predictions: Path, label: Label, decisions: Sequence[Decision]) -> Answers:
    found = pl.read_parquet_schema(predictions)
    names = [LABEL, PREDICTION, PREDICTED_CLASS, PROBABILITIES, PREDICTION_INTERVAL, PREDICTION_SET]
    names += [decision_output(decision.name) for decision in decisions]
    table = pl.read_parquet(predictions, columns=[name for name in names if name in found])

    parts: list[Answers] = []
    if label.classes:
        labels = class_indices(table[LABEL], label.classes)
        predicted = class_indices(table[PREDICTED_CLASS], label.classes)
        probabilities = probability_rows(table[PROBABILITIES], len(label.classes))
        parts.append(ClassAnswers(labels, predicted, probabilities))
        if decisions:
            parts.append(DecisionAnswers.of(table, labels, decisions, label.classes))
    else:
        parts.append(NumberAnswers(table[LABEL].to_numpy(), table[PREDICTION].to_numpy()))
    if (sure := SureAnswers.of(table, label)) is not None:
        parts.append(sure)
    return AllAnswers(tuple(parts))
