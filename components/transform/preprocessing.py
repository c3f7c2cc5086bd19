"""The preprocessing function: runs in Transform on the log, and in the served model on requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from components.config.summaries import counts_words
from components.config.training import Categorical, Feature, Numeric
from components.contracts.names import (
    GROUPS,
    LEARNER,
    NUM_STEPS,
    REWEIGHED,
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
    HASHES,
    group_hashes,
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
    reweighed = [] if settings.reweigh is None else [settings.reweigh]
    return sorted({NUM_STEPS, settings.label.column, *features, *reweighed})


def preprocessing_fn(
    inputs: Mapping[str, Column], custom_config: Mapping[str, Any]
) -> dict[str, Column]:
    """Transforms a batch of examples.

    Args:
        inputs: the columns of ExampleGen, by name; an example may lack context columns.
        custom_config: `config` holds the `TransformSettings`.

    Returns:
        By the names in `components.contracts.names`: ragged step features [B, T], context [B], the
        label [B], the prior [B, C] and the groups [B, L], the number of events [B] as int64, and
        summaries [B, S] where the network reads them, and the hash of the value that examples are
        weighted by, which no network reads. With `steps.shared` an example has K
        outcomes, and all but the steps is ragged: [B, K], the prior [B, K, C].
    """
    settings = TransformSettings.from_property(custom_config["config"])
    steps, prior = settings.steps, settings.prior
    outcomes = Outcomes.of(inputs, shared=steps.shared)
    columns = {name: ragged(inputs[name]) for name in steps.features}

    label, one_hot = _label(outcomes, settings.label)
    num_steps = tf.cast(outcomes.values(NUM_STEPS, missing=0.0), tf.int64)
    by_step = _step_outputs(steps.features, columns)
    by_outcome = {NUM_STEPS: num_steps, TRANSFORMED_LABEL: label}
    by_outcome |= _context_outputs(settings.context, outcomes)
    if settings.summaries:
        by_outcome[SUMMARIES] = _scaled_summaries(settings, columns, by_step, outcomes, num_steps)

    if settings.reweigh is not None:
        values = outcomes.values(settings.reweigh, missing="")
        by_outcome[REWEIGHED] = tf.strings.to_hash_bucket_fast(values, HASHES)

    columns_of_group = [outcomes.values(name, missing="") for name in prior.group_by]
    groups = group_hashes(columns_of_group, tf.size(num_steps))
    is_cold = num_steps < steps.min_steps
    by_outcome[GROUPS] = groups
    by_outcome[TRANSFORMED_PRIOR] = group_prior(groups, one_hot, is_cold, prior.smoothing)
    return by_step | {name: outcomes.by_example(item) for name, item in by_outcome.items()}


@dataclass(frozen=True)
class Outcomes:
    """The columns of outcomes of a batch of examples, which have one outcome each or several.

    Attributes:
        inputs: the columns of the examples, by name.
        lists: how the N outcomes are divided among the B examples, ragged [B, K]; None for one
            outcome each.
    """

    inputs: Mapping[str, Column]
    lists: tf.RaggedTensor | None

    @classmethod
    def of(cls, inputs: Mapping[str, Column], *, shared: bool) -> Outcomes:
        """Returns the outcomes of examples, each of which has a `num_steps`."""
        return cls(inputs, ragged(inputs[NUM_STEPS]) if shared else None)

    def values(self, name: str, missing: float | str) -> tf.Tensor:
        """Returns a column, one value per outcome [N]: `missing` where an example has too few.

        Shared examples have a value for every outcome. A request has one outcome and may lack it.
        """
        if self.lists is None:
            return scalar(self.inputs[name], missing)
        if name == LEARNER:  # one value, whatever the number of outcomes
            return tf.gather(scalar(self.inputs[name], missing), self.rows)

        found = ragged(self.inputs[name])
        values = _converted(found.flat_values, missing)
        filler = tf.constant(missing, values.dtype)
        filled = found.with_flat_values(values).to_tensor(filler, shape=self.lists.bounding_shape())
        return tf.RaggedTensor.from_tensor(filled, self.lists.row_lengths()).flat_values

    @property
    def rows(self) -> tf.Tensor:
        """The example that each outcome belongs to, int64 [N]."""
        if self.lists is not None:
            return self.lists.value_rowids()
        return tf.range(tf.size(scalar(self.inputs[NUM_STEPS], missing=0.0), tf.int64))

    def by_example(self, values: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """Returns values of outcomes [N, ...] as a transformed feature of the B examples."""
        return values if self.lists is None else self.lists.with_flat_values(values)


def _label(outcomes: Outcomes, label: Label) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the label as the loss reads it [N], and as a row whose mean is the prior [N, C]."""
    if label.task == "regression":
        value = outcomes.values(label.column, missing=0.0)
        return value, value[:, tf.newaxis]

    words = outcomes.values(label.column, missing="")
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


def _context_outputs(features: Mapping[str, Feature], outcomes: Outcomes) -> dict[str, tf.Tensor]:
    outputs: dict[str, tf.Tensor] = {}
    numeric: dict[str, Numeric] = {}
    for name, feature in features.items():
        if isinstance(feature, Categorical):
            words = outcomes.values(name, missing="")
            outputs[context_feature(name)] = vocabulary_ids(words, feature, context_feature(name))
        else:
            numeric[name] = feature

    numbers = {name: outcomes.values(name, missing=float("nan")) for name in numeric}
    for name, values in numbers.items():
        outputs[context_is_missing(name)] = is_missing(values)
    for name, values in scaled_numbers(numbers, numeric).items():
        outputs[context_feature(name)] = values
    return outputs


def _scaled_summaries(
    settings: TransformSettings,
    columns: Mapping[str, tf.RaggedTensor],
    transformed: Mapping[str, tf.RaggedTensor],
    outcomes: Outcomes,
    num_steps: tf.Tensor,
) -> tf.Tensor:
    """Returns the summaries of each outcome [N, S], in logarithms where they have tails, z-scored.

    Args:
        settings: the features.
        columns: the steps as they are in the log, ragged [B, T].
        transformed: the transformed steps, with the ids of words.
        outcomes: the N outcomes of the examples.
        num_steps: how many steps each outcome sees, int64 [N].
    """
    plan = SummaryPlan.by_place(settings.steps, settings.context)
    steps = dict(columns)
    for name, feature in settings.steps.features.items():
        if counts_words(name, feature):
            steps[name] = transformed[step_feature(name)]
        elif isinstance(feature, Categorical):
            steps[name] = columns[name].with_flat_values(word_hashes(columns[name].flat_values))

    unit = word_hashes(outcomes.values(UNIT, missing="")) if plan.asks_for_unit else None
    return z_scores(squashed(plan, summarise(plan, steps, outcomes.rows, num_steps, unit)))


def ragged(column: Column) -> tf.RaggedTensor:
    """Returns the list of each example as ragged [B, T]."""
    if isinstance(column, tf.SparseTensor):
        # Unlike `from_sparse` without an assertion, on which every feature of a request would wait.
        return tf.RaggedTensor.from_value_rowids(
            column.values, column.indices[:, 0], column.dense_shape[0], validate=False
        )
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
    if not isinstance(missing, str):
        return tf.cast(values, tf.float32)
    if values.dtype == tf.string:
        return values

    words = tf.strings.as_string(values)
    return tf.where(tf.math.is_nan(values), missing, words) if values.dtype.is_floating else words
