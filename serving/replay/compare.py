"""Compares an answer with the one that was logged or stored when it was given."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from components.contracts.contract import Part
from serving.replay.inputs import LateEvent

Verdict = Literal["equal", "rounding", "differs"]

# Batches of another size, and other machines, add numbers in another order.
ROUNDING = 1e-5


class Compared(Part):
    """How an answer compares with one that was kept.

    Attributes:
        where: what keeps it.
        at: when it was given.
        count: how many equal ones there are.
        verdict: `rounding` where numbers differ by at most `ROUNDING` and nothing else does.
        differences: what differs, each a part of a sentence.
        late: the events that were not there yet; without them the answer is the kept one.
    """

    where: str
    at: str
    count: int = 1
    verdict: Verdict
    differences: list[str] = []
    late: list[LateEvent] = []

    def describe(self) -> str:
        """Returns the result in one line, and one for each event that arrived late."""
        times = f" ({self.count} times)" if self.count > 1 else ""
        if self.verdict == "equal":
            return f"{self.at}{times}: equal, byte for byte"
        what = "; ".join(self.differences)
        if self.verdict == "rounding":
            return f"{self.at}{times}: equal but for rounding ({what})"
        if not self.late:
            return f"{self.at}{times}: differs, and no late event explains it: {what}"
        lines = [f"{self.at}{times}: differs ({what}), since these events arrived later:"]
        lines += [
            f"  {item.time} {item.unit_id} {item.event_type or ''} ({item.place})"
            for item in self.late
        ]
        return "\n".join(lines)


def compare(replayed: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Returns whether two answers are equal, and what differs.

    Args:
        replayed: outputs by name, as JSON has them.
        kept: the same.

    >>> compare({"p": [0.25, 0.75]}, {"p": [0.25, 0.75]})
    ('equal', [])
    >>> compare({"p": [0.25, 0.75]}, {"p": [0.5, 0.5]})
    ('differs', ['p: [0.25, 0.75] now, [0.5, 0.5] then'])
    """
    differences = []
    is_rounding = True
    for name in dict.fromkeys([*kept, *replayed]):
        now, then = replayed.get(name), kept.get(name)
        if json.dumps(now) == json.dumps(then):
            continue
        largest = _distance(now, then)
        if largest is not None and largest <= ROUNDING:
            differences.append(f"{name} by at most {largest:.1g}")
            continue
        is_rounding = False
        differences.append(f"{name}: {json.dumps(now)} now, {json.dumps(then)} then")
    if not differences:
        return "equal", []
    return ("rounding" if is_rounding else "differs"), differences


def _distance(now: Any, then: Any) -> float | None:
    """Returns the largest difference of two numbers or lists of numbers; None for other values."""
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        parts = [_distance(*pair) for pair in zip(now, then, strict=True)]
        numbers = [part for part in parts if part is not None]
        return max(numbers, default=0.0) if len(numbers) == len(parts) else None
    are_numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (now, then)
    )
    if are_numbers and math.isfinite(now) and math.isfinite(then):
        return abs(float(now) - float(then))
    return None if json.dumps(now) != json.dumps(then) else 0.0
