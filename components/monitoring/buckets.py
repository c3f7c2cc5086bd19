"""The buckets that both sides of a comparison are counted in, per learner."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from components.evaluator.resampling import sums_by_learner

if TYPE_CHECKING:
    from components.monitoring.log_sample import ColumnSample

NEVER = 1  # place of the bucket of words that were never seen
PARTS = 10  # numbers are cut at the deciles of the reference

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Sums = Any  # a sparse matrix [K, L]


@dataclass(frozen=True)
class Buckets:
    """What values are counted together.

    Attributes:
        names: of the buckets, [K]; empty for missing values.
        words: the words that have a bucket each; None for numbers.
        edges: upper ends of ranges of numbers, each of which holds its own; there is one more range
            above the last, where the reference has nothing. After it comes that of missing numbers.
    """

    names: list[str]
    words: pl.Series | None = None
    edges: Floats | None = None

    @classmethod
    def of(cls, reference: ColumnSample, new: ColumnSample) -> Buckets:
        """Returns the buckets of a column: all words of both sides, or deciles of the reference."""
        if reference.is_text:
            words = pl.concat([reference.values, new.values]).unique().sort()
            return cls(names=words.to_list(), words=words)

        numbers = reference.values.drop_nans().to_numpy()
        if not len(numbers):  # so that there is a bucket for numbers at all
            numbers = new.values.drop_nans().to_numpy()
        shares = np.arange(1, PARTS + 1) / PARTS
        edges = np.zeros(0)
        if len(numbers):
            edges = np.unique(np.quantile(numbers, shares, method="inverted_cdf"))
        return cls(names=[*_ranges(edges), ""], edges=edges)

    def places(self, column: ColumnSample) -> Ints:
        """Returns the bucket of each value, [N]."""
        if self.words is not None:
            found = self.words.search_sorted(column.values)
            assert isinstance(found, pl.Series), "a series was searched for"
            return found.to_numpy().astype(np.int64)

        assert self.edges is not None, "numbers have edges"
        values = column.values.to_numpy()
        places = np.searchsorted(self.edges, values, side="left")
        return np.where(np.isnan(values), len(self.edges) + 1, places)


@dataclass(frozen=True)
class SeenBefore(Buckets):
    """Two buckets: words that the reference has, and those that it does not have.

    Attributes:
        never_seen: the latter, the most frequent first.
    """

    never_seen: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, reference: ColumnSample, new: ColumnSample) -> SeenBefore:
        """Returns the buckets of a column of words."""
        words = reference.values.unique().sort()
        others = new.values.filter(~new.values.is_in(words.implode()))
        counts = (
            others.rename("word").value_counts().sort("count", "word", descending=[True, False])
        )
        return cls(["seen before", "never seen"], words, never_seen=counts["word"].to_list())

    def places(self, column: ColumnSample) -> Ints:
        """Returns the bucket of each value, [N]."""
        assert self.words is not None, "units are words"
        is_known = column.values.is_in(self.words.implode()).to_numpy()
        return np.where(is_known, 1 - NEVER, NEVER)


def _ranges(edges: Floats) -> list[str]:
    """Returns the names of the ranges between edges, and of those below and above them.

    >>> _ranges(np.array([1.0, 2.5]))
    ['up to 1', '1 to 2.5', 'above 2.5']
    """
    if not len(edges):
        return ["any"]
    texts = [f"{edge:.6g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
    return [f"up to {texts[0]}", *between, f"above {texts[-1]}"]


def count_by_learner(places: Ints, owners: Ints, buckets: int, learners: int) -> Sums:
    """Returns how many values each learner has in each bucket, a sparse matrix [K, L].

    Args:
        places: the bucket of each value, [N].
        owners: the learner of each value, [N].
        buckets: K.
        learners: L.
    """
    if not len(places):
        return sparse.csr_matrix((buckets, learners))
    return sums_by_learner(places, owners, np.ones(len(places)), (buckets, learners))
