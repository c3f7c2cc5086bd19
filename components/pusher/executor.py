"""Pushes a model that passed, and writes what it did into the artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.components.util.model_utils import is_infra_validated, is_model_blessed
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.config import Config
from components.contracts.provenance import describe_data
from components.files.atomic import write_text
from components.model_version.manifest import describe_push
from components.pusher.gpu_exports import link_gpu_exports
from components.pusher.push import PushError, push_version

METRICS = "metrics.json"
PUSH = "push.json"  # in the artifact: {"pushed", "version", "destination", "reason"}
NOT_ENABLED = "push.enabled is false"


class Executor(BaseExecutor):  # type: ignore[misc]
    """Pushes one version when both blessings are there, and nothing otherwise."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sets the custom properties that TFX's own Pusher sets, and writes the same as `push.json`.

        Raises:
            PushError: the version cannot be written; the folder is as it was.
        """
        inputs = {
            name: artifact_utils.get_single_instance(found) for name, found in input_dict.items()
        }
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        evaluation = json.loads(Path(inputs["evaluation"].uri, METRICS).read_text(encoding="utf-8"))
        config = Config.model_validate_json(exec_properties["config"])
        reason = _reason_against(inputs, evaluation) or (
            None if config.push.enabled else NOT_ENABLED
        )
        version, destination = (
            (None, None)
            if reason
            else self._push(inputs, config, exec_properties["directory"], evaluation)
        )
        pushed_model.set_int_custom_property("pushed", 0 if reason else 1)
        if reason:
            pushed_model.set_string_custom_property("reason", reason)
        else:
            pushed_model.set_string_custom_property("pushed_version", str(version))
            pushed_model.set_string_custom_property("pushed_destination", str(destination))
        content = {
            "pushed": not reason,
            "version": version,
            "destination": destination,
            "reason": reason,
        }
        write_text(Path(pushed_model.uri, PUSH), json.dumps(content, indent=2) + "\n")

    def _push(
        self,
        inputs: dict[str, Artifact],
        config: Config,
        directory: str,
        evaluation: dict[str, Any],
    ) -> tuple[int, str]:
        if "://" in directory:
            raise PushError(
                f"push.directory: expected a folder on this machine, found {directory}; nothing was pushed."
            )
        model = Path(path_utils.serving_model_path(inputs["model"].uri))
        manifest = describe_push(
            model,
            run=(self._context.pipeline_run_id or "") if self._context else "",
            config=config.recipe,
            config_fingerprint=config.fingerprint,
            data=describe_data(inputs["examples"]).model_dump(),
            evaluation=evaluation,
            baseline=inputs["model_blessing"].get_string_custom_property("baseline_model") or None,
        )
        version, destination = push_version(model, Path(directory), manifest)
        link_gpu_exports(Path(directory))
        return version, str(destination)


def _reason_against(inputs: dict[str, Artifact], evaluation: dict[str, Any]) -> str | None:
    """Returns why nothing may be pushed, or None."""
    if not is_model_blessed(inputs["model_blessing"]):
        failed = [gate["text"] for gate in evaluation["gates"] if not gate["passed"]]
        return f"the Evaluator did not bless the model; gates that failed: {'; '.join(failed)}"
    if not is_infra_validated(inputs["infra_blessing"]):
        return "ServingCheck did not bless the model"
    return None
