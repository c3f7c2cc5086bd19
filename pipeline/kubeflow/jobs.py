"""Recurring jobs beside the pipeline: one container that watches, or that trains for a reason.

`mastery retrain` decides first and trains in the same container, so that a day without a reason
costs one short task. It runs every node of the pipeline there, with the resources of Trainer's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kfp import compiler, dsl

from components.errors import ConfigError
from components.files.atomic import new_file
from components.node.node_id import Node
from pipeline.kubeflow.compile import (
    apply_for_kubeflow,
    component_of,
    container_arguments,
    refuse_secrets,
    require_yaml,
)
from pipeline.kubeflow.submit import name_of, pipeline_name
from pipeline.kubeflow.tasks import check_training_workers, image_of

if TYPE_CHECKING:
    from components.config import Config

Job = Literal["watch", "retrain"]
_DESCRIPTIONS = {
    "watch": "Drift, quality, freshness of the log, and which versions are in service.",
    "retrain": "Trains again if there is a reason.",
}


def compile_job(
    config: Config, config_file: Path, output: Path, job: Job, settings: Sequence[str] = ()
) -> None:
    """Writes the pipeline file of a job, whole or not at all.

    Args:
        config: what it is about.
        config_file: where that was read from; see `kubeflow.config`.
        output: the file, `.yaml`.
        job: which command of `mastery` it runs.
        settings: `key=value` of `--set`, which the container applies too.

    Raises:
        MasteryError: `output` has another ending.
        ConfigError: the root is not on a volume, or a setting must not be in the file.
    """
    require_yaml(output)
    refuse_secrets(settings)
    if config.kubeflow.storage:
        raise ConfigError(
            f"kubeflow.storage: expected none for `{job}`, which reads runs and versions from the "
            "root; found one. Keep the root on a volume, in kubeflow.volumes."
        )
    if job == "retrain":
        check_training_workers(config)

    pipeline = _define(config, job, _arguments(config, config_file, job, settings))
    with new_file(output.resolve()) as file:
        compiler.Compiler().compile(pipeline, str(file))


def _arguments(config: Config, config_file: Path, job: Job, settings: Sequence[str]) -> list[str]:
    shared = container_arguments(config, config_file, settings)
    arguments = [job, *shared[: shared.index("--run")]]
    score = config.kubeflow.score
    if job == "watch" and score is not None and score.answers:
        arguments += ["--answers", score.answers]
    return arguments


def _define(config: Config, job: Job, arguments: list[str]) -> Any:
    kubeflow = config.kubeflow
    resources = kubeflow.resources(Node.TRAINER) if job == "retrain" else kubeflow.common
    image = image_of(job, resources, kubeflow)

    def pipeline() -> None:
        component = component_of(job, arguments, image, inputs={}, module="pipeline.cli.main")
        task = component().set_caching_options(False).set_display_name(job)
        # A decision is not repeated: what it started may have ended well, or failed a gate.
        apply_for_kubeflow(task, resources.model_copy(update={"retry": None}), kubeflow)

    # The SDK takes annotations that are texts for artifacts.
    pipeline.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
    name = pipeline_name(name_of(config, job))
    return dsl.pipeline(name=name, description=_DESCRIPTIONS[job])(pipeline)
