"""What a container hands to Kubeflow: parameters for later tasks, artifacts for its interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.command.escape import for_markdown
from components.contracts.anomalies import FoundAnomalies
from components.contracts.evaluation import Evaluation, format_metric
from components.contracts.log_summary import LogSummary
from components.contracts.push_result import PushResult
from components.contracts.training_history import TrainingHistory
from components.evaluator.judgement import gate_error
from components.files.atomic import write_text
from components.node.node_id import Node
from pipeline.kubeflow.tasks import FAILED_GATES, roc_name, summary_name
from pipeline.run.ending import local_file

if TYPE_CHECKING:
    from pipeline.run.mirror import Mirror
    from pipeline.store.lookups import NodeResult

Json = dict[str, Any]  # of Kubeflow's own messages


class TaskOutputs:
    """The outputs of one task, written where the task's executor input asks for them.

    Format: `ExecutorInput` and `ExecutorOutput` of
    https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto

    Attributes:
        parameters: the task's input parameters by name.
    """

    def __init__(self, executor_input: str) -> None:
        asked: Json = json.loads(executor_input)
        self.parameters: Json = asked.get("inputs", {}).get("parameterValues", {})
        outputs = asked.get("outputs", {})
        self._file = Path(outputs["outputFile"])
        self._asked: dict[str, Json] = {
            name: listed["artifacts"][0] for name, listed in outputs.get("artifacts", {}).items()
        }
        self._parameters: Json = {}
        self._artifacts: dict[str, Json] = {}

    def set_parameter(self, name: str, value: str | bool) -> None:
        """Hands a value to later tasks."""
        self._parameters[name] = value

    def show_text(self, name: str, text: str, metadata: Mapping[str, str] | None = None) -> None:
        """Fills an artifact that is a file (Markdown, HTML), if it is asked for."""
        artifact = self._make(name)
        if artifact is None:
            return
        path = Path(artifact.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        artifact.metadata.update(metadata or {})
        self._keep(name, artifact)

    def show_metrics(self, name: str, values: Mapping[str, float | None]) -> None:
        """Fills an artifact of kind Metrics; leaves out metrics that are undefined."""
        artifact = self._make(name)
        if artifact is None:
            return
        for key, value in values.items():
            if value is not None:
                artifact.log_metric(key, value)
        self._keep(name, artifact)

    def show_evaluation(self, evaluation: Evaluation) -> None:
        """Fills the metrics, the confusion matrix and one ROC curve per class."""
        overall = evaluation.overall
        self.show_metrics("metrics", {"examples": overall.examples, **overall.metrics})

        matrix = self._make("confusion_matrix")
        if matrix is not None:
            matrix.log_confusion_matrix(evaluation.classes, overall.confusion)
            self._keep("confusion_matrix", matrix)

        for index, label in enumerate(evaluation.classes):
            artifact = self._make(roc_name(index))
            curves = overall.curves.get(label)
            if artifact is not None and curves is not None and curves.roc is not None:
                roc = curves.roc
                artifact.log_roc_curve(roc.fpr, roc.tpr, roc.threshold)
                artifact.metadata["class"] = label
                self._keep(roc_name(index), artifact)

    def write(self) -> None:
        """Writes what was set and shown, whole or not at all."""
        artifacts = {name: {"artifacts": [artifact]} for name, artifact in self._artifacts.items()}
        content = {"parameterValues": self._parameters, "artifacts": artifacts}
        write_text(self._file, json.dumps(content))

    def _make(self, name: str) -> Any:
        """Returns the SDK's object for an artifact that was asked for, or None."""
        from kfp import dsl

        asked = self._asked.get(name)
        if asked is None:
            return None
        kind = getattr(dsl, asked["type"]["schemaTitle"].removeprefix("system."))
        metadata = dict(asked.get("metadata", {}))
        return kind(name=asked.get("name", name), uri=asked["uri"], metadata=metadata)

    def _keep(self, name: str, artifact: Any) -> None:
        self._artifacts[name] = {
            "name": artifact.name,
            "uri": artifact.uri,
            "metadata": artifact.metadata,
        }


def show_node(result: NodeResult, outputs: TaskOutputs, mirror: Mirror | None) -> None:
    """Fills the artifacts and output parameters of a node.

    Args:
        result: how the node ended.
        outputs: of the task.
        mirror: holds the files of a node that came from the cache.
    """
    file = local_file(result, mirror)
    text = file.read_text(encoding="utf-8") if file else None
    outputs.show_text(summary_name(result.node), summarise_node(result, text))
    if text is None:
        return

    if result.node is Node.REPORT:
        outputs.show_text("report", text)
    elif result.node is Node.EVALUATOR:
        evaluation = Evaluation.from_json(text)
        outputs.show_evaluation(evaluation)
        failed = "" if evaluation.blessed else str(gate_error(evaluation.gates))
        outputs.set_parameter(FAILED_GATES, failed)
    elif result.node is Node.PUSHER:
        push = PushResult.from_json(text)
        version = {"version": str(push.version), "path": str(push.destination)}
        outputs.show_text("pushed_model", text, version if push.pushed else {})


def summarise_node(result: NodeResult, text: str | None) -> str:
    """Returns a node's summary as Markdown: how it ended, its figures, where its outputs are.

    Args:
        result: how the node ended.
        text: the text of its `result.file`; None without one.
    """
    took = f"{result.seconds:.1f} s"
    ended = f"Taken from the cache in {took}." if result.state == "cached" else f"Done in {took}."
    facts = _FACTS[result.node](text) if text and result.node in _FACTS else []
    is_resolver = result.node in (Node.BASELINE_RESOLVER, Node.WARM_START_RESOLVER)
    if is_resolver and not any(result.outputs.values()):
        facts = ["Found no blessed model."]

    places = [
        f"- {name}: {for_markdown(item.uri)}"
        for name, items in sorted(result.outputs.items())
        for item in items
    ]
    return "\n".join([f"# {result.node}", "", ended, "", *facts, "", *places, ""])


def _describe_log(text: str) -> list[str]:
    log = LogSummary.from_json(text)
    rows = [
        f"| {for_markdown(split)} | {sum(classes.values()):,} |"
        for split, classes in log.splits.items()
    ]

    return [
        f"{log.events:,} events, {log.outcomes:,} outcomes of {log.learners:,} learners in "
        f"{log.units:,} units; {log.cold_starts:,} cold starts.",
        "",
        "| split | examples |",
        "|---|--:|",
        *rows,
    ]


def _describe_anomalies(text: str) -> list[str]:
    anomalies = FoundAnomalies.from_json(text).anomalies
    if not anomalies:
        return ["No anomalies."]
    rows = []
    for item in anomalies:
        cells = (item.split, item.column, item.expected, item.found)
        rows.append(f"| {' | '.join(map(for_markdown, cells))} |")
    return ["| split | column | expected | found |", "|---|---|---|---|", *rows]


def _describe_fit(text: str) -> list[str]:
    history = TrainingHistory.from_json(text)
    lines = []
    if history.best_epoch:
        best = history.epochs[history.best_epoch - 1]
        figures = ", ".join(
            f"{name} {format_metric(value, '.4g')}"
            for name, value in best.items()
            if name != "epoch"
        )
        epochs = f"{len(history.epochs)} epochs, best {history.best_epoch}"
        lines.append(f"{epochs}: {figures}; stopped: {history.stopped}.")

    start = for_markdown(history.warm_start or "fresh weights")
    lines.append(f"Started from {start}; fitted on: {for_markdown(history.device or 'unknown')}.")
    if history.workers > 1:
        lost = "".join(f" {for_markdown(text)}." for text in history.lost_workers)
        lines.append(f"{history.workers} workers shared each batch.{lost}")
    if history.device_warning:
        lines.append(f"**Warning**: {for_markdown(history.device_warning)}.")
    return lines


def _describe_evaluation(text: str) -> list[str]:
    evaluation = Evaluation.from_json(text)
    failed = "**A gate failed: nothing is pushed.**"
    blessed = "**All gates passed.**" if evaluation.blessed else failed
    gates = [f"| {for_markdown(gate.text)} |" for gate in evaluation.gates]
    overall = evaluation.overall
    values = [
        f"| {name} | {format_metric(value, '.4f')} |" for name, value in overall.metrics.items()
    ]

    return [
        blessed,
        "",
        "| gate |",
        "|---|",
        *gates,
        "",
        f"On {overall.examples:,} test examples:",
        "",
        "| metric | value |",
        "|---|--:|",
        *values,
    ]


def _describe_push(text: str) -> list[str]:
    push = PushResult.from_json(text)
    if push.pushed:
        return [f"Pushed {for_markdown(str(push.destination))}."]
    return [f"Pushed nothing: {for_markdown(push.reason or 'no reason given')}."]


_FACTS: dict[Node, Callable[[str], list[str]]] = {
    Node.EXAMPLE_GEN: _describe_log,
    Node.DATA_GATE: _describe_anomalies,
    Node.TRAINER: _describe_fit,
    Node.EVALUATOR: _describe_evaluation,
    Node.PUSHER: _describe_push,
}
