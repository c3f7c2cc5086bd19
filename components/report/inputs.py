"""What other nodes wrote for the report, as JSON: one model a file, checked when it is read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Counts = list[list[int]]  # [C, C]: true classes in rows, predicted ones in columns


class _Facts(BaseModel):
    """A part of a JSON file that another node wrote; keys the report has no use for are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class GateFacts(_Facts):
    """One gate and how it went; `value` is the candidate's, `baseline` the blessed model's."""

    text: str = ""
    metric: str
    class_: str | None = Field(None, alias="class")
    slice: str | dict[str, str] | None = None
    bound: Literal["min", "max", "min_change", "max_change", "max_gap"]
    threshold: float
    value: float | None = None
    baseline: float | None = None
    passed: bool
    reason: str | None = None


class ClassFacts(_Facts):
    """Metrics of one class, each against all the others."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    auc: float | None = None
    support: int = 0


class RocCurve(_Facts):
    """False against true positives, by falling threshold."""

    fpr: list[float]
    tpr: list[float]


class PrecisionRecallCurve(_Facts):
    """Recall against precision, by threshold."""

    recall: list[float]
    precision: list[float]


class CurveFacts(_Facts):
    """Both curves of one class."""

    roc: RocCurve | None = None
    pr: PrecisionRecallCurve | None = None


class ResultFacts(_Facts):
    """Metrics of a model on some examples; undefined ones are None."""

    examples: int
    metrics: dict[str, float | None]
    classes: dict[str, ClassFacts] = {}
    confusion: Counts = []
    curves: dict[str, CurveFacts] = {}


class SliceFacts(ResultFacts):
    """The same on the examples where columns have the given values."""

    slice: dict[str, str]


class BaselineFacts(_Facts):
    """The blessed model on the same examples."""

    overall: ResultFacts
    slices: list[SliceFacts] = []


class EvaluationFacts(_Facts):
    """The evaluator's `metrics.json`."""

    task: Literal["classification", "regression"]
    classes: list[str] = []
    blessed: bool
    gates: list[GateFacts] = []
    basis: dict[str, int] = {}
    overall: ResultFacts
    slices: list[SliceFacts] = []
    baseline: BaselineFacts | None = None
    baseline_note: str | None = None


class TrainingFacts(_Facts):
    """The trainer's `history.json`; an epoch holds its number and every metric by name, eval ones as `val_...`."""

    epochs: list[dict[str, float | None]] = []
    best_epoch: int | None = None
    stopped: str | None = None
    warm_start: str | None = None
    device: str | None = None
    device_warning: str | None = None
    precision: str | None = None
    parameters: int | None = None
    seconds: float | None = None


class LogFacts(_Facts):
    """The ExampleGen's `log_summary.json`; moments are ISO 8601 in UTC where the clock is `timestamp`."""

    events: int | None = None
    outcomes: int | None = None
    learners: int | None = None
    units: int | None = None
    clock: str | None = None
    first_event: str | None = None
    last_event: str | None = None
    first_outcome: str | None = None
    last_outcome: str | None = None
    cold_starts: int | None = None
    truncated: int | None = None
    steps: dict[str, int] = {}  # events an example, by quantile
    splits: dict[str, dict[str, int]] = {}  # examples by split and class
    files: dict[str, dict[str, int]] = {}  # rows by table and file
    spans: list[str] = []  # names, oldest first
    version: int | None = None  # of the spans
    warnings: list[str] = []  # what is odd in it, a line each


class NodeFacts(_Facts):
    """One node of the run."""

    id: str
    state: str
    seconds: float | None = None
