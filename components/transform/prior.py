"""The answer for a cold start: the mean label of similar learners, learned on the training split."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.analyzers import GroupSums


def group_prior(
    columns: Sequence[tf.Tensor], label: tf.Tensor, is_cold: tf.Tensor, smoothing: float
) -> tf.Tensor:
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
    hashes = tf.strings.to_hash_bucket_fast(_group_key(columns, batch), 2**62)
    counted = tf.cast(
        tf.concat([tf.ones_like(label[:, :1]), label], axis=1), tf.float64
    )  # [1, label]
    counted = tf.concat(
        [counted, tf.where(is_cold[:, tf.newaxis], counted, tf.zeros_like(counted))], axis=1
    )
    groups, sums = tft.experimental.ptransform_analyzer(
        [hashes, counted], GroupSums(2 * width), [tf.int64, tf.float64], [[None], [None, 2 * width]]
    )
    place = tf.minimum(tf.searchsorted(groups, hashes), tf.size(groups) - 1)
    known = tf.equal(tf.gather(groups, place), hashes)
    own = tf.where(
        known[:, tf.newaxis], tf.gather(sums, place), tf.zeros([1, 2 * width], tf.float64)
    )
    split = sums[-1:]
    split_mean = split[:, 1:width] / split[:, :1]
    group_mean = _mixed(own[:, :width], split_mean, smoothing)
    cold_mean = _mixed(split[:, width:], split_mean, smoothing)
    prior = tf.where(known[:, tf.newaxis], _mixed(own[:, width:], group_mean, smoothing), cold_mean)
    return tf.cast(prior, tf.float32)


def _group_key(columns: Sequence[tf.Tensor], batch: tf.Tensor) -> tf.Tensor:
    """Joins columns to one string [B]; with its length before it no value can pass for two."""
    parts = [tf.fill([batch], "")]
    for column in columns:
        parts += [tf.strings.as_string(tf.strings.length(column)), tf.constant(":"), column]
    return tf.strings.join(parts)


def _mixed(counted: tf.Tensor, wider: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Mean of counted examples [B, 1 + C] and `smoothing` examples of the wider level's mean [B, C]."""
    count = counted[:, :1] + smoothing
    mixed = (counted[:, 1:] + smoothing * wider) / tf.maximum(count, 1e-9)
    return tf.where(count > 0, mixed, wider)
