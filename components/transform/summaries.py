"""Summaries of sequences: what happened, how often and how recently, as one row of numbers.

The network may read them beside its own state (`model.summaries`), in Transform's graph and so in
the served model; the simple models are fitted to them. An outcome's summaries depend on the steps
it sees and on nothing else: later steps, other examples of a batch and padding change no bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import tensorflow as tf

from components.config.summaries import (
    DAY,
    DAYS,
    RECENT,
    TICKS,
    counts_words,
    knows_unit,
    list_summaries,
    plain_numbers,
)
from components.config.training import Categorical
from components.contracts.names import NUM_STEPS, SAME_UNIT, STEP_UNIT, TIME_TO_AS_OF
from components.transform.learned import MISSING_ID, signed_log, tamed

if TYPE_CHECKING:
    from components.config.training import Feature, Numeric, Steps

# Everything is counted and summed in float64, and rounded once. Sums go from the first step to the
# last: other orders would round otherwise, and depend on how long the batch's longest sequence is.
Channels: TypeAlias = dict[str, tf.Tensor]

_HASHES = 2**62
_NAN = np.float64(math.nan)


@dataclass(frozen=True)
class SummaryPlan:
    """Which summaries there are.

    Attributes:
        steps: the features of the steps.
        context: the columns beside the sequence.
        words: names of the words with the ids 1, 2, ... of the features that `counts_words`.
    """

    steps: Steps
    context: Mapping[str, Feature]
    words: Mapping[str, Sequence[str]]

    @classmethod
    def by_place(cls, steps: Steps, context: Mapping[str, Feature]) -> SummaryPlan:
        """Returns a plan that knows words only by their ids, as Transform does."""
        words = {
            name: [str(place + 1) for place in range(feature.vocabulary)]
            for name, feature in steps.features.items()
            if isinstance(feature, Categorical) and counts_words(name, feature)
        }
        return cls(steps, context, words)

    @property
    def names(self) -> list[str]:
        """The names of the summaries, in their order."""
        return [summary.name for summary in list_summaries(self.steps, self.context, self.words)]

    @property
    def asks_for_unit(self) -> bool:
        """Whether `summarise` needs to be told the unit of each outcome."""
        features = self.steps.features
        return knows_unit(features, self.context) and SAME_UNIT not in features


def summarise(
    plan: SummaryPlan,
    steps: Mapping[str, tf.RaggedTensor],
    rows: tf.Tensor,
    num_steps: tf.Tensor,
    unit: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the summaries of what each outcome sees: the first steps of one sequence.

    A number of steps is 0 where there are none. The time since an event that never happened is
    infinite, and anything else of no steps is NaN.

    Args:
        plan: which summaries there are.
        steps: ragged [B, T] by feature; float32 numbers as they are in the log, NaN for missing
            ones; int64 ids of words, 0 for missing ones, from 1 on the words of the plan, and any
            others above. Words of a feature without words in the plan may have any ids.
        rows: int64 [N], the sequence of each outcome.
        num_steps: int64 [N], how many of its steps the outcome sees.
        unit: int64 [N], the outcome's unit by the ids of `step_unit`, if `plan.asks_for_unit`.

    Returns:
        float32 [N, S], by `plan.names`.
    """
    sequences = _Sequences(steps, rows, num_steps)
    features = plan.steps.features
    numbers = {
        name: _Numbers(sequences, name, feature)
        for name, feature in plain_numbers(features).items()
    }

    # What is counted or summed along the steps, [B, T] each.
    along = {NUM_STEPS: sequences.is_step}
    for name, number in numbers.items():
        along |= {f"{name}.value": number.values, f"{name}.known": number.is_known}
        along |= {f"{name}.sum": number.unscaled}
    for name, feature in features.items():
        if counts_words(name, feature):
            ids = sequences.padded(name)
            along |= {
                f"{name}.{word}.count": _indicator(tf.equal(ids, place + 1))
                for place, word in enumerate(plan.words[name])
            }
        elif isinstance(feature, Categorical):
            along[f"{name}.different"] = sequences.is_new(name)
        elif name == TIME_TO_AS_OF:
            along |= _within_windows(sequences.padded(name))

    totals, recent = sequences.sum_along(along)
    found = {**totals, NUM_STEPS: tf.cast(num_steps, tf.float64)}
    for name, feature in features.items():
        if name in numbers:
            found |= _of_number(name, totals, recent)
            found[f"{name}.last"] = numbers[name].last
        elif counts_words(name, feature):
            for word in plan.words[name]:
                found[f"{name}.{word}.recent"] = recent[f"{name}.{word}.count"]
        elif isinstance(feature, Categorical):
            found[f"{name}.repeats"] = sequences.repeats(name)
        elif name == TIME_TO_AS_OF:
            found |= _of_time(sequences)
    if knows_unit(features, plan.context):
        found |= _of_unit(sequences, sequences.in_unit(unit), numbers)
    return tf.cast(tf.stack([found[name] for name in plan.names], axis=1), tf.float32)


def squashed(plan: SummaryPlan, summaries: tf.Tensor) -> tf.Tensor:
    """Returns summaries [N, S] with long tails in logarithms and NaN for infinity, to be scaled."""
    listed = list_summaries(plan.steps, plan.context, plan.words)
    finite = tf.where(tf.math.is_finite(summaries), summaries, float("nan"))
    logs = tf.reshape(signed_log(tf.reshape(finite, [-1])), tf.shape(finite))
    return tf.where(tf.constant([summary.has_tail for summary in listed]), logs, finite)


def word_hashes(words: tf.Tensor) -> tf.Tensor:
    """Returns ids of words for features whose words are not counted one by one; 0 for missing."""
    hashes = tf.strings.to_hash_bucket_fast(words, _HASHES) + 1
    return tf.where(tf.equal(words, ""), tf.constant(MISSING_ID, tf.int64), hashes)


class _Sequences:
    """Padded sequences [B, T], and the outcomes [N] along them.

    Attributes:
        is_step: 1.0 where a sequence has a step, [B, T].
        is_seen: whether an outcome sees a step, [N, T].
        last: the place of the last step that an outcome sees, [N]; 0 where it sees none.
    """

    def __init__(
        self, steps: Mapping[str, tf.RaggedTensor], rows: tf.Tensor, num_steps: tf.Tensor
    ) -> None:
        lengths = next(iter(steps.values())).row_lengths()
        longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        self._steps, self._rows, self._num_steps = steps, rows, num_steps
        self._shape = tf.stack([-1, longest])
        self.places = tf.range(longest)
        self.is_step = _indicator(tf.sequence_mask(lengths, longest))
        self.is_seen = tf.sequence_mask(num_steps, longest)
        self.last = tf.maximum(num_steps - 1, 0)

    def padded(self, name: str, values: tf.Tensor | None = None) -> tf.Tensor:
        """Returns a column [B, T], int64 or float64; or other values in its place, one per step."""
        column = self._steps[name]
        if values is not None:
            column = column.with_flat_values(values)
        dense = column.to_tensor(shape=self._shape)
        return dense if dense.dtype.is_integer else tf.cast(dense, tf.float64)

    def flat(self, name: str) -> tf.Tensor:
        """Returns a column, one value per step of all sequences."""
        return self._steps[name].flat_values

    def at(self, values: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        """Returns values [B, T, ...] at a place of each outcome's sequence, [N, ...]."""
        return tf.gather_nd(values, tf.stack([self._rows, places], axis=1))

    def of_outcomes(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the values [B, T] of each outcome's sequence, [N, T]."""
        return tf.gather(values, self._rows)

    def or_nan(self, values: tf.Tensor) -> tf.Tensor:
        """Returns values [N], NaN where an outcome sees no step."""
        return tf.where(self._num_steps > 0, values, _NAN)

    def sum_along(self, values: Channels) -> tuple[Channels, Channels]:
        """Returns the sums of values [B, T] over all steps seen, and over the recent ones, [N]."""
        stacked = tf.stack([*values.values()], axis=2)
        sees = _indicator(self._num_steps > 0)[:, tf.newaxis]
        totals = sees * self.at(tf.cumsum(stacked, axis=1), self.last)

        recent = tf.zeros_like(totals)
        for back in range(RECENT):
            place = self._num_steps - 1 - back
            there = _indicator(place >= 0)[:, tf.newaxis]
            recent += there * self.at(stacked, tf.maximum(place, 0))
        return (
            dict(zip(values, tf.unstack(totals, axis=1), strict=True)),
            dict(zip(values, tf.unstack(recent, axis=1), strict=True)),
        )

    def is_new(self, name: str) -> tf.Tensor:
        """Returns 1.0 where a word occurs for the first time in its sequence, [B, T]."""
        column = self._steps[name]
        _, words = tf.unique(column.flat_values, tf.int64)
        pairs = column.value_rowids() * (tf.size(words, tf.int64) + 1) + words
        _, groups = tf.unique(pairs, tf.int64)

        positions = tf.range(tf.size(groups, tf.int64))
        firsts = tf.math.unsorted_segment_min(positions, groups, tf.size(groups, tf.int64))
        is_first = tf.equal(tf.gather(firsts, groups), positions)
        is_word = tf.not_equal(column.flat_values, MISSING_ID)
        return self.padded(name, tf.cast(is_first & is_word, tf.float64))

    def repeats(self, name: str) -> tf.Tensor:
        """Returns how often the last step's word has been seen, [N]; 0 if it has none."""
        ids = self.padded(name)
        last = self.at(ids, self.last)[:, tf.newaxis]
        is_same = tf.equal(self.of_outcomes(ids), last) & tf.not_equal(last, MISSING_ID)
        return _count(is_same & self.is_seen)

    def in_unit(self, unit: tf.Tensor | None) -> tf.Tensor:
        """Returns whether a step seen is in the outcome's unit, [N, T]."""
        if unit is None:
            return self.is_seen & (self.of_outcomes(self.padded(SAME_UNIT)) > 0)
        asked = unit[:, tf.newaxis]
        is_asked = tf.equal(self.of_outcomes(self.padded(STEP_UNIT)), asked)
        return self.is_seen & is_asked & tf.not_equal(asked, MISSING_ID)


class _Numbers:
    """A column of numbers.

    Attributes:
        values: clipped and in logarithms as the feature says, [B, T]; 0 where missing.
        unscaled: clipped only.
        is_known: 1.0 where a number is there.
        last: of each outcome's last step, [N]; NaN where it is missing.
    """

    def __init__(self, sequences: _Sequences, name: str, feature: Numeric) -> None:
        flat = tf.cast(sequences.flat(name), tf.float32)
        is_known = tf.math.is_finite(flat)
        flat = tf.where(is_known, flat, 0.0)
        plain = tamed(flat, feature.model_copy(update={"log": False}))

        def padded(values: tf.Tensor) -> tf.Tensor:
            return sequences.padded(name, tf.where(is_known, values, 0.0))

        self.values, self.unscaled = padded(tamed(flat, feature)), padded(plain)
        self.is_known = padded(tf.ones_like(flat))
        known = sequences.at(self.is_known, sequences.last) > 0
        self.last = sequences.or_nan(
            tf.where(known, sequences.at(self.values, sequences.last), _NAN)
        )


def _of_number(name: str, totals: Channels, recent: Channels) -> Channels:
    value, known = f"{name}.value", f"{name}.known"
    return {
        f"{name}.mean": totals[value] / totals[known],
        f"{name}.recent": recent[value] / recent[known],
        f"{name}.missing": 1 - totals[known] / totals[NUM_STEPS],
    }


def _within_windows(left: tf.Tensor) -> Channels:
    """Returns 1.0 at steps in each window before `as_of`, and at the first of each day in it.

    Days are counted back from `as_of`: the first of them ends there.

    Args:
        left: the time to `as_of`, [B, T].
    """
    day = tf.math.ceil(left / DAY)
    before = tf.concat([tf.fill([tf.shape(day)[0], 1], _NAN), day[:, :-1]], axis=1)
    opens_day = tf.not_equal(day, before)

    windows = {f"events_{ticks}": left <= ticks for ticks in TICKS}
    windows |= {f"events_{days}d": day <= days for days in DAYS}
    windows |= {f"days_{days}d": opens_day & (day <= days) for days in DAYS[1:]}
    return {f"{TIME_TO_AS_OF}.{kind}": _indicator(is_in) for kind, is_in in windows.items()}


def _of_time(sequences: _Sequences) -> Channels:
    """Returns the times since the last and first step, and the longest time between two."""
    left = sequences.padded(TIME_TO_AS_OF)
    gaps = tf.pad(left[:, :-1] - left[:, 1:], [[0, 0], [1, 0]])
    longest = tf.reduce_max(tf.where(sequences.is_seen, sequences.of_outcomes(gaps), 0.0), axis=1)

    never = tf.constant(math.inf, tf.float64)
    has_steps = sequences.is_seen[:, 0]
    last = tf.where(has_steps, sequences.at(left, sequences.last), never)
    first = tf.where(has_steps, sequences.of_outcomes(left)[:, 0], never)
    kinds = {"last": last, "first": first, "longest_gap": sequences.or_nan(longest)}
    return {f"{TIME_TO_AS_OF}.{kind}": values for kind, values in kinds.items()}


def _of_unit(
    sequences: _Sequences, in_unit: tf.Tensor, numbers: Mapping[str, _Numbers]
) -> Channels:
    """Returns summaries of the steps in the outcome's unit, which are those in `in_unit` [N, T]."""
    is_recent = sequences.places > sequences.last[:, tf.newaxis] - RECENT
    found = {
        f"{SAME_UNIT}.count": _count(in_unit),
        f"{SAME_UNIT}.recent": _count(in_unit & is_recent),
    }
    for name, number in numbers.items():
        known = in_unit & (sequences.of_outcomes(number.is_known) > 0)
        values = tf.where(known, sequences.of_outcomes(number.values), 0.0)
        place = tf.reduce_max(tf.where(known, sequences.places, -1), axis=1)
        last = sequences.at(number.values, tf.maximum(place, 0))

        found[f"{name}.{SAME_UNIT}.mean"] = tf.cumsum(values, axis=1)[:, -1] / _count(known)
        found[f"{name}.{SAME_UNIT}.last"] = tf.where(place >= 0, last, _NAN)
    return found


def _indicator(condition: tf.Tensor) -> tf.Tensor:
    return tf.cast(condition, tf.float64)


def _count(condition: tf.Tensor) -> tf.Tensor:
    """Returns how often a condition [N, T] holds in each row; whole numbers add up exactly."""
    return tf.reduce_sum(_indicator(condition), axis=1)
