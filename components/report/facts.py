"""Everything that a report says about one run, read from the artifacts of the nodes before it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import LogSummary
from components.contracts.model_card import ModelCard
from components.contracts.names import PREDICTION, PREDICTIONS_FILE, TEST
from components.contracts.provenance import DataProvenance
from components.contracts.run_record import NodeRecord, NodeRecords
from components.contracts.training_history import TrainingHistory
from components.errors import MasteryError
from components.report.charts import Bars
from components.report.split_statistics import (
    FeatureFacts,
    describe_features,
    read_anomalies,
    read_statistics,
)

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.anomalies import Anomaly
    from components.contracts.push_result import PushResult

PACKAGES = {
    "TFX": "tfx",
    "TensorFlow": "tensorflow",
    "Keras": "keras",
    "TFMA": "tensorflow-model-analysis",
}
GRID = 24  # cells along each axis of predicted against actual values
RESIDUAL_BINS = 25


@dataclass(frozen=True)
class Sources:
    """The artifacts of a run, and what the metadata store says about them.

    Attributes:
        config: the run's configuration.
        code_fingerprint: fingerprint of the report's own code.
        evaluation: folder of the Evaluator's artifact.
        examples: folder of ExampleGen's artifact.
        statistics: folder of StatisticsGen's artifact.
        anomalies: folder of ExampleValidator's artifact.
        model_run: folder of the Trainer's artifact.
        push: what the Pusher did.
        served_model: the SavedModel that was judged.
        run_id: id of the run.
        run_folder: where the runner keeps the states of the nodes.
        data: where the examples came from.
        paths: paths to print, by name of the artifact.
    """

    config: Config
    code_fingerprint: str
    evaluation: Path
    examples: Path
    statistics: Path
    anomalies: Path
    model_run: Path
    push: PushResult
    served_model: Path | None = None
    run_id: str | None = None
    run_folder: Path | None = None
    data: DataProvenance = field(default_factory=DataProvenance)
    paths: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataFacts:
    """The log, and what is in the splits.

    Attributes:
        log: what is in the log; None without a summary of it.
        features: the features by split.
        anomalies: what does not fit the schema; None if nothing was compared with it.
    """

    log: LogSummary | None = None
    features: dict[str, list[FeatureFacts]] = field(default_factory=dict)
    anomalies: list[Anomaly] | None = None


@dataclass(frozen=True)
class RegressionFacts:
    """Predictions of a regression as counts.

    Attributes:
        edges: edges of the grid's cells, on both axes, [N + 1].
        grid: counts [N, N], rows by rising actual value, columns by rising prediction.
        residuals: histogram of predicted minus actual values.
    """

    edges: list[float]
    grid: list[list[int]]
    residuals: Bars


@dataclass(frozen=True)
class LineageFacts:
    """What it takes to repeat this run.

    Attributes:
        run_id: id of the run.
        config: its configuration.
        code: fingerprints of code, by what it makes.
        data: where the examples came from.
        versions: versions of Python and libraries, by name.
        paths: paths of artifacts, by name.
    """

    run_id: str | None
    config: Config
    code: dict[str, str]
    data: DataProvenance = field(default_factory=DataProvenance)
    versions: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFacts:
    """All that a report says."""

    name: str
    written: datetime
    evaluation: Evaluation
    push: PushResult
    data: DataFacts
    lineage: LineageFacts
    training: TrainingHistory | None = None
    regression: RegressionFacts | None = None
    nodes: list[NodeRecord] = field(default_factory=list)


def load_facts(sources: Sources) -> RunFacts:
    """Returns all facts of a run; artifacts that are missing are left out.

    Raises:
        MasteryError: the evaluation has no metrics, without which there is nothing to report, or a
            file cannot be read.
    """
    if not (sources.evaluation / Evaluation.FILE).exists():
        raise MasteryError(
            f"{sources.evaluation / Evaluation.FILE}: the Evaluator's metrics are missing; "
            "run the node Evaluator first."
        )
    evaluation = Evaluation.read(sources.evaluation)
    has_history = (sources.model_run / TrainingHistory.FILE).exists()
    is_regression = evaluation.task == "regression"

    return RunFacts(
        name=sources.config.name,
        written=datetime.now(UTC),
        evaluation=evaluation,
        push=sources.push,
        data=_load_data(sources),
        lineage=_load_lineage(sources),
        training=TrainingHistory.read(sources.model_run) if has_history else None,
        regression=read_residuals(sources.evaluation / PREDICTIONS_FILE) if is_regression else None,
        nodes=_load_nodes(sources.run_folder),
    )


def _load_data(sources: Sources) -> DataFacts:
    has_summary = (sources.examples / LogSummary.FILE).exists()
    statistics = read_statistics(sources.statistics)
    steps = frozenset(sources.config.steps.features)
    label = sources.config.label.column
    features = {
        split: describe_features(dataset, steps, label) for split, dataset in statistics.items()
    }
    if sources.config.steps.shared and TEST in features:
        # Steps of the test split cannot be compared: there, an event counts once for every outcome
        # that sees it, in the other splits once.
        features[TEST] = [feature for feature in features[TEST] if feature.name not in steps]

    return DataFacts(
        log=LogSummary.read(sources.examples) if has_summary else None,
        features=features,
        anomalies=read_anomalies(sources.anomalies, statistics),
    )


def _load_nodes(run_folder: Path | None) -> list[NodeRecord]:
    if run_folder is None or not (run_folder / NodeRecords.FILE).exists():
        return []
    return NodeRecords.read(run_folder).nodes


def _load_lineage(sources: Sources) -> LineageFacts:
    code = {"report": sources.code_fingerprint}
    model = sources.served_model
    if model is not None and (model / ModelCard.FILE).exists():
        code = {"model": ModelCard.read(model).code, **code}

    return LineageFacts(
        run_id=sources.run_id,
        config=sources.config,
        code={what: digest for what, digest in code.items() if digest},
        data=sources.data,
        versions={"Python": platform.python_version(), **_package_versions()},
        paths=sources.paths,
    )


def _package_versions() -> dict[str, str]:
    versions = {}
    for name, package in PACKAGES.items():
        try:
            versions[name] = version(package)
        except PackageNotFoundError:  # a build under another name, such as tensorflow-cpu
            continue
    return versions


def read_residuals(predictions: Path) -> RegressionFacts | None:
    """Returns counts of a regression's predictions, binned for drawing; None without predictions.

    Args:
        predictions: Parquet file with the columns `label` and `prediction`.
    """
    if not predictions.exists():
        return None
    frame = pl.read_parquet(predictions, columns=["label", PREDICTION]).drop_nulls()
    if frame.is_empty():
        return None

    actual = frame["label"].to_numpy().astype(np.float64)
    predicted = frame[PREDICTION].to_numpy().astype(np.float64)
    edges = np.histogram_bin_edges(np.concatenate([actual, predicted]), bins=GRID)
    grid, _, _ = np.histogram2d(actual, predicted, bins=(edges, edges))
    counts, residual_edges = np.histogram(predicted - actual, bins=RESIDUAL_BINS)

    return RegressionFacts(
        edges=edges.tolist(),
        grid=grid.astype(int).tolist(),
        residuals=Bars(edges=residual_edges.tolist(), counts=counts.astype(float).tolist()),
    )
