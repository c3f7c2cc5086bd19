"""Brings the columns of a batch, however they are represented, into one shape each."""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

Column: TypeAlias = tf.Tensor | tf.SparseTensor | tf.RaggedTensor


def ragged(column: Column) -> tf.RaggedTensor:
    """Returns a list per example as ragged [B, T]."""
    if isinstance(column, tf.SparseTensor):
        return tf.RaggedTensor.from_sparse(column)
    return column if isinstance(column, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(column)


def scalar(column: Column, missing: float | str) -> tf.Tensor:
    """Returns one value per example [B], `missing` where the feature is absent.

    Integers come back as float32 when `missing` is a number and as digits when it is a string.
    """
    if isinstance(column, tf.RaggedTensor):
        column = column.to_sparse()
    if isinstance(column, tf.SparseTensor):
        if column.dtype.is_integer:
            column = tf.SparseTensor(
                column.indices, _converted(column.values, missing), column.dense_shape
            )
        batch = column.dense_shape[0]
        first = tf.equal(column.indices[:, 1], 0)
        rows = tf.boolean_mask(column.indices[:, :1], first)
        values = _converted(tf.boolean_mask(column.values, first), missing)
        return tf.tensor_scatter_nd_update(
            tf.fill([batch], tf.constant(missing, values.dtype)), rows, values
        )
    return _converted(tf.reshape(column, [-1]), missing)


def _converted(values: tf.Tensor, missing: float | str) -> tf.Tensor:
    if isinstance(missing, str):
        return values if values.dtype == tf.string else tf.strings.as_string(values)
    return tf.cast(values, tf.float32)
