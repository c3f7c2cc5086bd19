"""The sequence model: embeddings, stacked LSTMs, dense layers, one answer per example."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from components.contracts.names import NUM_STEPS
from components.trainer.features import Embedded, Layout
from components.trainer.settings import Settings


def build_network(
    settings: Settings, layout: Layout, *, cudnn: bool = False, precision: str = "float32"
) -> keras.Model:
    """Returns the untrained network.

    Its inputs are a dictionary: every step feature of the layout as [B, T], right-padded; every context feature
    as [B]; `num_steps` int64 [B], how many of the T steps are real. Its output is float32 [B, C]: class
    probabilities, or [B, 1], the predicted number.

    Args:
        settings: what it is made of.
        layout: what it reads.
        cudnn: whether the LSTMs use cuDNN's fused kernel where TensorFlow sees a GPU; Keras decides that whenever a
            graph is traced. Weights are the same ones in the same order either way, so they move by `set_weights`.
        precision: Keras' name of what layers compute in; weights and the answer are float32 in any case.
    """
    dtype = keras.DTypePolicy(precision)
    steps = {name: _input(name, embedded, (None,)) for name, embedded in layout.steps.items()}
    context = {name: _input(name, embedded, ()) for name, embedded in layout.context.items()}
    num_steps = keras.Input((), name=NUM_STEPS, dtype="int64")
    state = _join(
        [_read(name, layout.steps[name], value, dtype) for name, value in steps.items()], dtype
    )
    mask = StepMask(name="mask")([num_steps, next(iter(steps.values()))])
    for index, units in enumerate(settings.model.lstm):
        last = index == len(settings.model.lstm) - 1
        use_cudnn = "auto" if cudnn else False
        lstm = keras.layers.LSTM(
            units, return_sequences=not last, use_cudnn=use_cudnn, dtype=dtype, name=f"lstm_{index}"
        )
        state = lstm(state, mask=mask)
    columns = (_read(name, layout.context[name], value, dtype) for name, value in context.items())
    state = _join([state, *columns], dtype)
    for index, units in enumerate(settings.model.dense):
        state = keras.layers.Dense(units, activation="relu", dtype=dtype, name=f"dense_{index}")(
            state
        )
        state = keras.layers.Dropout(settings.model.dropout, dtype=dtype, name=f"dropout_{index}")(
            state
        )
    if settings.label.task == "classification":
        answer = keras.layers.Dense(
            len(settings.label.classes), activation="softmax", dtype="float32", name="answer"
        )(state)
    else:
        answer = keras.layers.Dense(1, dtype="float32", name="answer")(state)
    return keras.Model({**steps, **context, NUM_STEPS: num_steps}, answer, name=settings.name)


class StepMask(keras.layers.Layer):  # type: ignore[misc]
    """Marks the real steps: (num_steps [B], steps [B, T]) to bool [B, T], the first in any case.

    cuDNN refuses a sequence without any step. The answer for one is the prior, whatever the network says.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns the mask."""
        num_steps, steps = inputs
        return tf.sequence_mask(tf.maximum(num_steps, 1), tf.shape(steps)[1])

    def compute_output_shape(
        self, input_shape: tuple[tuple[int | None, ...], ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the mask."""
        return input_shape[1]


def _input(
    name: str, embedded: Embedded | None, shape: tuple[int | None, ...]
) -> keras.KerasTensor:
    return keras.Input(shape, name=name, dtype="int64" if embedded else "float32")


def _read(
    name: str, embedded: Embedded | None, value: keras.KerasTensor, dtype: keras.DTypePolicy
) -> keras.KerasTensor:
    """Ids to embeddings, numbers to a last axis of one."""
    if embedded is None:
        return keras.ops.expand_dims(value, -1)
    return keras.layers.Embedding(
        embedded.size, embedded.width, dtype=dtype, name=embedding_name(name)
    )(value)


def embedding_name(name: str) -> str:
    """Returns the name of the layer that embeds a feature."""
    return f"embedding_{name}"


def _join(parts: list[keras.KerasTensor], dtype: keras.DTypePolicy) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(dtype=dtype)(parts)


def count_parameters(network: keras.Model) -> int:
    """Returns the number of trained weights."""
    return int(sum(weight.numpy().size for weight in network.trainable_weights))


def network_inputs(layout: Layout, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Picks the inputs of the network from a dictionary that may hold more."""
    return {name: features[name] for name in (*layout.steps, *layout.context, NUM_STEPS)}
