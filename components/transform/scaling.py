"""Turns raw values into what the network reads: ids for embeddings, or scaled numbers.

All functions work on flat tensors [N] of values, so that steps and context share them.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def scaled_numbers(columns: Mapping[str, tf.Tensor], features: Mapping[str, Numeric]) -> dict[str, tf.Tensor]:
    """Scales columns of numbers on the training split.

    Args:
        columns: float32 [N] by name; NaN is missing.
        features: of the same names: clip, log, then z-score, quantile buckets or nothing, in this order.

    Returns:
        By name: bucket ids int64 [N] (0 missing, then 1..buckets), or scaled values float32 [N] (0 where missing,
        which after a z-score is the mean).
    """
    tamed = {name: _tamed(columns[name], feature) for name, feature in features.items()}
    centred = [name for name, feature in features.items() if feature.scale == "z_score"]
    if centred:  # all at once: every analysis of its own costs Beam seconds
        scores = _z_scores(tf.stack([tamed[name] for name in centred], axis=1))
        tamed |= dict(zip(centred, tf.unstack(scores, axis=1), strict=True))
    return {
        name: _bucket_ids(values, features[name].buckets) if features[name].scale == "buckets" else _or_zero(values)
        for name, values in tamed.items()
    }


def is_missing(values: tf.Tensor) -> tf.Tensor:
    """Returns the missing indicator, 0.0 or 1.0."""
    return tf.cast(tf.math.is_nan(values), tf.float32)


def _tamed(values: tf.Tensor, feature: Numeric) -> tf.Tensor:
    if feature.clip is not None:
        values = tf.clip_by_value(values, *feature.clip)
    return tf.sign(values) * tf.math.log1p(tf.abs(values)) if feature.log else values


def _z_scores(values: tf.Tensor) -> tf.Tensor:
    """Centres [N, K] and divides by the standard deviations; a constant or absent column becomes zeros, not NaN."""
    mean = tft.mean(values, reduce_instance_dims=False)  # leaves NaN out, as the variance does
    deviation = tf.sqrt(tft.var(values, reduce_instance_dims=False))
    mean = tf.where(tf.math.is_finite(mean), mean, 0.0)
    varies = deviation > 1e-6 * tf.maximum(tf.abs(mean), 1e-30)  # rounding leaves a constant a tiny variance
    return (values - mean) / tf.where(varies, deviation, 1.0)


def _bucket_ids(values: tf.Tensor, buckets: int) -> tf.Tensor:
    missing = tf.math.is_nan(values)
    boundaries = tft.quantiles(tf.boolean_mask(values, ~missing), buckets, epsilon=0.1 / buckets)
    return tf.where(missing, tf.constant(MISSING_ID, tf.int64), tft.apply_buckets(_or_zero(values), boundaries) + 1)


def _or_zero(values: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
