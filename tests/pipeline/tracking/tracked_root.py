"""A root with a run that pushed a version and one that failed, written without running anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml_metadata.proto.metadata_store_pb2 import Execution

from components.config import Config, load_config
from components.contracts.anomalies import FoundAnomalies
from components.contracts.evaluation import ClassMetrics, Evaluation, GateVerdict, Result
from components.contracts.log_summary import LogSummary
from components.contracts.manifest import Manifest
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecord, RunRecord
from components.contracts.training_history import TrainingHistory
from tests.pipeline.stored_runs import StoredRuns

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
RUN, FAILED = "20261120-040000-abc123", "20261121-040000-def456"
VERSION = 17
BEGAN = datetime(2026, 11, 20, 4, tzinfo=UTC)
ERROR = "Trainer: the disk is full."


def load_sample(*settings: str) -> Config:
    """Returns the sample's configuration."""
    return load_config(SAMPLE, [*settings])


def write_root(root: Path) -> StoredRuns:
    """Writes the root; the files of nodes are in `files` below it."""
    runs = StoredRuns(root)
    files = root / "files"
    _write_files(files)
    pushed = runs.layout.root / "sample" / "serving" / str(VERSION)
    Manifest(version=VERSION, name="sample", run=RUN).write(pushed)
    (pushed / "saved_model.pb").touch()

    examples = runs.artifact(f"{files}/examples", spans="3,4")
    statistics = runs.artifact(f"{files}/statistics")
    model, history = runs.artifact(f"{files}/model"), runs.artifact(f"{files}/model_run")
    evaluation = runs.artifact(f"{files}/evaluation")
    for node, inputs, outputs in (
        ("ExampleGen", {}, {"examples": [examples]}),
        ("DataGate", {"statistics": [statistics]},
         {"verdict": [runs.artifact(f"{files}/verdict")]}),
        ("Trainer", {"examples": [examples]}, {"model": [model], "model_run": [history]}),
        ("Evaluator", {"examples": [examples], "model": [model]}, {"evaluation": [evaluation]}),
        ("Pusher", {"model": [model]},
         {"pushed_model": [runs.artifact(f"{files}/pushed", pushed_destination=str(pushed))]}),
    ):  # fmt: skip
        # An artifact that is stored already has another id than the one at hand.
        stored = {key: [runs.artifact(item.uri) for item in group] for key, group in inputs.items()}
        runs.execute(RUN, node, Execution.COMPLETE, outputs, inputs=stored)
    write_record(
        runs, RUN, ["ExampleGen", "DataGate", "Trainer", "Evaluator", "Pusher"],
        metrics=str(files / "evaluation" / "metrics.json"), pushed_version=str(pushed),
    )  # fmt: skip

    runs.execute(
        FAILED, "ExampleGen", Execution.CACHED, {"examples": [runs.artifact(examples.uri)]}
    )
    runs.execute(FAILED, "Trainer", Execution.FAILED)
    write_record(runs, FAILED, ["ExampleGen", "Trainer"], state="failed", error=ERROR)
    return runs


def write_record(
    runs: StoredRuns,
    run: str,
    nodes: list[str],
    *,
    state: str = "passed",
    error: str | None = None,
    metrics: str | None = None,
    pushed_version: str | None = None,
) -> None:
    """Writes a run's record, whose nodes took a second each, and its plan."""
    folder = runs.layout.run(run)
    records = [
        NodeRecord(id=node, state="done", started=BEGAN + timedelta(seconds=index), seconds=1.0)
        for index, node in enumerate(nodes)
    ]
    if error:
        records[-1].state = "failed"
    config = load_sample("training.epochs=2")
    RunPlan(run=run, root=runs.layout.root, config=config).write(folder)
    RunRecord.model_validate(
        {
            "run": run, "name": "sample", "state": state, "started": BEGAN, "seconds": 9.0,
            "nodes": records, "error": error, "metrics": metrics, "pushed_version": pushed_version,
        }
    ).write(folder)  # fmt: skip


def _write_files(files: Path) -> None:
    epochs: list[dict[str, int | float | None]] = [
        {"epoch": 1, "loss": 0.9, "val_loss": 0.7},
        {"epoch": 2, "loss": 0.6, "val_loss": 0.5},
    ]
    TrainingHistory(epochs=epochs, best_epoch=2).write(files / "model_run")
    FoundAnomalies().write(files / "verdict")
    gates = [
        GateVerdict(text="f1_macro >= 0.2: 0.878 passed", metric="f1_macro", bound="min",
                    threshold=0.2, value=0.878, passed=True),
    ]  # fmt: skip
    overall = Result(
        examples=9,
        metrics={"f1_macro": 0.878, "auc": None},
        intervals={"f1_macro": (0.82, 0.93)},
        classes={"partial": ClassMetrics(f1=0.8)},
    )
    Evaluation(task="classification", blessed=True, overall=overall, gates=gates).write(
        files / "evaluation"
    )
    LogSummary(
        events=900, outcomes=90, learners=60, units=3, clock="timestamp", cold_starts=0,
        truncated=0, steps={"50%": 12}, splits={"train": {"partial": 90}},
        first_event="2026-01-01", last_event="2026-02-01",
        first_outcome="2026-01-01", last_outcome="2026-02-01",
        files={"events": {"/log/events.parquet": 900}, "outcomes": {"s3://log/o.csv": 90}},
    ).write(files / "examples")  # fmt: skip
