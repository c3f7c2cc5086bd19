"""Sentences about gates, and about what became of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.report.facts import PushFacts
from components.report.formats import NOTHING, change, count, exact, number, told_apart
from components.report.inputs import ClassFacts, EvaluationFacts, GateFacts, SliceFacts
from components.report.wording import MAIN_METRIC, metric_words, say_slice, sentence_case


def say_gate(gate: GateFacts) -> str:
    """Returns what a gate asks for: `Recall of not_mastered is at least 0.85 in every slice of gender`."""
    subject = metric_words(gate.metric).name + (
        f" of {gate.class_}" if gate.class_ is not None else ""
    )
    bound, where = exact(gate.threshold), _say_where(gate.slice)
    if gate.bound == "max_gap":
        text = f"{subject} differs by at most {bound} between slices of {gate.slice}"
    elif gate.bound.endswith("_change"):
        text = f"{subject} is {_say_change(gate)} the blessed model's{where}"
    else:
        text = f"{subject} is at {'least' if gate.bound == 'min' else 'most'} {bound}{where}"
    return sentence_case(text)


def _say_change(gate: GateFacts) -> str:
    is_floor, is_rise = gate.bound == "min_change", gate.threshold > 0
    if gate.threshold == 0:
        return "not below" if is_floor else "not above"
    limit = "at least" if is_floor == is_rise else "at most"
    return f"{limit} {exact(abs(gate.threshold))} {'above' if is_rise else 'below'}"


def _say_where(where: str | dict[str, str] | None) -> str:
    if not where:
        return ""
    if isinstance(where, str):
        return f" in every slice of {where}"
    return " where " + say_slice(where)


@dataclass(frozen=True)
class GateWords:
    """A gate, ready to be read."""

    asks: str
    threshold: str
    value: str
    distance: str  # to the threshold: positive is room to spare, negative what is missing
    passed: bool
    reason: str


def read_gate(gate: GateFacts, slices: Sequence[SliceFacts] = ()) -> GateWords:
    """Returns a gate in words; numbers that differ are written with enough decimals to look different.

    Args:
        gate: the gate.
        slices: all slices, to name the one that decided where the gate is on every slice of a column.
    """
    measured = measure(gate)
    sign = -1 if gate.bound.startswith("max") else 1
    room = (
        None if measured is None else round(sign * (measured - gate.threshold), 9)
    )  # beyond that it is rounding
    relation = "≤" if sign < 0 else "≥"
    is_change = gate.bound.endswith("_change")
    value = told_apart(measured, gate.threshold)
    if is_change and measured is not None:
        value = f"{change(measured)} ({number(gate.value)} against {number(gate.baseline)})"
    elif is_change:
        value = number(gate.value)
    bound = ("+" if is_change and gate.threshold > 0 else "") + exact(gate.threshold)
    return GateWords(
        asks=say_gate(gate),
        threshold=f"{relation} {bound}",
        value=value,
        distance=NOTHING if room is None else change(room),
        passed=gate.passed,
        reason="; ".join(filter(None, [_say_decisive(gate, slices), gate.reason])),
    )


def _say_decisive(gate: GateFacts, slices: Sequence[SliceFacts]) -> str:
    if not isinstance(gate.slice, str) or gate.bound == "max_gap" or gate.value is None:
        return ""
    for item in slices:
        metrics = (
            item.metrics
            if gate.class_ is None
            else item.classes.get(gate.class_, ClassFacts()).model_dump()
        )
        if [*item.slice] == [gate.slice] and metrics.get(gate.metric) == gate.value:
            return f"decided by {say_slice(item.slice)}"
    return ""


def measure(gate: GateFacts) -> float | None:
    """Returns the number that the threshold is held against: the value, or its change from the baseline."""
    if not gate.bound.endswith("_change"):
        return gate.value
    return None if gate.value is None or gate.baseline is None else gate.value - gate.baseline


@dataclass(frozen=True)
class Verdict:
    """The first thing a reader sees."""

    good: bool
    headline: str
    explanation: list[str]


def say_verdict(evaluation: EvaluationFacts, push: PushFacts) -> Verdict:
    """Returns the verdict on a run in a headline and a few sentences."""
    failed = [gate for gate in evaluation.gates if not gate.passed]
    total = len(evaluation.gates)
    gates = "the gate" if total == 1 else f"all {total} gates"
    if push.pushed:
        version = f" as version {push.version}" if push.version else ""
        headline = f"Pushed{version}"
        why = f"The model passed {gates} and the serving check, and is ready to be served."
    elif failed:
        headline = (
            f"Not pushed: {len(failed)} of {total} gates failed"
            if total > 1
            else "Not pushed: the gate failed"
        )
        why = "The model was kept back; what was served before this run is still served."
    elif evaluation.blessed:
        headline = "Not pushed"
        why = f"The model passed {gates}; it was not pushed, because {push.reason or 'something else went wrong'}."
    else:
        headline = "Not pushed: the model was not blessed"
        why = "The evaluation did not bless the model; what was served before this run is still served."
    return Verdict(
        good=push.pushed, headline=headline, explanation=[why, _say_main_metric(evaluation)]
    )


def _say_main_metric(evaluation: EvaluationFacts) -> str:
    metric = MAIN_METRIC[evaluation.task]
    value = evaluation.overall.metrics.get(metric)
    words = metric_words(metric)
    learned = f"On {count(evaluation.overall.examples)} outcomes of learners it was not trained on, its {words.name} is"
    before = evaluation.baseline.overall.metrics.get(metric) if evaluation.baseline else None
    if value is None or before is None:
        return f"{learned} {number(value)}."
    if value == before:
        return f"{learned} {number(value)}, the same as the blessed model before it."
    better = "better" if (value > before) == words.more_is_better else "worse"
    size = number(abs(value - before))
    old, new = told_apart(before, value), told_apart(value, before)
    return f"{learned} {new}: {size} {better} than the blessed model before it ({old})."
