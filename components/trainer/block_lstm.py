"""The LSTMs of a network that is served: one operation for a whole sequence, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

BLOCK_LSTM = "BlockLSTMV2"  # belongs to TensorFlow's core, so every server has it

_NO_GRADIENT = (
    f"TensorFlow's gradient of {BLOCK_LSTM} is not that of an LSTM layer; differentiate a network "
    "of Keras layers with the same weights instead"
)


class BlockLSTMs(keras.layers.Layer):  # type: ignore[misc]
    """Stacked LSTMs: (steps [B, T, F], num_steps [B]) to the last one's final state [B, U].

    They compute what as many LSTM layers of Keras do, from the same weights, several times as fast
    on a CPU where batches are small.

    Steps are padded on the right, where an LSTM comes last: padding changes no state before it, so
    the state after the last real step is the answer. A sequence without steps is read as one step
    of padding, as under the mask of Keras' layers.

    A gradient is refused, because TensorFlow's gradient of the operation is another one than that
    of Keras' layers.
    """

    def __init__(self, units: Sequence[int], name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self._units = list(units)

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
        """Returns the final state."""
        steps, num_steps = inputs
        states = tf.transpose(steps, [1, 0, 2])  # [T, B, F]
        for kernel, bias in self._cells:
            states = _block_lstm(states, kernel, bias)

        last = tf.maximum(num_steps, 1) - 1
        rows = tf.range(tf.size(last, tf.int64))
        final = tf.gather_nd(states, tf.stack([last, rows], axis=1))
        return tf.raw_ops.PreventGradient(input=final, message=_NO_GRADIENT)

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the final state."""
        return (input_shape[0][0], self._units[-1])


def _block_lstm(steps: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns the states [T, B, U] of one LSTM after each of the steps [T, B, F]."""
    units = bias.shape[0] // 4
    before = tf.zeros([tf.shape(steps)[1], units])
    no_peephole = tf.zeros([units])
    return tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.shape(steps, tf.int64)[0],
        x=steps,
        cs_prev=before,
        h_prev=before,
        w=kernel,
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=bias,
        cell_clip=-1,
        use_peephole=False,
    ).h
