"""Reads the artifacts of a run into facts; what a node did not leave behind is left out."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from components.contracts.provenance import DataProvenance
from components.contracts.run_record import NodeRecords
from components.errors import MasteryError
from components.model_version.exports import CARD
from components.report.facts import DataFacts, LineageFacts, PushFacts, RunFacts
from components.report.inputs import EvaluationFacts, LogFacts, NodeFacts, TrainingFacts
from components.report.residuals import read_residuals
from components.report.statistics import describe_features, read_anomalies, read_statistics

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
HISTORY_FILE = "history.json"
LOG_SUMMARY_FILE = "log_summary.json"
NODES_FILE = "nodes.json"
PACKAGES = {
    "TFX": "tfx",
    "TensorFlow": "tensorflow",
    "Keras": "keras",
    "TFMA": "tensorflow-model-analysis",
}


@dataclass(frozen=True)
class Sources:
    """Where the facts of a run are: folders of artifacts, and what the metadata store knows of them."""

    config: dict[str, Any]
    code_fingerprint: str
    evaluation: Path
    examples: Path
    statistics: Path
    anomalies: Path
    model_run: Path
    push: PushFacts
    served_model: Path | None = None  # the SavedModel that was judged
    run_id: str | None = None
    run_folder: Path | None = None
    data: DataProvenance = field(default_factory=DataProvenance)
    paths: dict[str, str] = field(default_factory=dict)


def load_facts(sources: Sources) -> RunFacts:
    """Returns all facts of a run.

    Raises:
        MasteryError: the evaluation has no metrics; without them there is nothing to report.
    """
    metrics = sources.evaluation / METRICS_FILE
    if not metrics.exists():
        raise MasteryError(
            f"{metrics}: expected the evaluator's metrics, found none. Run the node Evaluator first."
        )
    evaluation = EvaluationFacts.model_validate_json(metrics.read_bytes())
    history = sources.model_run / HISTORY_FILE
    is_regression = evaluation.task == "regression"
    return RunFacts(
        name=sources.config["name"],
        written=datetime.now(UTC),
        evaluation=evaluation,
        push=sources.push,
        data=_load_data(sources),
        lineage=_load_lineage(sources),
        training=TrainingFacts.model_validate_json(history.read_bytes())
        if history.exists()
        else None,
        regression=read_residuals(sources.evaluation / PREDICTIONS_FILE) if is_regression else None,
        nodes=_load_nodes(sources.run_folder),
    )


def _load_data(sources: Sources) -> DataFacts:
    statistics = read_statistics(sources.statistics)
    label, steps = sources.config["label"]["column"], frozenset(sources.config["steps"]["features"])
    return DataFacts(
        log=LogFacts.model_validate(_read_json(sources.examples / LOG_SUMMARY_FILE)),
        features={
            split: describe_features(dataset, steps, label) for split, dataset in statistics.items()
        },
        anomalies=read_anomalies(sources.anomalies, statistics),
    )


def _load_nodes(run_folder: Path | None) -> list[NodeFacts]:
    file = run_folder / NODES_FILE if run_folder else None
    if file is None or not file.exists():
        return []
    return [
        NodeFacts.model_validate(node.model_dump()) for node in NodeRecords.read_file(file).nodes
    ]


def _load_lineage(sources: Sources) -> LineageFacts:
    card = _read_json(sources.served_model / CARD) if sources.served_model else {}
    code = {"model": card.get("code"), "report": sources.code_fingerprint}
    canonical = json.dumps(sources.config, sort_keys=True)
    return LineageFacts(
        run_id=sources.run_id,
        config=sources.config,
        config_fingerprint=hashlib.sha256(canonical.encode()).hexdigest()[
            :12
        ],  # as Config.fingerprint has it
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


def _read_json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    content: dict[str, Any] = json.loads(file.read_bytes())
    return content
