"""Compares what a server answers with what was evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from components.contracts.names import (
    AS_OF,
    BASIS,
    CLASSES,
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    UNIT,
)
from components.serving_check.questions import Question
from components.serving_check.server import Answers

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-5  # of a probability; of a regression's answer, relative to it where it is above one
WORST = 10  # differences that are listed


@dataclass(frozen=True)
class Difference:
    """One row for which an output is not what was expected."""

    row: int
    where: str  # signature, and how it was asked
    output: str
    expected: str
    found: str
    size: float  # for the order in a list: how far off


def expected_answers(predictions: pl.DataFrame, classes: Sequence[str]) -> Answers:
    """Returns the Evaluator's predictions in the form of a server's answers."""
    if not classes:
        return {name: predictions[name].to_numpy() for name in (PREDICTION, BASIS)}
    answers = {name: predictions[name].to_numpy() for name in (PREDICTED_CLASS, BASIS)}
    probabilities = predictions[PROBABILITIES].cast(pl.Array(pl.Float64, len(classes))).to_numpy()
    return {
        **answers,
        PROBABILITIES: probabilities,
        CLASSES: np.array([list(classes)] * len(predictions), dtype=object),
    }


def compare(
    question: Question, expected: Answers, found: Answers, classes: Sequence[str]
) -> Iterator[Difference]:
    """Yields the rows that differ by more than the tolerance, output by output.

    Args:
        question: what was asked.
        expected: answers for all rows there are.
        found: answers to the question's rows.
        classes: the label's classes in the order of the probabilities; none for a regression.
    """
    wanted = {name: values[question.rows] for name, values in expected.items()}
    distances = {BASIS: _unless(wanted[BASIS] == found[BASIS])}
    if classes:
        distances[CLASSES] = _unless((wanted[CLASSES] == found[CLASSES]).all(axis=1))
        distances[PROBABILITIES] = _distance(wanted[PROBABILITIES], found[PROBABILITIES]).max(
            axis=1
        )
        distances[PREDICTED_CLASS] = _unless(
            most_probable(wanted[PROBABILITIES], found[PREDICTED_CLASS], classes)
        )
    else:
        scale = np.maximum(np.abs(wanted[PREDICTION]), 1.0)
        distances[PREDICTION] = _distance(wanted[PREDICTION], found[PREDICTION]) / scale
    for output, distance in distances.items():
        for at in np.flatnonzero(distance > TOLERANCE):
            texts = _shown(wanted[output][at]), _shown(found[output][at])
            yield Difference(
                int(question.rows[at]), question.where, output, *texts, float(distance[at])
            )


def unusable(question: Question, found: Answers, classes: Sequence[str]) -> Iterator[str]:
    """Yields what a client cannot use: numbers that JSON does not have, probabilities that are none."""
    numbers = found[PROBABILITIES] if classes else found[PREDICTION][:, None]
    finite = np.asarray(np.isfinite(numbers).all(axis=1))
    sums = numbers[finite].sum(axis=1)
    if not finite.all():
        rows = f"{(~finite).sum()} of {len(finite)} rows"
        yield f"{question.where}: expected finite numbers, found NaN or infinite ones in {rows}"
    if classes and (np.abs(sums - 1) > TOLERANCE).any():
        worst = sums[np.abs(sums - 1).argmax()]
        yield f"{question.where}: expected probabilities that add up to 1, found {worst:.6f}"
    if (
        classes
        and not most_probable(numbers[finite], found[PREDICTED_CLASS][finite], classes).all()
    ):
        yield f"{question.where}: expected the most probable class as {PREDICTED_CLASS}, found another"


def most_probable(probabilities: Array, named: Array, classes: Sequence[str]) -> Array:
    """Says for each row whether the named class is the most probable one, or within the tolerance of it."""
    own = np.where(named[:, None] == np.array(classes, dtype=object), probabilities, -np.inf).max(
        axis=1
    )
    return np.asarray(own >= probabilities.max(axis=1) - 2 * TOLERANCE)


def describe(differences: Sequence[Difference], chosen: pl.DataFrame) -> list[str]:
    """Returns a line for each of the worst differences, with the keys of its row."""
    keys = chosen.select(LEARNER, UNIT, AS_OF).rows()
    ordered = sorted(differences, key=lambda item: (-item.size, item.row))
    return [
        f"learner {keys[item.row][0]}, unit {keys[item.row][1]}, as_of {keys[item.row][2]}, {item.where}, "
        f"{item.output}: expected {item.expected}, found {item.found}"
        for item in ordered[:WORST]
    ]


def _unless(equal: Array) -> Array:
    return np.where(equal, 0.0, np.inf)


def _distance(expected: Array, found: Array) -> Array:
    distance = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return np.where(np.isnan(distance), np.inf, distance)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return f"{value:.6f}" if isinstance(value, float | np.floating) else str(value)
