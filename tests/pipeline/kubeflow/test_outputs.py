"""What a container hands back: read again as Kubeflow reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.kubeflow import gates_task
from pipeline.kubeflow.outputs import TaskOutputs

METRICS = {
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
    """What Kubeflow's launcher gives to a container, by its proto."""
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
    outputs.show_evaluation(METRICS)
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
def test_the_reason_is_the_first_line_of_a_red_task(
    failed: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = json.dumps({"inputs": {"parameterValues": {"failed_gates": failed}}})
    assert gates_task.main(["gates_task", "--executor-input", given]) == code
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (failed.splitlines()[0] if failed else "All gates passed.")
