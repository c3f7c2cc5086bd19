"""Sentences about gates, and about what happened to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config.metrics import describe_metric, main_metric_of
from components.contracts.evaluation import (
    Evaluation,
    GateVerdict,
    SliceResult,
    describe_slice,
)
from components.report.formats import (
    NOTHING,
    count,
    exact,
    number,
    sentence_case,
    signed,
    told_apart,
)

if TYPE_CHECKING:
    from components.contracts.push_result import PushResult


def gate_sentence(gate: GateVerdict) -> str:
    """Returns what a gate requires, without a full stop.

    >>> gate = {"metric": "recall", "class": "low", "bound": "min", "threshold": 0.85}
    >>> gate_sentence(GateVerdict.model_validate({**gate, "slice": "gender", "passed": True}))
    'Recall of low is at least 0.85 in every slice of gender'
    """
    subject = describe_metric(gate.metric).short
    if gate.class_ is not None:
        subject = f"{subject} of {gate.class_}"

    bound = exact(gate.threshold)
    if gate.bound == "max_gap":
        text = f"{subject} differs by at most {bound} between slices of {gate.slice}"
    elif gate.is_change:
        text = f"{subject} is {_change_words(gate)} the blessed model's{_where_words(gate.slice)}"
    else:
        limit = "at least" if gate.is_floor else "at most"
        text = f"{subject} is {limit} {bound}{_where_words(gate.slice)}"
    return sentence_case(text)


def _change_words(gate: GateVerdict) -> str:
    """Returns how a metric may differ: `at most 0.005 below`, `not below`."""
    if gate.threshold == 0:
        return "not below" if gate.is_floor else "not above"
    is_rise = gate.threshold > 0
    limit = "at least" if gate.is_floor == is_rise else "at most"
    return f"{limit} {exact(abs(gate.threshold))} {'above' if is_rise else 'below'}"


def _where_words(where: str | dict[str, str] | None) -> str:
    if not where:
        return ""
    if isinstance(where, str):
        return f" in every slice of {where}"
    return f" where {describe_slice(where)}"


@dataclass(frozen=True)
class GateWords:
    """A gate as text for the report.

    Attributes:
        asks: what it requires.
        threshold: the bound, with its relation.
        value: what was measured.
        distance: distance to the threshold; negative if the threshold is missed.
        passed: whether the bound holds.
        reason: an explanation beside the numbers.
    """

    asks: str
    threshold: str
    value: str
    distance: str
    passed: bool
    reason: str


def gate_words(gate: GateVerdict, slices: Sequence[SliceResult] = ()) -> GateWords:
    """Returns a gate in words; numbers have enough decimals to differ from their thresholds.

    Args:
        gate: the gate.
        slices: all slices, to name the decisive one of a gate on every slice of a column.
    """
    sign = "+" if gate.is_change and gate.threshold > 0 else ""
    relation = "≥" if gate.is_floor else "≤"

    distance = NOTHING
    measured = gate.measured
    if measured is not None:
        margin = measured - gate.threshold if gate.is_floor else gate.threshold - measured
        distance = signed(round(margin, 9))  # further digits are rounding errors

    reasons = [_decisive_slice(gate, slices), gate.reason]
    return GateWords(
        asks=gate_sentence(gate),
        threshold=f"{relation} {sign}{exact(gate.threshold)}",
        value=_value_words(gate),
        distance=distance,
        passed=gate.passed,
        reason="; ".join(reason for reason in reasons if reason),
    )


def _value_words(gate: GateVerdict) -> str:
    if not gate.is_change:
        return told_apart(gate.value, gate.threshold)
    if gate.measured is None:
        return number(gate.value)
    return f"{signed(gate.measured)} ({number(gate.value)} against {number(gate.baseline)})"


def _decisive_slice(gate: GateVerdict, slices: Sequence[SliceResult]) -> str:
    if not isinstance(gate.slice, str) or gate.bound == "max_gap" or gate.value is None:
        return ""
    for result in slices:
        value = result.value_of(gate.metric, gate.class_)
        if [*result.slice] == [gate.slice] and value == gate.value:
            return f"decided by {describe_slice(result.slice)}"
    return ""


@dataclass(frozen=True)
class Headline:
    """The first thing that a reader sees.

    Attributes:
        good: whether a model was pushed.
        text: what happened, in a few words.
        explanation: why, and how good the model is, in sentences.
    """

    good: bool
    text: str
    explanation: list[str]


def headline(evaluation: Evaluation, push: PushResult) -> Headline:
    """Returns what happened to the model, in a headline and a few sentences."""
    failed, total = len(evaluation.failed_gates), len(evaluation.gates)
    gates = "the gate" if total == 1 else f"all {total} gates"

    if push.pushed:
        text = f"Pushed as version {push.version}" if push.version else "Pushed"
        why = f"The model passed {gates} and the serving check, and is ready to be served."
    elif failed:
        one = "Not pushed: the gate failed"
        text = one if total == 1 else f"Not pushed: {failed} of {total} gates failed"
        why = "The model was held back; what was served before this run is still served."
    elif evaluation.blessed:
        text = "Not pushed"
        reason = push.reason or "of an unknown reason"
        why = f"The model passed {gates}; it was not pushed, because {reason}."
    else:
        text = "Not pushed: the model was not blessed"
        why = "The evaluation did not bless the model; the one served before is still served."

    return Headline(push.pushed, text, [why, _main_metric_sentence(evaluation)])


def _main_metric_sentence(evaluation: Evaluation) -> str:
    metric = describe_metric(main_metric_of(evaluation.task))
    value = evaluation.overall.value_of(metric.name)
    before = evaluation.baseline.overall.value_of(metric.name) if evaluation.baseline else None

    examples = count(evaluation.overall.examples)
    start = f"On {examples} outcomes of learners it was not trained on, its {metric.short} is"
    if value is None or before is None:
        return f"{start} {number(value)}."
    if value == before:
        return f"{start} {number(value)}, the same as the blessed model before it."

    better = "better" if (value > before) == metric.more_is_better else "worse"
    size = number(abs(value - before))
    old, new = told_apart(before, value), told_apart(value, before)
    return f"{start} {new}: {size} {better} than the blessed model before it ({old})."
