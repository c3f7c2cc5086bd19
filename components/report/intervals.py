"""Confidence intervals: how far a metric may be off because the test split is limited.

All are rough 95% intervals: rows count as independent, though a learner may have several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959964  # of the normal distribution, for 95%
Interval = tuple[float, float]


def wilson(hits: float, trials: float) -> Interval | None:
    """Returns Wilson's score interval of the proportion `hits / trials`; None without trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22,
    1927.

    >>> low, high = wilson(8, 10)
    >>> round(low, 2), round(high, 2)
    (0.49, 0.94)
    """
    if trials <= 0:
        return None

    share = hits / trials
    spread = Z * Z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def f1_interval(both: float, either: float) -> Interval | None:
    """Returns an interval of a class's F1; None if no row is of the class or predicted to be.

    F1 = 2J / (1 + J) grows with the proportion J = both / either, so J's interval carries over.

    Args:
        both: how many rows are of the class *and* predicted to be.
        either: how many rows are of the class *or* predicted to be.
    """
    jaccard = wilson(both, either)
    return None if jaccard is None else (_f1(jaccard[0]), _f1(jaccard[1]))


def _f1(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


def mean_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Returns an interval of the mean of `values` (macro averages) from the interval of each.

    Method of variance estimates recovery: G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008.
    """
    mean = sum(values) / len(values)
    below = math.hypot(*(value - low for value, (low, _) in zip(values, intervals, strict=True)))
    above = math.hypot(*(high - value for value, (_, high) in zip(values, intervals, strict=True)))
    return mean - below / len(values), mean + above / len(values)


def macro_f1_interval(confusion: Sequence[Sequence[int]]) -> Interval | None:
    """Returns an interval of macro F1; classes neither present nor predicted do not count.

    Args:
        confusion: counts [C, C], true classes in rows, predicted ones in columns.
    """
    values, intervals = [], []
    for index, row in enumerate(confusion):
        both = row[index]
        either = sum(row) + sum(other[index] for other in confusion) - both
        interval = f1_interval(both, either)
        if interval is not None:
            values.append(_f1(both / either))
            intervals.append(interval)
    return mean_interval(values, intervals) if values else None


def class_intervals(confusion: Sequence[Sequence[int]], index: int) -> dict[str, Interval | None]:
    """Returns intervals of precision, recall and F1 of class `index` from counts [C, C]."""
    both = confusion[index][index]
    true = sum(confusion[index])
    predicted = sum(row[index] for row in confusion)
    return {
        "precision": wilson(both, predicted),
        "recall": wilson(both, true),
        "f1": f1_interval(both, true + predicted - both),
    }
