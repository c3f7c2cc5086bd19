"""Turns raw values into what the network reads: ids for embeddings, or scaled numbers.

All functions work on a flat tensor [N] of values, so that steps and context share them.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_transform as tft

from components.config import Categorical, Numeric

MISSING_ID = 0  # id of a missing value; also what padding holds
OUT_OF_VOCABULARY_IDS = 1


def vocabulary_ids(values: tf.Tensor, feature: Categorical, name: str) -> tf.Tensor:
    """Returns the id of each word: 0 missing, 1..V the vocabulary by frequency, V + 1 out of vocabulary.

    Args:
        values: string [N]; "" is missing.
        feature: how many words are kept.
        name: file name of the vocabulary in the transform graph.

    Returns:
        int64 [N].
    """
    ids = tft.compute_and_apply_vocabulary(
        values, top_k=feature.vocabulary, num_oov_buckets=OUT_OF_VOCABULARY_IDS, vocab_filename=name
    )
    return tf.where(tf.equal(values, ""), tf.constant(MISSING_ID, tf.int64), ids + 1)


def numbers(values: tf.Tensor, feature: Numeric) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales numbers on the training split.

    Args:
        values: float32 [N]; NaN is missing.
        feature: clip, log, then z-score, quantile buckets or nothing, in this order.

    Returns:
        Bucket ids int64 [N] (0 missing, then 1..buckets) or scaled values float32 [N] (0 where missing;
        after a z-score that is the mean), and the missing indicator float32 [N].
    """
    missing = tf.math.is_nan(values)
    if feature.clip is not None:
        values = tf.clip_by_value(values, *feature.clip)
    if feature.log:
        values = tf.sign(values) * tf.math.log1p(tf.abs(values))
    if feature.scale == "buckets":
        boundaries = tft.quantiles(tf.boolean_mask(values, ~missing), feature.buckets, epsilon=0.1 / feature.buckets)
        ids = tft.apply_buckets(tf.where(missing, tf.zeros_like(values), values), boundaries)
        return tf.where(missing, tf.constant(MISSING_ID, tf.int64), ids + 1), tf.cast(missing, tf.float32)
    if feature.scale == "z_score":
        values = _z_score(values)
    return tf.where(missing, tf.zeros_like(values), values), tf.cast(missing, tf.float32)


def _z_score(values: tf.Tensor) -> tf.Tensor:
    """Centres and divides by the standard deviation; a constant or absent column becomes zeros, not NaN."""
    mean, variance = tft.mean(values), tft.var(values)  # both leave NaN out
    mean = tf.where(tf.math.is_finite(mean), mean, 0.0)
    deviation = tf.sqrt(variance)
    varies = deviation > 1e-6 * tf.maximum(tf.abs(mean), 1e-30)  # rounding leaves a constant a tiny variance
    return (values - mean) / tf.where(varies, deviation, 1.0)
