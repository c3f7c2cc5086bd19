"""An LSTM for CPUs: one operation per sequence instead of a loop over steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import keras
import tensorflow as tf

ROWS = 64  # rows up to which one core is faster than several that share every product of matrices


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
        steps = tf.transpose(sequences, [1, 0, 2])
        outputs = [_block_lstm(part, weights, bias) for part in _cut(steps, self.parts)]
        joined = outputs[0] if len(outputs) == 1 else tf.concat(outputs, axis=1)

        if self.return_sequences:
            return tf.transpose(joined, [1, 0, 2])
        if mask is None:
            return joined[-1]
        last = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1) - 1
        return tf.gather_nd(joined, tf.stack([last, tf.range(tf.size(last))], axis=1))


def parts_of(batch_size: int) -> int:
    """Returns into how many parts a batch is cut: at least two, of at most `ROWS` rows.

    It depends on nothing else, so that machines with more cores fit the same model.
    """
    return max(2, -(-batch_size // ROWS))


def _cut(steps: tf.Tensor, parts: int) -> list[tf.Tensor]:
    """Cuts steps [T, B, F] along the rows, nearly evenly."""
    if parts == 1:
        return [steps]
    rows = tf.shape(steps)[1]
    bounds = [rows * part // parts for part in range(parts + 1)]
    return [steps[:, start:end] for start, end in pairwise(bounds)]


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _block_lstm(
    steps: tf.Tensor, weights: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """Returns the outputs [T, B, U] of all steps, and their gradient.

    TensorFlow registers the gradient of `BlockLSTM` for `BlockLSTMV2` too, although it expects
    the gates in another order; the operation for this order is called here instead.

    Args:
        steps: [T, B, F].
        weights: [F + U, 4 * U], gates in Keras' order.
        bias: [4 * U].
    """
    units = weights.shape[1] // 4
    state = tf.zeros([tf.shape(steps)[1], units])
    no_peephole = tf.zeros([units])
    inputs = {
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
    outputs = tf.raw_ops.BlockLSTMV2(**inputs, cell_clip=0.0, use_peephole=False)

    def gradient(of_outputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        gradients = tf.raw_ops.BlockLSTMGradV2(
            **inputs,
            **outputs._asdict(),
            cs_grad=tf.zeros_like(of_outputs),
            h_grad=of_outputs,
            use_peephole=False,
        )
        # Without rows, the operation leaves the gradients of weights as they were in memory.
        any_rows = tf.size(steps) > 0
        of_weights, of_bias = (
            tf.where(any_rows, gradient, tf.zeros_like(gradient))
            for gradient in (gradients.w_grad, gradients.b_grad)
        )
        return gradients.x_grad, of_weights, of_bias

    return outputs.h, gradient
