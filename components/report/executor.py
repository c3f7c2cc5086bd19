"""Report's executor: reads the run's artifacts and writes the report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types.artifact import Artifact
from tfx.types.artifact_utils import get_single_instance
from tfx.utils import path_utils

from components.config.root import Config
from components.contracts.evaluation import ReportMetrics
from components.contracts.provenance import describe_data
from components.contracts.push_result import PushResult
from components.contracts.run_record import REPORT_FILE, RUN_FOLDER
from components.files.atomic import write_text
from components.report.facts import RunFacts, Sources, load_facts
from components.report.render import render_report

Artifacts = dict[str, list[Artifact]]


class Executor(BaseExecutor):  # type: ignore[misc]
    """Writes `report.html` and `metrics.json`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Reads every input, renders the report and puts both files into the output `report`.

        Raises:
            MasteryError: the evaluation has no metrics, or an input cannot be read.
        """
        inputs = {name: get_single_instance(artifacts) for name, artifacts in input_dict.items()}
        run_id = self._context.pipeline_run_id if self._context else None
        facts = load_facts(_find_sources(inputs, exec_properties, run_id))

        folder = Path(get_single_instance(output_dict["report"]).uri)
        write_text(folder / REPORT_FILE, render_report(facts))
        _report_metrics(facts).write(folder)


def _find_sources(
    inputs: dict[str, Artifact], properties: dict[str, Any], run_id: str | None
) -> Sources:
    model = _text(inputs["blessing"], "current_model")
    blessed_before = _text(inputs["blessing"], "baseline_model")
    paths = {name: artifact.uri for name, artifact in inputs.items()}
    if model:
        paths["model"] = model
    if blessed_before:
        paths["blessed_before"] = blessed_before

    run_folder = os.environ.get(RUN_FOLDER)
    return Sources(
        config=Config.model_validate_json(properties["config"]),
        code_fingerprint=properties["code_fingerprint"],
        evaluation=Path(inputs["evaluation"].uri),
        examples=Path(inputs["examples"].uri),
        statistics=Path(inputs["statistics"].uri),
        anomalies=Path(inputs["anomalies"].uri),
        model_run=Path(inputs["model_run"].uri),
        push=_read_push(inputs["pushed_model"]),
        served_model=Path(path_utils.serving_model_path(model)) if model else None,
        run_id=run_id,
        run_folder=Path(run_folder) if run_folder else None,
        data=describe_data(inputs["examples"]),
        paths=paths,
    )


def _read_push(pushed: Artifact) -> PushResult:
    # The Pusher leaves an artifact whether or not it pushed.
    if not pushed.get_int_custom_property("pushed"):
        return PushResult(pushed=False, reason=_text(pushed, "reason"))
    version = _text(pushed, "pushed_version")
    return PushResult(
        pushed=True,
        version=int(version) if version else None,
        destination=_text(pushed, "pushed_destination"),
    )


def _text(artifact: Artifact, name: str) -> str | None:
    return artifact.get_string_custom_property(name) or None


def _report_metrics(facts: RunFacts) -> ReportMetrics:
    version = facts.push.version
    return ReportMetrics(
        **dict(facts.evaluation),
        run_id=facts.lineage.run_id,
        pushed_version=None if version is None else str(version),
        data=facts.lineage.data,
    )
