"""The outputs of a container, read as Kubeflow reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.contracts.evaluation import Evaluation
from components.contracts.run_record import RunRecord
from components.node.node_id import Node
from pipeline.kubeflow import gates_task
from pipeline.kubeflow.finish import summarise_run
from pipeline.kubeflow.outputs import TaskOutputs, show_node, summarise_node
from pipeline.store.lookups import NodeResult, NodeState, StoredArtifact

HOSTILE = "a | b\n# owned\n<script>[x](javascript:y)\x1b[2J"
SHOWN = "a \\| b \\# owned \\<script\\>\\[x\\](javascript:y)\\\\u001b\\[2J"
METRICS: dict[str, Any] = {
    "task": "classification",
    "classes": ["low", "high"],
    "overall": {
        "examples": 4,
        "metrics": {"accuracy": 0.75, "auc": None},
        "confusion": [[1, 1], [0, 2]],
        "curves": {
            "low": {
                "roc": {
                    "fpr": [0.0, 0.0, 1.0],
                    "tpr": [0.0, 0.5, 1.0],
                    "threshold": [1.0, 0.8, 0.1],
                }
            }
        },
    },
}


def executor_input(folder: Path, kinds: dict[str, str]) -> str:
    """Returns what Kubeflow's launcher gives to a container, by its proto."""
    artifacts = {
        name: {
            "artifacts": [
                {"name": name, "type": {"schemaTitle": f"system.{kind}"}, "uri": str(folder / name)}
            ]
        }
        for name, kind in kinds.items()
    }
    asked = {
        "inputs": {"parameterValues": {"gates": "", "push": False}},
        "outputs": {"artifacts": artifacts, "outputFile": str(folder / "executor_output.json")},
    }
    return json_format.MessageToJson(
        json_format.ParseDict(asked, pipeline_spec_pb2.ExecutorInput())
    )


def written(folder: Path) -> dict[str, Any]:
    text = (folder / "executor_output.json").read_text(encoding="utf-8")
    json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())  # Kubeflow's launcher reads it so
    content: dict[str, Any] = json.loads(text)
    return content


def test_an_evaluation_becomes_metrics_a_confusion_matrix_and_curves(tmp_path: Path) -> None:
    kinds = {
        "metrics": "Metrics",
        **dict.fromkeys(
            ("confusion_matrix", "roc_class_0", "roc_class_1"), "ClassificationMetrics"
        ),
    }
    outputs = TaskOutputs(executor_input(tmp_path, kinds))
    outputs.show_evaluation(Evaluation.model_validate(METRICS))
    outputs.write()
    shown = {
        name: listed["artifacts"][0]["metadata"]
        for name, listed in written(tmp_path)["artifacts"].items()
    }
    assert shown["metrics"] == {
        "examples": 4,
        "accuracy": 0.75,
    }  # a metric without a value is left out
    matrix = shown["confusion_matrix"]["confusionMatrix"]
    assert [item["displayName"] for item in matrix["annotationSpecs"]] == ["low", "high"]
    assert [row["row"] for row in matrix["rows"]] == [[1, 1], [0, 2]]
    curve = shown["roc_class_0"]["confidenceMetrics"]
    assert [point["recall"] for point in curve] == [0.0, 0.5, 1.0]
    assert "roc_class_1" not in shown  # no example was of that class


def test_a_text_lands_in_the_file_that_kubeflow_asked_for(tmp_path: Path) -> None:
    outputs = TaskOutputs(executor_input(tmp_path, {"report": "HTML"}))
    outputs.show_text("report", "<p>fine</p>", {"version": "3"})
    outputs.show_text("not asked for", "nothing")
    outputs.set_parameter("new_data", True)
    outputs.write()
    assert (tmp_path / "report").read_text(encoding="utf-8") == "<p>fine</p>"
    content = written(tmp_path)
    assert content["parameterValues"] == {"new_data": True}
    assert content["artifacts"]["report"]["artifacts"][0]["metadata"] == {"version": "3"}
    assert outputs.parameters == {"gates": "", "push": False}


@pytest.mark.parametrize(
    ("failed", "code"), [("", 0), ("The model failed 1 gate; nothing was pushed:\n  - f1", 1)]
)
def test_the_first_line_of_the_gates_task_is_the_reason(
    failed: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = json.dumps({"inputs": {"parameterValues": {"failed_gates": failed}}})
    assert gates_task.main(["gates_task", "--executor-input", given]) == code
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (failed.splitlines()[0] if failed else "All gates passed.")


def gate(text: str, *, passed: bool = False) -> dict[str, Any]:
    return {"text": text, "metric": "f1", "bound": "min", "threshold": 0.9, "passed": passed}


def evaluation(text: str) -> dict[str, Any]:
    return {**METRICS, "gates": [gate(text)], "blessed": False}


def anomaly(text: str) -> dict[str, Any]:
    return {"split": "train", "column": text, "stops": False, "expected": text, "found": text}


@pytest.mark.parametrize(
    ("node", "content", "line"),
    [
        (
            Node.DATA_GATE,
            {"anomalies": [anomaly(HOSTILE)]},
            f"| train | {SHOWN} | {SHOWN} | {SHOWN} |",
        ),
        (Node.EVALUATOR, evaluation(HOSTILE), f"| {SHOWN} |"),
        (Node.PUSHER, {"pushed": False, "reason": HOSTILE}, f"Pushed nothing: {SHOWN}."),
        (Node.PUSHER, {"pushed": True, "destination": HOSTILE}, f"Pushed {SHOWN}."),
    ],
)
def test_texts_from_outside_are_escaped_in_the_summary_of_a_node(
    node: Node, content: dict[str, object], line: str
) -> None:
    result = NodeResult(node, "done", 1.0, {"output": [StoredArtifact("/mastery/`x`")]})
    lines = summarise_node(result, json.dumps(content)).splitlines()
    assert line in lines
    assert "- output: /mastery/\\`x\\`" in lines


def test_the_error_of_a_run_is_escaped_in_its_summary() -> None:
    record = RunRecord(
        run="r1", name="algebra", started=datetime.now(UTC), state="failed", error=HOSTILE
    )
    assert SHOWN in summarise_run(record).splitlines()


LOG = {
    "events": 70000, "outcomes": 1234, "learners": 600, "units": 3, "clock": "timestamp",
    "first_event": "", "last_event": "", "first_outcome": "", "last_outcome": "", "cold_starts": 7,
    "truncated": 0, "steps": {}, "splits": {"train": {"low": 1000, "high": 100}}, "files": {},
}  # fmt: skip
FIT = {
    "epochs": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": None}],
    "best_epoch": 2,
    "stopped": "all epochs run",
    "device": "CPU",
}


@pytest.mark.parametrize(
    ("node", "content", "lines"),
    [
        (
            Node.EXAMPLE_GEN,
            LOG,
            [
                "70,000 events, 1,234 outcomes of 600 learners in 3 units; 7 cold starts.",
                "| train | 1,100 |",
            ],
        ),
        (Node.DATA_GATE, {"anomalies": []}, ["No anomalies."]),
        (
            Node.TRAINER,
            FIT,
            [
                "2 epochs, best 2: loss 0.25, val_loss –; stopped: all epochs run.",
                "Started from fresh weights; fitted on: CPU.",
            ],
        ),
        (
            Node.TRAINER,
            {"workers": 3, "lost_workers": ["worker 2 was lost in epoch 1; starting again"]},
            ["3 workers shared each batch. worker 2 was lost in epoch 1; starting again."],
        ),
        (Node.TRAINER, {"device_warning": "a GPU is idle"}, ["**Warning**: a GPU is idle."]),
        (
            Node.EVALUATOR,
            {**METRICS, "gates": [gate("f1 >= 0.9", passed=True)], "blessed": True},
            ["**All gates passed.**", "| f1 \\>= 0.9 |", "| accuracy | 0.7500 |", "| auc | – |"],
        ),
        (Node.BASELINE_RESOLVER, None, ["Found no blessed model."]),
    ],
)
def test_the_summary_of_a_node_has_its_figures(
    node: Node, content: dict[str, object] | None, lines: list[str]
) -> None:
    result = NodeResult(node, "done", 12.34)
    text = summarise_node(result, json.dumps(content) if content else None)
    assert {f"# {node}", "Done in 12.3 s.", *lines} <= set(text.splitlines())


def ended(node: Node, output: str, folder: Path, *, state: NodeState = "cached") -> NodeResult:
    return NodeResult(node, state, 0.5, {output: [StoredArtifact(str(folder))]})


def test_a_failed_gate_goes_to_later_tasks(tmp_path: Path) -> None:
    kinds = {"evaluator_summary": "Markdown", "metrics": "Metrics"}
    outputs = TaskOutputs(executor_input(tmp_path, kinds))
    (tmp_path / "metrics.json").write_text(json.dumps(evaluation("f1 >= 0.9: 0.8 FAILED")))
    show_node(ended(Node.EVALUATOR, "evaluation", tmp_path), outputs, None)
    outputs.write()
    content = written(tmp_path)
    assert "f1 >= 0.9: 0.8 FAILED" in content["parameterValues"]["failed_gates"]
    assert content["artifacts"]["metrics"]["artifacts"][0]["metadata"]["accuracy"] == 0.75
    assert "Taken from the cache in 0.5 s." in (tmp_path / "evaluator_summary").read_text()


@pytest.mark.parametrize("pushed", [True, False])
def test_a_pushed_version_is_a_model_in_kubeflow(tmp_path: Path, pushed: bool) -> None:
    outputs = TaskOutputs(executor_input(tmp_path, {"pushed_model": "Model"}))
    push = {"pushed": pushed, "version": 17, "destination": "/serving/17"}
    (tmp_path / "push.json").write_text(json.dumps(push))
    show_node(ended(Node.PUSHER, "pushed_model", tmp_path), outputs, None)
    outputs.write()
    [artifact] = written(tmp_path)["artifacts"]["pushed_model"]["artifacts"]
    assert artifact["metadata"] == ({"version": "17", "path": "/serving/17"} if pushed else {})


def test_the_report_is_shown_as_it_is(tmp_path: Path) -> None:
    outputs = TaskOutputs(executor_input(tmp_path / "shown", {"report": "HTML"}))
    (tmp_path / "report.html").write_text("<p>fine</p>")
    show_node(ended(Node.REPORT, "report", tmp_path), outputs, None)
    assert (tmp_path / "shown" / "report").read_text() == "<p>fine</p>"


def test_a_node_without_such_a_file_has_a_summary_only(tmp_path: Path) -> None:
    outputs = TaskOutputs(executor_input(tmp_path, {"transform_summary": "Markdown"}))
    show_node(ended(Node.TRANSFORM, "transform_graph", tmp_path, state="done"), outputs, None)
    assert "# Transform" in (tmp_path / "transform_summary").read_text()
