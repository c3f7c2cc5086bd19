"""How far columns have moved between two samples of learners, and whether that may be chance.

Two finite samples of the same learners are never equal, so a distance is above 0 by chance. It is
therefore not the distance that is compared with what the schema allows, but the lower end of its
interval. Learners are drawn with replacement, from both samples at once: outcomes and events of one
learner are alike, and a learner may be in both samples. Distances of draws are above the distance
of the samples by about as much as that is above the true one, so the lower end lies as far below
the distance as draws reach above it (the "basic" interval of A. C. Davison, D. V. Hinkley,
Bootstrap Methods and their Application, 1997, section 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.contracts.drift_report import Bucket, ColumnDrift, Kind
from components.contracts.drift_report import Distance as DistanceName
from components.evaluator.draws import DEFINED, MIN_LEARNERS, SEED
from components.evaluator.resampling import draw_learners
from components.monitoring.buckets import Buckets, SeenBefore, Sums, count_by_learner
from components.monitoring.distances import Distance, infinity_norm, jensen_shannon
from components.monitoring.words import describe_change

if TYPE_CHECKING:
    from components.monitoring.log_sample import LogSample

DRAWS = 1000
FALSE_CALLS = 0.1  # of all columns together, per report, where each moved as far as is allowed

DISTANCES: dict[DistanceName, Distance] = {
    "infinity_norm": infinity_norm,
    "jensen_shannon_divergence": jensen_shannon,
    "share": infinity_norm,  # of outcomes in units that were never seen, which was 0
}

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Comparison:
    """What is compared of one column.

    Attributes:
        column: its name in the report.
        kind: what it is to the model.
        distance: which distance.
        threshold: what is allowed; None where nothing is judged.
        reference: the sample of the version's data, and the name of the column in it.
        new: the sample of the new data.
    """

    column: str
    kind: Kind
    distance: DistanceName
    threshold: float | None
    reference: LogSample
    new: LogSample


@dataclass(frozen=True)
class _Counted:
    """A column of both sides, counted by learner: sparse matrices [K, L] of the same learners."""

    what: Comparison
    buckets: Buckets
    reference: Sums
    new: Sums

    def distances(self, counts: Floats) -> Floats:
        """Returns the distance on each draw of learners, [D]; NaN where a side has no values.

        Args:
            counts: how often each learner was drawn, [L, D].
        """
        first, second = _shares(self.reference @ counts), _shares(self.new @ counts)
        found: Floats = DISTANCES[self.what.distance](first, second)
        return found


def compare(
    comparisons: Sequence[Comparison], *, draws: int = DRAWS, seed: int = SEED
) -> list[ColumnDrift]:
    """Returns how far each column has moved.

    A column drifted if the lower end of its interval is above its threshold. With fewer than
    `MIN_LEARNERS` learners on a side there is no interval, and nothing is judged.

    Args:
        comparisons: of any samples; the same learners are drawn for all columns.
        draws: how often.
        seed: same seed, same draws.
    """
    if not comparisons:
        return []
    everybody = _everybody(comparisons)
    counted = [_count(item, everybody) for item in comparisons]
    sizes = [item.distances(np.ones((len(everybody), 1)))[0] for item in counted]

    drawn: list[list[Floats]] = [[] for _ in counted]
    for counts in draw_learners(len(everybody), draws, seed) if draws else ():
        for place, item in enumerate(counted):
            drawn[place].append(item.distances(counts))

    confidence = confidence_of(comparisons)
    return [
        _conclude(item, float(size), np.concatenate(parts) if parts else np.zeros(0), confidence)
        for item, size, parts in zip(counted, sizes, drawn, strict=True)
    ]


def confidence_of(comparisons: Sequence[Comparison]) -> float:
    """Returns the confidence of each lower end, so that all hold together in 1 - `FALSE_CALLS`."""
    judged = sum(item.threshold is not None for item in comparisons)
    return 1 - FALSE_CALLS / max(judged, 1)


def _everybody(comparisons: Sequence[Comparison]) -> pl.Series:
    """Returns the ids of all learners of both sides, sorted."""
    samples: Mapping[int, LogSample] = {
        id(sample): sample for item in comparisons for sample in (item.reference, item.new)
    }
    return pl.concat([sample.learners for sample in samples.values()]).unique().sort()


def _count(item: Comparison, everybody: pl.Series) -> _Counted:
    first, second = (side.columns[item.column] for side in (item.reference, item.new))
    kind = SeenBefore if item.distance == "share" else Buckets
    buckets = kind.of(first, second)
    sides = []
    for column, sample in ((first, item.reference), (second, item.new)):
        places = everybody.search_sorted(sample.learners)
        assert isinstance(places, pl.Series), "a series was searched for"
        owners = places.to_numpy().astype(np.int64)[column.owners]
        counts = count_by_learner(
            buckets.places(column), owners, len(buckets.names), len(everybody)
        )
        sides.append(counts)
    return _Counted(item, buckets, *sides)


def _shares(counts: Floats) -> Floats:
    """Returns shares of the sums over buckets, [K, D]; NaN where there is nothing."""
    total = counts.sum(axis=0)
    shares: Floats = counts / np.where(total > 0, total, np.nan)
    return shares


def _conclude(item: _Counted, size: float, drawn: Floats, confidence: float) -> ColumnDrift:
    what = item.what
    ones = np.ones((item.reference.shape[1], 1))
    first, second = (_shares(side @ ones)[:, 0] for side in (item.reference, item.new))
    low, high = _interval(item, size, drawn, confidence)
    samples = (what.reference.columns[what.column], what.new.columns[what.column])
    return ColumnDrift(
        column=what.column,
        kind=what.kind,
        distance=what.distance,
        size=None if np.isnan(size) else size,
        low=low,
        high=high,
        threshold=what.threshold,
        drifted=what.threshold is not None and low is not None and low > what.threshold,
        words=describe_change(what.column, item.buckets, (first, second), samples),
        buckets=_most_moved(item.buckets, first, second),
    )


def _interval(
    item: _Counted, size: float, drawn: Floats, confidence: float
) -> tuple[float | None, float | None]:
    fewest = min(len(side.learners) for side in (item.what.reference, item.what.new))
    defined = drawn[np.isfinite(drawn)]
    if np.isnan(size) or fewest < MIN_LEARNERS or len(defined) < max(DEFINED * len(drawn), 1):
        return None, None
    # The root of the divergence is a metric, and grows as what moved does; so its draws spread as
    # far on both sides.
    power = 2 if item.what.distance == "jensen_shannon_divergence" else 1
    middle, far = size ** (1 / power), float(np.quantile(defined, confidence)) ** (1 / power)
    reach = max(far - middle, 0.0)
    return max(middle - reach, 0.0) ** power, min(middle + reach, 1.0) ** power


def _most_moved(buckets: Buckets, first: Floats, second: Floats) -> list[Bucket]:
    """Returns the shares of buckets: of numbers in their order, of words those that moved most."""
    order = np.arange(len(buckets.names))
    if buckets.words is not None:
        order = np.argsort(-np.abs(np.nan_to_num(second) - np.nan_to_num(first)), kind="stable")
    return [
        Bucket(
            name=buckets.names[place],
            reference=float(np.nan_to_num(first[place])),
            new=float(np.nan_to_num(second[place])),
        )
        for place in order[: ColumnDrift.MOST_BUCKETS]
    ]
