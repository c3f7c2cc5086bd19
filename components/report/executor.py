"""Unwraps the artifacts for Report and writes what came of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types.artifact import Artifact
from tfx.types.artifact_utils import get_single_instance

from components.contracts.provenance import describe_data
from components.files.atomic import write_text
from components.report.facts import PushFacts
from components.report.load import METRICS_FILE, Sources, load_facts
from components.report.render import render_report

REPORT_FILE = "report.html"
RUN_FOLDER = (
    "MASTERY_RUN_DIR"  # environment variable: where a runner keeps what it knows of the run
)

Artifacts = dict[str, list[Artifact]]


class Executor(BaseExecutor):  # type: ignore[misc]
    """Writes `report.html` and `metrics.json`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Reads every input, renders the report and puts both files into the output `report`.

        Raises:
            MasteryError: the evaluation has no metrics.
        """
        inputs = {name: get_single_instance(artifacts) for name, artifacts in input_dict.items()}
        run_id = self._context.pipeline_run_id if self._context else None
        sources = _find_sources(inputs, exec_properties, run_id)
        page = render_report(load_facts(sources))
        metrics = json.loads((sources.evaluation / METRICS_FILE).read_bytes())
        metrics |= {
            "run_id": run_id,
            "pushed_version": sources.push.version,
            "data": sources.data.model_dump(),
        }

        folder = Path(get_single_instance(output_dict["report"]).uri)
        write_text(folder / REPORT_FILE, page)
        write_text(folder / METRICS_FILE, json.dumps(metrics, indent=1, ensure_ascii=False))


def _find_sources(
    inputs: dict[str, Artifact], properties: dict[str, Any], run_id: str | None
) -> Sources:
    examples, pushed, blessing = (inputs[name] for name in ("examples", "pushed_model", "blessing"))
    models = {
        "model": _text(blessing, "current_model"),
        "blessed_before": _text(blessing, "baseline_model"),
    }
    run_folder = os.environ.get(RUN_FOLDER)
    return Sources(
        config=json.loads(properties["config"]),
        code_fingerprint=properties["code_fingerprint"],
        evaluation=Path(inputs["evaluation"].uri),
        examples=Path(examples.uri),
        statistics=Path(inputs["statistics"].uri),
        anomalies=Path(inputs["anomalies"].uri),
        model_run=Path(inputs["model_run"].uri),
        push=_read_push(pushed),
        served_model=Path(models["model"]) / "Format-Serving" if models["model"] else None,
        run_id=run_id,
        run_folder=Path(run_folder) if run_folder else None,
        data=describe_data(examples),
        paths={name: item.uri for name, item in inputs.items()}
        | {name: uri for name, uri in models.items() if uri},
    )


def _read_push(pushed: Artifact) -> PushFacts:
    if not pushed.get_int_custom_property("pushed"):  # Pusher leaves an artifact in any case
        return PushFacts(pushed=False, reason=_text(pushed, "reason"))
    return PushFacts(True, _text(pushed, "pushed_version"), _text(pushed, "pushed_destination"))


def _text(artifact: Artifact, name: str) -> str | None:
    return artifact.get_string_custom_property(name) or None
