"""Judges a model by the gates of the section `fairness`: which gaps are shown to be too large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config.fairness import GAP_METRICS
from components.contracts.evaluation import (
    SHOWN_GAP,
    GateVerdict,
    describe_slice,
    format_confidence,
)
from components.evaluator.draws import MIN_LEARNERS
from components.evaluator.fairness import Comparison, Measured
from components.evaluator.fairness_gaps import joint_factor

if TYPE_CHECKING:
    from components.config.fairness import FairnessGate

WHAT_COUNTS = {"recall": "of the class", "precision": "that are named"}


def judge_gaps(
    gates: Sequence[FairnessGate], comparisons: Sequence[Comparison], min_examples: int
) -> list[GateVerdict]:
    """Returns a verdict for every gate, in their order.

    A gate fails where the lower end of a gap's interval is above its bound. The intervals of all
    pairs that any of the gates looks at hold at once, so that a model without a gap passes all of
    them with their confidence. A gate that finds no two groups to compare fails, and says so.

    Args:
        gates: as configured.
        comparisons: the model's.
        min_examples: what a group needs to be compared.
    """
    looked_at = [_looked_at(gate, comparisons) for gate in gates]
    noises = [item.gaps.noise for items in looked_at for item in items if item.gaps is not None]

    verdicts = []
    for gate, items in zip(gates, looked_at, strict=True):
        factor = joint_factor(noises, gate.confidence) if noises else 0.0
        pairs = _pairs(items, factor)
        verdicts.append(
            _verdict(gate, pairs, items) if pairs else _nothing_to_compare(gate, min_examples)
        )
    return verdicts


@dataclass(frozen=True)
class _Pair:
    """Two groups, and how far they lie apart."""

    between: list[dict[str, str]]
    values: list[float]
    size: float
    interval: tuple[float, float]


def _looked_at(gate: FairnessGate, comparisons: Sequence[Comparison]) -> list[Comparison]:
    measured = Measured(gate.metric, gate.class_, gate.decision)
    return [
        item
        for item in comparisons
        if item.measured == measured
        and (gate.columns is None or sorted(gate.columns) == sorted(item.columns))
    ]


def _pairs(items: Sequence[Comparison], factor: float) -> list[_Pair]:
    """Returns all pairs of groups, with intervals that are `factor` standard errors wide."""
    found = []
    for item in items:
        if item.gaps is None:
            continue
        sizes, ends = item.gaps.sizes.tolist(), item.gaps.intervals(factor).tolist()
        for pair, size, (low, high) in zip(item.gaps.pairs, sizes, ends, strict=True):
            places = item.places(pair)
            values = [item.measure.of(item.rows[place]) for place in places]
            found.append(_Pair([item.names[place] for place in places], values, size, (low, high)))
    return found


def _verdict(
    gate: FairnessGate, pairs: Sequence[_Pair], items: Sequence[Comparison]
) -> GateVerdict:
    """Returns the verdict on the pair whose gap is shown to be the largest."""
    worst = max(pairs, key=lambda pair: (pair.interval[0], pair.size))
    low, high = worst.interval
    passed = low <= gate.max_gap

    sure = format_confidence(gate.confidence)
    names = " and ".join(map(describe_slice, worst.between))
    above = low - gate.max_gap
    end = "passed" if passed else f"FAILED (the lower end is {above:.3f} above)"
    count = "1 pair of groups" if len(pairs) == 1 else f"{len(pairs)} pairs of groups"
    remarks = [f"corrected for {count}"]
    if left_out := sum(len(item.rows) - len(item.compared) for item in items):
        groups = "1 group" if left_out == 1 else f"{left_out} groups"
        remarks.append(f"{groups} with too few examples not compared")

    return GateVerdict(
        text=f"{_rule(gate)}: {worst.size:.3f} between {names}, "
        f"{sure} interval {low:.3f} to {high:.3f} {end}",
        metric=gate.metric,
        class_=gate.class_,
        decision=gate.decision,
        between=worst.between,
        bound=SHOWN_GAP,
        threshold=gate.max_gap,
        value=worst.size,
        interval=worst.interval,
        confidence=gate.confidence,
        passed=passed,
        reason="; ".join([*_values_of(worst), *remarks]),
    )


def _nothing_to_compare(gate: FairnessGate, min_examples: int) -> GateVerdict:
    what = WHAT_COUNTS.get(gate.metric, "each")
    return GateVerdict(
        text=f"{_rule(gate)}: no value, FAILED",
        metric=gate.metric,
        class_=gate.class_,
        decision=gate.decision,
        bound=SHOWN_GAP,
        threshold=gate.max_gap,
        confidence=gate.confidence,
        passed=False,
        reason=f"expected two groups with {min_examples} examples {what}, of {MIN_LEARNERS} "
        "learners or more; lower fairness.min_examples, or remove the gate",
    )


def _values_of(pair: _Pair) -> list[str]:
    """Returns the numbers of the two groups as text; none of two ROC curves."""
    if any(value != value for value in pair.values):
        return []
    high, low = pair.values
    return [f"{high:.3f} and {low:.3f}"]


def _rule(gate: FairnessGate) -> str:
    of = gate.class_ or gate.decision
    subject = GAP_METRICS[gate.metric].short + (f" of {of}" if of else "")
    where = "groups" if gate.columns is None else f"groups of {' × '.join(gate.columns)}"
    return f"gap of {subject} between {where} not shown above {gate.max_gap:g}"
