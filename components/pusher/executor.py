"""Pushes a model that passed its checks, and records that in the artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfx.components.util.model_utils import is_infra_validated, is_model_blessed
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.config.root import Config
from components.config.runtime import SIGNING_KEY
from components.contracts.evaluation import Evaluation
from components.contracts.provenance import describe_data
from components.contracts.push_result import PushResult
from components.model_version.exports import link_gpu_exports
from components.model_version.pushed_version import describe_push
from components.model_version.signature import sign_version
from components.model_version.signing_keys import check_key
from components.papers.facts import load_facts
from components.papers.release import write_papers
from components.pusher.provenance import state_provenance
from components.pusher.push import PushError, push_version

if TYPE_CHECKING:
    from components.contracts.manifest import Manifest

NOT_ENABLED = "push.enabled is false"


class Executor(BaseExecutor):  # type: ignore[misc]
    """Pushes one version if the model has both blessings, and nothing otherwise."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Sets the custom properties that TFX's own Pusher sets, and writes `push.json`.

        Raises:
            PushError: the version cannot be written; the folder is as it was.
        """
        inputs = {
            name: artifact_utils.get_single_instance(found) for name, found in input_dict.items()
        }
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        evaluation = Evaluation.read(Path(inputs["evaluation"].uri))
        config = Config.model_validate_json(exec_properties["config"])

        reason = _why_not(inputs, evaluation, config)
        if reason is None:
            result = self._push(inputs, config, exec_properties["directory"], evaluation)
        else:
            result = PushResult(pushed=False, reason=reason)

        _set_properties(pushed_model, result)
        result.write(Path(pushed_model.uri))

    def _push(
        self,
        inputs: dict[str, Artifact],
        config: Config,
        directory: str,
        evaluation: Evaluation,
    ) -> PushResult:
        if "://" in directory:
            raise PushError(
                f"push.directory: expected a folder on this machine, found {directory}; nothing "
                "was pushed."
            )

        model = Path(path_utils.serving_model_path(inputs["model"].uri))
        run = self._context.pipeline_run_id if self._context else None
        baseline = inputs["model_blessing"].get_string_custom_property("baseline_model")

        manifest = describe_push(
            model,
            run=run or "",
            config=config,
            data=describe_data(inputs["examples"]),
            evaluation=evaluation,
            baseline=baseline or None,
        )
        facts = load_facts(
            config,
            manifest,
            evaluation=Path(inputs["evaluation"].uri),
            examples=Path(inputs["examples"].uri),
            statistics=Path(inputs["statistics"].uri),
            model_run=Path(inputs["model_run"].uri),
        )
        key = os.environ.get(SIGNING_KEY)
        if key:
            check_key(Path(key), os.environ)
        version, destination = push_version(
            model,
            Path(directory),
            manifest,
            write_papers=lambda numbered: write_papers(facts.of(numbered)),
            finish=_finish,
        )
        link_gpu_exports(Path(directory))
        return PushResult(pushed=True, version=version, destination=str(destination))


def _finish(folder: Path, manifest: Manifest) -> None:
    """Adds provenance to a version that is prepared, and signs all of it if there is a key."""
    state_provenance(manifest, os.environ).write(folder)
    key = os.environ.get(SIGNING_KEY)
    if key:
        sign_version(folder, Path(key), os.environ)


def _why_not(inputs: dict[str, Artifact], evaluation: Evaluation, config: Config) -> str | None:
    """Returns why nothing is pushed, or None where the model may be."""
    if not is_model_blessed(inputs["model_blessing"]):
        failed = [gate.text for gate in evaluation.gates if not gate.passed]
        return f"the Evaluator did not bless the model; gates that failed: {'; '.join(failed)}"
    if not is_infra_validated(inputs["infra_blessing"]):
        return "ServingCheck did not bless the model"
    return None if config.push.enabled else NOT_ENABLED


def _set_properties(pushed_model: Artifact, result: PushResult) -> None:
    pushed_model.set_int_custom_property("pushed", int(result.pushed))
    if result.reason is not None:
        pushed_model.set_string_custom_property("reason", result.reason)
    else:
        pushed_model.set_string_custom_property("pushed_version", str(result.version))
        pushed_model.set_string_custom_property("pushed_destination", str(result.destination))
