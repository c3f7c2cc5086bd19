"""`metrics.json`: what the Evaluator measured on the test split, and how the gates went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from components.config.gates import GateBound
from components.config.metrics import Task, describe_metric
from components.contracts.contract import Contract, Part
from components.contracts.decision_results import DecisionMetrics, DecisionResults
from components.contracts.fairness_results import FairnessResults
from components.contracts.importance_results import ImportanceResults
from components.contracts.provenance import DataProvenance
from components.contracts.uncertainty_results import UncertaintyResults
from components.html_table import HtmlTable, join_html

Counts = list[list[int]]  # [C, C]: true classes in rows, predicted ones in columns
Interval = tuple[float, float]  # lower and upper end

# The bound of a gate of the section `fairness`: the largest gap that may be shown.
SHOWN_GAP: Final = "max_shown_gap"
VerdictBound = GateBound | Literal["max_shown_gap"]

MISSING = "(missing)"  # how people read the slice of examples without a value


def describe_slice(where: Mapping[str, str]) -> str:
    """Returns the condition of a slice in one line.

    >>> describe_slice({"gender": "f", "region": ""})
    'gender=f, region=(missing)'
    """
    return ", ".join(f"{column}={value or MISSING}" for column, value in where.items())


def format_metric(value: float | None, digits: str) -> str:
    """Returns a metric as text; a dash for an undefined one.

    >>> format_metric(0.87654, ".4f"), format_metric(None, ".4f")
    ('0.8765', '–')
    """
    return "–" if value is None else format(value, digits)


def _reach(interval: Interval | None) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def format_confidence(confidence: float | None) -> str:
    """Returns a confidence as a percentage; nothing for none.

    >>> format_confidence(0.95), format_confidence(0.999), format_confidence(None)
    ('95%', '99.9%', '')
    """
    return "" if confidence is None else f"{confidence * 100:.10g}%"


class GateVerdict(Part):
    """How one bound of a gate went.

    Attributes:
        text: the whole verdict in one line.
        metric: name of the metric.
        class_: the class the metric is taken for; None for a metric over all classes.
        decision: the decision the metric is taken for; None for other metrics.
        slice: a column, for every one of its slices; `{column: value}` for that slice.
        between: the two groups whose gap decides, in a gate of the section `fairness`.
        bound: which bound of the gate this is.
        threshold: the bound's value.
        value: the candidate's metric; with `max_gap`, `max_spread` and `max_shown_gap` the
            distance; for a gate on every slice of a column, the metric of the slice that decides.
        at: that slice; None for other gates, and where there is no value.
        baseline: the metric of what is compared with on the same slice: the blessed model, or the
            simple model of `over`.
        over: the simple model that has to be beaten; None for other bounds.
        interval: of the number that is compared with the threshold; None where none was computed.
        confidence: of the gate; None where the number itself is compared.
        passed: whether the bound holds.
        reason: an explanation beside the numbers, such as why there is no value.
    """

    text: str = ""
    metric: str
    class_: str | None = Field(None, alias="class")
    decision: str | None = None
    slice: str | dict[str, str] | None = None
    between: list[dict[str, str]] = []
    bound: VerdictBound
    threshold: float
    value: float | None = None
    at: dict[str, str] | None = None
    baseline: float | None = None
    over: str | None = None
    interval: Interval | None = None
    confidence: float | None = None
    passed: bool
    reason: str | None = None

    @property
    def is_change(self) -> bool:
        """Whether the bound is on the change from the blessed model."""
        return self.bound in ("min_change", "max_change")

    @property
    def is_floor(self) -> bool:
        """Whether the threshold is the lowest number that passes, not the highest."""
        return self.bound in ("min", "min_change", "min_gain_over")

    @property
    def measured(self) -> float | None:
        """The number that is compared with the threshold: the value, its change, or the gain."""
        is_gain = self.bound == "min_gain_over"
        if not self.is_change and not is_gain:
            return self.value
        if self.value is None or self.baseline is None:
            return None
        change = self.value - self.baseline
        return -change if is_gain and not describe_metric(self.metric).more_is_better else change

    @property
    def decisive(self) -> float | None:
        """What has to hold the bound: with a confidence the worse end of the interval.

        Of a gap that may not be shown it is the lower end: what the gap is at least.
        """
        if self.confidence is None or self.interval is None:
            return self.measured
        if self.bound == SHOWN_GAP:
            return self.interval[0]
        return self.interval[0 if self.is_floor else 1]


class ClassMetrics(Part):
    """Metrics of one class, each against all the others; undefined ones are None.

    Attributes:
        intervals: by the name of a metric; empty where none were computed.
    """

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    auc: float | None = None
    ece: float | None = None
    coverage: float | None = None
    set_size: float | None = None
    not_sure: float | None = None
    support: int = 0
    intervals: dict[str, Interval] = {}

    @model_serializer(mode="wrap")
    def _leave_out_sets(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what only models with prediction sets have."""
        values: dict[str, Any] = serialize(self)
        for name in ("coverage", "set_size", "not_sure"):
            if getattr(self, name) is None:
                values.pop(name, None)
        return values


class RocCurve(Part):
    """False against true positives, by falling threshold."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float] = []


class PrecisionRecallCurve(Part):
    """Recall against precision, by falling threshold."""

    recall: list[float]
    precision: list[float]


class ReliabilityCurve(Part):
    """What is said against what happens, by rising probability.

    Attributes:
        probability: mean probability of the class in each bin that has examples.
        share: share of the bin's examples that are of the class.
        examples: how many examples are in the bin.
    """

    probability: list[float]
    share: list[float]
    examples: list[int]


class ClassCurves(Part):
    """The curves of one class."""

    roc: RocCurve | None = None
    pr: PrecisionRecallCurve | None = None
    calibration: ReliabilityCurve | None = None


class Result(Part):
    """Metrics of a model on some examples; undefined ones are None.

    Attributes:
        examples: how many examples.
        metrics: values by name; see `components.config.metrics`.
        classes: values by class; empty for a regression.
        intervals: of the metrics, by name; empty where none were computed. They come from drawing
            learners with replacement, at the confidence of `evaluation.confidence`.
        decisions: how decisions go, by their names; empty where the model has none.
        confusion: counts of true against predicted classes; empty for a regression.
        curves: curves by class; only for all examples of a classification.
    """

    examples: int
    metrics: dict[str, float | None]
    classes: dict[str, ClassMetrics] = {}
    intervals: dict[str, Interval] = {}
    decisions: dict[str, DecisionMetrics] = {}
    confusion: Counts = []
    curves: dict[str, ClassCurves] = {}

    @model_serializer(mode="wrap")
    def _leave_out_what_is_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for name in ("curves", "decisions"):
            if not getattr(self, name):
                values.pop(name, None)
        return values

    def value_of(
        self, metric: str, class_: str | None = None, decision: str | None = None
    ) -> float | None:
        """Returns a metric of a class, of a decision, or of all examples.

        It is None if it is undefined or was not measured.
        """
        if class_ is None and decision is None:
            return self.metrics.get(metric)
        value: float | None = getattr(self._measured_of(class_, decision), metric, None)
        return value

    def interval_of(
        self, metric: str, class_: str | None = None, decision: str | None = None
    ) -> Interval | None:
        """Returns the interval of a metric as `value_of` has it; None if none was computed."""
        if class_ is None and decision is None:
            return self.intervals.get(metric)
        measured = self._measured_of(class_, decision)
        return measured.intervals.get(metric) if measured else None

    def _measured_of(
        self, class_: str | None, decision: str | None
    ) -> ClassMetrics | DecisionMetrics | None:
        if decision is not None:
            return self.decisions.get(decision)
        return self.classes.get(class_ or "")


class SliceResult(Result):
    """Metrics of a model on the examples where columns have the given values."""

    slice: dict[str, str]


class ModelResults(Part):
    """A model's metrics overall and by slice, in the configured order of slices."""

    overall: Result
    slices: list[SliceResult] = []

    def at(self, where: Mapping[str, str]) -> Result | None:
        """Returns the result of a slice, or for `{}` of all examples; None if there is none."""
        if not where:
            return self.overall
        return next((result for result in self.slices if result.slice == where), None)


class Gain(Part):
    """How much better the candidate is than a simple model, in one metric.

    Attributes:
        value: the difference, positive where the candidate is better, whichever way the metric
            goes; None where one of the two is undefined.
        interval: of the difference, from drawing learners with replacement.
    """

    value: float | None = None
    interval: Interval | None = None


class SimpleModelResults(ModelResults):
    """A simple model on the same examples.

    Attributes:
        name: which one, as in `evaluation.simple_models`.
        meaning: what it is, in a sentence.
        gains: of the candidate over it on all examples, by the metric's name.
        slice_gains: the same for each of `slices`, in their order.
    """

    name: str
    meaning: str
    gains: dict[str, Gain] = {}
    slice_gains: list[dict[str, Gain]] = []


class SeedResults(Part):
    """How much the metrics move from one seed to another.

    Attributes:
        seeds: of the fits; the first is the candidate's.
        metrics: the value of each fit by the metric's name, in the order of the seeds.
        classes: the same by class.
    """

    seeds: list[int]
    metrics: dict[str, list[float | None]]
    classes: dict[str, dict[str, list[float | None]]] = {}


class Evaluation(Contract):
    """What the Evaluator found out about the candidate, and about the blessed model before it.

    Attributes:
        task: what kind of label is predicted.
        classes: the classes in their order; empty for a regression.
        blessed: whether all gates passed; None for an evaluation without gates.
        gates: one verdict per bound of a gate.
        basis: how many examples were answered from the sequence, and how many from the prior.
        sampled_from: how many examples the test split has, where only those of a sample of its
            learners were judged; None where all were.
        overall: metrics on all examples that were judged.
        slices: metrics by slice.
        baseline: the blessed model on the same examples.
        baseline_note: why there is no baseline.
        confidence: of all intervals; None where none were computed.
        simple_models: what people would use instead, on the same examples.
        seeds: fits with other seeds on the same examples; None with one seed.
        uncertainty: how often prediction sets hold the truth; None for a model without any.
        decisions: how each decision went, in the configured order.
        fairness: gaps between groups; None where no column is compared.
        importance: what answers rest on; None for a model that explains nothing.
    """

    FILE: ClassVar[str] = "metrics.json"

    task: Task
    classes: list[str] = []
    blessed: bool | None = None
    gates: list[GateVerdict] = []
    basis: dict[str, int] = {}
    sampled_from: int | None = None
    overall: Result
    slices: list[SliceResult] = []
    baseline: ModelResults | None = None
    baseline_note: str | None = None
    confidence: float | None = None
    simple_models: list[SimpleModelResults] = []
    seeds: SeedResults | None = None
    uncertainty: UncertaintyResults | None = None
    decisions: list[DecisionResults] = []
    fairness: FairnessResults | None = None
    importance: ImportanceResults | None = None

    def metrics_table(self) -> HtmlTable:
        """Returns the metrics of all examples, for notebooks."""
        examples = f"{self.overall.examples:,} examples of the test split"
        rows = [
            [describe_metric(name).short, format_metric(value, ".4f"), _reach(interval)]
            for name, value in self.overall.metrics.items()
            for interval in [self.overall.intervals.get(name)]
        ]
        return HtmlTable(f"Metrics, {examples}", ["Metric", "Value", "Interval"], rows, {1, 2})

    def gates_table(self) -> HtmlTable:
        """Returns the verdict of each gate, for notebooks."""
        rows = [[gate.text, "yes" if gate.passed else "no"] for gate in self.gates]
        return HtmlTable("Gates", ["Gate", "Passed"], rows)

    def _repr_html_(self) -> str:
        return join_html(self.metrics_table(), *([self.gates_table()] if self.gates else []))

    @property
    def failed_gates(self) -> list[GateVerdict]:
        """The bounds that do not hold."""
        return [gate for gate in self.gates if not gate.passed]


class ReportMetrics(Evaluation):
    """The `metrics.json` beside a report: the evaluation, and what run it belongs to.

    Attributes:
        run_id: id of the run.
        pushed_version: number of the version that was pushed, as text; None if nothing was.
        data: where the examples came from.
    """

    run_id: str | None = None
    pushed_version: str | None = None
    data: DataProvenance = DataProvenance()
