"""`metrics.json`: what the Evaluator measured on the test split, and how the gates went."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from components.contracts.contract import Contract, Part

Counts = list[list[int]]  # [C, C]: true classes in rows, predicted ones in columns
Bound = Literal["min", "max", "min_change", "max_change", "max_gap"]


class GateVerdict(Part):
    """How one bound of a gate went.

    Attributes:
        text: the whole verdict in one line.
        metric: name of the metric.
        class_: the class the metric is taken for, if it is taken for one.
        slice: a column, for every one of its slices; `{column: value}` for that slice.
        bound: which bound of the gate this is.
        threshold: the bound's value.
        value: the metric of the candidate; the gap with `max_gap`; of a gate on every slice of a
            column, that of the slice that decides.
        baseline: the metric of the blessed model at the same place.
        passed: whether the bound holds.
        reason: what the numbers do not say, such as why there is none.
    """

    text: str = ""
    metric: str
    class_: str | None = Field(None, alias="class")
    slice: str | dict[str, str] | None = None
    bound: Bound
    threshold: float
    value: float | None = None
    baseline: float | None = None
    passed: bool
    reason: str | None = None


class ClassMetrics(Part):
    """Metrics of one class, each against all the others; undefined ones are None."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    auc: float | None = None
    support: int = 0


class RocCurve(Part):
    """False against true positives, by falling threshold."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float] = []


class PrecisionRecallCurve(Part):
    """Recall against precision, by threshold."""

    recall: list[float]
    precision: list[float]


class ClassCurves(Part):
    """Both curves of one class."""

    roc: RocCurve | None = None
    pr: PrecisionRecallCurve | None = None


class Result(Part):
    """Metrics of a model on some examples; undefined ones are None.

    Attributes:
        examples: how many examples.
        metrics: values by name; see `components.config.metrics`.
        classes: values by class; empty for a regression.
        confusion: counts of true against predicted classes; empty for a regression.
        curves: curves by class; on all examples only.
    """

    examples: int
    metrics: dict[str, float | None]
    classes: dict[str, ClassMetrics] = {}
    confusion: Counts = []
    curves: dict[str, ClassCurves] = {}


class SliceResult(Result):
    """The same on the examples where columns have the given values."""

    slice: dict[str, str]


class ModelResults(Part):
    """A model's metrics overall and by slice, in the configured order of slices."""

    overall: Result
    slices: list[SliceResult] = []


class Evaluation(Contract):
    """What the Evaluator found out about the candidate, and about the blessed model before it.

    Attributes:
        task: what kind of label is predicted.
        classes: the classes in their order; empty for a regression.
        blessed: whether all gates passed; None for an evaluation without gates.
        gates: one verdict per bound of a gate.
        basis: how many examples were answered from the sequence, and how many from the prior.
        overall: metrics on all examples.
        slices: metrics by slice.
        baseline: the blessed model on the same examples.
        baseline_note: why there is no baseline.
    """

    FILE: ClassVar[str] = "metrics.json"

    task: Literal["classification", "regression"]
    classes: list[str] = []
    blessed: bool | None = None
    gates: list[GateVerdict] = []
    basis: dict[str, int] = {}
    overall: Result
    slices: list[SliceResult] = []
    baseline: ModelResults | None = None
    baseline_note: str | None = None
