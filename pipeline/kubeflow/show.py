"""Shows a node that has run in Kubeflow's user interface, and tells later tasks what they go by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.evaluator.verdicts import gate_error
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.kubeflow.summaries import summarise_node
from pipeline.kubeflow.tasks import FAILED_GATES, summary_name
from pipeline.launch import NodeResult


def show_node(result: NodeResult, outputs: TaskOutputs) -> None:
    """Fills the artifacts and output parameters of a node."""
    outputs.show_text(summary_name(result.node_id), summarise_node(result))
    if result.node_id == "Evaluator":
        metrics = _read(result, "evaluation", "metrics.json")
        outputs.show_evaluation(metrics)
        outputs.set_parameter(FAILED_GATES, "" if metrics["blessed"] else str(gate_error(metrics["gates"])))
    elif result.node_id == "Pusher":
        push = _read(result, "pushed_model", "push.json")
        metadata = {"version": str(push["version"]), "path": push["destination"]} if push["pushed"] else {}
        outputs.show_text("pushed_model", json.dumps(push, indent=2), metadata)
    elif result.node_id == "Report":
        report = Path(result.outputs["report"][0].uri, "report.html")
        outputs.show_text("report", report.read_text(encoding="utf-8"))


def _read(result: NodeResult, output: str, name: str) -> Any:
    return json.loads(Path(result.outputs[output][0].uri, name).read_text(encoding="utf-8"))
