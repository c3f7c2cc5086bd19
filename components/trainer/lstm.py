"""LSTMs for CPUs: one operation per sequence instead of a loop over steps.

`FusedLSTM` is fitted; `ServedLSTMs` are what an export has in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

ROWS = 64  # rows up to which one core is faster than several that share every product of matrices

NO_GRADIENT = (
    "a served model cannot be differentiated; build its network for training, with the weights of "
    "the version, and differentiate that"
)


class FusedLSTM(keras.layers.LSTM):  # type: ignore[misc]
    """Keras' LSTM with the same weights and answers, for right-padded sequences in float32.

    TensorFlow's block operation runs all steps, where Keras runs a loop of some forty operations
    per step. A batch is cut into parts, which the cores work on at the same time.

    Attributes:
        parts: how many; the answers are the same for any number.
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        parts: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(
            units, return_sequences=return_sequences, use_cudnn=False, dtype="float32", name=name
        )
        self.parts = parts

    def call(
        self, sequences: tf.Tensor, initial_state: None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the outputs [B, T, U], anything in padding, or the last real one [B, U].

        Args:
            sequences: float32 [B, T, F].
            initial_state: None; the state starts at zero.
            mask: bool [B, T], true for the steps before the padding, at least one; None: for all.

        Raises:
            ValueError: an initial state is given.
        """
        if initial_state is not None:
            raise ValueError("expected no initial state; FusedLSTM starts from zeros")

        weights = tf.concat([self.cell.kernel, self.cell.recurrent_kernel], axis=0)
        bias = tf.convert_to_tensor(self.cell.bias)
        parts = [
            _block_lstm(_swap_axes(part), weights, bias) for part in _cut(sequences, self.parts)
        ]
        if self.return_sequences:
            return _join([_swap_axes(outputs) for outputs in parts])

        lasts = _cut(_last_steps(sequences, mask), self.parts)
        return _join([_at(outputs, last) for outputs, last in zip(parts, lasts, strict=True)])


class ServedLSTMs(keras.layers.Layer):  # type: ignore[misc]
    """Stacked LSTMs: (steps [B, T, F], num_steps [B]) to the last one's final state [B, U].

    With `return_sequences` they give all of its states [B, T, U], anything in padding.

    They answer as `FusedLSTM`s or layers of Keras do, with fewer operations beside the block ones.

    Steps are padded on the right, where an LSTM comes last: padding changes no state before it, so
    the state after the last real step is the answer. A sequence without steps is read as one step
    of padding.

    The layer refuses gradients. A gradient that is defined in Python, as that of `FusedLSTM`, does
    not travel with a SavedModel, and TensorFlow's own one for the operation is wrong.
    """

    def __init__(self, units: Sequence[int], *, return_sequences: bool = False, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self._units = list(units)
        self._return_sequences = return_sequences

    @property
    def depth(self) -> int:
        """How many LSTMs are stacked."""
        return len(self._units)

    def build(self, input_shape: Sequence[tuple[int, ...]]) -> None:
        """Makes the kernel [F + U, 4U] and the bias [4U] of each LSTM; `copy_weights` sets them."""
        width = input_shape[0][-1]
        self._cells = []
        for index, units in enumerate(self._units):
            shape = (width + units, 4 * units)
            kernel = self.add_weight(shape=shape, initializer="zeros", name=f"kernel_{index}")
            bias = self.add_weight(shape=shape[1:], initializer="zeros", name=f"bias_{index}")
            self._cells.append((kernel, bias))
            width = units

    def copy_weights(self, lstms: Sequence[keras.layers.LSTM]) -> None:
        """Takes the weights of as many LSTMs of Keras, which have two kernels each."""
        for (kernel, bias), lstm in zip(self._cells, lstms, strict=True):
            of_input, of_state, added = lstm.get_weights()
            kernel.assign(np.concatenate([of_input, of_state]))
            bias.assign(added)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns the final state, or all states."""
        steps, num_steps = inputs
        states, _ = self.states(tf.transpose(steps, [1, 0, 2]))
        if self._return_sequences:
            asked = tf.transpose(states, [1, 0, 2])
        else:
            last = tf.maximum(num_steps, 1) - 1
            rows = tf.range(tf.size(last, tf.int64))
            asked = tf.gather_nd(states, tf.stack([last, rows], axis=1))
        return tf.raw_ops.PreventGradient(input=asked, message=NO_GRADIENT)

    def states(self, steps: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """Returns all states [T, B, U] of steps [T, B, F], and how to differentiate them.

        The function turns the gradient of something by the states [T, B, U] into that by the steps
        [T, B, F]. It consists of operations, as the states do, so it can be part of a served graph.
        """
        states, backwards = steps, []
        for kernel, bias in self._cells:
            weights, added = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)
            outputs, gradient = _run_block(states, weights, added)
            states = outputs.h
            backwards.append(gradient)

        def gradient_of_steps(of_states: tf.Tensor) -> tf.Tensor:
            for gradient in reversed(backwards):
                of_states = gradient(of_states).x_grad
            return of_states

        return states, gradient_of_steps

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the final state, or of all states."""
        batch, steps, _ = input_shape[0]
        states = (batch, steps) if self._return_sequences else (batch,)
        return (*states, self._units[-1])


def parts_of(batch_size: int) -> int:
    """Returns into how many parts a batch is cut: at least two, of at most `ROWS` rows.

    It depends on nothing else, so that machines with more cores fit the same model.
    """
    return max(2, -(-batch_size // ROWS))


def _cut(rows: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Cuts a tensor [B, ...] into parts of nearly equally many rows; some may have none."""
    if parts == 1:
        return [rows]
    count = tf.shape(rows)[0]
    bounds = [count * part // parts for part in range(parts + 1)]
    sizes = [end - start for start, end in pairwise(bounds)]
    cut: list[tf.Tensor] = tf.split(rows, tf.stack(sizes), num=parts)
    return cut


def _join(parts: list[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _last_steps(sequences: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Returns the place of the last step before the padding, int32 [B]."""
    if mask is None:
        rows, steps = tf.unstack(tf.shape(sequences)[:2])
        return tf.fill([rows], steps - 1)
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=1) - 1


def _at(outputs: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Returns the outputs [B, U] at one step of each sequence of outputs [T, B, U]."""
    return tf.gather_nd(outputs, tf.stack([last, tf.range(tf.size(last))], axis=1))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _swap_axes(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Turns [A, B, F] into [B, A, F]: by copying rows, ten times as fast as oneDNN transposes."""
    return _swapped(values), _swapped


def _swapped(values: tf.Tensor) -> tf.Tensor:
    first, second, width = tf.unstack(tf.shape(values))
    order = tf.transpose(tf.reshape(tf.range(first * second), [first, second]))
    rows = tf.gather(tf.reshape(values, [first * second, width]), tf.reshape(order, [-1]))
    return tf.reshape(rows, tf.stack([second, first, values.shape[2]]))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _block_lstm(
    steps: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Returns the outputs [T, B, U] of all steps, and their gradient; see `_run_block`."""
    outputs, differentiate = _run_block(steps, weights, bias)

    def gradient(of_outputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        gradients = differentiate(of_outputs)
        # Without rows, the operation leaves the gradients of weights as they were in memory.
        any_rows = tf.size(steps) > 0
        of_weights, of_bias = (
            tf.where(any_rows, gradient, tf.zeros_like(gradient))
            for gradient in (gradients.w_grad, gradients.b_grad)
        )
        return gradients.x_grad, of_weights, of_bias

    return outputs.h, gradient


def _run_block(
    steps: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor
) -> tuple[Any, Callable[[tf.Tensor], Any]]:
    """Returns what the block operation computes, and a function that differentiates its outputs.

    TensorFlow registers the gradient of `BlockLSTM` for `BlockLSTMV2` too, although it expects
    the gates in another order; the operation for this order is called here instead.

    Args:
        steps: [T, B, F].
        weights: [F + U, 4 * U], gates in Keras' order.
        bias: [4 * U].
    """
    inputs = _operands(steps, weights, bias)
    outputs = tf.raw_ops.BlockLSTMV2(**inputs, cell_clip=0.0, use_peephole=False)

    def differentiate(of_outputs: tf.Tensor) -> Any:
        return tf.raw_ops.BlockLSTMGradV2(
            **inputs,
            **outputs._asdict(),
            cs_grad=tf.zeros_like(of_outputs),
            h_grad=of_outputs,
            use_peephole=False,
        )

    return outputs, differentiate


def _operands(steps: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the inputs of the block operation, which starts from zeros, without peepholes."""
    units = weights.shape[1] // 4
    state = tf.zeros([tf.shape(steps)[1], units])
    no_peephole = tf.zeros([units])
    return {
        "seq_len_max": tf.shape(steps, tf.int64)[0],
        "x": steps,
        "cs_prev": state,
        "h_prev": state,
        "w": weights,
        "wci": no_peephole,
        "wcf": no_peephole,
        "wco": no_peephole,
        "b": bias,
    }
