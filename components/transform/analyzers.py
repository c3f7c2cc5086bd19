"""Analyses of the train split whose results do not depend on the order of its rows.

Beam processes rows in batches and bundles whose sizes depend on how busy the machine is, and
merges the results in any order. Sums of floats then differ in their last bits from run to run,
and so does a model that is fitted to them. So sums are kept as whole numbers, which add up
exactly, and quantiles come from counts of values: the same rows give the same result on every
runner. Each result is exact and rounded once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Exact = NDArray[np.object_]  # Python's integers, in units of 1 / ONE
Cell = tuple[int, int]  # a column, and the high bits of the keys of some of its values
Counts = tuple[Ints, Ints]  # distinct low bits in order [V], how many values have them [V]

MANTISSA = 53  # bits of a float64
HALF = 27  # bits of these that are summed separately: a float64 holds a chunk's sum exactly
CHUNK = 1 << 20  # values summed at once; up to 2 ** (MANTISSA - HALF) would be exact
POINT = 1126  # every float64 is a whole number of units of 2 ** -POINT
ONE = 1 << POINT
LOW_BITS = 20  # of a value's 32 bits; a cell holds at most 2 ** LOW_BITS distinct values


def exact_sums(values: Floats, groups: Ints, count: int) -> Exact:
    """Sums numbers by group, without any rounding.

    >>> sums = exact_sums(np.array([1e16, 1.0, -1e16]), np.array([0, 0, 0]), 1)
    >>> sums[0] / ONE
    1.0

    Args:
        values: [N], finite.
        groups: [N], the group of each value, from 0.
        count: how many groups there are.

    Returns:
        The sums [count] in units of `1 / ONE`, as integers of any size; `sums[0] / ONE` is the
        closest float64.
    """
    sums = np.zeros(count, object)
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        _add_exactly(sums, values[part].astype(np.float64), groups[part])
    return sums


def _add_exactly(sums: Exact, values: Floats, groups: Ints) -> None:
    fractions, exponents = np.frexp(values)
    high = np.trunc(np.ldexp(fractions, MANTISSA - HALF))
    low = np.ldexp(fractions, MANTISSA) - np.ldexp(high, HALF)

    lowest = int(exponents.min())
    width = int(exponents.max()) - lowest + 1
    cells = groups * width + (exponents - lowest)  # one for each group and exponent
    highs, lows = np.bincount(cells, high), np.bincount(cells, low)

    for cell in np.flatnonzero((highs != 0) | (lows != 0)).tolist():
        group, exponent = divmod(cell, width)
        mantissas = (int(highs[cell]) << HALF) + int(lows[cell])
        sums[group] += mantissas << (exponent + lowest - MANTISSA + POINT)


class Moments(beam.PTransform):  # type: ignore[misc]
    """Finds the mean and standard deviation of columns: batches of ([N, K],) to one array [2, K].

    Values that are not finite are left out; a column without any has mean 0 and deviation 0.
    """

    def __init__(self, columns: int) -> None:
        """Binds the transform.

        Args:
            columns: K.
        """
        super().__init__()
        self._columns = columns

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Applies the transform."""
        zeros = np.zeros((3, self._columns), object)
        return (
            batches
            | "SumBatch" >> beam.Map(lambda batch: _sum_powers(batch[0]))
            | "SumAll" >> beam.CombineGlobally(lambda sums: sum(sums, start=zeros))
            | "Moments" >> beam.Map(_moments)
        )


def _sum_powers(values: Floats) -> Exact:
    """Returns the sums of x ** 0, x and x ** 2 of each column, [3, K]; counts are plain integers.

    The square of a float32 has 48 bits and so is exact in float64.
    """
    sums = np.zeros((3, values.shape[1]), object)
    for place, column in enumerate(values.T):
        known = column[np.isfinite(column)].astype(np.float64)
        one_group = np.zeros(len(known), np.int64)
        sums[0, place] = len(known)
        sums[1:, place] = [exact_sums(powers, one_group, 1)[0] for powers in (known, known**2)]
    return sums


def _moments(sums: Exact) -> Floats:
    moments = np.zeros((2, sums.shape[1]))
    for place, (count, total, squares) in enumerate(sums.T):
        if count:
            variance = (count * squares * ONE - total**2) / (count * ONE) ** 2
            moments[:, place] = total / (count * ONE), math.sqrt(variance)
    return moments


class GroupSums(beam.PTransform):  # type: ignore[misc]
    """Sums rows by group: batches of (groups [B, L], rows [B, K]) to two arrays.

    Each row is in L groups, the narrowest first: rows that share their first group share all of
    them. The first array has the groups of all levels in order, int64 [G], the second their sums,
    float64 [G, K].
    """

    def __init__(self, columns: int) -> None:
        """Binds the transform.

        Args:
            columns: K.
        """
        super().__init__()
        self._columns = columns

    def expand(self, batches: beam.PCollection) -> tuple[beam.PCollection, beam.PCollection]:
        """Applies the transform; both results are collections of one array."""
        groups = (
            batches
            | "SumBatch" >> beam.FlatMap(_sum_groups)
            | "SumGroup" >> beam.CombinePerKey(sum)
            | "Collect" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(_sorted_groups, self._columns)
        )
        return groups | "Groups" >> beam.Keys(), groups | "Sums" >> beam.Values()


def _sum_groups(batch: tuple[Ints, Floats]) -> Iterator[tuple[int, Exact]]:
    """Yields the groups of a batch with their sums; the wider ones add up their narrowest ones."""
    groups, rows = batch
    _, first, places = np.unique(groups[:, 0], return_index=True, return_inverse=True)
    narrowest = np.stack([exact_sums(column, places, len(first)) for column in rows.T], axis=1)

    for level in groups[first].T:
        names, places = np.unique(level, return_inverse=True)
        sums = np.zeros((len(names), rows.shape[1]), object)
        np.add.at(sums, places, narrowest)
        yield from zip(names.tolist(), sums, strict=True)


def _sorted_groups(pairs: list[tuple[int, Exact]], columns: int) -> tuple[Ints, Floats]:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    groups = np.array([group for group, _ in pairs], np.int64)
    sums = [[total / ONE for total in row] for _, row in pairs]
    return groups, np.array(sums, np.float64).reshape(-1, columns)


class Quantiles(beam.PTransform):  # type: ignore[misc]
    """Cuts columns into parts of equally many values: batches of ([N, K],) to one array of bounds.

    The bounds of a column with `parts` parts are `parts - 1` of its values, float32: the ones at
    ranks `n * i // parts` of its n values in order, from 0. Values that are not finite are left
    out; the bounds of a column without values are 0. The array has the bounds of the first column,
    then those of the second, and so on.

    Distinct values are counted in cells of at most a million, and only the sizes of the cells
    are gathered in one place, so the memory of a worker does not grow with the log.
    """

    def __init__(self, parts: Sequence[int]) -> None:
        """Binds the transform.

        Args:
            parts: into how many parts each of the K columns is cut.
        """
        super().__init__()
        self._parts = [*parts]

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Applies the transform."""
        cells = (
            batches
            | "CountBatch" >> beam.FlatMap(lambda batch: _count_values(batch[0]))
            | "CountCell" >> beam.CombinePerKey(_merge_counts)
        )

        ranks = (
            cells
            | "Size" >> beam.MapTuple(lambda cell, counts: (cell, int(counts[1].sum())))
            | "Sizes" >> beam.combiners.ToList()
            | "Ranks" >> beam.Map(_rank_cells)
        )

        return (
            cells
            | "Pick" >> beam.FlatMap(_pick_bounds, self._parts, beam.pvalue.AsSingleton(ranks))
            | "Collect" >> beam.combiners.ToList()
            | "Arrange" >> beam.Map(_arrange_bounds, self._parts)
        )


def _count_values(values: Floats) -> Iterator[tuple[Cell, Counts]]:
    for place, column in enumerate(values.T):
        keys, counts = np.unique(_keys(column[np.isfinite(column)]), return_counts=True)
        cells, starts = np.unique(keys >> LOW_BITS, return_index=True)
        lows = np.split(keys & ((1 << LOW_BITS) - 1), starts[1:])
        # A column without values has no cell, but one empty part.
        sizes = np.split(counts, starts[1:])
        for cell, low, size in zip(cells.tolist(), lows, sizes, strict=False):
            yield (place, cell), (low, size)


def _merge_counts(parts: Iterable[Counts]) -> Counts:
    lows, counts = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    distinct, places = np.unique(lows, return_inverse=True)
    merged = np.zeros(len(distinct), np.int64)
    np.add.at(merged, places, counts)
    return distinct, merged


def _rank_cells(sizes: list[tuple[Cell, int]]) -> tuple[dict[Cell, int], Counter[int]]:
    """Returns how many values of its column come before a cell, and how many a column has."""
    before: dict[Cell, int] = {}
    totals: Counter[int] = Counter()
    for (place, cell), size in sorted(sizes):
        before[place, cell] = totals[place]
        totals[place] += size
    return before, totals


def _pick_bounds(
    item: tuple[Cell, Counts], parts: list[int], ranks: tuple[dict[Cell, int], Counter[int]]
) -> Iterator[tuple[int, int, float]]:
    """Yields (column, index, value) of the bounds that lie in a cell."""
    (place, cell), (lows, counts) = item
    before, total = ranks[0][place, cell], ranks[1][place]

    ends = before + np.cumsum(counts)
    for index in range(1, parts[place]):
        rank = total * index // parts[place]
        if before <= rank < ends[-1]:
            key = (cell << LOW_BITS) | int(lows[np.searchsorted(ends, rank, side="right")])
            yield place, index - 1, float(_values(np.array([key], np.uint32))[0])


def _arrange_bounds(picked: list[tuple[int, int, float]], parts: list[int]) -> Floats:
    starts = [*accumulate((count - 1 for count in parts), initial=0)]
    bounds = np.zeros(starts[-1], np.float32)
    for place, index, value in picked:
        bounds[starts[place] + index] = value
    return bounds


def _keys(values: Floats) -> Ints:
    """Returns integers in the order of the float32 values; both zeros are the same."""
    bits = (values + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _values(keys: Ints) -> Floats:
    """Returns the float32 values of keys."""
    values: NDArray[np.uint32] = np.where(keys >> 31, keys & np.uint32((1 << 31) - 1), ~keys)
    return values.astype(np.uint32).view(np.float32)
