"""What a report is made of: typed facts about one run, read from the artifacts of the nodes before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from components.contracts.provenance import DataProvenance
from components.report.inputs import EvaluationFacts, LogFacts, NodeFacts, TrainingFacts


@dataclass(frozen=True)
class Bars:
    """A histogram: `counts[i]` values lie between `edges[i]` and `edges[i + 1]`."""

    edges: list[float]
    counts: list[float]


@dataclass(frozen=True)
class FeatureFacts:
    """What TFDV saw of one feature in a split, a number or a category; None marks what has no meaning for it.

    `missing` is the share of rows without the feature or, for features of steps, of steps without a value; `shares`
    are those of a category's values among all values, most frequent first.
    """

    name: str
    kind: Literal["number", "category"]
    missing: float | None
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    median: float | None = None
    high: float | None = None
    zeros: float | None = None
    histogram: Bars | None = None
    different: int = 0
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AnomalyFacts:
    """A feature of a split that does not fit the curated schema."""

    split: str
    feature: str
    expected: str
    found: str


@dataclass(frozen=True)
class DataFacts:
    """The log, and what is in the splits."""

    log: LogFacts = field(default_factory=lambda: LogFacts())
    features: dict[str, list[FeatureFacts]] = field(default_factory=dict)  # by split
    anomalies: list[AnomalyFacts] | None = None  # None: nobody looked


@dataclass(frozen=True)
class RegressionFacts:
    """Predictions of a regression: a grid of counts [N, N], rows by rising actual value, and residuals."""

    edges: list[float]
    grid: list[list[int]]
    residuals: Bars


@dataclass(frozen=True)
class PushFacts:
    """What became of the model."""

    pushed: bool
    version: str | None = None
    destination: str | None = None
    reason: str | None = None  # why nothing was pushed


@dataclass(frozen=True)
class LineageFacts:
    """What made this run, to make it again."""

    run_id: str | None
    config: dict[str, Any]
    config_fingerprint: str
    code: dict[str, str]  # fingerprints by what they are of
    data: DataProvenance = field(default_factory=DataProvenance)
    versions: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """All that a report says."""

    name: str
    written: datetime
    evaluation: EvaluationFacts
    push: PushFacts
    data: DataFacts
    lineage: LineageFacts
    training: TrainingFacts | None = None
    regression: RegressionFacts | None = None
    nodes: list[NodeFacts] = field(default_factory=list)
