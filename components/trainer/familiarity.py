"""Whether a learner is like those the model was fitted to, and if not, in what.

What a model says of a learner unlike any that it has seen rests on nothing, and no promise of
coverage holds. Two things are looked at, with bounds from the eval split:

- each column: numbers beyond the range, words that the vocabulary does not know, missing values;
- the sequence as a whole, which may be strange though each column is usual; see
  `components.trainer.typical_sequence`.

Numbers are those that the network reads. A clipped or bucketed one cannot be out of range, as the
network does not see how far it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    UNFAMILIAR,
    context_feature,
    context_is_missing,
    step_feature,
    step_is_missing,
)
from components.trainer.answer_parts import Fitted
from components.trainer.conformal import joined_names
from components.trainer.typical_sequence import (
    LEAST_EXAMPLES,
    Distance,
    Features,
    Whole,
    highest_usual,
    step_mask,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from components.config.training import Feature
    from components.node.settings import TrainerSettings
    from components.trainer.answer_parts import Answered, Evidence
    from components.trainer.network import Embedded, NetworkInputs

SEQUENCE = "sequence"  # what is named where no single column is to blame
MOST_EXAMPLES = 100_000  # that bounds are fitted to
SLACK = 0.25  # of the usual range, added at both of its ends
LEAST_SLACK = 0.01  # for a column that never changes
SLACK_OF_SHARES = 0.25  # added to the usual share of unknown words, or of missing values


def fit_familiarity(evidence: Evidence) -> Fitted | None:
    """Returns what answers whether a learner is familiar; None with too few examples to tell."""
    settings, split = evidence.settings, evidence.split
    if (~evidence.answers.is_cold[:MOST_EXAMPLES]).sum() < LEAST_EXAMPLES:
        return None
    columns = Columns.of(settings, split.inputs)
    numbers = [reading.feature for reading in columns.step_numbers]
    whole = Whole.of(numbers, columns.words, split.batches())

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
        steps = highest_usual(extremes[~is_cold, : self.of_steps], share)
        others = highest_usual(extremes[:, self.of_steps :], share)
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


def _with_slack(highest: NDArray[np.float32], numbers: int) -> list[NDArray[np.float32]]:
    """Adds slack to bounds of numbers, of their negatives, and then of shares."""
    up, down, shares = np.split(highest, [numbers, 2 * numbers])
    slack = SLACK * (up + down) + LEAST_SLACK
    return [up + slack, down + slack, shares + SLACK_OF_SHARES]


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
