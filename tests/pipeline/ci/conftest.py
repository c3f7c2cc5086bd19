"""A configuration and the results of a small training of it, without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.config import Config
from components.config.gates import Gate
from components.contracts.evaluation import ModelResults
from components.contracts.run_record import NodeRecord, RunRecord
from components.evaluator.judgement import judge_gates
from pipeline.ci.results import Results, read_results
from pipeline.ci.small_training import small_config

CONFIG: dict[str, Any] = {
    "name": "algebra",
    "data": {"events": "events.csv", "outcomes": "outcomes.csv"},
    "schema": "algebra.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"correct": {"type": "numeric"}}},
    "evaluation": {"slices": ["team"]},
    "gates": [{"metric": "f1_macro", "min": 0.6}],
}


@pytest.fixture
def configure() -> Callable[..., Config]:
    def build(**changes: Any) -> Config:
        return Config.model_validate({**CONFIG, **changes})

    return build


def result(f1: float, recall: float, examples: int) -> dict[str, Any]:
    classes = {
        name: {"precision": f1, "recall": recall, "f1": f1, "auc": 0.7, "support": 5}
        for name in ("no", "yes")
    }
    metrics = {"accuracy": f1, "f1_macro": f1, "log_loss": 1 - f1}
    return {
        "examples": examples,
        "metrics": metrics,
        "classes": classes,
        "confusion": [[1, 1], [1, 1]],
    }


@pytest.fixture
def finish(tmp_path: Path, configure: Callable[..., Config]) -> Callable[..., Results]:
    """Returns a function from macro F1, after and before, to results judged by the real gates."""

    def run(after: float | None, before: float | None = None, **record: Any) -> Results:
        config = small_config(configure())
        state = "failed"
        if after is not None:
            candidate = {
                "overall": result(after, 0.5, 40),
                "slices": [{"slice": {"team": "a|b"}, **result(1, 1, 9)}],
            }
            baseline = None
            if before is not None:
                baseline = {
                    "overall": result(before, 0.5, 40),
                    "slices": [{"slice": {"team": "a|b"}, **result(0, 1, 9)}],
                }
            gates = [Gate.model_validate(gate.model_dump(by_alias=True)) for gate in config.gates]
            verdicts = judge_gates(
                gates,
                ModelResults.model_validate(candidate),
                ModelResults.model_validate(baseline) if baseline else None,
            )
            state = "passed" if all(verdict.passed for verdict in verdicts) else "gates failed"
            metrics = {
                "task": "classification",
                "classes": ["no", "yes"],
                "blessed": state == "passed",
                "gates": [verdict.model_dump(by_alias=True) for verdict in verdicts],
                **candidate,
                "baseline": baseline,
                "baseline_note": None if baseline else "there is none",
            }
            (tmp_path / "metrics.json").write_text(json.dumps(metrics))
            record["metrics"] = str(tmp_path / "metrics.json")
        nodes = [
            NodeRecord(id="ExampleGen", state="cached", seconds=0.1),
            NodeRecord(id="Trainer", state="done"),
        ]
        values = {
            "run": "r1",
            "name": "algebra",
            "started": datetime.now(UTC),
            "state": state,
            "nodes": nodes,
            **record,
        }
        return read_results(RunRecord.model_validate(values), config)

    return run
