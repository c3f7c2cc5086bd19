"""What a container hands back to Kubeflow: parameters for later tasks, artifacts for its user interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.files.atomic import write_text
from pipeline.kubeflow.tasks import roc_name

Json = dict[str, Any]


class TaskOutputs:
    """The outputs of one task, written where the task's executor input says.

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

    def show_text(self, name: str, text: str, metadata: Json | None = None) -> None:
        """Fills an artifact that is a file (Markdown, HTML); does nothing if it is not asked for."""
        artifact = self._make(name)
        if artifact is not None:
            path = Path(artifact.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            artifact.metadata.update(metadata or {})
            self._keep(name, artifact)

    def show_metrics(self, name: str, values: dict[str, float | None]) -> None:
        """Fills an artifact of kind Metrics."""
        artifact = self._make(name)
        if artifact is not None:
            for key, value in values.items():
                if value is not None:
                    artifact.log_metric(key, value)
            self._keep(name, artifact)

    def show_evaluation(self, metrics: Json) -> None:
        """Fills the metrics, the confusion matrix and a ROC curve a class from a `metrics.json`."""
        overall, classes = metrics["overall"], metrics["classes"] or []
        self.show_metrics("metrics", {"examples": overall["examples"], **overall["metrics"]})
        matrix = self._make("confusion_matrix")
        if matrix is not None:
            matrix.log_confusion_matrix(classes, overall["confusion"])
            self._keep("confusion_matrix", matrix)
        for index, label in enumerate(classes):
            artifact, curves = self._make(roc_name(index)), overall["curves"].get(label)
            if artifact is not None and curves is not None:
                roc = curves["roc"]
                artifact.log_roc_curve(roc["fpr"], roc["tpr"], roc["threshold"])
                artifact.metadata["class"] = label
                self._keep(roc_name(index), artifact)

    def write(self) -> None:
        """Writes what was set and shown, whole or not at all."""
        artifacts = {name: {"artifacts": [artifact]} for name, artifact in self._artifacts.items()}
        write_text(
            self._file, json.dumps({"parameterValues": self._parameters, "artifacts": artifacts})
        )

    def _make(self, name: str) -> Any:
        """Returns the SDK's object for an artifact that was asked for, or None."""
        from kfp import dsl

        asked = self._asked.get(name)
        if asked is None:
            return None
        kind = getattr(dsl, asked["type"]["schemaTitle"].removeprefix("system."))
        return kind(
            name=asked.get("name", name), uri=asked["uri"], metadata=dict(asked.get("metadata", {}))
        )

    def _keep(self, name: str, artifact: Any) -> None:
        self._artifacts[name] = {
            "name": artifact.name,
            "uri": artifact.uri,
            "metadata": artifact.metadata,
        }
