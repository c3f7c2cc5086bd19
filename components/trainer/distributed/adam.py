"""Adam for gradients that several workers have added up.

The gradient of an embedding has a row for each word read. Keras' Adam squares these rows before it
adds up those of the same word, while it adds them up for the mean: the sum alone is not enough to
do what a single process does. So workers add up the squares as well, and `TeamAdam` takes both.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class TeamAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam, which also takes gradients from `gradient_of`."""

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Takes a step.

        Args:
            gradient: as Keras has it; or [2, ...], from `gradient_of`.
            variable: what is changed.
            learning_rate: a number.
        """
        if len(gradient.shape) == len(variable.shape):
            super().update_step(gradient, variable, learning_rate)
            return

        gradient, root = tf.unstack(gradient)
        step = tf.cast(self.iterations + 1, variable.dtype)
        past = [1 - tf.pow(beta, step) for beta in (self.beta_1, self.beta_2)]
        place = self._get_variable_index(variable)
        mean, square = self._momentums[place], self._velocities[place]
        mean.assign_add((gradient - mean) * (1 - self.beta_1))
        square.assign_add((tf.square(root) - square) * (1 - self.beta_2))
        rate = learning_rate * tf.sqrt(past[1]) / past[0]
        variable.assign_sub(mean * rate / (tf.sqrt(square) + self.epsilon))


def sums_of(gradient: tf.Tensor | tf.IndexedSlices, shape: tf.TensorShape) -> list[tf.Tensor]:
    """Returns what workers have to add up of a gradient: it, and of an embedding's the squares.

    Args:
        gradient: of a variable; some layers leave its shape open while the step is traced.
        shape: the variable's.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return [tf.ensure_shape(gradient, shape)]
    squares = tf.IndexedSlices(tf.square(gradient.values), gradient.indices, gradient.dense_shape)
    both = (tf.convert_to_tensor(slices) for slices in (gradient, squares))
    return [tf.ensure_shape(whole, shape) for whole in both]


def gradient_of(sums: list[tf.Tensor]) -> tf.Tensor:
    """Returns the gradient for `TeamAdam` from the sums over all workers of `sums_of`.

    Of squares it has the root, which is scaled like a gradient where the loss is scaled.
    """
    if len(sums) == 1:
        return sums[0]
    gradient, squares = sums
    return tf.stack([gradient, tf.sqrt(squares)])
