"""Shows a node that has run in Kubeflow's user interface, and tells later tasks what they go by."""

from __future__ import annotations

import json
from pathlib import Path

from components.contracts.evaluation import Evaluation
from components.evaluator.judgement import gate_error
from pipeline.kubeflow.outputs import TaskOutputs
from pipeline.kubeflow.summaries import summarise_node
from pipeline.kubeflow.tasks import FAILED_GATES, TELLING_FILES, summary_name
from pipeline.run.launch import NodeResult
from pipeline.run.mirror import Mirror


def show_node(result: NodeResult, outputs: TaskOutputs, mirror: Mirror | None) -> None:
    """Fills the artifacts and output parameters of a node.

    Args:
        result: how it went.
        outputs: of the task.
        mirror: has the files of a node that came from the cache.
    """
    told = _read(result, mirror)
    outputs.show_text(summary_name(result.node_id), summarise_node(result, told))
    if told is None:
        return
    if result.node_id == "Report":
        outputs.show_text("report", told)
    elif result.node_id == "Evaluator":
        metrics = json.loads(told)
        outputs.show_evaluation(metrics)
        outputs.set_parameter(
            FAILED_GATES,
            "" if metrics["blessed"] else str(gate_error(Evaluation.from_json(told).gates)),
        )
    elif result.node_id == "Pusher":
        push = json.loads(told)
        metadata = (
            {"version": str(push["version"]), "path": push["destination"]} if push["pushed"] else {}
        )
        outputs.show_text("pushed_model", told, metadata)


def _read(result: NodeResult, mirror: Mirror | None) -> str | None:
    """Returns the text of the file that tells how the node went, None for a node that has none."""
    if result.node_id not in TELLING_FILES:
        return None
    output, name = TELLING_FILES[result.node_id]
    file = Path(result.outputs[output][0].uri, name)
    if mirror and not file.exists():
        mirror.pull([file])
    return file.read_text(encoding="utf-8")
