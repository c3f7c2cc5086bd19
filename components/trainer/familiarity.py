"""Whether a learner is like those the model was fitted to, and if not, in what.

What a model says of a learner unlike any that it has seen rests on nothing, and no promise of
coverage holds. Two things are looked at, with bounds from the eval split:

- each column: numbers beyond the range, words that the vocabulary does not know, missing values;
- the sequence as a whole: the means of its columns, their trends over its length, and how columns
  go together. These measurements are standardised by what is usual at that length and made
  uncorrelated; then their mean square (the Mahalanobis distance) and the largest of them count.

Numbers are those that the network reads. A clipped or bucketed one cannot be out of range, as the
network does not see how far it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from components.config.training import Categorical
from components.contracts.calibration import Familiar
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    BASIS_UNFAMILIAR,
    NUM_STEPS,
    UNFAMILIAR,
    context_feature,
    context_is_missing,
    step_feature,
    step_is_missing,
)
from components.trainer.conformal import joined_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from components.config.training import Feature
    from components.node.settings import TrainerSettings
    from components.trainer.constants import Answered, Evidence, Fitted
    from components.trainer.network import Embedded, NetworkInputs

Features = Mapping[str, tf.Tensor]

SEQUENCE = "sequence"  # what is named where no single column is to blame
LEAST_EXAMPLES = 100  # eval examples with events; fewer say nothing about what is rare
MOST_EXAMPLES = 100_000  # that bounds are fitted to
SLACK = 0.25  # of the usual range, added at both of its ends
LEAST_SLACK = 0.01  # for a column that never changes
SLACK_OF_SHARES = 0.25  # added to the usual share of unknown words, or of missing values
SLACK_OF_DISTANCE = 1.2  # factor of the usual distance
LEAST_STEPS = 5  # of a sequence, to be measured as a whole; shorter ones can be anything
FAR = 4.0  # standard deviations beyond which a number counts no further in the whole
MOST_PRODUCTS = 12  # columns up to which it is looked at how they go together
FOLDS = 5
LEAST_VARIANCE = 0.05  # at any length, as a share of the variance at all lengths
LEAST_DEVIATION = 0.02  # of a measurement, so that what is nearly constant has some room
LEAST_DIRECTION = 0.01  # variance of a direction of standardised measurements, for that reason


def fit_familiarity(evidence: Evidence) -> Fitted | None:
    """Returns what answers whether a learner is familiar; None with too few examples to tell."""
    from components.trainer.constants import Fitted  # which lists this function

    settings, split = evidence.settings, evidence.split
    if (~evidence.answers.is_cold[:MOST_EXAMPLES]).sum() < LEAST_EXAMPLES:
        return None
    columns = Columns.of(settings, split.inputs)
    whole = Whole.of(columns, split.batches())

    @tf.function(autograph=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def measure(batch: Features) -> tuple[tf.Tensor, tf.Tensor]:
        return columns.extremes(batch), whole.measure(batch)

    extremes, measured = _rows(map(measure, split.batches()))
    is_cold = evidence.answers.is_cold[: len(extremes)]
    share = settings.uncertainty.familiar
    part = Familiarity(
        columns,
        whole,
        columns.bounds(extremes, is_cold, share),
        Distance.of(measured[~is_cold], share),
    )

    called = part.flags(*map(tf.constant, (extremes, measured, is_cold))).numpy()
    record = Familiar(
        share=share,
        checked=part.names,
        examples=len(extremes),
        distances=part.distance.bounds.tolist() if part.distance else [],
        called=dict(zip(part.names, called.mean(axis=0).tolist(), strict=True)),
    )
    return Fitted(part, {"familiar": record})


def _rows(batches: Iterable[tuple[tf.Tensor, ...]]) -> list[NDArray[np.float32]]:
    """Returns the first `MOST_EXAMPLES` rows of batches, column by column."""
    taken: list[tuple[tf.Tensor, ...]] = []
    count = 0
    for batch in batches:
        taken.append(batch)
        count += len(batch[0])
        if count >= MOST_EXAMPLES:
            break
    columns = zip(*taken, strict=True)
    return [np.concatenate([part.numpy() for part in column])[:MOST_EXAMPLES] for column in columns]


class Reading(NamedTuple):
    """A number of a learner, or of each step.

    Attributes:
        column: the column that is named if it is unfamiliar.
        feature: the transformed feature.
        unknown: the id of unknown words: 1 is read for it, 0 for others; None for numbers.
    """

    column: str
    feature: str
    unknown: int | None = None

    def read(self, features: Features) -> tf.Tensor:
        """Returns the numbers, float32 [B], or [B, T] for steps."""
        values = features[self.feature]
        if self.unknown is not None:
            values = tf.equal(values, self.unknown)
        return tf.cast(values, tf.float32)


@dataclass(frozen=True)
class Columns:
    """The columns that are looked at one by one.

    Attributes:
        step_numbers: numbers of steps, of which the highest and the lowest count.
        step_shares: 0 or 1 for each step, of which the mean counts.
        numbers: numbers beside the sequence.
        shares: 0 or 1 beside the sequence.
        steps: all features of steps.
        words: those with ids, and how many ids they have.
    """

    step_numbers: list[Reading]
    step_shares: list[Reading]
    numbers: list[Reading]
    shares: list[Reading]
    steps: list[str]
    words: dict[str, int]

    @classmethod
    def of(cls, settings: TrainerSettings, inputs: NetworkInputs) -> Columns:
        """Returns the columns of a configuration."""
        steps = settings.steps.features
        return cls(
            *_readings(steps, inputs.steps, step_feature, step_is_missing),
            *_readings(settings.context, inputs.context, context_feature, context_is_missing),
            steps=[*inputs.steps],
            words={name: item.size for name, item in inputs.steps.items() if item is not None},
        )

    @property
    def checked(self) -> list[str]:
        """The column of each number that `extremes` returns."""
        of_steps = [*self.step_numbers, *self.step_numbers, *self.step_shares]
        others = [*self.numbers, *self.numbers, *self.shares]
        return [reading.column for reading in (*of_steps, *others)]

    @property
    def of_steps(self) -> int:
        """How many of these numbers are of steps; they come first."""
        return 2 * len(self.step_numbers) + len(self.step_shares)

    def extremes(self, features: Features) -> tf.Tensor:
        """Returns numbers that are too large where a column is unfamiliar, float32 [B, K]."""
        is_step = step_mask(features, self.steps[0])[..., tf.newaxis]
        steps = _stacked(self.step_numbers, features, is_step[..., 0])
        absent = tf.constant(-math.inf)
        highest = tf.reduce_max(tf.where(is_step > 0, steps, absent), axis=1)
        lowest = tf.reduce_max(tf.where(is_step > 0, -steps, absent), axis=1)

        length = tf.maximum(tf.reduce_sum(is_step, axis=1), 1.0)
        shares = _stacked(self.step_shares, features, is_step[..., 0])
        shares = tf.reduce_sum(shares * is_step, axis=1) / length

        like = length[:, 0]
        numbers = _stacked(self.numbers, features, like)
        others = _stacked(self.shares, features, like)
        return tf.concat([highest, lowest, shares, numbers, -numbers, others], axis=1)

    def bounds(
        self, extremes: NDArray[np.float32], is_cold: NDArray[np.bool_], share: float
    ) -> NDArray[np.float32]:
        """Returns the largest familiar number of each kind, [K], so that a share is within it.

        Args:
            extremes: of the eval split [N, K].
            is_cold: cold starts, whose steps do not count [N].
            share: of the examples, within each bound before slack is added.
        """
        steps = _highest(extremes[~is_cold, : self.of_steps], share)
        others = _highest(extremes[:, self.of_steps :], share)
        return np.concatenate(
            [
                *_with_slack(steps, len(self.step_numbers)),
                *_with_slack(others, len(self.numbers)),
            ]
        ).astype(np.float32)


def _readings(
    features: Mapping[str, Feature],
    embedded: Mapping[str, Embedded | None],
    name_of: Callable[[str], str],
    missing_of: Callable[[str], str],
) -> tuple[list[Reading], list[Reading]]:
    """Returns what is read of columns: numbers, then what is 0 or 1."""
    numbers, shares = [], []
    for column, feature in features.items():
        name = name_of(column)
        item = embedded[name]
        if isinstance(feature, Categorical):
            assert item is not None
            shares.append(Reading(column, name, unknown=item.size - 1))
            continue
        if item is None:
            numbers.append(Reading(column, name))
        shares.append(Reading(column, missing_of(column)))
    return numbers, shares


def _stacked(readings: Sequence[Reading], features: Features, like: tf.Tensor) -> tf.Tensor:
    """Returns readings on a last axis; an empty one without any, beside the axes of `like`."""
    if readings:
        return tf.stack([reading.read(features) for reading in readings], axis=-1)
    return tf.zeros(tf.concat([tf.shape(like), [0]], axis=0))


def _highest(values: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Returns the number [K] that a share of the rows [N, K] and one more row stay within."""
    rank = min(len(values), math.ceil((len(values) + 1) * share))
    found: NDArray[np.float32] = np.sort(values, axis=0)[rank - 1]
    return found


def _with_slack(highest: NDArray[np.float32], numbers: int) -> list[NDArray[np.float32]]:
    """Adds slack to bounds of numbers, of their negatives, and then of shares."""
    up, down, shares = np.split(highest, [numbers, 2 * numbers])
    slack = SLACK * (up + down) + LEAST_SLACK
    return [up + slack, down + slack, shares + SLACK_OF_SHARES]


def step_mask(features: Features, step: str) -> tf.Tensor:
    """Returns 1.0 for real steps, 0.0 for padding and later ones, [B, T]; `step` has a value each.

    Where outcomes share a sequence, it goes on after the steps that an outcome sees.
    """
    width = tf.shape(features[step])[1]
    return tf.sequence_mask(features[NUM_STEPS], width, dtype=tf.float32)


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
    def of(cls, columns: Columns, batches: Iterable[Features]) -> Whole:
        """Returns the measurements, standardised by the steps of the eval split."""
        numbers = [reading.feature for reading in columns.step_numbers]
        counts = {name: np.zeros(size) for name, size in columns.words.items()}
        sums, steps = np.zeros((2, len(numbers))), 0.0
        for batch in batches:
            is_step = step_mask(batch, columns.steps[0]).numpy() > 0
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
            cls._from(measured), bounds=_highest(distances, share) * np.float32(SLACK_OF_DISTANCE)
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


@dataclass(frozen=True)
class Familiarity:
    """Answers what is unfamiliar about a learner.

    Attributes:
        columns: what is looked at one by one.
        whole: what is looked at together.
        bounds: of the columns [K].
        distance: of the whole; None where it is not looked at.
    """

    columns: Columns
    whole: Whole
    bounds: NDArray[np.float32]
    distance: Distance | None

    @property
    def names(self) -> list[str]:
        """What can be named: the columns, and the sequence."""
        columns = [*dict.fromkeys(self.columns.checked)]
        return columns if self.distance is None else [*columns, SEQUENCE]

    def outputs(self, answered: Answered) -> dict[str, tf.Tensor]:
        """Returns `unfamiliar` [B], the names joined by ", ", and `basis` [B]."""
        flags = self.flags(
            self.columns.extremes(answered.features),
            self.whole.measure(answered.features),
            answered.is_cold,
        )
        warm = tf.where(tf.reduce_any(flags, axis=1), BASIS_UNFAMILIAR, BASIS_SEQUENCE)
        return {
            UNFAMILIAR: joined_names(flags, self.names, ", "),
            BASIS: tf.where(answered.is_cold, BASIS_PRIOR, warm),
        }

    def flags(self, extremes: tf.Tensor, measured: tf.Tensor, is_cold: tf.Tensor) -> tf.Tensor:
        """Returns which of `names` are unfamiliar, bool [B, N]; of cold starts no steps count.

        Args:
            extremes: of the columns [B, K].
            measured: of the whole [B, S].
            is_cold: [B].
        """
        checked = self.columns.checked
        of_steps = np.arange(len(checked)) < self.columns.of_steps
        counts = ~(is_cold[:, tf.newaxis] & of_steps)
        beyond = tf.cast((extremes > self.bounds) & counts, tf.float32)
        columns = [*dict.fromkeys(checked)]
        belongs = np.array([[name == other for name in columns] for other in checked], np.float32)
        flags = tf.matmul(beyond, belongs) > 0
        if self.distance is None:
            return flags
        far = self.distance.is_far(measured) & ~is_cold
        return tf.concat([flags, far[:, tf.newaxis]], axis=1)
