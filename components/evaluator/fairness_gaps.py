"""How far groups of learners lie apart, and how much of it chance explains.

A gap is a distance between what is measured of two groups: of two numbers their difference, of two
ROC curves the area between them (ABROCA: J. Gardner, C. Brooks and R. Baker, LAK 2019). Chance
moves it by the same distance between what is drawn and what was measured. By the triangle
inequality, the true gap is within that of the measured one, for areas as for differences; so an
area, which is never negative, is compared with what chance alone makes of equal curves.

Learners are drawn as for all intervals (`components.evaluator.resampling`). The largest movement of
any pair, each in units of its own standard error, gives one factor for all of them: with it, the
intervals of all pairs hold at once (the max-t bootstrap of J. P. Romano and M. Wolf, 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from components.evaluator.draws import DEFINED, MIN_LEARNERS, Draws
from components.evaluator.resampling import Measure, Sums, count_learners, sums_by_learner

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]

THRESHOLDS = 200  # of the ROC curves that are drawn; what is measured is exact
GRID = (np.arange(100) + 0.5) / 100  # false positive rates at which drawn curves are compared
_BLOCK = 4_000_000  # numbers of one array of distances between curves
_KEY = ("", None)


@dataclass(frozen=True)
class Ratio:
    """A number of a group: a sum over its examples, divided by how many count.

    Attributes:
        values: what is summed, [n]; 0 where an example does not count.
        counted: which examples count, [n].
        is_share: whether values are 0 and 1 only.
    """

    values: Floats
    counted: Bools
    is_share: bool = True

    def examples(self, rows: Ints) -> int:
        """Returns how many examples of a group count."""
        return int(self.counted[rows].sum())

    def learners(self, learners: Ints, rows: Ints) -> int:
        """Returns how many learners of a group count."""
        return count_learners(learners[rows][self.counted[rows]])

    def of(self, rows: Ints) -> float:
        """Returns the number of a group; NaN where none of its examples counts."""
        count = self.examples(rows)
        return float(self.values[rows].sum(dtype=np.float64)) / count if count else float("nan")


@dataclass(frozen=True)
class Ranking:
    """How learners of one class are ranked above all others: the ROC curve of a group.

    Attributes:
        positive: whether an example is of the class, [n].
        scores: the probability of the class, [n].
    """

    positive: Bools
    scores: Floats

    def examples(self, rows: Ints) -> int:
        """Returns how many examples of a group are of the class, or are not, if that is fewer."""
        positives = int(self.positive[rows].sum())
        return min(positives, len(rows) - positives)

    def learners(self, learners: Ints, rows: Ints) -> int:
        """Returns how many learners a group has on the side that has fewer of them."""
        sides = (rows[self.positive[rows]], rows[~self.positive[rows]])
        return min(count_learners(learners[side]) for side in sides)

    def of(self, _rows: Ints) -> float:
        """Returns NaN: a curve is no number."""
        return float("nan")


Comparable = Ratio | Ranking


@dataclass(frozen=True)
class Compared:
    """A comparable measure, and the rows of the G groups that it is compared between."""

    measure: Comparable
    groups: list[Ints]

    @property
    def pairs(self) -> Ints:
        """All pairs of groups, [P, 2]."""
        return np.stack(np.triu_indices(len(self.groups), 1), axis=1)

    def sizes(self) -> Floats:
        """Returns the gap of each pair, [P]."""
        measure = self.measure
        if isinstance(measure, Ratio):
            values = np.array([measure.of(rows) for rows in self.groups])
            differences: Floats = values[self.pairs[:, 0]] - values[self.pairs[:, 1]]
            return np.abs(differences)
        curves = [roc_curve(measure.positive[rows], measure.scores[rows]) for rows in self.groups]
        return np.array([area_between(curves[i], curves[j]) for i, j in self.pairs])

    def to_draw(self, learners: Ints, count: int) -> Measure:
        """Returns a function from counts of learners, [L, D], to what each draw gives.

        Of a ratio these are the groups' numbers, [D, G]; of a ranking the distance of each pair's
        difference from the measured difference, [D, P].

        Args:
            learners: index of every row's learner, [n].
            count: L.
        """
        if isinstance(self.measure, Ratio):
            return partial(_draw_ratios, _sums_of_ratio(self.measure, self.groups, learners, count))
        sums = _sums_of_ranking(self.measure, self.groups, learners, count)
        measured = _curves(sums, len(self.groups), np.ones((count, 1)))[0]
        return partial(_draw_distances, sums, measured, self.pairs)


@dataclass(frozen=True)
class Gaps:
    """The gaps of all pairs of groups, and how far chance moves them.

    Attributes:
        pairs: indices of the groups, [P, 2].
        sizes: [P].
        scales: the standard error of each, [P].
        noise: the largest movement of any pair in each draw, in its standard errors, [D].
        drawn: the groups' numbers in each draw, [D, G]; None for a ranking.
    """

    pairs: Ints
    sizes: Floats
    scales: Floats
    noise: Floats
    drawn: Floats | None

    def intervals(self, factor: float) -> Floats:
        """Returns the lower and upper ends, [P, 2], `factor` standard errors away; none below 0."""
        reach = factor * self.scales
        return np.stack([np.maximum(self.sizes - reach, 0), self.sizes + reach], axis=1)


def comparable_groups(
    measure: Comparable, groups: Sequence[Ints], learners: Ints, min_examples: int
) -> list[int]:
    """Returns the places of the groups that have enough examples and learners to be compared."""
    return [
        place
        for place, rows in enumerate(groups)
        if measure.examples(rows) >= min_examples
        and measure.learners(learners, rows) >= MIN_LEARNERS
    ]


def gaps_of(compared: Compared, draws: Draws) -> Gaps:
    """Returns the gaps, from what `Compared.to_draw` gave in all draws.

    A pair that more than a tenth of the draws does not define is left out.
    """
    drawn, pairs, sizes = draws[_KEY], compared.pairs, compared.sizes()
    measure = compared.measure
    floors = np.zeros(len(pairs))
    numbers = None
    if isinstance(measure, Ratio):
        numbers = drawn
        signed = np.array([measure.of(rows) for rows in compared.groups])
        first, second = pairs.T
        moved = np.abs(drawn[:, first] - drawn[:, second] - (signed[first] - signed[second]))
        lacking = _lacking_variance(measure, compared.groups, drawn)
        floors = lacking[first] + lacking[second]
    else:
        moved = drawn

    kept = np.isfinite(moved).mean(axis=0) >= DEFINED
    pairs, sizes, floors, moved = pairs[kept], sizes[kept], floors[kept], moved[:, kept]
    moved = np.nan_to_num(moved)
    scales = np.sqrt((moved**2).mean(axis=0) + floors)
    ratios = np.divide(moved, scales, out=np.zeros_like(moved), where=scales > 0)
    noise = ratios.max(axis=1, initial=0.0)
    return Gaps(pairs, sizes, scales, noise, numbers)


def joint_factor(noises: Sequence[Floats], confidence: float) -> float:
    """Returns how many standard errors hold all pairs at once.

    Args:
        noises: of each comparison that is to hold at once with the others, [D] each.
        confidence: with which they hold.
    """
    return float(np.quantile(np.max(noises, axis=0), confidence))


def roc_curve(positive: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """Returns false and true positive rates by falling threshold, each [K], from 0 to 1."""
    values, place = np.unique(-scores, return_inverse=True)
    found = np.bincount(place, positive, minlength=len(values))
    wrong = np.bincount(place, ~positive, minlength=len(values))
    rates = [np.append(0.0, np.cumsum(part)) / part.sum() for part in (wrong, found)]
    return rates[0], rates[1]


def area_between(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> float:
    """Returns the exact area between two ROC curves, whichever of them is above.

    >>> diagonal = np.array([0.0, 1.0])
    >>> area_between((np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0])), (diagonal, diagonal))
    0.25
    """
    edges = np.unique(np.concatenate([first[0], second[0]]))
    widths = np.diff(edges)

    # Between two edges both curves are straight. They may jump at an edge, so their difference at
    # the ends is what it would be, going on from two points within.
    quarter, late = (
        np.interp(at, *first) - np.interp(at, *second)
        for at in (edges[:-1] + 0.25 * widths, edges[:-1] + 0.75 * widths)
    )
    left, right = 1.5 * quarter - 0.5 * late, 1.5 * late - 0.5 * quarter

    crosses = left * right < 0
    total = np.abs(left) + np.abs(right)
    halves = total / 2
    crossed = (left**2 + right**2) / np.where(crosses, 2 * total, 1.0)
    return float(widths @ np.where(crosses, crossed, halves))


def _lacking_variance(measure: Ratio, groups: Sequence[Ints], drawn: Floats) -> Floats:
    """Returns what draws of each group's share vary too little, [G].

    Of a group in which everybody is found, no draw knows of anybody who is not. The variance of a
    share is taken for that with one case more of both kinds (A. Agresti and B. Caffo, 2000), if
    that is more than draws give.
    """
    if not measure.is_share:
        return np.zeros(len(groups))
    counts = np.array([measure.examples(rows) for rows in groups])
    hits = np.array([measure.values[rows].sum() for rows in groups])
    share = (hits + 1) / (counts + 2)
    lacking: Floats = np.maximum(share * (1 - share) / counts - np.nanvar(drawn, axis=0), 0.0)
    return lacking


def _sums_of_ratio(measure: Ratio, groups: Sequence[Ints], learners: Ints, count: int) -> Sums:
    """Returns what each learner adds to the sum of each group, then to its count, [2 G, L]."""
    rows = np.concatenate(groups)
    places = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    columns = [measure.values[rows].astype(np.float64), measure.counted[rows].astype(np.float64)]
    return sums_by_learner(
        np.concatenate([places, places + len(groups)]),
        np.tile(learners[rows], 2),
        np.concatenate(columns),
        (2 * len(groups), count),
    )


def _draw_ratios(sums: Sums, counts: Floats) -> Draws:
    totals, counted = np.split(sums @ counts, 2)
    undefined = np.full(totals.shape, np.nan)
    return {_KEY: np.divide(totals, counted, out=undefined, where=counted > 0).T}


def _sums_of_ranking(measure: Ranking, groups: Sequence[Ints], learners: Ints, count: int) -> Sums:
    """Returns how many examples each learner has between thresholds, [2 G B, L].

    First those that are not of the class, then those that are, by group, then by falling score.
    """
    rows = np.concatenate(groups)
    group = np.repeat(np.arange(len(groups)), [len(part) for part in groups])
    shares = np.linspace(0, 1, THRESHOLDS + 1)[1:-1]
    edges = np.unique(np.quantile(measure.scores[rows], shares, method="lower"))
    bins = len(edges) - np.searchsorted(edges, measure.scores[rows])

    size = len(edges) + 1
    places = (measure.positive[rows] * len(groups) + group) * size + bins
    shape = (2 * len(groups) * size, count)
    return sums_by_learner(places, learners[rows], np.ones(len(rows)), shape)


def _curves(sums: Sums, groups: int, counts: Floats) -> Floats:
    """Returns each group's true positive rates at `GRID` in every draw, [D, G, P]."""
    drawn = (sums @ counts).reshape(2, groups, -1, counts.shape[1])
    wrong, found = np.pad(np.cumsum(drawn, axis=2), ((0, 0), (0, 0), (1, 0), (0, 0)))
    with np.errstate(invalid="ignore"):  # a draw without one of both sides has no curve
        rates = [part / part[:, -1:] for part in (wrong, found)]

    # All draws of a group at once: those of one draw lie between 2 d and 2 d + 1.
    draws = counts.shape[1]
    places = 2.0 * np.arange(draws)[:, np.newaxis]
    curves = np.empty((draws, groups, len(GRID)))
    for group in range(groups):
        at, found_rates = (part[group].T for part in rates)
        is_whole = np.isfinite(at[:, -1]) & np.isfinite(found_rates[:, -1])
        at = (places + np.nan_to_num(at)).ravel()
        curves[:, group] = np.interp(places + GRID, at, np.nan_to_num(found_rates).ravel())
        curves[~is_whole, group] = np.nan
    return curves


def _draw_distances(sums: Sums, measured: Floats, pairs: Ints, counts: Floats) -> Draws:
    """Returns how far each pair's difference of curves is from the measured one, [D, P]."""
    groups = len(measured)
    step = max(1, _BLOCK // (sums.shape[0] + groups * len(GRID)))
    parts = []
    for start in range(0, counts.shape[1], step):
        moved = _curves(sums, groups, counts[:, start : start + step]) - measured
        distances = [np.abs(moved[:, i] - moved[:, j]).mean(axis=1) for i, j in pairs]
        parts.append(np.stack(distances, axis=1))
    return {_KEY: np.concatenate(parts)}
