"""The preprocessing function: runs in Transform on the log, and in the served model on requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from components.config.summaries import counts_words
from components.config.training import Categorical, Feature, Numeric
from components.contracts.names import (
    NUM_STEPS,
    SUMMARIES,
    TRANSFORMED_LABEL,
    TRANSFORMED_PRIOR,
    UNIT,
    context_feature,
    context_is_missing,
    step_feature,
    step_is_missing,
)
from components.node.settings import TransformSettings
from components.transform.learned import (
    group_prior,
    is_missing,
    scaled_numbers,
    vocabulary_ids,
    z_scores,
)
from components.transform.summaries import SummaryPlan, squashed, summarise, word_hashes

if TYPE_CHECKING:
    from components.config.data import Label

Column: TypeAlias = tf.Tensor | tf.SparseTensor | tf.RaggedTensor


def input_columns(settings: TransformSettings) -> list[str]:
    """Returns the names of the columns that `preprocessing_fn` reads."""
    features = [*settings.steps.features, *settings.context, *settings.prior.group_by]
    return sorted({NUM_STEPS, settings.label.column, *features})


def preprocessing_fn(
    inputs: Mapping[str, Column], custom_config: Mapping[str, Any]
) -> dict[str, Column]:
    """Transforms a batch of examples.

    Args:
        inputs: the columns of ExampleGen, by name; an example may lack context columns.
        custom_config: `config` holds the `TransformSettings`.

    Returns:
        By the names in `components.contracts.names`: ragged step features [B, T], context [B], the
        label [B], the prior [B, C], the number of events [B] as int64, and summaries [B, S] where
        the network reads them.
    """
    settings = TransformSettings.from_property(custom_config["config"])
    steps, prior = settings.steps, settings.prior

    label, one_hot = _label(inputs, settings.label)
    num_steps = tf.cast(scalar(inputs[NUM_STEPS], missing=0.0), tf.int64)
    outputs = {NUM_STEPS: num_steps, TRANSFORMED_LABEL: label}

    columns = {name: ragged(inputs[name]) for name in steps.features}
    outputs |= _step_outputs(steps.features, columns)
    outputs |= _context_outputs(settings.context, inputs)
    if settings.summaries:
        outputs[SUMMARIES] = _scaled_summaries(settings, columns, inputs, outputs)

    groups = [scalar(inputs[name], missing="") for name in prior.group_by]
    is_cold = num_steps < steps.min_steps
    outputs[TRANSFORMED_PRIOR] = group_prior(groups, one_hot, is_cold, prior.smoothing)
    return outputs


def _label(inputs: Mapping[str, Column], label: Label) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the label as the loss reads it [B], and as a row whose mean is the prior [B, C]."""
    if label.task == "regression":
        value = scalar(inputs[label.column], missing=0.0)
        return value, value[:, tf.newaxis]

    words = scalar(inputs[label.column], missing="")
    is_class = tf.equal(words[:, tf.newaxis], tf.constant([label.classes]))
    one_hot = tf.cast(is_class, tf.float32)
    return tf.argmax(one_hot, axis=1), one_hot


def _step_outputs(
    features: Mapping[str, Feature], columns: Mapping[str, tf.RaggedTensor]
) -> dict[str, tf.RaggedTensor]:
    outputs: dict[str, tf.Tensor] = {}
    numeric: dict[str, Numeric] = {}
    for name, feature in features.items():
        flat = columns[name].flat_values
        if isinstance(feature, Categorical):
            outputs[step_feature(name)] = vocabulary_ids(flat, feature, step_feature(name))
        else:
            outputs[step_is_missing(name)] = is_missing(flat)
            numeric[name] = feature

    numbers = {name: columns[name].flat_values for name in numeric}
    for name, values in scaled_numbers(numbers, numeric).items():
        outputs[step_feature(name)] = values

    like = next(iter(columns.values()))  # all step features of an example are equally long
    return {name: like.with_flat_values(values) for name, values in outputs.items()}


def _context_outputs(
    features: Mapping[str, Feature], inputs: Mapping[str, Column]
) -> dict[str, tf.Tensor]:
    outputs: dict[str, tf.Tensor] = {}
    numeric: dict[str, Numeric] = {}
    for name, feature in features.items():
        if isinstance(feature, Categorical):
            words = scalar(inputs[name], missing="")
            outputs[context_feature(name)] = vocabulary_ids(words, feature, context_feature(name))
        else:
            numeric[name] = feature

    numbers = {name: scalar(inputs[name], missing=float("nan")) for name in numeric}
    for name, values in numbers.items():
        outputs[context_is_missing(name)] = is_missing(values)
    for name, values in scaled_numbers(numbers, numeric).items():
        outputs[context_feature(name)] = values
    return outputs


def _scaled_summaries(
    settings: TransformSettings,
    columns: Mapping[str, tf.RaggedTensor],
    inputs: Mapping[str, Column],
    outputs: Mapping[str, Column],
) -> tf.Tensor:
    """Returns the summaries of each example [B, S], in logarithms where they have tails, z-scored.

    Args:
        settings: the features.
        columns: the steps as they are in the log, ragged [B, T].
        inputs: the columns of ExampleGen.
        outputs: transformed steps, with the ids of words.
    """
    plan = SummaryPlan.by_place(settings.steps, settings.context)
    steps = dict(columns)
    for name, feature in settings.steps.features.items():
        if counts_words(name, feature):
            steps[name] = outputs[step_feature(name)]
        elif isinstance(feature, Categorical):
            steps[name] = columns[name].with_flat_values(word_hashes(columns[name].flat_values))

    lengths = next(iter(columns.values())).row_lengths()
    unit = word_hashes(scalar(inputs[UNIT], missing="")) if plan.asks_for_unit else None
    found = summarise(plan, steps, tf.range(tf.size(lengths, tf.int64)), lengths, unit)
    return z_scores(squashed(plan, found))


def ragged(column: Column) -> tf.RaggedTensor:
    """Returns the list of each example as ragged [B, T]."""
    if isinstance(column, tf.SparseTensor):
        return tf.RaggedTensor.from_sparse(column)
    return column if isinstance(column, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(column)


def scalar(column: Column, missing: float | str) -> tf.Tensor:
    """Returns one value per example [B], `missing` where the feature is absent.

    Integers become float32 where `missing` is a number, and digits where it is a string.
    """
    if isinstance(column, tf.RaggedTensor):
        column = column.to_sparse()
    if not isinstance(column, tf.SparseTensor):
        return _converted(tf.reshape(column, [-1]), missing)

    is_first = tf.equal(column.indices[:, 1], 0)
    rows = tf.boolean_mask(column.indices[:, :1], is_first)
    values = _converted(tf.boolean_mask(column.values, is_first), missing)
    absent = tf.fill([column.dense_shape[0]], tf.constant(missing, values.dtype))
    return tf.tensor_scatter_nd_update(absent, rows, values)


def _converted(values: tf.Tensor, missing: float | str) -> tf.Tensor:
    if isinstance(missing, str):
        return values if values.dtype == tf.string else tf.strings.as_string(values)
    return tf.cast(values, tf.float32)
