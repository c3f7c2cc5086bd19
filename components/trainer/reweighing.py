"""Weights by group and class: every class becomes as common in each group as it is in all of them.

An example of group g and class y gets the weight P(g) P(y) / P(g, y): how common the two would be
together if they had nothing to do with each other, over how common they are. In the weighted
examples, the group says nothing about the class (F. Kamiran and T. Calders, Data preprocessing
techniques for classification without discrimination, 2012). The group is not an input: the network
learns from weights alone, and the served graph neither asks for the column nor holds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reweighing:
    """The weight of every group and class.

    Attributes:
        groups: hashes of the groups, ascending, int64 [G].
        weights: float32 [G + 1, C]; the last row, of ones, is of all other groups.
    """

    groups: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __call__(self, groups: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the weight of each example, float32 [B].

        Args:
            groups: hashes, int64 [B]; of a group that is not known the weight is 1.
            labels: classes by number, int64 [B].
        """
        count = len(self.groups)
        place = tf.searchsorted(tf.constant(self.groups), groups)
        found = tf.gather(tf.constant(np.append(self.groups, -1)), place)
        row = tf.where(tf.equal(found, groups), place, count)
        return tf.gather_nd(
            tf.constant(self.weights), tf.stack([tf.cast(row, labels.dtype), labels], 1)
        )


def fit_reweighing(
    groups: NDArray[np.int64], labels: NDArray[np.integer], classes: int, min_examples: int
) -> Reweighing:
    """Returns the weights that training examples ask for.

    Args:
        groups: hash of each example's group, [N].
        labels: class of each example by number, [N].
        classes: C.
        min_examples: groups with fewer examples keep the weight 1: a share of a class among them
            would be chance, and its inverse a large weight.
    """
    known, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.bincount(place * classes + labels, minlength=len(known) * classes)
    counts = counts.reshape(len(known), classes)

    expected = np.outer(sizes, counts.sum(axis=0)) / len(labels)
    weights = np.divide(expected, counts, out=np.ones_like(expected), where=counts > 0)
    weights[sizes < min_examples] = 1.0
    rows = np.vstack([weights, np.ones(classes)])
    return Reweighing(known, rows.astype(np.float32))
