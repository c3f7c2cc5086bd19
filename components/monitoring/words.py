"""What changed, in words: shares of a word, a median, units that nobody had seen."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.contracts.names import DWELL
from components.monitoring.buckets import NEVER, Buckets, SeenBefore
from components.monitoring.log_sample import ColumnSample

SHOWN_UNITS = 3
MISSING_MOVED = 0.05  # a share of missing numbers that moved less is not worth a word

Floats = NDArray[np.floating]
Pair = tuple[ColumnSample, ColumnSample]


def describe_change(
    column: str, buckets: Buckets, shares: tuple[Floats, Floats], samples: Pair
) -> str:
    """Returns what changed, without a full stop.

    Args:
        column: its name.
        buckets: what was counted together.
        shares: of the buckets, in the version's data and in the new data, [K] each.
        samples: the values of both.
    """
    first, second = shares
    if np.isnan(first).any() or np.isnan(second).any():
        side = "the version's data" if np.isnan(first).any() else "the new data"
        return f"`{column}` has no values in {side}"
    if isinstance(buckets, SeenBefore):
        return describe_units(buckets.never_seen, float(second[NEVER]))
    if buckets.words is None:
        return _describe_numbers(column, shares, samples)

    place = int(np.argmax(np.abs(second - first)))
    name = buckets.names[place] or "missing"
    return f"`{column}` {name} {_change(first[place], second[place])}"


def describe_units(never_seen: list[str], share: float) -> str:
    """Returns which units nobody had seen, and how much of the outcomes is theirs.

    >>> describe_units(["statistics"], 0.31)
    'unit `statistics` was never seen: 31% of outcomes'
    """
    if not never_seen:
        return "every unit was seen before"
    shown = [f"`{unit}`" for unit in never_seen[:SHOWN_UNITS]]
    if len(never_seen) == 1:
        return f"unit {shown[0]} was never seen: {_percent(share)} of outcomes"
    more = len(never_seen) - len(shown)
    listed = ", ".join(shown[:-1]) + f" and {shown[-1]}" if not more else ", ".join(shown)
    rest = f" and {more} more" if more else ""
    return f"units {listed}{rest} were never seen: {_percent(share)} of outcomes"


def _describe_numbers(column: str, shares: tuple[Floats, Floats], samples: Pair) -> str:
    numbers = [sample.values.drop_nans() for sample in samples]
    missing = [float(side[-1]) for side in shares]
    parts = []
    if not all(map(len, numbers)) or abs(missing[1] - missing[0]) >= MISSING_MOVED:
        parts.append(f"`{column}` missing {_change(*missing)}")
    if all(map(len, numbers)):
        parts.append(_describe_middle(column, numbers[0], numbers[1]))
    return ", ".join(parts)


def _describe_middle(column: str, first: pl.Series, second: pl.Series) -> str:
    """Returns how the median moved; the mean where that hides it, as with 0 and 1."""
    before, after = (_number(side.median()) for side in (first, second))
    name = "median"
    if before == after:
        before, after = (_number(side.mean()) for side in (first, second))
        name = "mean"
    unit = " s" if column == DWELL else ""
    return f"{name} `{column}` {before}{unit} → {after}{unit}"


def _number(value: object) -> str:
    number = float(str(value))
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _change(first: float, second: float) -> str:
    return f"{_percent(first)} → {_percent(second)}"


def _percent(share: float) -> str:
    digits = 0 if share == 0 or 0.01 <= share <= 0.99 or share == 1 else 1
    return f"{100 * share:.{digits}f}%"
