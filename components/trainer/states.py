"""The state of a sequence: what outcomes are answered from, by LSTMs or a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from components.trainer.attention import AttentionPooling, TransformerLayer
from components.trainer.lstm import FusedLSTM, ServedLSTMs

if TYPE_CHECKING:
    from components.config.training import Model

LstmKernel: TypeAlias = Literal["fused", "cudnn", "loop", "served"]

POOLING = "pooling"
TRANSFORMER_NORM = "transformer_norm"
SERVED_LSTMS = "lstms"
MOST_DROPOUT = 0.1  # inside a transformer, whatever the dropout of dense layers


class Asked(NamedTuple):
    """Which states are asked for.

    Attributes:
        num_steps: after how many steps of a sequence, int64 [N].
        row: of which sequence, int64 [N]; None: each sequence is asked for one state, N = B.
    """

    num_steps: keras.KerasTensor
    row: keras.KerasTensor | None = None


def state_of_sequences(
    model: Model,
    steps: keras.KerasTensor,
    asked: Asked,
    dtype: keras.DTypePolicy,
    *,
    lstm: LstmKernel,
    parts: int,
) -> keras.KerasTensor:
    """Returns the states that outcomes are answered from, [N, U].

    Args:
        model: its layers.
        steps: the features of steps [B, T, F], right-padded.
        asked: which states.
        dtype: what layers compute in.
        lstm: see `build_network`. With `loop`, what only the steps asked for need is computed for
            all steps, to compare with.
        parts: see `build_network`.
    """
    attends = model.pooling == "attention"
    if model.kind == "lstm" and not attends and asked.row is None:
        return _last_lstm_state(model, steps, asked.num_steps, dtype, lstm=lstm, parts=parts)

    at_once = asked.row is None and lstm != "loop"
    place = LastPlace(name="place")(asked.num_steps) if at_once else None
    if model.kind == "transformer":
        states = _transformer(model, steps, None if attends else place, dtype)
    elif lstm == "served":
        lstms = ServedLSTMs(model.lstm, return_sequences=True, name=SERVED_LSTMS)
        states = lstms([steps, asked.num_steps])
    else:
        # States before the padding do not depend on it, so no step has to be masked.
        states = _lstms(model, steps, None, dtype, lstm=lstm, parts=parts)

    if attends:
        pooling = AttentionPooling(dtype=dtype, name=POOLING)
        states = pooling(states, place) if at_once else pooling(states)
    if at_once:
        return states
    rows = [] if asked.row is None else [asked.row]
    return StatesAsked(name="asked")([states, *rows, asked.num_steps])


def lstm_name(index: int) -> str:
    """Returns the name of an LSTM, by its place from the steps on."""
    return f"lstm_{index}"


class StepMask(keras.layers.Layer):  # type: ignore[misc]
    """Marks the real steps: (num_steps [B], steps [B, T, F]) to bool [B, T].

    The first step is always marked, because cuDNN refuses a sequence without any. For such a
    sequence the prior answers, not the network.
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns the mask."""
        num_steps, steps = inputs
        return tf.sequence_mask(tf.maximum(num_steps, 1), tf.shape(steps)[1])

    def compute_output_shape(
        self, input_shape: tuple[tuple[int | None, ...], ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the mask."""
        return input_shape[1][:2]


class LastPlace(keras.layers.Layer):  # type: ignore[misc]
    """The place of a sequence's last step, int64 [B]: `num_steps` - 1, and 0 without steps."""

    def call(self, num_steps: tf.Tensor) -> tf.Tensor:
        """Returns the places."""
        return tf.maximum(num_steps, 1) - 1

    def compute_output_spec(self, num_steps: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the shape and type of the places."""
        return keras.KerasTensor(num_steps.shape, num_steps.dtype)


class StatesAsked(keras.layers.Layer):  # type: ignore[misc]
    """Takes the states that outcomes are answered from, out of those of all sequences.

    Its inputs are states [B, T, U], `asked_row` [N] and `num_steps` [N]; it returns the states
    [N, U] after that many steps. An outcome without steps gets the state after the first. Without
    `asked_row`, each sequence has one outcome.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the states."""
        states, *rows, num_steps = inputs
        row = rows[0] if rows else tf.range(tf.size(num_steps, tf.int64))
        places = row * tf.shape(states, tf.int64)[1] + tf.maximum(num_steps, 1) - 1
        return tf.gather(tf.reshape(states, [-1, states.shape[2]]), places)

    def compute_output_shape(
        self, input_shape: tuple[tuple[int | None, ...], ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the states."""
        return (input_shape[-1][0], input_shape[0][-1])


def _transformer(
    model: Model,
    steps: keras.KerasTensor,
    place: keras.KerasTensor | None,
    dtype: keras.DTypePolicy,
) -> keras.KerasTensor:
    """Stacks the layers on steps [B, T, F]; only the last one can do with one place of each."""
    kind, dropout = model.transformer, min(model.dropout, MOST_DROPOUT)
    state = keras.layers.Dense(kind.width, dtype=dtype, name="transformer_input")(steps)
    for index in range(kind.layers):
        layer = TransformerLayer(
            kind.width, kind.heads, dropout=dropout, dtype=dtype, name=f"transformer_{index}"
        )
        is_asked = place is not None and index == kind.layers - 1
        state = layer(state, place) if is_asked else layer(state)
    return keras.layers.LayerNormalization(dtype=dtype, name=TRANSFORMER_NORM)(state)


def _last_lstm_state(
    model: Model,
    steps: keras.KerasTensor,
    num_steps: keras.KerasTensor,
    dtype: keras.DTypePolicy,
    *,
    lstm: LstmKernel,
    parts: int,
) -> keras.KerasTensor:
    if lstm == "served":
        return ServedLSTMs(model.lstm, name=SERVED_LSTMS)([steps, num_steps])
    mask = StepMask(name="mask")([num_steps, steps])
    return _lstms(model, steps, mask, dtype, lstm=lstm, parts=parts)


def _lstms(
    model: Model,
    state: keras.KerasTensor,
    mask: keras.KerasTensor | None,
    dtype: keras.DTypePolicy,
    *,
    lstm: LstmKernel,
    parts: int,
) -> keras.KerasTensor:
    """Stacks the LSTMs on steps [B, T, F]; the last one returns its final state [B, units].

    Without a mask it returns the states after all steps [B, T, units].
    """
    fused = lstm == "fused" and dtype.compute_dtype == "float32"
    for index, units in enumerate(model.lstm):
        name = lstm_name(index)
        sequences = mask is None or index < len(model.lstm) - 1
        if fused:
            layer = FusedLSTM(units, return_sequences=sequences, parts=parts, name=name)
        else:
            layer = keras.layers.LSTM(
                units,
                return_sequences=sequences,
                use_cudnn="auto" if lstm == "cudnn" else False,
                dtype=dtype,
                name=name,
            )
        state = layer(state, mask=mask)
    return state
