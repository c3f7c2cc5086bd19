"""How sure the difference of two models on the same examples is: a paired bootstrap over learners.

Outcomes of the same learner are correlated, so learners are drawn, with replacement, and both
models are measured on the same draw (B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap,
1993, chapters 6, 8 and 13).

A draw is a weight for every learner: how often that learner was drawn. Metrics that are made of
sums need each learner's sums only, so all draws are one product of matrices. The area under the ROC
curve needs the rows, in the order of their scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Metrics = dict[str, Floats]  # by name, a value for every draw, [D]; NaN where it is not defined
Measure = Callable[[Floats], Metrics]  # from weights of learners, [D, L]
Verdict = Literal["better", "worse", "not distinguishable"]

CONFIDENCE = 0.95
BLOCK = 4_000_000  # weights that are in memory at once
EXACT = 2**22  # rows whose counts, and their halves, 32 bits hold exactly, in half the time
DEFINED = 0.9  # share of the draws in which a metric must be defined for it to have an interval


@dataclass(frozen=True)
class Interval:
    """An interval of the difference, B minus A."""

    low: float
    high: float


def measure_classes(
    learners: Ints, labels: Ints, predicted: Ints, probabilities: Floats
) -> Measure:
    """Returns a function from weights to metrics of a classification.

    Args:
        learners: index of the learner of every row, [n], from 0 on without gaps.
        labels: index of the true class, [n].
        predicted: index of the predicted class, [n].
        probabilities: of every class, [n, C].

    Returns:
        A function to `accuracy`, `f1_macro`, `auc`, `log_loss`, and `recall/<index>` of every
        class, defined as in `components.evaluator.measures`; only the recall of a class without
        examples is undefined here instead of 0.
    """
    count = int(learners.max()) + 1
    classes = probabilities.shape[1]
    confusions = _confusions(learners, labels, predicted, count, classes)
    losses = _by_learner(learners, _log_losses(labels, probabilities))
    compared = [1] if classes == 2 else range(classes)
    areas = [_area(learners, labels == index, probabilities[:, index]) for index in compared]

    def measure(weights: Floats) -> Metrics:
        confusion = (weights @ confusions).reshape(-1, classes, classes)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        support = confusion.sum(axis=2)
        rows = support.sum(axis=1)
        f1 = _ratio(2 * hits, support + confusion.sum(axis=1))
        recalls = _ratio(hits, support)

        return {
            "accuracy": hits.sum(axis=1) / rows,
            "f1_macro": np.nansum(f1, axis=1) / np.isfinite(f1).sum(axis=1),
            "auc": np.mean([area(weights) for area in areas], axis=0),
            "log_loss": weights @ losses / rows,
            **{f"recall/{index}": recalls[:, index] for index in range(classes)},
        }

    return measure


def measure_numbers(learners: Ints, labels: Floats, predictions: Floats) -> Measure:
    """Returns a function from weights to `rmse`, `mae`, `mse` and `r2` of a regression.

    Args:
        learners: index of the learner of every row, [n], from 0 on without gaps.
        labels: the true values, [n].
        predictions: the predicted values, [n].
    """
    # Centred, so that sums of squares lose no digits to a large mean.
    centred = labels.astype(float) - labels.mean(dtype=float)
    errors = predictions.astype(float) - labels.astype(float)
    columns = [np.ones(len(labels)), errors**2, np.abs(errors), centred, centred**2]
    sums = np.stack([_by_learner(learners, column) for column in columns], axis=1)

    def measure(weights: Floats) -> Metrics:
        rows, squares, absolute, total, total_squares = (weights @ sums).T
        mse = squares / rows
        spread = total_squares - total**2 / rows
        return {
            "rmse": np.sqrt(mse),
            "mae": absolute / rows,
            "mse": mse,
            "r2": 1 - _ratio(squares, spread),
        }

    return measure


def difference_intervals(
    a: Measure, b: Measure, *, learners: int, draws: int, seed: int
) -> dict[str, Interval | None]:
    """Returns 95% percentile intervals of B minus A by metric; None where too few draws define it.

    Args:
        a: measures of the first model.
        b: measures of the second one, on the same examples.
        learners: how many learners there are.
        draws: how many times to draw that many learners.
        seed: same seed, same intervals.
    """
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // learners)

    parts: list[Metrics] = []
    for start in range(0, draws, block):
        weights = _draw(generator, min(block, draws - start), learners)
        first = a(weights)
        second = b(weights)
        parts.append({name: second[name] - first[name] for name in first})
    return {name: _interval(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def judge(interval: Interval | None, *, more_is_better: bool) -> Verdict:
    """Returns whether B is better: whether the interval of B minus A excludes zero.

    >>> judge(Interval(0.01, 0.03), more_is_better=True)
    'better'
    >>> judge(Interval(-0.01, 0.03), more_is_better=True)
    'not distinguishable'
    """
    if interval is None or interval.low <= 0 <= interval.high:
        return "not distinguishable"
    return "better" if (interval.low > 0) == more_is_better else "worse"


def _draw(generator: np.random.Generator, draws: int, learners: int) -> Floats:
    """Returns how often each learner was drawn, [D, L]."""
    chosen = generator.integers(learners, size=(draws, learners))
    places = chosen + np.arange(draws)[:, None] * learners
    times = np.bincount(places.ravel(), minlength=draws * learners)
    return times.reshape(draws, learners).astype(float)


def _confusions(learners: Ints, labels: Ints, predicted: Ints, count: int, classes: int) -> Floats:
    """Returns every learner's counts of true against predicted classes, [L, C * C]."""
    cells = classes * classes
    places = learners * cells + labels * classes + predicted
    return np.bincount(places, minlength=count * cells).reshape(count, cells).astype(float)


def _log_losses(labels: Ints, probabilities: Floats) -> Floats:
    """Returns the log loss of every row, [n]."""
    true = probabilities[np.arange(len(labels)), labels]
    epsilon = np.finfo(true.dtype).eps
    losses: Floats = -np.log(np.clip(true, epsilon, 1 - epsilon).astype(float))
    return losses


def _area(
    learners: Ints, positive: NDArray[np.bool_], scores: Floats
) -> Callable[[Floats], Floats]:
    """Returns a function from weights, [D, L], to the area under the ROC curve, [D].

    Ties count one half.
    """
    order = np.argsort(scores, kind="stable")
    owners = learners[order]
    true = positive[order]
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    has_ties = len(starts) < len(owners)

    def area(weights: Floats) -> Floats:
        step = max(1, BLOCK // len(owners))
        exact = weights.astype(np.float32) if len(owners) < EXACT else weights
        blocks = [area_of_block(exact[at : at + step]) for at in range(0, len(exact), step)]
        return np.concatenate(blocks)

    def area_of_block(weights: Floats) -> Floats:
        rows = weights[:, owners]
        positives = rows * true
        negatives = rows - positives
        if has_ties:
            positives = np.add.reduceat(positives, starts, axis=1)
            negatives = np.add.reduceat(negatives, starts, axis=1)

        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = np.einsum("dg,dg->d", positives, below, dtype=np.float64)
        totals = [part.sum(axis=1, dtype=np.float64) for part in (positives, negatives)]
        return _ratio(pairs, totals[0] * totals[1])

    return area


def _by_learner(learners: Ints, values: Floats) -> Floats:
    return np.asarray(np.bincount(learners, weights=values), dtype=float)


def _interval(differences: Floats) -> Interval | None:
    defined = differences[np.isfinite(differences)]
    if len(defined) < DEFINED * len(differences):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    undefined = np.full(np.shape(numerator), np.nan)
    ratio: Floats = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return ratio
