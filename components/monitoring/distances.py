"""Distances of two distributions over the same buckets: those of TFDV's comparators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Distance = Callable[[Floats, Floats], Floats]


def infinity_norm(first: Floats, second: Floats) -> Floats:
    """Returns the largest difference of a share, `[...]`; TFDV's `infinity_norm`.

    >>> float(infinity_norm(np.array([0.5, 0.5]), np.array([0.25, 0.75])))
    0.25

    Args:
        first: shares of buckets, `[K, ...]`, which add up to 1.
        second: the same of another distribution.
    """
    largest: Floats = np.abs(first - second).max(axis=0)
    return largest


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """Returns the Jensen-Shannon divergence in bits, `[...]`: 0 for equal ones, at most 1.

    It is TFDV's `jensen_shannon_divergence` (J. Lin, Divergence measures based on the Shannon
    entropy, 1991).

    >>> float(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0

    Args:
        first: shares of buckets, `[K, ...]`, which add up to 1.
        second: the same of another distribution.
    """
    middle = (first + second) / 2
    # Rounding may leave less than nothing of two equal distributions.
    return np.maximum((_divergence(first, middle) + _divergence(second, middle)) / 2, 0)


def _divergence(shares: Floats, of: Floats) -> Floats:
    """Returns the Kullback-Leibler divergence in bits; a share of 0 adds nothing."""
    ratio = np.divide(shares, of, out=np.ones_like(shares), where=shares > 0)
    total: Floats = (shares * np.log2(ratio)).sum(axis=0)
    return total
