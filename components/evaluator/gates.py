"""Judges metrics by the configured gates: one verdict for every bound of every gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.config.gates import Gate
from components.evaluator.verdicts import TOLERANCE, Verdict, say_slice, say_verdict

Json = dict[str, Any]

BOUNDS = ("min", "max", "min_change", "max_change", "max_gap")
NO_BASELINE = "there is no blessed model to compare with yet"


@dataclass(frozen=True)
class _Reading:
    """A metric at one place, and how far what is measured of it is from the threshold."""

    where: dict[str, str]
    value: float | None = None
    baseline: float | None = None
    measured: float | None = None  # the value, its change, or the gap
    room: float = (
        -math.inf
    )  # negative: the threshold is missed; without end: there is nothing to measure
    reason: str | None = None

    @property
    def passed(self) -> bool:
        return self.room >= -TOLERANCE


def judge(
    gates: Sequence[Gate], metrics: Json, baseline: Json | None, no_baseline: str = NO_BASELINE
) -> list[Verdict]:
    """Judges a model by all gates.

    Args:
        gates: as configured.
        metrics: {"overall": RESULT, "slices": [{"slice": {column: value}, **RESULT}]} of the candidate, a RESULT being
            {"examples": n, "metrics": {name: value}, "classes": {name: {name: value}}}.
        baseline: the same of the blessed model on the same examples, or None.
        no_baseline: why there is no baseline; bounds on a change then hold, for this reason.

    Returns:
        A verdict for every bound of every gate, in their order. What cannot be judged (an undefined metric, a slice
        that is not there or too small) fails and says why.
    """
    return [
        _judge_bound(gate, bound, metrics, baseline, no_baseline)
        for gate in gates
        for bound in BOUNDS
        if getattr(gate, bound) is not None
    ]


def is_blessed(verdicts: Sequence[Verdict]) -> bool:
    """Tells whether a model with these verdicts may be pushed: there is one at least, and all passed."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def _judge_bound(
    gate: Gate, bound: str, metrics: Json, baseline: Json | None, no_baseline: str
) -> Verdict:
    threshold: float = getattr(gate, bound)
    places, left_out = _places(gate, metrics)
    if bound == "max_gap":
        readings = [_read_gap(gate, threshold, places)]
    elif bound.endswith("_change"):
        readings = [
            _read_change(gate, bound, threshold, place, baseline, no_baseline) for place in places
        ]
    else:
        readings = [_read_value(gate, bound, threshold, place) for place in places]
    decisive = min(
        readings,
        key=lambda reading: reading.room,
        default=_Reading({}, reason=_why_none(gate, left_out)),
    )
    names_place = isinstance(gate.slice, str) and bound != "max_gap"
    place = say_slice(decisive.where) if names_place else ""
    return Verdict(
        text=say_verdict(gate, bound, threshold, decisive.measured, place, passed=decisive.passed),
        metric=gate.metric,
        class_=gate.class_,
        slice=gate.slice,
        bound=bound,
        threshold=threshold,
        value=decisive.value,
        baseline=decisive.baseline,
        passed=decisive.passed,
        reason="; ".join(_remarks(gate, decisive, readings, left_out)) or None,
    )


def _places(gate: Gate, metrics: Json) -> tuple[list[Json], list[Json]]:
    """Returns the results that a gate looks at, and those it leaves out for having too few examples."""
    if gate.slice is None:
        return [{"slice": {}, **metrics["overall"]}], []
    if isinstance(gate.slice, str):
        found = [place for place in metrics["slices"] if [*place["slice"]] == [gate.slice]]
    else:
        found = [place for place in metrics["slices"] if place["slice"] == gate.slice]
    large = [place for place in found if place["examples"] >= gate.min_examples]
    return large, [place for place in found if place["examples"] < gate.min_examples]


def _read_value(gate: Gate, bound: str, threshold: float, place: Json) -> _Reading:
    value = _metric(gate, place)
    if value is None:
        return _undefined(gate, place)
    return _Reading(place["slice"], value, None, value, _room(bound, threshold, value))


def _read_change(
    gate: Gate, bound: str, threshold: float, place: Json, baseline: Json | None, no_baseline: str
) -> _Reading:
    value = _metric(gate, place)
    if value is None:
        return _undefined(gate, place)
    if baseline is None:
        return _Reading(
            place["slice"], value, room=math.inf, reason=f"holds, because {no_baseline}"
        )
    same = [baseline["overall"]] if not place["slice"] else baseline["slices"]
    before = next(
        (_metric(gate, item) for item in same if item.get("slice", {}) == place["slice"]), None
    )
    if before is None:
        return _Reading(
            place["slice"], value, reason="the metric of the blessed model is undefined there"
        )
    return _Reading(
        place["slice"], value, before, value - before, _room(bound, threshold, value - before)
    )


def _read_gap(gate: Gate, threshold: float, places: list[Json]) -> _Reading:
    values = [(_metric(gate, place), place) for place in places]
    undefined = next((place for value, place in values if value is None), None)
    if undefined is not None:
        return _undefined(gate, undefined)
    known = [(value, say_slice(place["slice"])) for value, place in values if value is not None]
    if len(known) < 2:
        found = f"found {len(known)}" if known else "found none"
        return _Reading(
            {}, reason=f"expected two slices or more with {gate.min_examples} examples, {found}"
        )
    (low, lowest), (high, highest) = min(known), max(known)
    gap = high - low
    reason = f"from {low:.3f} at {lowest} to {high:.3f} at {highest}"
    return _Reading({}, gap, None, gap, threshold - gap, reason)


def _metric(gate: Gate, place: Json) -> float | None:
    values = place["metrics"] if gate.class_ is None else place["classes"].get(gate.class_, {})
    value = values.get(gate.metric)
    return None if value is None or not math.isfinite(value) else float(value)


def _room(bound: str, threshold: float, measured: float) -> float:
    return measured - threshold if bound.startswith("min") else threshold - measured


def _undefined(gate: Gate, place: Json) -> _Reading:
    where = f" where {say_slice(place['slice'])}" if place["slice"] else ""
    return _Reading(
        place["slice"], reason=f"{gate.metric} is undefined{where}, on {place['examples']} examples"
    )


def _why_none(gate: Gate, left_out: list[Json]) -> str:
    if not left_out:
        wanted = f"of {gate.slice}" if isinstance(gate.slice, str) else say_slice(gate.slice or {})
        return f"no slice {wanted} among those reported"
    most = max(place["examples"] for place in left_out)
    return f"expected at least {gate.min_examples} examples (min_examples), found at most {most}"


def _remarks(
    gate: Gate, decisive: _Reading, readings: list[_Reading], left_out: list[Json]
) -> list[str]:
    """Returns what there is to say beside the number: why it is so, how many slices fail, how many are left out."""
    remarks = [decisive.reason] if decisive.reason else []
    failed = sum(not reading.passed for reading in readings)
    if len(readings) > 1 and failed:
        remarks.append(f"{failed} of {len(readings)} slices fail")
    if readings and left_out:
        slices = "1 slice" if len(left_out) == 1 else f"{len(left_out)} slices"
        remarks.append(f"{slices} with fewer than {gate.min_examples} examples left out")
    return remarks
