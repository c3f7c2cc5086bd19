"""Attention along sequences: the layer of a transformer, and a pooling of states.

A step attends to itself and to the steps before it, never to later ones. So padding on the right,
other sequences of a batch and later outcomes change nothing, and one pass over a sequence gives the
state after each of its steps.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

# Attention weights that inference holds at once, 64 MiB of them; a fit holds those of its batch.
WEIGHTS_AT_ONCE = 1 << 24
NEVER = -1e30  # added to the score of a later step, whose weight is then exactly 0
FEED_FORWARD = 2  # the width inside the feed-forward part, in widths of the layer
LAST_SLOPE = 8.0  # heads start with slopes from 2^(-8 / H) to 2^-8, as those of ALiBi


class TransformerLayer(keras.layers.Layer):  # type: ignore[misc]
    """A layer of causal self-attention and a feed-forward part, normalised before each.

    Time is relative: nothing says where a step is. From the score of a step each head subtracts how
    many steps it lies back, times a slope that is fitted: a decay of the weight, as in ALiBi (Press
    et al., 2022) and in AKT (Ghosh et al., 2020). Hours and days are among the features of steps.

    Args:
        width: of the state of a step.
        heads: how many; they divide the width.
        dropout: share of numbers dropped from what each part adds to a state.
        dtype: what it computes in. Weights of attention are computed in float32.
        name: of the layer.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float, dtype: keras.DTypePolicy, name: str
    ) -> None:
        super().__init__(dtype=dtype, name=name)
        self._width, self._heads = width, heads
        dense, norm = keras.layers.Dense, keras.layers.LayerNormalization
        self._norms = [norm(dtype=dtype, name=f"norm_{part}") for part in ("attention", "feed")]
        self._drops = [keras.layers.Dropout(dropout, dtype=dtype) for _ in range(2)]
        self._query = dense(width, dtype=dtype, name="query")
        self._key_value = dense(2 * width, dtype=dtype, name="key_value")
        self._attended = dense(width, dtype=dtype, name="attended")
        self._inner = dense(FEED_FORWARD * width, "relu", dtype=dtype, name="inner")
        self._outer = dense(width, dtype=dtype, name="outer")

    def build(self, steps_shape: tuple[int | None, ...]) -> None:
        """Makes the weights, for steps [B, T, width]."""
        for layer in (*self._norms, self._query, self._key_value, self._attended, self._inner):
            layer.build(steps_shape)
        self._outer.build((*steps_shape[:-1], FEED_FORWARD * self._width))
        slopes = [2 ** (-LAST_SLOPE * (head + 1) / self._heads) for head in range(self._heads)]
        self._log_slopes = self.add_weight(
            shape=(self._heads,),
            initializer=lambda shape, dtype: tf.constant(np.log(slopes), dtype, shape),
            dtype="float32",
            autocast=False,
            name="log_slopes",
        )

    def call(
        self, steps: tf.Tensor, place: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Returns the states after all steps [B, T, width], or after one step of each sequence.

        Args:
            steps: [B, T, width].
            place: int64 [B], the place of that one step; the states are then [B, width].
            training: whether to drop anything.
        """
        before, feed = self._norms
        normed = before(steps)
        asked = normed if place is None else _at(normed, place)[:, tf.newaxis]
        state = steps if place is None else _at(steps, place)[:, tf.newaxis]

        queries = _split_heads(self._query(asked), self._heads)
        keys, values = tf.split(self._key_value(normed), 2, axis=-1)
        keys, values = _split_heads(keys, self._heads), _split_heads(values, self._heads)
        slopes = tf.exp(tf.convert_to_tensor(self._log_slopes))
        mixed = _joined_heads(attend(queries, keys, values, place, slopes, training=bool(training)))

        drop_attended, drop_outer = self._drops
        state = state + drop_attended(self._attended(mixed), training=training)
        state = state + drop_outer(self._outer(self._inner(feed(state))), training=training)
        return state if place is None else state[:, 0]

    def compute_output_shape(
        self, steps_shape: tuple[int | None, ...], place_shape: tuple[int | None] | None = None
    ) -> tuple[int | None, ...]:
        """Returns the shape of the states."""
        return steps_shape if place_shape is None else (steps_shape[0], self._width)


class AttentionPooling(keras.layers.Layer):  # type: ignore[misc]
    """Joins a state with a mean of the states up to it, weighted by attention from it.

    The score of a state is a bilinear form of it and the state that asks (Luong et al., 2015). Its
    weights start at zero, where the mean is a plain one.
    """

    def build(self, states_shape: tuple[int | None, ...]) -> None:
        """Makes the weights of the form [U, U], for states [B, T, U]."""
        units = states_shape[-1]
        self._form = self.add_weight(shape=(units, units), initializer="zeros", name="form")

    def call(
        self, states: tf.Tensor, place: tf.Tensor | None = None, training: bool | None = None
    ) -> tf.Tensor:
        """Returns states joined with means [B, T, 2U], or those of one step per sequence [B, 2U].

        Args:
            states: [B, T, U].
            place: int64 [B], the place of that one step.
            training: whether the layer is being fitted.
        """
        asked = states if place is None else _at(states, place)[:, tf.newaxis]
        queries = tf.matmul(asked, tf.convert_to_tensor(self._form))[:, tf.newaxis]
        keys = states[:, tf.newaxis]
        means = attend(queries, keys, keys, place, None, training=bool(training))[:, 0]
        joined = tf.concat([asked, means], axis=-1)
        return joined if place is None else joined[:, 0]

    def compute_output_shape(
        self, states_shape: tuple[int | None, ...], place_shape: tuple[int | None] | None = None
    ) -> tuple[int | None, ...]:
        """Returns the shape of the joined states."""
        batch, steps, units = states_shape
        width = None if units is None else 2 * units
        return (batch, steps, width) if place_shape is None else (batch, width)


def attend(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    place: tf.Tensor | None,
    slopes: tf.Tensor | None,
    *,
    training: bool,
) -> tf.Tensor:
    """Returns means of values up to each query's step, weighted by attention: [B, H, Q, D].

    Memory grows with the square of the steps if all of them ask. Inference takes as many sequences
    at a time as `WEIGHTS_AT_ONCE` allows, whatever the size of a batch.

    Args:
        queries: [B, H, Q, D], of all steps in their order, Q = T; or of one each, Q = 1.
        keys: [B, H, T, D].
        values: [B, H, T, D].
        place: int64 [B], the place of the one step; None: queries are of all steps.
        slopes: float32 [H], how much the score of a step falls with each step that it lies back.
        training: whether gradients are wanted.
    """
    steps = tf.range(tf.shape(keys)[2])
    if place is not None:
        bias = _bias(tf.cast(place, tf.int32)[:, tf.newaxis], steps, slopes)
        return _weighted(queries, keys, values, bias)

    bias = _bias(steps[tf.newaxis], steps, slopes)
    if training:
        return _weighted(queries, keys, values, bias)

    # Divided twice, because heads times squared steps may exceed an int32.
    count = tf.maximum(WEIGHTS_AT_ONCE // keys.shape[1] // tf.square(tf.size(steps)), 1)
    return _by_parts(
        lambda part: _weighted(queries[part], keys[part], values[part], bias), values, count
    )


def _bias(places: tf.Tensor, steps: tf.Tensor, slopes: tf.Tensor | None) -> tf.Tensor:
    """Returns what is added to the scores of steps [T] from places [B, Q]: [B, H, Q, T]."""
    back = (places[:, :, tf.newaxis] - steps)[:, tf.newaxis]
    decay = 0.0 if slopes is None else slopes[:, tf.newaxis, tf.newaxis] * tf.cast(back, tf.float32)
    return tf.where(back >= 0, -decay, NEVER)


def _weighted(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    scores = tf.matmul(queries * queries.shape[3] ** -0.5, keys, transpose_b=True)
    weights = tf.nn.softmax(tf.cast(scores, tf.float32) + bias)
    return tf.matmul(tf.cast(weights, values.dtype), values)


def _by_parts(
    compute: Callable[[slice], tf.Tensor], values: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Computes on `count` sequences of a batch at a time, and joins the results."""
    total = tf.shape(values)[0]
    shape = [None, *values.shape[1:]]
    results = tf.TensorArray(
        values.dtype, size=0, dynamic_size=True, infer_shape=False, element_shape=shape
    )

    def step(start: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        end = tf.minimum(start + count, total)
        return end, results.write(results.size(), compute(slice(start, end)))

    # At least one part, because nothing can be joined from none.
    first = step(tf.constant(0), results)
    _, results = tf.while_loop(lambda start, _: start < total, step, first, parallel_iterations=1)
    joined = results.concat()
    joined.set_shape(shape)
    return joined


def _at(states: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Returns the state [B, U] at one place of each sequence of states [B, T, U]."""
    rows, steps = tf.unstack(tf.shape(states, tf.int64)[:2])
    places = tf.range(rows) * steps + place
    return tf.gather(tf.reshape(states, [-1, states.shape[2]]), places)


def _split_heads(states: tf.Tensor, heads: int) -> tf.Tensor:
    """Turns [B, T, W] into [B, H, T, W / H]."""
    rows, steps = tf.unstack(tf.shape(states)[:2])
    parts = tf.reshape(states, [rows, steps, heads, states.shape[2] // heads])
    return tf.transpose(parts, [0, 2, 1, 3])


def _joined_heads(states: tf.Tensor) -> tf.Tensor:
    """Turns [B, H, T, D] into [B, T, H D]."""
    rows, steps = tf.shape(states)[0], tf.shape(states)[2]
    joined = tf.transpose(states, [0, 2, 1, 3])
    return tf.reshape(joined, [rows, steps, states.shape[1] * states.shape[3]])
