"""How good answers are before anybody knows the outcomes: the confusion to expect of them.

An answer that gives a class 0.8 is right in eight of ten cases, if its probabilities are
calibrated. So each answer adds its probabilities to the column of the answered class, and the table
of sums is the confusion table to expect; accuracy, F1 and recall follow from it. This is the
confidence-based performance estimation (CBPE) of NannyML.

**What it cannot see**: the relation between inputs and outcomes is taken to be that of the training
data. If events begin to mean something else, the probabilities are wrong, and so is the estimate,
without any sign of it. Only outcomes show that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.evaluator.draws import MIN_LEARNERS, SEED, interval_of

DRAWS = 200
CONFIDENCE = 0.95
ASSUMPTION = (
    "Expected quality assumes that outcomes relate to events as in the training data. It cannot "
    "see a change of that relation; only outcomes show one."
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: None where it is undefined, as the recall of a class without a case.
        low: lower end; None with too few learners, or where too few draws define it.
        high: upper end, likewise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def holds(self, truth: float) -> bool:
        """Returns whether a number is within the interval.

        >>> Estimate(0.9, 0.87, 0.93).holds(0.88)
        True
        """
        return self.low is not None and self.high is not None and self.low <= truth <= self.high


@dataclass(frozen=True)
class Quality:
    """How good some answers are, expected or realised.

    Attributes:
        answers: how many.
        learners: whose answers they are.
        confusion: answers by true and answered class, [C, C].
        accuracy: the share of right answers.
        f1_macro: the mean of the classes' F1.
        recall: by class: of those who are of it, the share that is answered so.
        auc: the mean over classes of the area under the ROC curve, each class against the others;
            None if a class has no case.
    """

    answers: int
    learners: int
    confusion: Floats
    accuracy: Estimate
    f1_macro: Estimate
    recall: tuple[Estimate, ...]
    auc: float | None


def expected_confusion(probabilities: ArrayLike, answered: ArrayLike) -> Floats:
    """Returns how many answers to expect by true and answered class, [C, C].

    Args:
        probabilities: of each class, calibrated, [n, C].
        answered: the number of the answered class, [n].

    >>> expected_confusion([[0.8, 0.2], [0.4, 0.6]], [0, 1]).tolist()
    [[0.8, 0.4], [0.2, 0.6]]
    """
    shares = np.asarray(probabilities, np.float64)
    confusion: Floats = shares.T @ np.eye(shares.shape[1])[np.asarray(answered, np.int64)]
    return confusion


def expected_quality(
    probabilities: ArrayLike, answered: ArrayLike, learners: ArrayLike, *, draws: int = DRAWS
) -> Quality:
    """Returns the quality to expect of answers, and how far what comes true may be from it.

    The intervals hold 95% of the draws. A draw takes learners with replacement, each with all of
    his or her answers, and for each answer an outcome by its probabilities: both chances are in
    what the outcomes will show. Outcomes of a learner are drawn independently given the answers.

    Args:
        probabilities: of each class, calibrated, [n, C].
        answered: the number of the answered class, [n].
        learners: each answer's learner, by any id, [n].
        draws: how often learners are drawn.
    """
    shares = np.asarray(probabilities, np.float64)
    asked = np.asarray(answered, np.int64)
    drawn = _Draws(np.asarray(learners), draws)
    edges = np.cumsum(shares, axis=1)[:, :-1]
    tables = []
    for rows, rng in drawn:
        # Each copy of an answer has an outcome of its own, as if another learner had given it.
        truth = (rng.random(len(rows))[:, None] >= edges[rows]).sum(axis=1)
        tables.append(_count(truth, asked[rows], shares.shape[1]))
    return _quality(expected_confusion(shares, asked), _mean_area(shares, shares), drawn, tables)


def realised_quality(
    probabilities: ArrayLike,
    answered: ArrayLike,
    learners: ArrayLike,
    outcomes: ArrayLike,
    *,
    draws: int = DRAWS,
) -> Quality:
    """Returns the quality that outcomes show; intervals are by drawing learners.

    Args:
        probabilities: of each class, [n, C]; only the AUC needs them.
        answered: the number of the answered class, [n].
        learners: each answer's learner, by any id, [n].
        outcomes: the number of the true class, [n].
        draws: how often learners are drawn.
    """
    shares = np.asarray(probabilities, np.float64)
    asked, truth = np.asarray(answered, np.int64), np.asarray(outcomes, np.int64)
    classes = shares.shape[1]
    drawn = _Draws(np.asarray(learners), draws)
    tables = [_count(truth[rows], asked[rows], classes) for rows, _ in drawn]
    area = _mean_area(shares, np.eye(classes)[truth])
    return _quality(_count(truth, asked, classes), area, drawn, tables)


class _Draws:
    """Learners drawn with replacement; there are no draws with too few learners."""

    def __init__(self, learners: NDArray[np.generic], draws: int) -> None:
        ids, places = np.unique(learners, return_inverse=True)
        self.learners = len(ids)
        self._draws = draws if self.learners >= MIN_LEARNERS else 0
        self._places = places

    def __iter__(self) -> Iterator[tuple[Integers, np.random.Generator]]:
        """Yields the numbers of the answers of each draw, [n], and a source of chance."""
        rng = np.random.default_rng(SEED)
        rows = np.arange(len(self._places))
        for _ in range(self._draws):
            drawn = rng.integers(self.learners, size=self.learners)
            times = np.bincount(drawn, minlength=self.learners)
            yield np.repeat(rows, times[self._places]), rng


def _count(truth: Integers, answered: Integers, classes: int) -> Floats:
    """Returns a confusion table, [C, C]."""
    cells = np.bincount(truth * classes + answered, minlength=classes**2)
    return cells.reshape(classes, classes).astype(np.float64)


def _quality(confusion: Floats, auc: float, drawn: _Draws, tables: list[Floats]) -> Quality:
    """Returns the measures of a table, with intervals from those of drawn tables."""
    classes = len(confusion)
    every = np.stack(tables) if tables else np.zeros((0, classes, classes))
    measured, spread = _measures(confusion[None]), _measures(every)
    found = {name: _estimate(measured[name][0], spread[name]) for name in measured}
    return Quality(
        answers=round(confusion.sum()),
        learners=drawn.learners,
        confusion=confusion,
        accuracy=found["accuracy"],
        f1_macro=found["f1_macro"],
        recall=tuple(found[f"recall {one}"] for one in range(classes)),
        auc=auc if np.isfinite(auc) else None,
    )


def _measures(tables: Floats) -> dict[str, Floats]:
    """Returns each measure of confusion tables [D, C, C], [D]; NaN where it is undefined."""
    right = np.diagonal(tables, axis1=1, axis2=2)
    true, answered = tables.sum(axis=2), tables.sum(axis=1)
    with np.errstate(invalid="ignore"):
        recall = right / true
        accuracy = right.sum(axis=1) / true.sum(axis=1)
    either = true + answered
    f1 = np.divide(2 * right, either, out=np.zeros_like(right), where=either > 0)
    return {
        "accuracy": accuracy,
        "f1_macro": f1.mean(axis=1),
        **{f"recall {one}": recall[:, one] for one in range(tables.shape[1])},
    }


def _estimate(value: float, spread: Floats) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None)
    return Estimate(float(value), *(interval_of(spread, CONFIDENCE) or (None, None)))


def _mean_area(scores: Floats, of_class: Floats) -> float:
    """Returns the mean over classes of the area under the ROC curve; NaN if one has no case.

    Args:
        scores: probabilities that the answers gave, [n, C]; equal ones stand in any order, as
            NannyML has them.
        of_class: how much of each answer is of the class: a probability, or 0 and 1, [n, C].
    """
    areas = []
    for one in range(scores.shape[1]):
        order = np.argsort(-scores[:, one], kind="stable")
        share = of_class[order, one]
        hits = np.concatenate([[0.0], np.cumsum(share)])
        misses = np.concatenate([[0.0], np.cumsum(1 - share)])
        if not hits[-1] or not misses[-1]:
            return float("nan")
        areas.append(np.trapezoid(hits / hits[-1], misses / misses[-1]))
    return float(np.mean(areas))
