"""What is learned from the train split: vocabularies, scales, bucket bounds and priors.

The functions here build the graph of Transform, which is also part of the served model. The ones
for features take flat tensors of values [N], so that steps and context share them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf
import tensorflow_transform as tft

from components.transform.analyzers import GroupSums, Moments, Quantiles

if TYPE_CHECKING:
    from components.config.training import Categorical, Numeric

MISSING_ID = 0  # id of a missing value; padding holds it too
OUT_OF_VOCABULARY_IDS = 1
HASHES = 2**62  # buckets, so many that no two values share one
VECTOR = 64  # a multiple of the length of every processor's vectors


def vocabulary_ids(values: tf.Tensor, feature: Categorical, name: str) -> tf.Tensor:
    """Returns ids of words: 0 missing, 1..V the vocabulary by frequency, V + 1 out of vocabulary.

    A word is a non-empty string of any bytes and any length: it may contain line breaks, and need
    not be UTF-8. The vocabulary's file has one word per line, in base64: a word with a line break
    would otherwise be split and get the id of unknown words.

    Args:
        values: string [N]; "" is missing.
        feature: how many words are kept.
        name: file name of the vocabulary in the transform graph, for `read_vocabulary`.

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
    """Returns the words with the ids 1..V in a vocabulary that `vocabulary_ids` made."""
    entries = transform.vocabulary_by_name(name)
    return [base64.urlsafe_b64decode(entry + b"=" * (-len(entry) % 4)) for entry in entries]


def scaled_numbers(
    columns: Mapping[str, tf.Tensor], features: Mapping[str, Numeric]
) -> dict[str, tf.Tensor]:
    """Scales columns of numbers by what the train split holds.

    Args:
        columns: float32 [N] by name; NaN is missing.
        features: by the same names; clip comes first, then log, then z-score, buckets or nothing.

    Returns:
        By name: bucket ids int64 [N] (0 missing, then 1..buckets), or scaled values float32 [N] (0
        where missing, which is the mean after a z-score).
    """
    clean = {name: tamed(columns[name], feature) for name, feature in features.items()}
    scaled = {name: _or_zero(values) for name, values in clean.items()}

    # All columns at once: each analysis costs Beam seconds.
    if centred := [name for name, feature in features.items() if feature.scale == "z_score"]:
        scores = z_scores(tf.stack([clean[name] for name in centred], axis=1))
        scaled |= dict(zip(centred, tf.unstack(scores, axis=1), strict=True))

    if cut := [name for name, feature in features.items() if feature.scale == "buckets"]:
        parts = [features[name].buckets for name in cut]
        ids = _bucket_ids(tf.stack([clean[name] for name in cut], axis=1), parts)
        scaled |= dict(zip(cut, tf.unstack(ids, axis=1), strict=True))
    return scaled


def is_missing(values: tf.Tensor) -> tf.Tensor:
    """Returns the missing indicator, 0.0 or 1.0."""
    return tf.cast(tf.math.is_nan(values), tf.float32)


def tamed(values: tf.Tensor, feature: Numeric) -> tf.Tensor:
    """Returns numbers [N], clipped and in logarithms as the feature says; NaN stays NaN."""
    if feature.clip is not None:
        values = tf.clip_by_value(values, *feature.clip)
    return signed_log(values) if feature.log else values


def signed_log(values: tf.Tensor) -> tf.Tensor:
    """Returns sign(x) * log(1 + |x|) of float32 [N]."""
    return tf.sign(values) * _log1p(tf.abs(values))


def _log1p(values: tf.Tensor) -> tf.Tensor:
    """Computes log(1 + x) [N]; the same x gives the same result at every place in a batch.

    TensorFlow computes whole vectors of numbers by one formula, and the remainder at the end of a
    tensor by another, whose last bits differ. So the tensor is padded to whole vectors.
    """
    size = tf.size(values)
    padded = tf.pad(values, [[0, tf.math.floormod(-size, VECTOR)]])
    return tf.math.log1p(padded)[:size]


def z_scores(values: tf.Tensor) -> tf.Tensor:
    """Centres float32 [N, K] and divides by the standard deviations; what is missing becomes 0.

    A constant or absent column becomes zeros, not NaN.
    """
    columns = values.shape[1]
    moments = Moments(columns)
    [found] = tft.experimental.ptransform_analyzer([values], moments, [tf.float64], [[2, columns]])

    mean, deviation = tf.unstack(found)
    scores = (tf.cast(values, tf.float64) - mean) / tf.where(deviation > 0, deviation, 1.0)
    return _or_zero(tf.cast(scores, tf.float32))


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


def group_hashes(columns: Sequence[tf.Tensor], batch: tf.Tensor) -> tf.Tensor:
    """Returns the group of each example at every level, int64 [B, L], the narrowest first.

    Groups have levels: by all columns, by all but the first, and so on, to the whole split.

    Args:
        columns: the values that make a group, string [B] each, "" for missing, the most open one
            first; none makes one group of all examples.
        batch: B.
    """
    levels = [columns[start:] for start in range(len(columns) + 1)]
    keys = tf.stack([_group_key(level, batch) for level in levels], axis=1)
    return tf.strings.to_hash_bucket_fast(keys, HASHES)


def group_prior(
    groups: tf.Tensor, label: tf.Tensor, is_cold: tf.Tensor, smoothing: float
) -> tf.Tensor:
    """Returns the prior of each example's group: the answer for a cold start.

    A group's mean label is mixed with `smoothing` examples of the next wider level's mean, which is
    mixed in the same way; that of the whole split is not mixed.

    Having no events is informative in itself, so the prior is the mean label of the cold starts of
    a group, mixed with `smoothing` examples of that group's mean. The group is the narrowest one
    that is in the train split: a group that is not there gets the prior of its columns without the
    first, and so on, in the end that of the whole split. Without cold starts in the train split,
    the prior is the group's mean.

    Args:
        groups: see `group_hashes`.
        label: float32 [B, C]: one-hot classes, or the number with C = 1. Not read when serving.
        is_cold: bool [B]: whether an example has fewer events than the model needs for an answer.
        smoothing: how many examples of the wider level are mixed in.

    Returns:
        float32 [B, C].
    """
    # Each row counts itself, then sums its label: once for all examples, once for cold starts.
    counted = tf.cast(tf.concat([tf.ones_like(label[:, :1]), label], axis=1), tf.float64)
    cold_only = tf.where(is_cold[:, tf.newaxis], counted, tf.zeros_like(counted))
    width = label.shape[1] + 1
    known, sums = _group_sums(groups, tf.concat([counted, cold_only], axis=1), 2 * width)

    split = sums[:, -1]
    mean = split[:, 1:width] / split[:, :1]
    prior = _mixed(split[:, width:], mean, smoothing)
    for level in reversed(range(groups.shape[1] - 1)):
        own = sums[:, level]
        mean = _mixed(own[:, :width], mean, smoothing)
        cold_mean = _mixed(own[:, width:], mean, smoothing)
        prior = tf.where(known[:, level, tf.newaxis], cold_mean, prior)
    return tf.cast(prior, tf.float32)


def _group_sums(groups: tf.Tensor, counted: tf.Tensor, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks up the groups [B, L] of each row, with what the train split's rows in them sum up to.

    Args:
        groups: int64 [B, L]; the groups of the narrowest level lie within those of the others.
        counted: the rows that are summed, float64 [B, W].
        width: W.

    Returns:
        Which groups are in the train split, bool [B, L]; the sums, float64 [B, L, W], with zeros
        for the others.
    """
    known, sums = tft.experimental.ptransform_analyzer(
        [groups, counted], GroupSums(width), [tf.int64, tf.float64], [[None], [None, width]]
    )
    place = tf.searchsorted(known, tf.reshape(groups, [-1]))
    place = tf.reshape(tf.minimum(place, tf.size(known) - 1), tf.shape(groups))
    is_known = tf.equal(tf.gather(known, place), groups)
    found = tf.where(is_known[..., tf.newaxis], tf.gather(sums, place), tf.zeros([], tf.float64))
    return is_known, found


def _group_key(columns: Sequence[tf.Tensor], batch: tf.Tensor) -> tf.Tensor:
    """Joins columns to one string [B]; lengths keep different groups from giving the same."""
    parts = [tf.fill([batch], "")]
    for column in columns:
        parts += [tf.strings.as_string(tf.strings.length(column)), tf.constant(":"), column]
    return tf.strings.join(parts)


def _mixed(counted: tf.Tensor, wider: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Returns the mean of counted examples and of `smoothing` examples of the wider level.

    Args:
        counted: count, then sums of the label [B, 1 + C].
        wider: the wider level's mean [B, C].
        smoothing: how many of its examples are mixed in.
    """
    count = counted[:, :1] + smoothing
    mixed = (counted[:, 1:] + smoothing * wider) / tf.maximum(count, 1e-9)
    return tf.where(count > 0, mixed, wider)
