"""Judges a model by the configured gates: one verdict for every bound of every gate.

A verdict is the `GateVerdict` of `metrics.json`: its numbers, one line for people, and a reason
where the numbers need one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.config.gates import BOUNDS
from components.contracts.evaluation import (
    GateVerdict,
    ModelResults,
    describe_slice,
    format_confidence,
)
from components.errors import GateError
from components.evaluator.draws import DrawnMetrics
from components.evaluator.gate_readings import (
    NO_BASELINE,
    TOLERANCE,
    BoundOfGate,
    Evidence,
    Place,
    Reading,
    read_bound,
)

if TYPE_CHECKING:
    from components.config.gates import Gate
    from components.contracts.evaluation import SeedResults


def judge_gates(
    gates: Sequence[Gate],
    candidate: ModelResults,
    baseline: ModelResults | None,
    no_baseline: str = NO_BASELINE,
    *,
    simple_models: Mapping[str, ModelResults] | None = None,
    seeds: SeedResults | None = None,
    drawn: DrawnMetrics | None = None,
) -> list[GateVerdict]:
    """Judges a model by all gates.

    Args:
        gates: as configured.
        candidate: the model's metrics.
        baseline: those of the blessed model on the same examples, or None.
        no_baseline: why there is no baseline; bounds on a change then hold, for this reason.
        simple_models: metrics of simple models on the same examples, by their names.
        seeds: metrics of fits with other seeds.
        drawn: metrics on draws of learners, for gates with a confidence.

    Returns:
        A verdict for every bound of every gate, in their order. What cannot be judged (an
        undefined metric, one without an interval where the gate has a confidence, a slice that is
        missing or too small) fails, with the reason.
    """
    evidence = Evidence(
        candidate, baseline, no_baseline, simple_models or {}, seeds, drawn or DrawnMetrics()
    )
    bounds = [
        BoundOfGate(gate, name)
        for gate in gates
        for name in BOUNDS
        if getattr(gate, name) is not None
    ]
    return [_judge_bound(bound, evidence) for bound in bounds]


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


def _judge_bound(bound: BoundOfGate, evidence: Evidence) -> GateVerdict:
    gate = bound.gate
    places, left_out = _places(gate, evidence.candidate)
    readings = read_bound(bound, places, evidence)
    if readings:
        decisive = min(readings, key=lambda reading: reading.margin)
    else:
        decisive = Reading({}, reason=_why_no_place(gate, left_out))

    return GateVerdict(
        text=_describe_verdict(bound, decisive),
        metric=gate.metric,
        class_=gate.class_,
        decision=gate.decision,
        slice=gate.slice,
        bound=bound.name,
        threshold=bound.threshold,
        value=decisive.value,
        at=_decisive_slice(gate, decisive),
        baseline=decisive.baseline,
        over=gate.min_gain_over if bound.name == "min_gain_over" else None,
        interval=decisive.interval,
        confidence=bound.confidence,
        passed=decisive.passed,
        reason="; ".join(_remarks(gate, decisive, readings, left_out)) or None,
    )


def _places(gate: Gate, candidate: ModelResults) -> tuple[list[Place], list[Place]]:
    """Returns the places that a gate looks at, and those with too few examples for it."""
    if gate.slice is None:
        return [Place({}, candidate.overall)], []

    slices = [Place(result.slice, result) for result in candidate.slices]
    if isinstance(gate.slice, str):
        found = [place for place in slices if [*place.where] == [gate.slice]]
    else:
        found = [place for place in slices if place.where == gate.slice]
    large = [place for place in found if place.result.examples >= gate.min_examples]
    small = [place for place in found if place.result.examples < gate.min_examples]
    return large, small


def _why_no_place(gate: Gate, left_out: list[Place]) -> str:
    if left_out:
        most = max(place.result.examples for place in left_out)
        return (
            f"expected at least {gate.min_examples} examples (min_examples), found at most {most}"
        )
    if isinstance(gate.slice, str):
        return f"no slice of {gate.slice} among those reported"
    return f"no slice {describe_slice(gate.slice or {})} among those reported"


def _remarks(
    gate: Gate, decisive: Reading, readings: list[Reading], left_out: list[Place]
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


def _decisive_slice(gate: Gate, decisive: Reading) -> dict[str, str] | None:
    """Returns the slice that decides a gate on every slice of a column; None if no single one."""
    is_one = isinstance(gate.slice, str) and decisive.value is not None
    return decisive.where or None if is_one else None


def _describe_verdict(bound: BoundOfGate, decisive: Reading) -> str:
    """Returns one line: `recall of low in every gender >= 0.85: 0.83 at gender=f FAILED (...)`."""
    sign = "+" if bound.is_difference else ""
    relation = ">=" if bound.is_floor else "<="
    rule = f"{_subject(bound)} {relation} {bound.threshold:{sign}g}"

    measured, interval = decisive.measured, decisive.interval
    if measured is None:
        return f"{rule}: no baseline, passed" if decisive.passed else f"{rule}: no value, FAILED"

    # What is compared with the threshold: the worse end, if there are two.
    lower_end, upper_end = interval or (measured, measured)
    compared = lower_end if bound.is_floor else upper_end
    decimals = _decimals_apart(compared, bound.threshold)

    found = f"{measured:{sign}.{decimals}f}"
    if at := _decisive_slice(bound.gate, decisive):
        found += f" at {describe_slice(at)}"
    if interval is not None:
        ends = " to ".join(f"{end:{sign}.{decimals}f}" for end in interval)
        found += f", {format_confidence(bound.confidence)} interval {ends}"
    if decisive.passed:
        return f"{rule}: {found} passed"
    if bound.confidence is not None and interval is None:
        return f"{rule}: {found}, no interval, FAILED"

    end = "" if interval is None else f"the {'lower' if bound.is_floor else 'upper'} end is "
    side = "below" if compared < bound.threshold else "above"
    return f"{rule}: {found} FAILED ({end}{_round(abs(compared - bound.threshold))} {side})"


def _subject(bound: BoundOfGate) -> str:
    """Returns what a bound is about: `change of recall of low in every gender`."""
    gate = bound.gate
    subject = gate.metric if gate.class_ is None else f"{gate.metric} of {gate.class_}"
    if gate.decision is not None:
        subject = f"{gate.metric} of decision {gate.decision}"
    if bound.name == "max_gap":
        return f"gap of {subject} between slices of {gate.slice}"
    if bound.name == "max_spread":
        return f"spread of {subject} over seeds"

    if bound.is_change:
        subject = f"change of {subject}"
    if bound.name == "min_gain_over":
        subject = f"{subject} over {gate.min_gain_over}"
    if gate.slice is None:
        return subject
    where = f"every {gate.slice}" if isinstance(gate.slice, str) else describe_slice(gate.slice)
    return f"{subject} in {where}"


def _decimals_apart(value: float, threshold: float) -> int:
    """Returns three decimals, or as many as show that a value misses the threshold."""
    if abs(value - threshold) <= TOLERANCE:
        return 3
    for decimals in range(3, 10):
        if round(value, decimals) != round(threshold, decimals):
            break
    return decimals


def _round(distance: float) -> str:
    return f"{distance:.3f}" if distance >= 0.0005 else f"{distance:.1g}"
