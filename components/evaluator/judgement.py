"""Judges a model by the configured gates: one verdict for every bound of every gate.

A verdict is the `GateVerdict` of `metrics.json`: its numbers, one line for people, and a reason
where the numbers need one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.config.gates import BOUNDS, Gate, GateBound
from components.contracts.evaluation import (
    GateVerdict,
    ModelResults,
    Result,
    describe_slice,
)
from components.errors import GateError

NO_BASELINE = "there is no blessed model to compare with yet"

# Differences of binary fractions are off by about 1e-16: 0.865 - 0.87 is less than -0.005.
# No metric resolves this much.
TOLERANCE = 1e-9


def judge_gates(
    gates: Sequence[Gate],
    candidate: ModelResults,
    baseline: ModelResults | None,
    no_baseline: str = NO_BASELINE,
) -> list[GateVerdict]:
    """Judges a model by all gates.

    Args:
        gates: as configured.
        candidate: the model's metrics.
        baseline: those of the blessed model on the same examples, or None.
        no_baseline: why there is no baseline; bounds on a change then hold, for this reason.

    Returns:
        A verdict for every bound of every gate, in their order. What cannot be judged (an
        undefined metric, a slice that is missing or too small) fails, with the reason.
    """
    bounds = [
        _BoundOfGate(gate, name, getattr(gate, name))
        for gate in gates
        for name in BOUNDS
        if getattr(gate, name) is not None
    ]
    return [_judge_bound(bound, candidate, baseline, no_baseline) for bound in bounds]


def is_blessed(verdicts: Sequence[GateVerdict]) -> bool:
    """Returns whether a model with these verdicts may be pushed: there are some, and all passed."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def gate_error(verdicts: Iterable[GateVerdict]) -> GateError:
    """Returns the error that names the failed gates, each with its threshold and value."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    lines = [
        f"  - {verdict.text}: {verdict.reason}" if verdict.reason else f"  - {verdict.text}"
        for verdict in failed
    ]

    count = "1 gate" if len(failed) == 1 else f"{len(failed)} gates"
    return GateError("\n".join([f"The model failed {count}; nothing was pushed:", *lines]))


@dataclass(frozen=True)
class _BoundOfGate:
    """One bound of a gate."""

    gate: Gate
    name: GateBound
    threshold: float

    @property
    def is_floor(self) -> bool:
        return self.name.startswith("min")

    @property
    def is_change(self) -> bool:
        return self.name.endswith("_change")

    @property
    def is_gap(self) -> bool:
        return self.name == "max_gap"

    def value_of(self, result: Result) -> float | None:
        """Returns the gate's metric, None if it is undefined."""
        value = result.value_of(self.gate.metric, self.gate.class_)
        return value if value is not None and math.isfinite(value) else None

    def margin(self, measured: float) -> float:
        """Returns how far a number is on the right side of the threshold; negative if it misses."""
        return measured - self.threshold if self.is_floor else self.threshold - measured

    def subject(self) -> str:
        """Returns what the bound is about: `change of recall of low in every gender`."""
        gate = self.gate
        subject = gate.metric if gate.class_ is None else f"{gate.metric} of {gate.class_}"
        if self.is_gap:
            return f"gap of {subject} between slices of {gate.slice}"

        if self.is_change:
            subject = f"change of {subject}"
        if gate.slice is None:
            return subject
        where = f"every {gate.slice}" if isinstance(gate.slice, str) else describe_slice(gate.slice)
        return f"{subject} in {where}"


@dataclass(frozen=True)
class _Place:
    """A slice and its metrics; the slice of all examples is `{}`."""

    where: dict[str, str]
    result: Result


@dataclass(frozen=True)
class _Reading:
    """A metric at one place.

    Attributes:
        where: the slice; empty for all examples.
        value: the candidate's; the gap between slices for `max_gap`.
        baseline: the blessed model's.
        measured: what is compared with the threshold: the value, its change, or the gap.
        margin: how far that is on the right side of the threshold; minus infinity where there is
            nothing to measure.
        reason: an explanation beside the numbers.
    """

    where: dict[str, str]
    value: float | None = None
    baseline: float | None = None
    measured: float | None = None
    margin: float = -math.inf
    reason: str | None = None

    @property
    def passed(self) -> bool:
        return self.margin >= -TOLERANCE


def _judge_bound(
    bound: _BoundOfGate, candidate: ModelResults, baseline: ModelResults | None, no_baseline: str
) -> GateVerdict:
    gate = bound.gate
    places, left_out = _places(gate, candidate)
    if bound.is_gap:
        readings = [_read_gap(bound, places)]
    elif bound.is_change:
        readings = [_read_change(bound, place, baseline, no_baseline) for place in places]
    else:
        readings = [_read_value(bound, place) for place in places]

    if readings:
        decisive = min(readings, key=lambda reading: reading.margin)
    else:
        decisive = _Reading({}, reason=_why_no_place(gate, left_out))

    return GateVerdict(
        text=_describe_verdict(bound, decisive),
        metric=gate.metric,
        class_=gate.class_,
        slice=gate.slice,
        bound=bound.name,
        threshold=bound.threshold,
        value=decisive.value,
        baseline=decisive.baseline,
        passed=decisive.passed,
        reason="; ".join(_remarks(gate, decisive, readings, left_out)) or None,
    )


def _places(gate: Gate, candidate: ModelResults) -> tuple[list[_Place], list[_Place]]:
    """Returns the places that a gate looks at, and those with too few examples for it."""
    if gate.slice is None:
        return [_Place({}, candidate.overall)], []

    slices = [_Place(result.slice, result) for result in candidate.slices]
    if isinstance(gate.slice, str):
        found = [place for place in slices if [*place.where] == [gate.slice]]
    else:
        found = [place for place in slices if place.where == gate.slice]
    large = [place for place in found if place.result.examples >= gate.min_examples]
    small = [place for place in found if place.result.examples < gate.min_examples]
    return large, small


def _read_value(bound: _BoundOfGate, place: _Place) -> _Reading:
    value = bound.value_of(place.result)
    if value is None:
        return _undefined(bound, place)
    return _Reading(place.where, value, measured=value, margin=bound.margin(value))


def _read_change(
    bound: _BoundOfGate, place: _Place, baseline: ModelResults | None, no_baseline: str
) -> _Reading:
    value = bound.value_of(place.result)
    if value is None:
        return _undefined(bound, place)
    if baseline is None:
        reason = f"holds, because {no_baseline}"
        return _Reading(place.where, value, margin=math.inf, reason=reason)

    same = baseline.at(place.where)
    before = None if same is None else bound.value_of(same)
    if before is None:
        reason = "the metric of the blessed model is undefined there"
        return _Reading(place.where, value, reason=reason)

    change = value - before
    return _Reading(place.where, value, before, measured=change, margin=bound.margin(change))


def _read_gap(bound: _BoundOfGate, places: list[_Place]) -> _Reading:
    known = []
    for place in places:
        value = bound.value_of(place.result)
        if value is None:
            return _undefined(bound, place)
        known.append((value, describe_slice(place.where)))

    if len(known) < 2:
        found = f"found {len(known)}" if known else "found none"
        least = bound.gate.min_examples
        reason = f"expected two slices or more with {least} examples, {found}"
        return _Reading({}, reason=reason)

    low, lowest = min(known)
    high, highest = max(known)
    gap = high - low
    reason = f"from {low:.3f} at {lowest} to {high:.3f} at {highest}"
    return _Reading({}, gap, measured=gap, margin=bound.margin(gap), reason=reason)


def _undefined(bound: _BoundOfGate, place: _Place) -> _Reading:
    where = f" where {describe_slice(place.where)}" if place.where else ""
    reason = f"{bound.gate.metric} is undefined{where}, on {place.result.examples} examples"
    return _Reading(place.where, reason=reason)


def _why_no_place(gate: Gate, left_out: list[_Place]) -> str:
    if left_out:
        most = max(place.result.examples for place in left_out)
        return (
            f"expected at least {gate.min_examples} examples (min_examples), found at most {most}"
        )
    if isinstance(gate.slice, str):
        return f"no slice of {gate.slice} among those reported"
    return f"no slice {describe_slice(gate.slice or {})} among those reported"


def _remarks(
    gate: Gate, decisive: _Reading, readings: list[_Reading], left_out: list[_Place]
) -> list[str]:
    """Returns remarks beside the number: its reason, how many slices fail or are left out."""
    remarks = [decisive.reason] if decisive.reason else []

    failed = sum(not reading.passed for reading in readings)
    if len(readings) > 1 and failed:
        remarks.append(f"{failed} of {len(readings)} slices fail")

    if readings and left_out:
        slices = "1 slice" if len(left_out) == 1 else f"{len(left_out)} slices"
        remarks.append(f"{slices} with fewer than {gate.min_examples} examples left out")
    return remarks


def _describe_verdict(bound: _BoundOfGate, decisive: _Reading) -> str:
    """Returns one line: `recall of low in every gender >= 0.85: 0.83 at gender=f FAILED (...)`."""
    sign = "+" if bound.is_change else ""
    relation = ">=" if bound.is_floor else "<="
    rule = f"{bound.subject()} {relation} {bound.threshold:{sign}g}"

    measured = decisive.measured
    if measured is None:
        return f"{rule}: no baseline, passed" if decisive.passed else f"{rule}: no value, FAILED"

    found = _tell_apart(measured, bound.threshold, sign=sign)
    if isinstance(bound.gate.slice, str) and decisive.where:
        found += f" at {describe_slice(decisive.where)}"
    if decisive.passed:
        return f"{rule}: {found} passed"

    side = "below" if measured < bound.threshold else "above"
    return f"{rule}: {found} FAILED ({_round(abs(measured - bound.threshold))} {side})"


def _tell_apart(value: float, threshold: float, *, sign: str) -> str:
    """Returns a value with three decimals, or as many as show that it misses the threshold."""
    missed = abs(value - threshold) > TOLERANCE
    for decimals in range(3, 10):
        text = f"{value:{sign}.{decimals}f}"
        if not missed or float(text) != round(threshold, decimals):
            break
    return text


def _round(distance: float) -> str:
    return f"{distance:.3f}" if distance >= 0.0005 else f"{distance:.1g}"
