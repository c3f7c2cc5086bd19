"""Sentences about gates, and about what happened to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from components.config.fairness import gap_words
from components.config.metrics import describe_metric, main_metric_of
from components.contracts.evaluation import (
    SHOWN_GAP,
    Evaluation,
    Gain,
    GateVerdict,
    SimpleModelResults,
    describe_slice,
    format_confidence,
)
from components.report.formats import (
    NOTHING,
    count,
    exact,
    number,
    sentence_case,
    signed,
    span,
    told_apart,
)

if TYPE_CHECKING:
    from components.contracts.push_result import PushResult

SIMPLE_MODELS = {
    "prior": "the prior",
    "rule": "the rule",
    "logistic": "logistic regression",
    "linear": "linear regression",
    "trees": "boosted trees",
}


def simple_model(name: str) -> str:
    """Returns what people call a simple model, in the middle of a sentence."""
    return SIMPLE_MODELS.get(name, name)


def gate_sentence(gate: GateVerdict) -> str:
    """Returns what a gate requires, without a full stop.

    >>> gate = {"metric": "recall", "class": "low", "bound": "min", "threshold": 0.85}
    >>> gate_sentence(GateVerdict.model_validate({**gate, "slice": "gender", "passed": True}))
    'Recall of low is at least 0.85 in every slice of gender'
    """
    subject = describe_metric(gate.metric).short
    if gate.class_ is not None:
        subject = f"{subject} of {gate.class_}"
    if gate.decision is not None:
        subject = f"{subject} of decision {gate.decision}"

    bound = exact(gate.threshold)
    where = _where_words(gate.slice)
    if gate.bound == SHOWN_GAP:
        text = _shown_gap_words(gate)
    elif gate.bound == "max_gap":
        text = f"{subject} differs by at most {bound} between slices of {gate.slice}"
    elif gate.bound == "max_spread":
        text = f"{subject} differs by at most {bound} between seeds"
    elif gate.over is not None:
        is_floor = describe_metric(gate.metric).more_is_better
        change = _change_words(gate.threshold if is_floor else -gate.threshold, is_floor=is_floor)
        text = f"{subject} is {change} that of {simple_model(gate.over)}{where}"
    elif gate.is_change:
        change = _change_words(gate.threshold, is_floor=gate.is_floor)
        text = f"{subject} is {change} the blessed model's{where}"
    else:
        limit = "at least" if gate.is_floor else "at most"
        text = f"{subject} is {limit} {bound}{where}"

    sure = f", with {format_confidence(gate.confidence)} confidence" if gate.confidence else ""
    return sentence_case(f"{text}{sure}")


def _shown_gap_words(gate: GateVerdict) -> str:
    """Returns what a gate of the section `fairness` requires."""
    subject = gap_words(gate.metric).short
    if of := gate.class_ or gate.decision:
        subject = f"{subject} of {of}"
    bound = f"more than {exact(gate.threshold)}" if gate.threshold else "anything"
    return f"{subject} is not shown to differ by {bound} between groups"


def _change_words(threshold: float, *, is_floor: bool) -> str:
    """Returns how a metric may differ: `at most 0.005 below`, `not below`."""
    if threshold == 0:
        return "not below" if is_floor else "not above"
    is_rise = threshold > 0
    limit = "at least" if is_floor == is_rise else "at most"
    return f"{limit} {exact(abs(threshold))} {'above' if is_rise else 'below'}"


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
        interval: how far chance reaches; empty where no interval was computed.
        distance: distance to the threshold, of the worse end of the interval for a gate with a
            confidence; negative if the threshold is missed.
        passed: whether the bound holds.
        reason: an explanation beside the numbers.
    """

    asks: str
    threshold: str
    value: str
    interval: str
    distance: str
    passed: bool
    reason: str


def gate_words(gate: GateVerdict) -> GateWords:
    """Returns a gate in words; numbers have enough decimals to differ from their thresholds."""
    sign = "+" if _is_difference(gate) and gate.threshold > 0 else ""
    relation = "≥" if gate.is_floor else "≤"

    distance = NOTHING
    decisive = gate.decisive
    if decisive is not None:
        margin = decisive - gate.threshold if gate.is_floor else gate.threshold - decisive
        distance = signed(round(margin, 9))  # further digits are rounding errors

    decided = f"decided by {describe_slice(gate.at)}" if gate.at else ""
    reasons = [decided, gate.reason]
    return GateWords(
        asks=gate_sentence(gate),
        threshold=f"{relation} {sign}{exact(gate.threshold)}",
        value=_value_words(gate),
        interval=span(gate.interval),
        distance=distance,
        passed=gate.passed,
        reason="; ".join(reason for reason in reasons if reason),
    )


def _value_words(gate: GateVerdict) -> str:
    if not _is_difference(gate):
        return told_apart(gate.value, gate.threshold)
    if gate.measured is None:
        return number(gate.value)
    return f"{signed(gate.measured)} ({number(gate.value)} against {number(gate.baseline)})"


def _is_difference(gate: GateVerdict) -> bool:
    """Returns whether what is compared with the threshold is a change or a gain."""
    return gate.is_change or gate.over is not None


def interval_sentence(evaluation: Evaluation) -> str:
    """Returns what an interval is; nothing where none was computed."""
    if evaluation.confidence is None:
        return ""
    sure = format_confidence(evaluation.confidence)
    return (
        f"A range such as 0.89 to 0.92 is a {sure} interval: how far chance reaches. The learners "
        "of the test split were drawn again and again, with replacement, and the metric was "
        f"measured each time; {sure} of the values lie in it. With other learners of the same "
        "kind, the same model would probably score within it too."
    )


@dataclass(frozen=True)
class Claim:
    """What can be said of a model against a simple one, by one metric.

    Attributes:
        metric: the name of the metric.
        gain: how much better the model is, and the interval of that.
        verdict: `better` or `worse` where the interval leaves out 0, `open` where it does not, or
            where there is none.
        text: the claim as a sentence.
    """

    metric: str
    gain: Gain
    verdict: Literal["better", "worse", "open"]
    text: str


def claim_metric(evaluation: Evaluation) -> str:
    """Returns the metric of all claims: that of the first gate on a gain, or the main metric.

    A gate on one class does not count: gains are measured over all classes.
    """
    gates = (gate for gate in evaluation.gates if gate.over is not None and gate.class_ is None)
    return next((gate.metric for gate in gates), main_metric_of(evaluation.task))


def claim_against(simple: SimpleModelResults, evaluation: Evaluation) -> Claim:
    """Returns what can be said of the model against a simple one on all examples.

    `better` and `worse` are claimed where the interval of the gain leaves out 0, and only there.
    """
    metric = claim_metric(evaluation)
    gain = simple.gains.get(metric, Gain())
    return _claim(simple_model(simple.name), metric, gain, evaluation.confidence)


def _claim(rival: str, metric: str, gain: Gain, confidence: float | None) -> Claim:
    words = describe_metric(metric).short
    if gain.value is None:
        return Claim(metric, gain, "open", f"Not compared with {rival}: {words} is undefined.")
    if gain.interval is None:
        found = f"{signed(gain.value)} in {words}, without an interval"
        return Claim(metric, gain, "open", f"Not known to be better than {rival}: {found}.")

    low, high = gain.interval
    name = f"{format_confidence(confidence)} interval" if confidence else "interval"
    if low <= 0 <= high:
        found = f"{signed(gain.value)} in {words}, {name} {span(gain.interval)}"
        text = f"Not better than {rival} by more than chance: {found}, which includes 0."
        return Claim(metric, gain, "open", text)

    verdict: Literal["better", "worse"] = "better" if low > 0 else "worse"
    reach = span((low, high) if low > 0 else (-high, -low))
    text = f"by {number(abs(gain.value))} in {words} ({name} {reach})."
    return Claim(metric, gain, verdict, f"{verdict.title()} than {rival} {text}")


def closest_claim(evaluation: Evaluation) -> Claim | None:
    """Returns the claim against the simple model that comes closest; None without any."""
    claims = [claim_against(simple, evaluation) for simple in evaluation.simple_models]
    known = [claim for claim in claims if claim.gain.value is not None]
    return min(known, key=lambda claim: claim.gain.value or 0.0, default=None)


def seeds_sentence(evaluation: Evaluation) -> str:
    """Returns how much the main metric moves from seed to seed; nothing with one seed."""
    seeds = evaluation.seeds
    if seeds is None:
        return ""
    metric = main_metric_of(evaluation.task)
    values = [value for value in seeds.metrics.get(metric, []) if value is not None]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    words = describe_metric(metric).short
    return (
        f"Fitted {len(seeds.seeds)} times, with the seeds {_listed(seeds.seeds)}, the model "
        f"reaches {told_apart(low, high)} to {told_apart(high, low)} in {words}: a spread of "
        f"{number(high - low)}."
    )


def _listed(numbers: Sequence[int]) -> str:
    """Returns numbers as a list in a sentence: `1, 2 and 3`."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


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

    sentences = [why, _main_metric_sentence(evaluation)]
    claim = closest_claim(evaluation)
    return Headline(push.pushed, text, [*sentences, claim.text] if claim else sentences)


def _main_metric_sentence(evaluation: Evaluation) -> str:
    metric = describe_metric(main_metric_of(evaluation.task))
    value = evaluation.overall.value_of(metric.name)
    before = evaluation.baseline.overall.value_of(metric.name) if evaluation.baseline else None

    examples = count(evaluation.overall.examples)
    start = f"On {examples} outcomes that it was not trained on, its {metric.short} is"
    if value is None or before is None:
        return f"{start} {number(value)}."
    if value == before:
        return f"{start} {number(value)}, the same as the blessed model before it."

    better = "better" if (value > before) == metric.more_is_better else "worse"
    size = number(abs(value - before))
    old, new = told_apart(before, value), told_apart(value, before)
    return f"{start} {new}: {size} {better} than the blessed model before it ({old})."
