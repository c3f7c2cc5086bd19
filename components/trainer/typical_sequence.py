"""A sequence as a whole: what is measured of it, and how far that is from what is usual.

The means of its columns, their trends over its length, and how columns go together. These
measurements are standardised by what is usual at that length and made uncorrelated; then their mean
square (the Mahalanobis distance) and the largest of them count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.contracts.names import NUM_STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Features = Mapping[str, tf.Tensor]

LEAST_EXAMPLES = 100  # eval examples with events; fewer say nothing about what is rare
SLACK_OF_DISTANCE = 1.2  # factor of the usual distance
LEAST_STEPS = 5  # of a sequence, to be measured as a whole; shorter ones can be anything
FAR = 4.0  # standard deviations beyond which a number counts no further in the whole
MOST_PRODUCTS = 12  # columns up to which it is looked at how they go together
FOLDS = 5
LEAST_VARIANCE = 0.05  # at any length, as a share of the variance at all lengths
LEAST_DEVIATION = 0.02  # of a measurement, so that what is nearly constant has some room
LEAST_DIRECTION = 0.01  # variance of a direction of standardised measurements, for that reason


def step_mask(features: Features, step: str) -> tf.Tensor:
    """Returns 1.0 for real steps, 0.0 for padding and later ones, [B, T]; `step` has a value each.

    Where outcomes share a sequence, it goes on after the steps that an outcome sees.
    """
    width = tf.shape(features[step])[1]
    return tf.sequence_mask(features[NUM_STEPS], width, dtype=tf.float32)


def highest_usual(values: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Returns the number [K] that a share of the rows [N, K] and one more row stay within."""
    rank = min(len(values), math.ceil((len(values) + 1) * share))
    found: NDArray[np.float32] = np.sort(values, axis=0)[rank - 1]
    return found


@dataclass(frozen=True)
class Whole:
    """Measurements of a sequence as a whole.

    Attributes:
        numbers: features of steps that are numbers.
        centres: their means over all steps, and their standard deviations, [2, F].
        rarities: for each feature with ids how rare each of them is, standardised [ids].
    """

    numbers: list[str]
    centres: NDArray[np.float32]
    rarities: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, numbers: list[str], words: Mapping[str, int], batches: Iterable[Features]) -> Whole:
        """Returns the measurements, standardised by the steps of the eval split.

        Args:
            numbers: features of steps that are numbers.
            words: features of steps with ids, and how many ids they have.
            batches: of the eval split.
        """
        counts = {name: np.zeros(size) for name, size in words.items()}
        sums, steps = np.zeros((2, len(numbers))), 0.0
        for batch in batches:
            is_step = step_mask(batch, [*words, *numbers][0]).numpy() > 0
            steps += is_step.sum()
            for name, found in counts.items():
                found += np.bincount(batch[name].numpy()[is_step], minlength=len(found))
            for place, name in enumerate(numbers):
                values = batch[name].numpy()[is_step].astype(np.float64)
                sums[:, place] += values.sum(), (values**2).sum()

        mean, square = sums / max(steps, 1.0)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        centres = np.stack([mean, np.where(deviation > 0, deviation, 1.0)])
        return cls(
            numbers,
            centres.astype(np.float32),
            {name: _rarity(found) for name, found in counts.items()},
        )

    def measure(self, features: Features) -> tf.Tensor:
        """Returns the measurements, float32 [B, S]: means, trends, products; last, the length."""
        is_step = step_mask(features, [*self.rarities, *self.numbers][0])
        length = tf.maximum(tf.reduce_sum(is_step, axis=1, keepdims=True), 1.0)
        parts = [tf.gather(rarity, features[name]) for name, rarity in self.rarities.items()]
        mean, deviation = self.centres
        parts += [
            (features[name] - mean[place]) / deviation[place]
            for place, name in enumerate(self.numbers)
        ]
        steps = tf.clip_by_value(tf.stack(parts, axis=-1), -FAR, FAR) * is_step[..., tf.newaxis]

        # Rows of weights, by which steps are summed: evenly, and rising from -1 to 1.
        place = tf.range(tf.shape(is_step)[1], dtype=tf.float32)[tf.newaxis]
        rising = (2 * place + 1) / length - 1
        weights = tf.stack([is_step, rising * is_step], axis=1) / length[..., tf.newaxis]
        count = len(parts)
        sums = tf.reshape(weights @ steps, [-1, 2 * count])
        if count > MOST_PRODUCTS:
            return tf.concat([sums, length], axis=1)

        products = tf.matmul(steps, steps, transpose_a=True) / length[..., tf.newaxis]
        upper = np.flatnonzero(np.triu(np.ones((count, count))))
        products = tf.gather(tf.reshape(products, [-1, count**2]), upper, axis=1)
        return tf.concat([sums, products, length], axis=1)


def _rarity(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns how rare each id is: minus the logarithm of its share, standardised."""
    shares = (counts + 1) / (counts + 1).sum()
    rarity: NDArray[np.float64] = -np.log(shares)
    mean = float(shares @ rarity)
    deviation = math.sqrt(float(shares @ (rarity - mean) ** 2))
    return ((rarity - mean) / max(deviation, 1e-6)).astype(np.float32)


@dataclass(frozen=True)
class Distance:
    """How far measurements are from what is usual for sequences of that length.

    Mean and variance of a measurement are those of one over the length: what sampling adds to them
    falls so.

    Attributes:
        mean: of each measurement: a constant, and what one over the length is multiplied by [2, S].
        variance: the same of its variance.
        least: the least variance at any length [S].
        whitener: makes standardised measurements uncorrelated, with a variance of one, [S, S].
        bounds: the largest familiar distances [2].
    """

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    least: NDArray[np.float32]
    whitener: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @classmethod
    def of(cls, measured: NDArray[np.float32], share: float) -> Distance | None:
        """Returns the distances from examples [N, S + 1]; None where too few are long enough.

        Each example's own distance is from the others, or bounds would be too tight.
        """
        measured = measured[measured[:, -1] >= LEAST_STEPS]
        if len(measured) < LEAST_EXAMPLES:
            return None
        distances = np.empty((len(measured), 2), np.float32)
        for fold in range(FOLDS):
            held_out = np.arange(len(measured)) % FOLDS == fold
            rest = cls._from(measured[~held_out])
            distances[held_out] = rest.in_graph(tf.constant(measured[held_out]))
        return replace(
            cls._from(measured),
            bounds=highest_usual(distances, share) * np.float32(SLACK_OF_DISTANCE),
        )

    @classmethod
    def _from(cls, measured: NDArray[np.float32]) -> Distance:
        values = measured[:, :-1].astype(np.float64)
        terms = np.stack([np.ones(len(measured)), 1 / measured[:, -1]], axis=1)
        mean = np.linalg.lstsq(terms, values)[0]
        squares = (values - terms @ mean) ** 2
        variance = np.linalg.lstsq(terms, squares)[0]
        least = LEAST_VARIANCE * squares.mean(axis=0) + LEAST_DEVIATION**2

        scaled = (values - terms @ mean) / np.sqrt(np.maximum(terms @ variance, least))
        along, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        whitener = directions / np.sqrt(np.maximum(along, LEAST_DIRECTION))
        numbers = (mean, variance, least, whitener, np.full(2, math.inf))
        return cls(*(number.astype(np.float32) for number in numbers))

    def in_graph(self, measured: tf.Tensor) -> tf.Tensor:
        """Returns the mean and the largest distance [B, 2] of measurements [B, S + 1]."""
        values, length = measured[:, :-1], measured[:, -1:]
        off = values - (self.mean[0] + self.mean[1] / length)
        variance = tf.maximum(self.variance[0] + self.variance[1] / length, self.least)
        squares = tf.matmul(off * tf.math.rsqrt(variance), self.whitener) ** 2
        mean, largest = tf.reduce_mean(squares, axis=1), tf.reduce_max(squares, axis=1)
        return tf.sqrt(tf.stack([mean, largest], axis=1))

    def is_far(self, measured: tf.Tensor) -> tf.Tensor:
        """Returns which sequences are too far from what is usual, bool [B]."""
        beyond = tf.reduce_any(self.in_graph(measured) > self.bounds, axis=1)
        return beyond & (measured[:, -1] >= LEAST_STEPS)
