"""The preprocessing function: runs in Transform on the log, and inside the served model on requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from pydantic import TypeAdapter

from components.config import Categorical, Feature, Label, Prior, Steps
from components.contracts.names import NUM_STEPS
from components.transform import names
from components.transform.columns import Column, ragged, scalar
from components.transform.prior import group_prior
from components.transform.scaling import is_missing, scaled_numbers, vocabulary_ids

CONTEXT: TypeAdapter[dict[str, Feature]] = TypeAdapter(dict[str, Feature])


def preprocessing_fn(
    inputs: Mapping[str, Column], custom_config: Mapping[str, Any]
) -> dict[str, Column]:
    """Transforms a batch of examples.

    Args:
        inputs: the columns of ExampleGen, by name; context columns may be absent in single examples.
        custom_config: `config`: the sections steps, context, prior and label as JSON.

    Returns:
        Under the names of `components.transform.names`: ragged step features [B, T], context [B],
        the label [B], the prior [B, C], and the number of events [B] as int64.
    """
    sections = json.loads(custom_config["config"])
    steps = Steps.model_validate(sections["steps"])
    prior = Prior.model_validate(sections["prior"])
    label, one_hot = _label(inputs, Label.model_validate(sections["label"]))
    num_steps = tf.cast(scalar(inputs[NUM_STEPS], missing=0.0), tf.int64)
    outputs = {NUM_STEPS: num_steps, names.LABEL: label}
    outputs |= _step_outputs(
        steps.features, {name: ragged(inputs[name]) for name in steps.features}
    )
    outputs |= _context_outputs(CONTEXT.validate_python(sections["context"]), inputs)
    groups = [scalar(inputs[name], missing="") for name in prior.group_by]
    outputs[names.PRIOR] = group_prior(
        groups, one_hot, num_steps < steps.min_steps, prior.smoothing
    )
    return outputs


def _label(inputs: Mapping[str, Column], label: Label) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the label as the loss wants it [B], and as a row whose mean is the prior [B, C]."""
    if label.task == "regression":
        value = scalar(inputs[label.column], missing=0.0)
        return value, value[:, tf.newaxis]
    is_class = tf.equal(
        scalar(inputs[label.column], missing="")[:, tf.newaxis], tf.constant([label.classes])
    )
    one_hot = tf.cast(is_class, tf.float32)
    return tf.argmax(one_hot, axis=1), one_hot


def _step_outputs(
    features: Mapping[str, Feature], columns: Mapping[str, tf.RaggedTensor]
) -> dict[str, tf.RaggedTensor]:
    outputs, numeric = {}, {}
    for name, feature in features.items():
        flat = columns[name].flat_values
        if isinstance(feature, Categorical):
            outputs[names.step(name)] = vocabulary_ids(flat, feature, names.step(name))
        else:
            outputs[names.step_missing(name)] = is_missing(flat)
            numeric[name] = feature
    scaled = scaled_numbers({name: columns[name].flat_values for name in numeric}, numeric)
    outputs |= {names.step(name): values for name, values in scaled.items()}
    like = next(iter(columns.values()))  # all step features of an example are equally long
    return {name: like.with_flat_values(values) for name, values in outputs.items()}


def _context_outputs(
    features: Mapping[str, Feature], inputs: Mapping[str, Column]
) -> dict[str, tf.Tensor]:
    outputs, numeric = {}, {}
    for name, feature in features.items():
        if isinstance(feature, Categorical):
            words = scalar(inputs[name], missing="")
            outputs[names.context(name)] = vocabulary_ids(words, feature, names.context(name))
        else:
            numeric[name] = feature
    columns = {name: scalar(inputs[name], missing=float("nan")) for name in numeric}
    outputs |= {names.context_missing(name): is_missing(values) for name, values in columns.items()}
    outputs |= {
        names.context(name): values for name, values in scaled_numbers(columns, numeric).items()
    }
    return outputs
