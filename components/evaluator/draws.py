"""Metrics on draws of learners: what an interval is, and the draws that gates judge by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from components.config.gates import Gate
    from components.contracts.evaluation import Interval

CANDIDATE = "candidate"
BASELINE = "baseline"

SEED = 1  # the same learners are drawn every time
MIN_LEARNERS = 10  # fewer say too little of learners who are not among them
DEFINED = 0.9  # share of the draws in which a metric must be defined for it to have an interval

Floats = NDArray[np.floating]
Place = frozenset[tuple[str, str]]  # the columns and values of a slice; empty for all examples

# By a metric's name and the index of its class, or the name of its decision (None: of all classes),
# its value in every draw, [D]; NaN where the draw does not define it.
Draws = dict[tuple[str, int | str | None], Floats]


@dataclass(frozen=True)
class DrawnMetrics:
    """The metrics that gates with a confidence ask for, in every draw of learners.

    Attributes:
        classes: names of the classes.
        learners: how many learners each slice has.
        draws: of each slice and model.
    """

    classes: Sequence[str] = ()
    learners: dict[Place, int] = field(default_factory=dict)
    draws: dict[Place, dict[str, Draws]] = field(default_factory=dict)

    def of(self, model: str, where: Mapping[str, str], gate: Gate) -> Floats | None:
        """Returns a gate's metric of a model in every draw, [D]; None where there are no draws."""
        metrics = self.draws.get(frozenset(where.items()), {}).get(model)
        if not metrics:
            return None
        return metrics.get(key_of_gate(gate, self.classes))

    def why_no_interval(self, places: Iterable[Mapping[str, str]]) -> str:
        """Returns why a metric of a slice, or a difference of two slices, has no interval."""
        fewest = min(self.learners.get(frozenset(where.items()), 0) for where in places)
        if fewest < MIN_LEARNERS:
            return f"no interval: expected {MIN_LEARNERS} learners or more, found {fewest}"
        return f"no interval: undefined in more than {1 - DEFINED:.0%} of the draws of learners"


def key_of_gate(gate: Gate, classes: Sequence[str]) -> tuple[str, int | str | None]:
    """Returns the key of a gate's metric in draws."""
    if gate.decision is not None:
        return gate.metric, gate.decision
    return gate.metric, None if gate.class_ is None else classes.index(gate.class_)


def interval_of(values: Floats | None, confidence: float) -> Interval | None:
    """Returns the percentile interval of draws; None where too few of them are defined.

    Args:
        values: a metric, or a difference of two, in every draw, [D].
        confidence: share of the draws between its ends.

    >>> interval_of(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    if values is None or not len(values):
        return None
    defined = values[np.isfinite(values)]
    if len(defined) < DEFINED * len(values):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def difference(a: Floats | None, b: Floats | None) -> Floats | None:
    """Returns A minus B in every draw, [D]; None where one has no draws."""
    return None if a is None or b is None else a - b


class DrawnMeans:
    """Means over examples when learners are drawn with replacement, the same ones for every mean.

    >>> means = DrawnMeans(np.arange(40) // 2, draws=200, confidence=0.95)
    >>> means.interval(np.full(40, 0.25))
    (0.25, 0.25)

    Args:
        learners: the number of every example's learner, [n].
        draws: how often learners are drawn.
        confidence: of the intervals.
    """

    def __init__(self, learners: NDArray[np.integer], *, draws: int, confidence: float) -> None:
        ids, self._places = np.unique(learners, return_inverse=True)
        self._confidence = confidence
        drawn = draws if len(ids) >= MIN_LEARNERS else 0  # fewer say too little of others
        chances = np.full(len(ids), 1 / max(len(ids), 1))
        self._counts = np.random.default_rng(SEED).multinomial(len(ids), chances, size=drawn)
        self._sizes = self._counts @ np.bincount(self._places, minlength=len(ids))

    def interval(self, values: Floats) -> Interval | None:
        """Returns the interval of the mean of values [n]; None where learners are too few."""
        sums = np.bincount(self._places, values, minlength=self._counts.shape[1])
        return interval_of(self._counts @ sums / self._sizes, self._confidence)
