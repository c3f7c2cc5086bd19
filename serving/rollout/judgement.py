"""Is the challenger good enough, or too bad? By intervals that may be looked at at any time.

The unit is the learner: answers about the same learner are alike, so each counts once, with the
mean over the pairs of a fixed time from the first one (`rollout.settle_hours`). When it is over,
that number stays, so that the sequence of learners is the same at every look, only longer; the
interval of `confidence` then holds at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np

from components.contracts.contract import Part
from serving.rollout.confidence import always_valid_interval

if TYPE_CHECKING:
    from components.config.rollout import Evidence, Rollout
    from serving.rollout.pairs import Asked, Pair, Said

LEAST_PROBABILITY = 0.01  # a smaller one of the true class counts as this: losses are bounded

Finding = Literal["wins", "loses", "open"]


class Judged(Part):
    """What one kind of evidence says.

    Attributes:
        by: `outcomes` or `agreement`.
        measure: what is averaged over learners.
        finding: whether the interval lies above or below the threshold.
        learners: how many were compared.
        pairs: how many pairs of answers they have, in the time that counts.
        mean: over learners; above zero is good for the challenger.
        low: lower end of the interval.
        high: upper end.
        threshold: what it is compared with.
        alpha: chance that the interval misses the truth at any look.
    """

    by: Literal["outcomes", "agreement"]
    measure: str
    finding: Finding
    learners: int
    pairs: int
    mean: float
    low: float
    high: float
    threshold: float
    alpha: float

    def describe(self) -> str:
        """Returns the figures on one line.

        >>> Judged(by="agreement", measure="same answer", finding="wins", learners=80, pairs=160,
        ...        mean=0.95, low=0.9, high=0.98, threshold=0.8, alpha=0.05).describe()
        'agreement: same answer 0.950 (0.900 to 0.980, threshold 0.800), 80 learners, 160 pairs'
        """
        sign = "+" if self.by == "outcomes" else ""
        mean, low, high, threshold = (
            f"{value:{sign}.3f}" for value in (self.mean, self.low, self.high, self.threshold)
        )
        return (
            f"{self.by}: {self.measure} {mean} ({low} to {high}, threshold {threshold}), "
            f"{self.learners:,} learners, {self.pairs:,} pairs"
        )


@dataclass(frozen=True)
class _Value:
    learner: str
    at: datetime
    value: float


def judge(
    pairs: Sequence[Pair],
    asked: Mapping[str, Asked],
    rollout: Rollout,
    by: Evidence,
    *,
    now: datetime,
) -> Judged:
    """Judges the challenger by one kind of evidence.

    Args:
        pairs: both versions' answers, in the order of time.
        asked: whom questions were about, by the hash of their input. A question that is not among
            them counts for agreement, as a learner of its own; for outcomes it does not.
        rollout: the rules.
        by: the kind.
        now: the moment of the look.
    """
    if by == "agreement":
        values = [
            _Value(_learner_of(pair, asked), pair.at, float(_agree(pair, rollout.same_within)))
            for pair in pairs
        ]
        return _judge(values, rollout, by, "same answer", 0.0, 1.0, rollout.agreement, now)

    measure, bound = "difference in correctness", 1.0
    if rollout.measure == "log_loss":
        measure, bound = "difference in log loss, less is better", -math.log(LEAST_PROBABILITY)
    values = []
    for pair in pairs:
        known = asked.get(pair.input_hash)
        gain = None if known is None else _gain(pair, known.label, rollout.measure)
        if known is not None and gain is not None:
            values.append(_Value(known.learner, pair.at, gain))
    return _judge(values, rollout, by, measure, -bound, bound, -rollout.tolerance, now)


def _judge(
    values: Sequence[_Value],
    rollout: Rollout,
    by: Evidence,
    measure: str,
    low: float,
    high: float,
    threshold: float,
    now: datetime,
) -> Judged:
    means, pairs = settled_means(values, timedelta(hours=rollout.settle_hours), now)
    found = always_valid_interval(means, low=low, high=high, alpha=rollout.alpha)
    finding: Finding = "open"
    if found.high < threshold:
        finding = "loses"
    elif found.low > threshold and found.count >= rollout.learners:
        finding = "wins"
    return Judged(
        by=by,
        measure=measure,
        finding=finding,
        learners=found.count,
        pairs=pairs,
        mean=found.mean,
        low=found.low,
        high=found.high,
        threshold=threshold,
        alpha=rollout.alpha,
    )


def settled_means(
    values: Sequence[_Value], settle: timedelta, now: datetime
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], int]:
    """Returns a mean per learner whose time is over, in the order in which it was, and the pairs.

    Args:
        values: in the order of time.
        settle: how long a learner's pairs count, from the first one.
        now: the moment of the look.
    """
    first: dict[str, datetime] = {}
    kept: dict[str, list[float]] = {}
    for item in values:
        end = first.setdefault(item.learner, item.at) + settle
        if end <= now and item.at <= end:
            kept.setdefault(item.learner, []).append(item.value)
    return np.array([np.mean(of) for of in kept.values()]), sum(map(len, kept.values()))


def _learner_of(pair: Pair, asked: Mapping[str, Asked]) -> str:
    known = asked.get(pair.input_hash)
    return f"input {pair.input_hash}" if known is None else known.learner


def _agree(pair: Pair, within: float) -> bool:
    one, other = pair.champion, pair.challenger
    if one.prediction is not None and other.prediction is not None:
        return abs(one.prediction - other.prediction) <= within
    return one.predicted_class == other.predicted_class


def _gain(pair: Pair, label: str | float | None, measure: str) -> float | None:
    """Returns by how much the challenger was better; None if that is not known."""
    one, other = pair.champion, pair.challenger
    if label is None:
        return None
    if isinstance(label, str):
        if measure == "log_loss":
            return _log_probability(other, label) - _log_probability(one, label)
        return float(other.predicted_class == label) - float(one.predicted_class == label)
    if one.prediction is None or other.prediction is None:
        return None
    return float(np.sign(abs(one.prediction - label) - abs(other.prediction - label)))


def _log_probability(said: Said, label: str) -> float:
    return math.log(max(said.probabilities.get(label, 0.0), LEAST_PROBABILITY))
