"""What a bound of a gate is held against: the numbers it reads, and how far chance moves them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.config.metrics import METRICS
from components.contracts.evaluation import (
    Interval,
    ModelResults,
    Result,
    SeedResults,
    describe_slice,
)
from components.evaluator.draws import (
    BASELINE,
    CANDIDATE,
    DrawnMetrics,
    difference,
    interval_of,
)

if TYPE_CHECKING:
    from components.config.gates import Gate, GateBound
    from components.evaluator.draws import Floats

NO_BASELINE = "there is no blessed model to compare with yet"

# Differences of binary fractions are off by about 1e-16: 0.865 - 0.87 is less than -0.005.
# No metric resolves this much.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Evidence:
    """What a model is judged by.

    Attributes:
        candidate: the model's metrics.
        baseline: those of the blessed model on the same examples, or None.
        no_baseline: why there is no baseline.
        simple_models: metrics of simple models on the same examples, by their names.
        seeds: metrics of fits with other seeds; None where there is one fit only.
        drawn: the metrics that gates with a confidence ask for, on draws of learners.
    """

    candidate: ModelResults
    baseline: ModelResults | None = None
    no_baseline: str = NO_BASELINE
    simple_models: Mapping[str, ModelResults] = field(default_factory=dict)
    seeds: SeedResults | None = None
    drawn: DrawnMetrics = field(default_factory=DrawnMetrics)


@dataclass(frozen=True)
class BoundOfGate:
    """One bound of a gate."""

    gate: Gate
    name: GateBound

    @property
    def threshold(self) -> float:
        """The number that is compared with."""
        if self.name == "min_gain_over":
            return self.gate.min_gain
        threshold: float = getattr(self.gate, self.name)
        return threshold

    @property
    def confidence(self) -> float | None:
        """That of the gate; fits with a few seeds have no interval."""
        return None if self.name == "max_spread" else self.gate.confidence

    @property
    def is_floor(self) -> bool:
        """Whether the threshold is the lowest number that passes, not the highest."""
        return self.name.startswith("min")

    @property
    def is_change(self) -> bool:
        """Whether the bound is on the change from the blessed model."""
        return self.name.endswith("_change")

    @property
    def is_difference(self) -> bool:
        """Whether the bound is on a difference, which is written with its sign."""
        return self.is_change or self.name == "min_gain_over"

    def value_of(self, result: Result) -> float | None:
        """Returns the gate's metric, None if it is undefined."""
        value = result.value_of(self.gate.metric, self.gate.class_, self.gate.decision)
        return value if value is not None and math.isfinite(value) else None

    def margin(self, measured: float) -> float:
        """Returns how far a number is on the right side of the threshold; negative if it misses."""
        return measured - self.threshold if self.is_floor else self.threshold - measured


@dataclass(frozen=True)
class Reading:
    """A metric at one place.

    Attributes:
        where: the slice; empty for all examples.
        value: the candidate's; for `max_gap` and `max_spread` the gap.
        baseline: that of the model that is compared with.
        measured: what is compared with the threshold: the value, a difference, or a gap.
        interval: of `measured`, if the gate has a confidence.
        margin: how far it is on the right side of the threshold, at the worse end if there is an
            interval; minus infinity where there is nothing to measure.
        reason: an explanation beside the numbers.
    """

    where: dict[str, str]
    value: float | None = None
    baseline: float | None = None
    measured: float | None = None
    interval: Interval | None = None
    margin: float = -math.inf
    reason: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the bound holds here."""
        return self.margin >= -TOLERANCE


@dataclass(frozen=True)
class Place:
    """A slice and its metrics; the slice of all examples is `{}`."""

    where: dict[str, str]
    result: Result


def read_bound(bound: BoundOfGate, places: Sequence[Place], evidence: Evidence) -> list[Reading]:
    """Returns what a bound is held against, at each place; one reading for a gap or a spread."""
    if bound.name == "max_gap":
        return [_read_gap(bound, places, evidence)]
    if bound.name == "max_spread":
        return [_read_spread(bound, evidence)]
    if bound.is_change:
        return [_read_change(bound, place, evidence) for place in places]
    if bound.name == "min_gain_over":
        return [_read_gain(bound, place, evidence) for place in places]
    return [_read_value(bound, place, evidence) for place in places]


def _read_value(bound: BoundOfGate, place: Place, evidence: Evidence) -> Reading:
    value = bound.value_of(place.result)
    if value is None:
        return _undefined(bound, place)
    draws = evidence.drawn.of(CANDIDATE, place.where, bound.gate)
    return _read(bound, evidence, [place], measured=value, draws=draws, value=value)


def _read_change(bound: BoundOfGate, place: Place, evidence: Evidence) -> Reading:
    value = bound.value_of(place.result)
    if value is not None and evidence.baseline is None:
        reason = f"holds, because {evidence.no_baseline}"
        return Reading(place.where, value, margin=math.inf, reason=reason)
    if value is not None and not _decides(evidence.baseline, bound.gate):
        reason = f"holds, because the blessed model does not take decision {bound.gate.decision}"
        return Reading(place.where, value, margin=math.inf, reason=reason)
    return _read_difference(
        bound, place, evidence, evidence.baseline, name=BASELINE, called="the blessed model"
    )


def _decides(model: ModelResults | None, gate: Gate) -> bool:
    """Returns whether a model takes the decision of a gate, if the gate has one."""
    return gate.decision is None or (model is not None and gate.decision in model.overall.decisions)


def _read_gain(bound: BoundOfGate, place: Place, evidence: Evidence) -> Reading:
    name = bound.gate.min_gain_over or ""
    other = evidence.simple_models.get(name)
    if other is None:
        return Reading(place.where, reason=f"{name} was not measured")
    return _read_difference(bound, place, evidence, other, name=name, called=name)


def _read_difference(
    bound: BoundOfGate,
    place: Place,
    evidence: Evidence,
    other: ModelResults | None,
    *,
    name: str,
    called: str,
) -> Reading:
    """Returns the reading of a change from, or of a gain over, another model."""
    value = bound.value_of(place.result)
    if value is None:
        return _undefined(bound, place)
    same = None if other is None else other.at(place.where)
    before = None if same is None else bound.value_of(same)
    if before is None:
        return Reading(place.where, value, reason=f"the metric of {called} is undefined there")

    # A change is what the metric says; a gain is positive where the candidate is better.
    sign = 1 if bound.is_change or METRICS[bound.gate.metric].more_is_better else -1
    draws = difference(
        evidence.drawn.of(CANDIDATE, place.where, bound.gate),
        evidence.drawn.of(name, place.where, bound.gate),
    )
    return _read(
        bound,
        evidence,
        [place],
        measured=sign * (value - before),
        draws=None if draws is None else sign * draws,
        value=value,
        baseline=before,
    )


def _read_gap(bound: BoundOfGate, places: Sequence[Place], evidence: Evidence) -> Reading:
    """Returns the reading of the distance between the highest and the lowest slice.

    Its interval is that of the difference between these two slices. The distance between the best
    and the worst slice of each draw would be larger than the true one nearly always, as chance
    alone drives slices apart.
    """
    known = []
    for place in places:
        value = bound.value_of(place.result)
        if value is None:
            return _undefined(bound, place)
        known.append((value, describe_slice(place.where), place))

    if len(known) < 2:
        found = f"found {len(known)}" if known else "found none"
        least = bound.gate.min_examples
        reason = f"expected two slices or more with {least} examples, {found}"
        return Reading({}, reason=reason)

    low, lowest, low_place = min(known, key=lambda item: item[:2])
    high, highest, high_place = max(known, key=lambda item: item[:2])
    draws = difference(
        evidence.drawn.of(CANDIDATE, high_place.where, bound.gate),
        evidence.drawn.of(CANDIDATE, low_place.where, bound.gate),
    )
    return _read(
        bound,
        evidence,
        [low_place, high_place],
        measured=high - low,
        draws=draws,
        value=high - low,
        reason=f"from {low:.3f} at {lowest} to {high:.3f} at {highest}",
    )


def _read_spread(bound: BoundOfGate, evidence: Evidence) -> Reading:
    seeds, gate = evidence.seeds, bound.gate
    if seeds is None:
        return Reading({}, reason="there are no fits with other seeds")
    metrics = seeds.metrics if gate.class_ is None else seeds.classes.get(gate.class_, {})

    if gate.metric not in metrics:
        return Reading({}, reason=f"{gate.metric} is undefined")

    known = []
    for value, seed in zip(metrics[gate.metric], seeds.seeds, strict=True):
        if value is None:
            return Reading({}, reason=f"{gate.metric} is undefined with seed {seed}")
        known.append((value, seed))

    (low, lowest), (high, highest) = min(known), max(known)
    spread = high - low
    reason = f"from {low:.4f} with seed {lowest} to {high:.4f} with seed {highest}"
    return Reading({}, spread, measured=spread, margin=bound.margin(spread), reason=reason)


def _read(
    bound: BoundOfGate,
    evidence: Evidence,
    places: Sequence[Place],
    *,
    measured: float,
    draws: Floats | None,
    value: float,
    baseline: float | None = None,
    reason: str | None = None,
) -> Reading:
    """Returns the reading of a number, held against the threshold at the worse end if it has two.

    Args:
        bound: with or without a confidence.
        evidence: says why there is no interval.
        places: the slices that the number is of.
        measured: what is compared with the threshold.
        draws: the same in every draw of learners, [D].
        value: of the reading.
        baseline: of the reading.
        reason: of the reading.
    """
    where = places[0].where if len(places) == 1 else {}
    if bound.confidence is None:
        margin = bound.margin(measured)
        return Reading(where, value, baseline, measured, None, margin, reason)

    interval = interval_of(draws, bound.confidence)
    if interval is None:
        missing = evidence.drawn.why_no_interval(place.where for place in places)
        remarks = "; ".join([reason, missing] if reason else [missing])
        return Reading(where, value, baseline, measured, reason=remarks)
    margin = min(bound.margin(end) for end in interval)
    return Reading(where, value, baseline, measured, interval, margin, reason)


def _undefined(bound: BoundOfGate, place: Place) -> Reading:
    where = f" where {describe_slice(place.where)}" if place.where else ""
    of = f" of decision {bound.gate.decision}" if bound.gate.decision else ""
    reason = f"{bound.gate.metric}{of} is undefined{where}, on {place.result.examples} examples"
    return Reading(place.where, reason=reason)
