"""Hides words from the network while it is fitted, so that it learns to answer without them.

Nearly every word of the train split is in the vocabulary. So the row of an embedding that all
unknown words share would keep its first, random values, and the first unit that a server has never
seen would be answered from them. Here some words are unknown now and then, in batches for fitting
only.

Batches are changed before devices divide them, so what is hidden depends on the seed and on the
batch alone, not on how many devices there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from components.config.training import Categorical, Feature
from components.contracts.names import STEP_UNIT, context_feature, step_feature
from components.transform.learned import MISSING_ID

if TYPE_CHECKING:
    from components.node.settings import TrainerSettings
    from components.trainer.network import Embedded, NetworkInputs

DEFAULT_SHARE = 0.05  # of context and `step_unit`, which name what new logs have new words for


def masked_shares(settings: TrainerSettings) -> dict[str, float]:
    """Returns the share of words to hide, by transformed feature, without those of share 0."""
    shares = {
        step_feature(column): _share(feature, DEFAULT_SHARE if column == STEP_UNIT else 0.0)
        for column, feature in settings.steps.features.items()
    }
    shares |= {
        context_feature(column): _share(feature, DEFAULT_SHARE)
        for column, feature in settings.context.items()
    }
    return {name: share for name, share in shares.items() if share > 0}


def _share(feature: Feature, default: float) -> float:
    if not isinstance(feature, Categorical):
        return 0.0
    return default if feature.mask is None else feature.mask


def hide_words(
    batches: tf.data.Dataset, inputs: NetworkInputs, shares: Mapping[str, float], seed: int
) -> tf.data.Dataset:
    """Returns batches of which some words are unknown, others in every epoch.

    Args:
        batches: columns by name; ids of steps are [B, T], those of context [N].
        inputs: the inputs of the network.
        shares: the share of words to hide, by input. A word of a sequence is hidden at all of its
            steps, or at none; a missing value stays missing.
        seed: the same seed hides the same words.
    """
    if not shares:
        return batches
    features = {**inputs.steps, **inputs.context}
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def hide(columns: dict[str, tf.Tensor], pair: tf.Tensor) -> dict[str, tf.Tensor]:
        hidden = {}
        for place, (name, share) in enumerate(shares.items(), start=1):
            own = tf.stack([pair[0] + place, pair[1]])  # a seed for each feature
            hidden[name] = _hidden(columns[name], features[name], share, own)
        return {**columns, **hidden}

    pairs = seeds.batch(2, drop_remainder=True).map(lambda pair: tf.bitcast(pair, tf.int64))
    return tf.data.Dataset.zip(batches, pairs).map(hide)


def _hidden(ids: tf.Tensor, embedded: Embedded | None, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns ids [B] or [B, T], some of which are that of unknown words, the last one."""
    if embedded is None:
        raise ValueError("expected a feature with words, found numbers")
    draws = tf.random.stateless_uniform(
        tf.shape(ids)[:1], seed, minval=None, maxval=None, dtype=tf.uint64
    )
    if ids.shape.rank == 2:
        draws = _mixed(draws[:, tf.newaxis] + _mixed(tf.cast(ids, tf.uint64)))

    is_hidden = (draws < int(share * 2**64)) & tf.not_equal(ids, MISSING_ID)
    return tf.where(is_hidden, tf.constant(embedded.size - 1, ids.dtype), ids)


def _mixed(numbers: tf.Tensor) -> tf.Tensor:
    """Returns a number for each, uint64, any of whose bits changes with any bit of the number.

    It is the last step of SplitMix64 (Steele, Lea and Flood, 2014): a draw for every row and word,
    without a table of all rows and all words.
    """
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        shifted = tf.bitwise.right_shift(numbers, tf.constant(shift, tf.uint64))
        numbers = tf.bitwise.bitwise_xor(numbers, shifted) * tf.constant(factor, tf.uint64)
    shifted = tf.bitwise.right_shift(numbers, tf.constant(31, tf.uint64))
    return tf.bitwise.bitwise_xor(numbers, shifted)
