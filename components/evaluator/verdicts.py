"""What a gate said of a model, in numbers and in one line for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from components.config.gates import Gate
from components.errors import GateError

# Differences of binary fractions are off by about 1e-16: 0.865 - 0.87 is less than -0.005. No metric resolves this.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """How one bound of a gate went.

    `value` and `baseline` are the metric of the candidate and of the blessed model; of a gate on every slice of a
    column those of the slice that decides; with `max_gap`, `value` is the gap. `reason` says what numbers do not.
    """

    text: str
    metric: str
    class_: str | None
    slice: str | dict[str, str] | None
    bound: str
    threshold: float
    value: float | None
    baseline: float | None
    passed: bool
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Returns the verdict as it stands in `metrics.json`."""
        values = asdict(self)
        values["class"] = values.pop("class_")
        return values


def gate_error(verdicts: Iterable[dict[str, Any]]) -> GateError:
    """Returns the error that names the failed gates, each with its threshold and value.

    Args:
        verdicts: `gates` of a `metrics.json`.
    """
    failed = [verdict for verdict in verdicts if not verdict["passed"]]
    lines = [
        f"  - {verdict['text']}" + (f": {verdict['reason']}" if verdict["reason"] else "")
        for verdict in failed
    ]
    count = "1 gate" if len(failed) == 1 else f"{len(failed)} gates"
    return GateError("\n".join([f"The model failed {count}; nothing was pushed:", *lines]))


def say_verdict(
    gate: Gate, bound: str, threshold: float, measured: float | None, place: str, *, passed: bool
) -> str:
    """Returns a line such as `recall of low in every gender >= 0.85: 0.831 at gender=f FAILED (0.019 below)`.

    Args:
        gate: the gate.
        bound: name of the one bound of it that was judged.
        threshold: its threshold.
        measured: what stands against the threshold: a value, a change or a gap; None where there is none.
        place: the slice that decided, where the gate does not name it; or "".
        passed: whether the bound holds.
    """
    is_change, is_floor = bound.endswith("_change"), bound.startswith("min")
    asked = f"{say_subject(gate, bound)} {'>=' if is_floor else '<='} {threshold:{'+' if is_change else ''}g}"
    found, missed_by = "no baseline," if passed else "no value,", ""
    if measured is not None:
        found = _tell_apart(measured, threshold, signed=is_change) + (
            f" at {place}" if place else ""
        )
        missed_by = (
            f" ({_round(abs(measured - threshold))} {'below' if measured < threshold else 'above'})"
        )
    return f"{asked}: {found} passed" if passed else f"{asked}: {found} FAILED{missed_by}"


def say_subject(gate: Gate, bound: str) -> str:
    """Returns what a bound is about: `change of recall of low in every gender`."""
    subject = gate.metric if gate.class_ is None else f"{gate.metric} of {gate.class_}"
    if bound == "max_gap":
        return f"gap of {subject} between slices of {gate.slice}"
    if bound.endswith("_change"):
        subject = f"change of {subject}"
    if gate.slice is None:
        return subject
    where = f"every {gate.slice}" if isinstance(gate.slice, str) else say_slice(gate.slice)
    return f"{subject} in {where}"


def say_slice(where: dict[str, str]) -> str:
    """Returns a slice as `gender=f, region=south`."""
    return ", ".join(f"{column}={value or '(missing)'}" for column, value in where.items())


def _tell_apart(value: float, threshold: float, *, signed: bool) -> str:
    """Rounds to three decimals, or as many more as it takes to look different from a threshold it misses."""
    sign = "+" if signed else ""
    missed = abs(value - threshold) > TOLERANCE
    for decimals in range(3, 10):
        text = f"{value:{sign}.{decimals}f}"
        if not missed or float(text) != round(threshold, decimals):
            break
    return text


def _round(distance: float) -> str:
    return f"{distance:.3f}" if distance >= 0.0005 else f"{distance:.1g}"
