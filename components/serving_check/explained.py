"""Replays explanations: they add up, and depend on neither the batch nor the signature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.names import (
    ATTRIBUTIONS,
    BASIS,
    BASIS_PRIOR,
    CLASSES,
    EXPLAINED_CLASS,
    PREDICTION,
    PROBABILITIES,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
)

if TYPE_CHECKING:
    from components.serving_check.questions import Question

MOST_EXPLAINED = 32  # examples that are explained in one batch
ALONE_EXPLAINED = 3  # of them, those that are also explained alone
COMPLETE = 2e-3  # how far a sum may be off, twice what is aimed at; relative for answers above 1
SAME = 5e-3  # how far two attributions may be apart: batches round, and may halve other parts

Array = np.ndarray[Any, Any]


def explanation_problems(
    questions: Sequence[Question], answers: Sequence[dict[str, Array]]
) -> Iterator[str]:
    """Yields what is wrong with explanations.

    Args:
        questions: to the signatures that explain; the first is about all rows of the others.
        answers: to each of them.
    """
    for question, found in zip(questions, answers, strict=True):
        explained = _explained_answers(found)
        scale = np.maximum(np.abs(explained), 1.0)
        added = found[ATTRIBUTIONS].sum(axis=1, dtype=np.float64)
        off = np.abs(added - (explained - found[TYPICAL_ANSWER])) / scale
        yield from _worst(question, off, COMPLETE, "attributions that add up")

        of_steps = found[STEP_ATTRIBUTIONS].sum(axis=1, dtype=np.float64)
        off = np.abs(of_steps - found[ATTRIBUTIONS][:, : of_steps.shape[1]]).max(axis=1) / scale
        yield from _worst(question, off, COMPLETE, "attributions of steps that add up")

        cold = found[BASIS] == BASIS_PRIOR
        if found[ATTRIBUTIONS][cold].any():
            yield f"{question.where}: expected no attributions with basis {BASIS_PRIOR}, found some"

        places = np.searchsorted(questions[0].rows, question.rows)
        same = answers[0][ATTRIBUTIONS][places]
        off = np.abs(found[ATTRIBUTIONS] - same).max(axis=1) / scale
        yield from _worst(question, off, SAME, f"attributions as of {questions[0].where}")


def _explained_answers(found: dict[str, Array]) -> Array:
    """Returns the probability of the explained class, or the prediction, [n]."""
    if PREDICTION in found:
        return found[PREDICTION].astype(np.float64)
    is_explained = found[CLASSES] == found[EXPLAINED_CLASS][:, np.newaxis]
    return np.asarray((found[PROBABILITIES] * is_explained).sum(axis=1, dtype=np.float64))


def _worst(question: Question, off: Array, tolerance: float, expected: str) -> Iterator[str]:
    if len(off) and not (off <= tolerance).all():
        yield (
            f"{question.where}: expected {expected} (tolerance {tolerance:g}), found ones that are "
            f"off by {np.nan_to_num(off, nan=np.inf).max():.2g} in "
            f"{(~(off <= tolerance)).sum()} of {len(off)} rows"
        )
