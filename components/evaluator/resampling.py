"""How much metrics owe to chance: the same metrics when learners are drawn with replacement.

Outcomes of one learner are alike, so learners are drawn, not rows (B. Efron, R. J. Tibshirani, An
Introduction to the Bootstrap, 1993, chapters 6, 8 and 13). All models are measured on the same
draws, so the difference of two models is paired.

A draw is a count for every learner: how often that learner was drawn. A metric that is made of sums
needs each learner's sums only, so all draws are one product of a sparse matrix with the counts. The
area under the ROC curve needs the rows in the order of their scores: they are sorted once, and
neighbours of one class become one row of such a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from components.evaluator.draws import MIN_LEARNERS, SEED, Draws
from components.evaluator.measures import CALIBRATION_BINS, calibration_gaps, log_losses

Key = TypeVar("Key", bound=Hashable)
Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]
Sums = Any  # a sparse matrix [K, L]: K sums of every learner

Measure = Callable[[Floats], Draws]  # of counts of learners, [L, D]

BLOCK = 1_000_000  # numbers of one matrix in memory at once; the processor's cache holds them
KEPT = 20_000_000  # numbers that the draws of a group of slices may take


@dataclass(frozen=True)
class ClassAnswers:
    """The answers of a classification, and what was true.

    Attributes:
        labels: index of the true class, [n].
        predicted: index of the predicted class, [n].
        probabilities: of every class, [n, C].
    """

    labels: Ints
    predicted: Ints
    probabilities: Floats

    @property
    def metrics(self) -> int:
        """How many metrics they have, those of single classes included."""
        return 10 + 5 * int(self.probabilities.shape[1])

    def at(self, rows: Ints) -> ClassAnswers:
        """Returns those of some rows."""
        return ClassAnswers(self.labels[rows], self.predicted[rows], self.probabilities[rows])

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to all metrics.

        They are those of `components.evaluator.measures` on the rows of the draw, with one
        difference: a ratio without a case in its denominator, such as the recall of a class that
        the draw lacks, is undefined and not 0.

        Args:
            learners: index of every row's learner, [n].
            count: L.
        """
        classes = self.probabilities.shape[1]
        cells = self.labels * classes + self.predicted
        confusion = sums_by_learner(cells, learners, np.ones(len(cells)), (classes**2, count))
        losses = log_losses(self.labels, self.probabilities)
        loss = sums_by_learner(np.zeros(len(losses), int), learners, losses, (1, count))

        bins, gaps = calibration_gaps(self.labels, self.probabilities)
        places = bins + np.arange(classes + 1) * CALIBRATION_BINS
        owners = np.repeat(learners, classes + 1)
        shape = ((classes + 1) * CALIBRATION_BINS, count)
        calibration = sums_by_learner(places.ravel(), owners, gaps.ravel(), shape)

        sums = sparse.vstack([confusion, loss, calibration], format="csr")
        areas = _areas(learners, self.labels, self.probabilities, count)
        return partial(_measure_classes, sums, areas, classes)


@dataclass(frozen=True)
class NumberAnswers:
    """The answers of a regression, and what was true.

    Attributes:
        labels: [n].
        predictions: [n].
    """

    labels: Floats
    predictions: Floats

    @property
    def metrics(self) -> int:
        """How many metrics they have."""
        return 4

    def at(self, rows: Ints) -> NumberAnswers:
        """Returns those of some rows."""
        return NumberAnswers(self.labels[rows], self.predictions[rows])

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to all metrics.

        Where the labels of a draw do not vary, r2 is undefined.

        Args:
            learners: index of every row's learner, [n].
            count: L.
        """
        labels = self.labels.astype(np.float64)
        errors = self.predictions.astype(np.float64) - labels
        # Centred, so that sums of squares lose no digits to a large mean.
        centred = labels - math.fsum(labels) / len(labels)

        columns = [np.ones(len(labels)), errors**2, np.abs(errors), centred, centred**2]
        places = np.repeat(np.arange(len(columns)), len(labels))
        owners = np.tile(learners, len(columns))
        sums = sums_by_learner(places, owners, np.concatenate(columns), (len(columns), count))
        return partial(_measure_numbers, sums)


class Answers(Protocol):
    """Answers of a model to n examples, and what was true."""

    @property
    def metrics(self) -> int:
        """How many metrics they have."""

    def at(self, rows: Ints) -> Answers:
        """Returns those of some rows."""

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to all metrics."""


@dataclass(frozen=True)
class AllAnswers:
    """Answers of several kinds to the same examples, such as classes and decisions."""

    parts: tuple[Answers, ...]

    @property
    def metrics(self) -> int:
        """How many metrics they have."""
        return sum(part.metrics for part in self.parts)

    def at(self, rows: Ints) -> AllAnswers:
        """Returns those of some rows."""
        return AllAnswers(tuple(part.at(rows) for part in self.parts))

    def measure(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to the metrics of all kinds."""
        measures = [part.measure(learners, count) for part in self.parts]
        return lambda counts: {
            key: values for measure in measures for key, values in measure(counts).items()
        }


def resample(
    learners: Ints, models: Mapping[str, Answers], slices: Sequence[Ints], *, draws: int
) -> Iterator[dict[str, Draws]]:
    """Measures models on the same draws of learners, slice by slice.

    Args:
        learners: index of every row's learner, [n], from 0 on without gaps.
        models: each model's answers to the same rows, by its name.
        slices: the rows of each slice; all rows are a slice too.
        draws: how often to draw as many learners as there are.

    Yields:
        For each slice the draws of all metrics of each model, by its name. They are empty without
        draws, and where the slice has fewer than `MIN_LEARNERS` learners, which is too few for an
        interval.
    """
    count = int(learners.max()) + 1
    size = draws * sum(answers.metrics for answers in models.values())
    step = max(1, KEPT // max(1, size))

    for start in range(0, len(slices), step):
        group = slices[start : start + step]
        measures = {
            (place, name): answers.at(rows).measure(learners[rows], count)
            for place, rows in enumerate(group)
            if draws and count_learners(learners[rows]) >= MIN_LEARNERS
            for name, answers in models.items()
        }
        drawn = draw_metrics(measures, learners=count, draws=draws)
        for place in range(len(group)):
            yield {name: drawn.get((place, name), {}) for name in models}


def draw_metrics(
    measures: Mapping[Key, Measure], *, learners: int, draws: int, seed: int = SEED
) -> dict[Key, Draws]:
    """Returns the draws of all metrics, of several models and slices on the same learners.

    Args:
        measures: of each model and slice.
        learners: how many learners there are.
        draws: how often to draw as many of them.
        seed: same seed, same learners.
    """
    parts: dict[Key, list[Draws]] = {key: [] for key in measures}
    for counts in draw_learners(learners, draws, seed):
        for key, measure in measures.items():
            parts[key].append(measure(counts))
    return {
        key: {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        for key, found in parts.items()
        if found
    }


def count_learners(learners: Ints) -> int:
    """Returns how many learners some rows have."""
    return len(np.unique(learners))


def draw_learners(learners: int, draws: int, seed: int) -> Iterator[Floats]:
    """Yields how often each learner was drawn, [L, D], in blocks of draws.

    Args:
        learners: L.
        draws: of all blocks together.
        seed: same seed, same learners.
    """
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // learners)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        chosen = generator.integers(learners, size=(size, learners))
        places = chosen * size + np.arange(size)[:, np.newaxis]
        counts = np.bincount(places.ravel(), minlength=learners * size)
        yield counts.reshape(learners, size).astype(np.float64)


def sums_by_learner(places: Ints, learners: Ints, values: Floats, shape: tuple[int, int]) -> Sums:
    """Returns sums of values by place and learner, a sparse matrix of `shape`.

    They are added in the order of their size: the order of the rows has no influence.
    """
    cells = places * shape[1] + learners
    order = np.lexsort((values, cells))
    ordered = cells[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))

    found = np.add.reduceat(values[order], starts)
    rows, columns = np.divmod(ordered[starts], shape[1])
    bounds = np.searchsorted(rows, np.arange(shape[0] + 1))
    return sparse.csr_matrix((found, columns, bounds), shape)


def _measure_classes(
    sums: Sums, areas: Callable[[Floats], Floats], classes: int, counts: Floats
) -> Draws:
    drawn = sums @ counts
    confusion, loss, calibration = np.split(drawn, [classes**2, classes**2 + 1])
    confusion = confusion.reshape(classes, classes, -1)

    hits = np.einsum("iid->id", confusion)
    support, chosen = confusion.sum(axis=1), confusion.sum(axis=0)
    total = support.sum(axis=0)
    distances = np.abs(calibration).reshape(classes + 1, CALIBRATION_BINS, -1).sum(axis=1)
    by_class = {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + chosen),
    }

    overall = {"accuracy": ratio(hits.sum(axis=0), total)}
    occurs = support + chosen > 0
    for name, values in by_class.items():
        known = np.nan_to_num(values)  # as `measures.averages`, which takes 0 for them
        overall[f"{name}_macro"] = ratio((known * occurs).sum(axis=0), occurs.sum(axis=0))
        overall[f"{name}_weighted"] = ratio((known * support).sum(axis=0), total)

    area = areas(counts)
    overall["auc"] = area[1] if classes == 2 else area.mean(axis=0)
    overall["log_loss"] = ratio(loss[0], total)
    ece = ratio(distances, np.broadcast_to(total, distances.shape))
    overall["ece"] = ece[-1]

    by_class |= {"auc": area, "ece": ece[:-1]}
    draws: Draws = {(name, None): values for name, values in overall.items()}
    for name, rows in by_class.items():
        draws |= {(name, index): values for index, values in enumerate(rows)}
    return draws


def _measure_numbers(sums: Sums, counts: Floats) -> Draws:
    rows, squares, absolute, total, total_squares = sums @ counts
    mse = ratio(squares, rows)
    spread = total_squares - ratio(total**2, rows)
    # Equal labels leave a rest of rounding; r2 is undefined there, as all ratios without a case.
    varies = spread > 1e-12 * total_squares
    r2 = np.where(varies, 1 - ratio(squares, spread), np.nan)

    metrics = {
        "mse": mse,
        "mae": ratio(absolute, rows),
        "rmse": np.sqrt(mse),
        "r2": r2,
    }
    return {(name, None): values for name, values in metrics.items()}


def _areas(
    learners: Ints, labels: Ints, probabilities: Floats, count: int
) -> Callable[[Floats], Floats]:
    """Returns a function from counts, [L, D], to the area under each class's ROC curve, [C, D]."""
    scores = probabilities.T
    mirrored = len(scores) == 2 and _is_reverse(*scores)
    compared = [1] if mirrored else range(len(scores))
    areas = [_area(learners, labels == index, scores[index], count) for index in compared]
    repeats = 2 if mirrored else 1
    return lambda counts: np.stack([area(counts) for area in areas] * repeats)


def _is_reverse(first: Floats, second: Floats) -> bool:
    """Returns whether two scores order all rows the opposite way, ties included.

    Two probabilities do, unless rounding lets one of them tie.
    """
    rising, falling = (np.unique(scores, return_inverse=True)[1] for scores in (first, -second))
    return np.array_equal(rising, falling)


def _area(learners: Ints, positive: Bools, scores: Floats, count: int) -> Callable[[Floats], Any]:
    """Returns a function from counts, [L, D], to the area under the ROC curve, [D].

    Of all pairs of a positive and a negative row it is the share in which the positive one has the
    higher score; ties count one half.
    """
    group = _runs(positive, scores)
    shape = (int(group.max()) + 1, count)
    sums = [
        sums_by_learner(group[rows], learners[rows], np.ones(int(rows.sum())), shape)
        for rows in (positive, ~positive)
    ]
    step = max(1, BLOCK // shape[0])

    def area(counts: Floats) -> Floats:
        positives, negatives = (part @ np.ascontiguousarray(counts) for part in sums)
        below = np.cumsum(negatives, axis=0) - negatives / 2
        pairs = np.einsum("gd,gd->d", positives, below)
        return ratio(pairs, positives.sum(axis=0) * negatives.sum(axis=0))

    def area_in_blocks(counts: Floats) -> Floats:
        starts = range(0, counts.shape[1], step)
        return np.concatenate([area(counts[:, start : start + step]) for start in starts])

    return area_in_blocks


def _runs(positive: Bools, scores: Floats) -> Ints:
    """Returns a group of every row, [n], such that pairs within a group count one half, or none.

    Groups follow the scores. Rows of one score are in one group; neighbouring scores share it where
    all their rows are of the class, or none is.
    """
    _, place = np.unique(scores, return_inverse=True)
    sizes = np.bincount(place)
    true = np.bincount(place, weights=positive, minlength=len(sizes))
    is_pure = (true == 0) | (true == sizes)

    joins = is_pure[1:] & is_pure[:-1] & ((true[1:] > 0) == (true[:-1] > 0))
    group = np.cumsum(np.append(0, ~joins))
    return np.asarray(group[place])


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Returns a quotient, NaN where the denominator is 0."""
    undefined = np.full(np.shape(numerator), np.nan)
    ratio: Floats = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return ratio
