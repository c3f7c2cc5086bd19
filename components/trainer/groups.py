"""Groups of learners with constants of their own in the served graph, such as thresholds.

A group is that of the prior (`prior.group_by`), at the narrowest level with enough examples; the
whole split is the widest, so every example is in a group, also one whose unit was never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GroupTable:
    """The groups that have enough examples.

    >>> hashes = np.array([[11, 1], [11, 1], [12, 1]])
    >>> table = GroupTable.of(hashes, min_examples=2)
    >>> table.index(hashes).tolist()  # the last one is alone in its group
    [0, 0, 1]
    >>> table.index_in_graph(tf.constant(hashes)).numpy().tolist()
    [0, 0, 1]

    Attributes:
        known: hashes of the groups at each level, int64, sorted; the last level has one, that of
            the whole split, and the levels count on from each other: group 0 is the first of the
            narrowest level.
    """

    known: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, hashes: NDArray[np.int64], *, min_examples: int) -> GroupTable:
        """Returns the groups with `min_examples` or more of the examples [N, L]; always the whole.

        Args:
            hashes: the groups of each example, see `components.transform.learned.group_hashes`.
            min_examples: the fewest examples of a group.
        """
        *narrow, whole = hashes.T
        levels = []
        for level in narrow:
            found, counts = np.unique(level, return_counts=True)
            levels.append(found[counts >= min_examples].astype(np.int64))
        return cls((*levels, np.unique(whole)[:1].astype(np.int64)))

    @property
    def count(self) -> int:
        """How many groups there are."""
        return sum(map(len, self.known))

    def index(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the group of each example [N], from 0; the whole split is the last."""
        return np.asarray(self.index_in_graph(tf.constant(hashes, tf.int64)), np.int64)

    def index_in_graph(self, hashes: tf.Tensor) -> tf.Tensor:
        """Returns the same for a tensor [B, L], in a graph that is being traced; int64 [B]."""
        index = tf.fill(tf.shape(hashes)[:1], tf.constant(self.count - 1, tf.int64))
        end = self.count - 1
        for level in reversed(range(len(self.known) - 1)):
            known = self.known[level]
            end -= len(known)
            if not len(known):
                continue
            place = tf.searchsorted(tf.constant(known), hashes[:, level], out_type=tf.int64)
            place = tf.minimum(place, len(known) - 1)
            is_known = tf.equal(tf.gather(tf.constant(known), place), hashes[:, level])
            index = tf.where(is_known, place + end, index)
        return index
