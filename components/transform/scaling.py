"""Turns raw values into what the network reads: ids for embeddings, or scaled numbers.

All functions work on flat tensors [N] of values, so that steps and context share them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tensorflow_transform as tft

from components.config import Categorical, Numeric
from components.transform.analyzers import Moments, Quantiles

MISSING_ID = 0  # id of a missing value; also what padding holds
OUT_OF_VOCABULARY_IDS = 1
VECTOR = 64  # a multiple of how many numbers a processor computes at once


def vocabulary_ids(values: tf.Tensor, feature: Categorical, name: str) -> tf.Tensor:
    """Returns the id of each word: 0 missing, 1..V the vocabulary by frequency, V + 1 out of vocabulary.

    A word is any bytes but none: with line breaks, blanks around it, of any length, UTF-8 or not.
    The vocabulary's file has one word per line, and those that could not stand there would share
    the id for unknown words, so all of them go through it as base64.

    Args:
        values: string [N]; "" is missing.
        feature: how many words are kept.
        name: file name of the vocabulary in the transform graph; `read_vocabulary` reads it.

    Returns:
        int64 [N].
    """
    ids = tft.compute_and_apply_vocabulary(
        tf.io.encode_base64(values),
        top_k=feature.vocabulary,
        num_oov_buckets=OUT_OF_VOCABULARY_IDS,
        vocab_filename=name,
    )
    return tf.where(tf.equal(values, ""), tf.constant(MISSING_ID, tf.int64), ids + 1)


def read_vocabulary(transform: tft.TFTransformOutput, name: str) -> list[bytes]:
    """Returns the words of the vocabulary that `vocabulary_ids` made, those of the ids 1..V."""
    entries = transform.vocabulary_by_name(name)
    return [base64.urlsafe_b64decode(entry + b"=" * (-len(entry) % 4)) for entry in entries]


def scaled_numbers(
    columns: Mapping[str, tf.Tensor], features: Mapping[str, Numeric]
) -> dict[str, tf.Tensor]:
    """Scales columns of numbers on the training split.

    Args:
        columns: float32 [N] by name; NaN is missing.
        features: of the same names: clip, log, then z-score, quantile buckets or nothing, in this order.

    Returns:
        By name: bucket ids int64 [N] (0 missing, then 1..buckets), or scaled values float32 [N] (0 where missing,
        which after a z-score is the mean).
    """
    tamed = {name: _tamed(columns[name], feature) for name, feature in features.items()}
    scaled = {name: _or_zero(values) for name, values in tamed.items()}

    # All columns at once: every analysis of its own costs Beam seconds.
    if centred := [name for name, feature in features.items() if feature.scale == "z_score"]:
        scores = _or_zero(_z_scores(tf.stack([tamed[name] for name in centred], axis=1)))
        scaled |= dict(zip(centred, tf.unstack(scores, axis=1), strict=True))

    if cut := [name for name, feature in features.items() if feature.scale == "buckets"]:
        parts = [features[name].buckets for name in cut]
        ids = _bucket_ids(tf.stack([tamed[name] for name in cut], axis=1), parts)
        scaled |= dict(zip(cut, tf.unstack(ids, axis=1), strict=True))
    return scaled


def is_missing(values: tf.Tensor) -> tf.Tensor:
    """Returns the missing indicator, 0.0 or 1.0."""
    return tf.cast(tf.math.is_nan(values), tf.float32)


def _tamed(values: tf.Tensor, feature: Numeric) -> tf.Tensor:
    if feature.clip is not None:
        values = tf.clip_by_value(values, *feature.clip)
    return tf.sign(values) * _log1p(tf.abs(values)) if feature.log else values


def _log1p(values: tf.Tensor) -> tf.Tensor:
    """Takes log(1 + x) [N]; the same x gives the same result wherever in a batch it stands.

    TensorFlow computes whole vectors of numbers by one formula, and what is left at the end of a
    tensor by another, whose last bits differ. So the tensor is filled up to whole vectors.
    """
    size = tf.size(values)
    filled = tf.pad(values, [[0, tf.math.floormod(-size, VECTOR)]])
    return tf.math.log1p(filled)[:size]


def _z_scores(values: tf.Tensor) -> tf.Tensor:
    """Centres [N, K] and divides by the standard deviations; a constant or absent column becomes zeros, not NaN."""
    columns = values.shape[1]
    moments = Moments(columns)
    [found] = tft.experimental.ptransform_analyzer([values], moments, [tf.float64], [[2, columns]])
    mean, deviation = tf.unstack(found)
    scores = (tf.cast(values, tf.float64) - mean) / tf.where(deviation > 0, deviation, 1.0)
    return tf.cast(scores, tf.float32)


def _bucket_ids(values: tf.Tensor, parts: Sequence[int]) -> tf.Tensor:
    """Returns the quantile bucket of each value [N, K], from 1; 0 where it is missing.

    Args:
        values: float32 [N, K].
        parts: how many buckets each column has.
    """
    inner = [count - 1 for count in parts]
    shape = [sum(inner)]
    quantiles = Quantiles(parts)
    [bounds] = tft.experimental.ptransform_analyzer([values], quantiles, [tf.float32], [shape])
    ids = [
        1 + tf.searchsorted(bound, column, side="right", out_type=tf.int64)
        for column, bound in zip(tf.unstack(values, axis=1), tf.split(bounds, inner), strict=True)
    ]
    missing = tf.math.is_nan(values)
    return tf.where(missing, tf.constant(MISSING_ID, tf.int64), tf.stack(ids, axis=1))


def _or_zero(values: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
