"""Intervals for a mean that hold at every moment, however often and whenever somebody looks.

A gambler bets, observation by observation, that the mean is not m. If it is m, no strategy makes
the gambler rich: the capital is a non-negative martingale, and exceeds 1/alpha at any time with a
probability of at most alpha (Ville's inequality). The interval holds each m against which the
gambler has not become rich. It needs no assumption besides bounds, and is valid for any number of
observations.

Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
Journal of the Royal Statistical Society B 86(1), 2024: Theorem 3, the hedged capital process, with
the predictable plug-in bets of its equation (26), half of the capital on each side, bets cut at
half of what could be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

MOST_LOST = 0.5  # share of the capital that one bet can lose
BISECTIONS = 40  # 1e-12 of the width between the bounds


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes:
        count: number of observations.
        mean: theirs; 0 without any.
        low: the lowest mean that the observations do not contradict.
        high: the highest.
    """

    count: int
    mean: float
    low: float
    high: float


def always_valid_interval(
    values: Array, *, low: float, high: float, alpha: float = 0.05
) -> Interval:
    """Returns the interval after all values; all such intervals hold at once, with 1 - alpha.

    Args:
        values: observations [n] between the bounds, in the order in which they came.
        low: the lowest possible value.
        high: the highest.
        alpha: chance that any of the intervals, over all n, misses the mean.

    >>> found = always_valid_interval(np.array([0.9, 1.0] * 100), low=0.0, high=1.0)
    >>> found.low < 0.95 < found.high
    True
    """
    if not values.size:
        return Interval(0, 0.0, low, high)

    width = high - low
    scaled = (values - low) / width
    bets = _bets(scaled, alpha)
    bound = np.log(2.0 / alpha)

    def is_too_low(mean: float) -> bool:
        return bool(_log_capital(scaled, bets, mean)[-1] >= bound)

    def is_too_high(mean: float) -> bool:
        return bool(_log_capital(1.0 - scaled, bets, 1.0 - mean)[-1] >= bound)

    mean = float(scaled.mean())
    lowest = _edge(is_too_low, outside=0.0, inside=mean)
    highest = _edge(is_too_high, outside=1.0, inside=mean)
    return Interval(values.size, low + width * mean, low + width * lowest, low + width * highest)


def is_excluded(
    values: Array, mean: float, *, low: float, high: float, alpha: float = 0.05
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Returns whether the interval after each value lies beside a mean, [..., n].

    Args:
        values: sequences of observations [..., n].
        mean: the mean that is asked about.
        low: see `always_valid_interval`.
        high: see `always_valid_interval`.
        alpha: see `always_valid_interval`.
    """
    width = high - low
    scaled, asked = (values - low) / width, (mean - low) / width
    bets = _bets(scaled, alpha)
    above = _log_capital(scaled, bets, asked)
    below = _log_capital(1.0 - scaled, bets, 1.0 - asked)
    found: np.ndarray[Any, np.dtype[np.bool_]] = np.maximum(above, below) >= np.log(2.0 / alpha)
    return found


def _bets(scaled: Array, alpha: float) -> Array:
    """Returns how much is bet on each value, before it is known, [..., n]."""
    counts = np.arange(1, scaled.shape[-1] + 1)
    means = (0.5 + np.cumsum(scaled, axis=-1)) / (counts + 1)
    variances = (0.25 + np.cumsum((scaled - means) ** 2, axis=-1)) / (counts + 1)
    known = np.concatenate([np.full((*scaled.shape[:-1], 1), 0.25), variances[..., :-1]], axis=-1)
    found: Array = np.sqrt(2.0 * np.log(2.0 / alpha) / (known * counts * np.log1p(counts)))
    return found


def _log_capital(scaled: Array, bets: Array, mean: float) -> Array:
    """Returns the logarithm of what betting on a higher mean has made of 1, [..., n]."""
    cut = np.minimum(bets, MOST_LOST / mean) if mean > 0.0 else bets
    capital: Array = np.cumsum(np.log1p(cut * (scaled - mean)), axis=-1)
    return capital


def _edge(is_beside: Any, *, outside: float, inside: float) -> float:
    """Returns where the interval ends between a mean beside it and one in it."""
    if not is_beside(outside):
        return outside
    for _ in range(BISECTIONS):
        middle = (outside + inside) / 2
        if is_beside(middle):
            outside = middle
        else:
            inside = middle
    return outside
