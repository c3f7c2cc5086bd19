"""The answer for a cold start: the mean label of similar learners, learned on the training split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

SEPARATOR = "\x1f"  # between the values of a group; no column of text holds it
Batch = tuple[np.ndarray, np.ndarray]  # hashes of groups [B], rows to sum [B, K]


def group_prior(columns: Sequence[tf.Tensor], label: tf.Tensor, is_cold: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Returns the prior of each example's group.

    To have no events is itself telling, so the prior has two levels: the mean label of the group, mixed with
    `smoothing` examples of the whole split; and the mean label of the group's own cold starts, mixed with
    `smoothing` examples of the first. Where training saw no cold start the two are equal. A group that training
    never saw gets the same from the whole split.

    Args:
        columns: what makes a group: string [B] each, "" for missing; none for one group of all.
        label: float32 [B, C]: one-hot classes, or the number with C = 1. Not read when serving.
        is_cold: bool [B]: examples with fewer events than the model answers for.
        smoothing: how many examples of the wider level are mixed in.

    Returns:
        float32 [B, C].
    """
    batch, width = tf.shape(is_cold)[0], label.shape[1] + 1
    hashes = tf.strings.to_hash_bucket_fast(tf.strings.join([tf.fill([batch], ""), *columns], SEPARATOR), 2**62)
    counted = tf.cast(tf.concat([tf.ones_like(label[:, :1]), label], axis=1), tf.float64)  # [1, label]
    counted = tf.concat([counted, tf.where(is_cold[:, tf.newaxis], counted, tf.zeros_like(counted))], axis=1)
    groups, sums = tft.experimental.ptransform_analyzer(
        [hashes, counted], GroupSums(), [tf.int64, tf.float64], [[None], [None, 2 * width]]
    )
    place = tf.minimum(tf.searchsorted(groups, hashes), tf.size(groups) - 1)
    known = tf.equal(tf.gather(groups, place), hashes)
    own = tf.where(known[:, tf.newaxis], tf.gather(sums, place), tf.zeros([1, 2 * width], tf.float64))
    split = tf.reduce_sum(sums, axis=0, keepdims=True)
    split_mean = split[:, 1:width] / split[:, :1]
    group_mean = _mixed(own[:, :width], split_mean, smoothing)
    cold_mean = _mixed(split[:, width:], split_mean, smoothing)
    prior = tf.where(known[:, tf.newaxis], _mixed(own[:, width:], group_mean, smoothing), cold_mean)
    return tf.cast(prior, tf.float32)


def _mixed(counted: tf.Tensor, wider: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Mean of counted examples [B, 1 + C] and `smoothing` examples of the wider level's mean [B, C]."""
    count = counted[:, :1] + smoothing
    mixed = (counted[:, 1:] + smoothing * wider) / tf.maximum(count, 1e-9)
    return tf.where(count > 0, mixed, wider)


class GroupSums(beam.PTransform):  # type: ignore[misc]
    """Sums rows per group: batches of (hashes [B], rows [B, K]) to sorted hashes [G] and sums [G, K]."""

    def expand(self, batches: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
        """Applies the transform; both results are collections of one array."""
        groups = (
            batches
            | "SumBatch" >> beam.FlatMap(_sum_batch)
            | "SumGroup" >> beam.CombinePerKey(_sum_rows)
            | "Collect" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(_sorted_arrays)
        )
        return groups | "Hashes" >> beam.Map(lambda pair: pair[0]), groups | "Sums" >> beam.Map(lambda pair: pair[1])


def _sum_batch(batch: Batch) -> Iterator[tuple[int, np.ndarray]]:
    hashes, place = np.unique(batch[0], return_inverse=True)
    sums = np.zeros((len(hashes), batch[1].shape[1]))
    np.add.at(sums, place, batch[1])
    yield from zip(hashes.tolist(), sums, strict=True)


def _sum_rows(rows: Iterable[np.ndarray]) -> np.ndarray:
    total: np.ndarray = np.sum(list(rows), axis=0)
    return total


def _sorted_arrays(pairs: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    return np.array([key for key, _ in pairs], np.int64), np.stack([row for _, row in pairs])
