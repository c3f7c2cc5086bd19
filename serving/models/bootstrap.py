"""How sure the difference of two models on the same examples is, by drawing learners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.evaluator.draws import interval_of
from components.evaluator.resampling import Measure, draw_metrics

Verdict = Literal["better", "worse", "not distinguishable"]
# A metric's name and the index of its class, or the name of its decision, if it has one.
MetricOfClass = tuple[str, int | str | None]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An interval of the difference, B minus A."""

    low: float
    high: float


def difference_intervals(
    a: Measure, b: Measure, *, learners: int, draws: int, seed: int
) -> dict[MetricOfClass, Interval | None]:
    """Returns 95% percentile intervals of B minus A by metric; None where too few draws define it.

    Args:
        a: measures of the first model.
        b: measures of the second one, on the same examples.
        learners: how many learners there are.
        draws: how many times to draw that many learners.
        seed: same seed, same intervals.
    """
    drawn = draw_metrics({"a": a, "b": b}, learners=learners, draws=draws, seed=seed)
    intervals: dict[MetricOfClass, Interval | None] = {}
    for name, first in drawn["a"].items():
        ends = interval_of(drawn["b"][name] - first, CONFIDENCE)
        intervals[name] = None if ends is None else Interval(*ends)
    return intervals


def judge(interval: Interval | None, *, more_is_better: bool) -> Verdict:
    """Returns whether B is better: whether the interval of B minus A excludes zero.

    >>> judge(Interval(0.01, 0.03), more_is_better=True)
    'better'
    >>> judge(Interval(-0.01, 0.03), more_is_better=True)
    'not distinguishable'
    """
    if interval is None or interval.low <= 0 <= interval.high:
        return "not distinguishable"
    return "better" if (interval.low > 0) == more_is_better else "worse"
