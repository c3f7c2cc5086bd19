"""The served model: Transform's graph, the network and the prior behind two signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.config import Categorical, Label
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    CLASSES,
    EXAMPLES,
    NUM_STEPS,
    PREDICT_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    SERVING_DEFAULT,
)
from components.trainer.features import Layout
from components.trainer.network import network_inputs
from components.trainer.settings import Settings
from components.transform import names

Answers = dict[str, tf.Tensor]


class ServedModel(tf.Module):  # type: ignore[misc]
    """Answers for learners, given their raw events, in one graph.

    Attributes:
        functions: by the name of their signature.
    """

    def __init__(
        self,
        network: keras.Model,
        layout: Layout,
        transform: tft.TFTransformOutput,
        settings: Settings,
    ) -> None:
        super().__init__()
        # Held apart: were the Keras model tracked, each weight would be exported twice, and the copy that the
        # signatures read is never restored by a loader of graphs, which TensorFlow Serving is.
        self._call_network: Callable[[dict[str, tf.Tensor]], tf.Tensor] = lambda inputs: network(
            inputs, training=False
        )
        self._weights = [weight.value for weight in network.weights]
        self._layout = layout
        self._settings = settings
        self._transform = transform.transform_features_layer()
        spec = transform.raw_feature_spec()
        columns = dict.fromkeys([*settings.context, *settings.prior.group_by])
        self._column_specs = {name: spec[name] for name in columns}
        self._num_steps_spec = spec[NUM_STEPS]
        self.functions: dict[str, Callable[..., Answers]] = {
            SERVING_DEFAULT: self._serving_default.get_concrete_function(
                tf.TensorSpec([None], tf.string, name=EXAMPLES)
            ),
            PREDICT_STEPS: self._predict_steps.get_concrete_function(self._dense_specs()),
        }

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _serving_default(self, examples: tf.Tensor) -> Answers:
        """Serialized examples [B]; the label, keys and slices may be there and are not read."""
        spec = {
            name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
            for name, dtype in self._step_dtypes().items()
        }
        columns = {
            name: tf.io.RaggedFeature(item.dtype, row_splits_dtype=tf.int64)
            for name, item in self._column_specs.items()
        }
        parsed = tf.io.parse_example(examples, {**spec, **columns})
        return self._answer(
            {name: parsed[name] for name in spec}, {name: parsed[name] for name in columns}
        )

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def _predict_steps(self, inputs: Mapping[str, tf.Tensor]) -> Answers:
        """Padded steps [B, T], `num_steps` [B] and columns [B]; NaN and "" are missing."""
        some_step = inputs[next(iter(self._settings.steps.features))]
        lengths = tf.clip_by_value(inputs[NUM_STEPS], 0, tf.shape(some_step, tf.int64)[1])
        steps = {
            name: tf.RaggedTensor.from_tensor(inputs[name], lengths) for name in self._step_dtypes()
        }
        columns = {name: _present(inputs[name]) for name in self._column_specs}
        return self._answer(steps, columns)

    def _answer(
        self, steps: Mapping[str, tf.RaggedTensor], columns: Mapping[str, tf.RaggedTensor]
    ) -> Answers:
        """Truncates, transforms, pads and answers; the prior where there are fewer events than `min_steps`."""
        last = slice(-self._settings.steps.max_steps, None)
        steps = {name: values[:, last] for name, values in _equally_long(steps).items()}
        num_steps = next(iter(steps.values())).row_lengths()
        raw = {name: _as_spec(values, self._column_specs[name]) for name, values in columns.items()}
        raw[NUM_STEPS] = _as_spec(_present(num_steps), self._num_steps_spec)
        features = self._transform({**steps, **raw})
        longest = tf.reduce_max(
            tf.concat([num_steps, [1]], axis=0)
        )  # an LSTM needs one step, if padding
        padded = {
            name: value.to_tensor(shape=tf.stack([-1, longest]))
            if isinstance(value, tf.RaggedTensor)
            else value
            for name, value in network_inputs(self._layout, features).items()
        }
        is_cold = num_steps < self._settings.steps.min_steps
        answer = tf.where(is_cold[:, tf.newaxis], features[names.PRIOR], self._call_network(padded))
        return {
            **_named(answer, self._settings.label),
            BASIS: tf.where(is_cold, BASIS_PRIOR, BASIS_SEQUENCE),
        }

    def _step_dtypes(self) -> dict[str, tf.DType]:
        features = self._settings.steps.features
        return {
            name: tf.string if isinstance(item, Categorical) else tf.float32
            for name, item in features.items()
        }

    def _dense_specs(self) -> dict[str, tf.TensorSpec]:
        steps = {
            name: tf.TensorSpec([None, None], dtype, name)
            for name, dtype in self._step_dtypes().items()
        }
        columns = {
            name: tf.TensorSpec([None], spec.dtype, name)
            for name, spec in self._column_specs.items()
        }
        return {**steps, **columns, NUM_STEPS: tf.TensorSpec([None], tf.int64, NUM_STEPS)}


def _equally_long(steps: Mapping[str, tf.RaggedTensor]) -> dict[str, tf.RaggedTensor]:
    """Returns the steps as they are; the request fails unless all features have as many values."""
    (first, lengths), *others = [(name, values.row_lengths()) for name, values in steps.items()]
    checks = [
        tf.debugging.assert_equal(
            length, lengths, f"expected as many values of {name} as of {first}"
        )
        for name, length in others
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(values) for name, values in steps.items()}


def _present(values: tf.Tensor) -> tf.RaggedTensor:
    """Turns one value per row into a list per row, empty where the value is missing."""
    is_text = values.dtype == tf.string
    present = (
        tf.not_equal(values, "") if is_text else tf.math.is_finite(tf.cast(values, tf.float32))
    )
    return tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(values, present), tf.cast(present, tf.int64)
    )


def _as_spec(values: tf.RaggedTensor, spec: Any) -> tf.Tensor | tf.SparseTensor | tf.RaggedTensor:
    """Brings a column into the representation that the schema, and so Transform's graph, has for it."""
    if isinstance(spec, tf.io.RaggedFeature):
        return values
    if isinstance(spec, tf.io.VarLenFeature):
        return values.to_sparse()
    return tf.reshape(values.to_tensor(shape=[None, 1]), [-1, *spec.shape])


def _named(answer: tf.Tensor, label: Label) -> Answers:
    if label.task == "regression":
        return {PREDICTION: answer[:, 0]}
    classes = tf.constant(label.classes)
    return {
        CLASSES: tf.repeat(classes[tf.newaxis], tf.shape(answer)[0], axis=0),
        PROBABILITIES: answer,
        PREDICTED_CLASS: tf.gather(classes, tf.argmax(answer, axis=1)),
    }
