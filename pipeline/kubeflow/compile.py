"""Writes the DAG as a pipeline file: one container task a node or group of light nodes.

TFX's own Kubeflow runner writes for Vertex AI only. Here Kubeflow's SDK makes the file, and each container runs its
nodes with TFX's launcher on a shared root and metadata store, so that resolvers, cache, spans and blessings are
the same as on one machine. https://www.kubeflow.org/docs/components/pipelines/user-guides/
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from kfp import compiler, dsl

from components.config import Config
from components.config.resources import Resources
from components.errors import ConfigError, MasteryError
from components.files.atomic import new_file
from pipeline.kubeflow.resources import apply_for_kubeflow, apply_for_vertex
from pipeline.kubeflow.submit import pipeline_name
from pipeline.kubeflow.tasks import (
    FAILED_GATES,
    NEW_DATA,
    Task,
    outputs_of,
    parameters_of,
    plan_tasks,
)

Target = Literal["kubeflow", "vertex"]
Component = Callable[..., dsl.PipelineTask]

PARAMETERS = {
    "events": str, "outcomes": str, "span": str, "gates": str, "warm_start": bool, "push": bool, "only_new_data": bool,
}  # fmt: skip
DESCRIPTION = "From a behaviour log to a pushed model."
_EXECUTOR_INPUT = (
    "{{$}}"  # Kubeflow's placeholder for a task's parameters and where its outputs go, as JSON
)
_ARTIFACTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (dsl.Markdown, dsl.HTML, dsl.Metrics, dsl.ClassificationMetrics, dsl.Model)
}


def compile_pipeline(
    config: Config,
    config_file: Path,
    output: Path,
    target: Target = "kubeflow",
    settings: Sequence[str] = (),
) -> None:
    """Writes `output`, whole or not at all; the same configuration gives the same bytes.

    Args:
        config: what to run.
        config_file: where it was read from; containers read the file of this name, see `kubeflow.config`.
        output: the pipeline file, `.yaml`.
        target: whose resources the file asks for: open-source Kubeflow's or Vertex AI's.
        settings: `key=value` of `--set`, that the containers apply too.

    Raises:
        MasteryError: `output` has another ending.
        ConfigError: `kubeflow.nodes` names a node that there is not, or a setting holds the address
            of a webhook, or would not reach the containers as it is.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise MasteryError(f"{output}: expected a name that ends in .yaml.")
    _refuse_secrets(settings)
    arguments = _arguments(config, config_file, settings)
    pipeline = _define(
        config, arguments, apply_for_kubeflow if target == "kubeflow" else apply_for_vertex
    )
    with new_file(output.resolve()) as file:
        compiler.Compiler().compile(pipeline, str(file))


def _refuse_secrets(settings: Sequence[str]) -> None:
    """Keeps addresses of webhooks out of the file, which everybody on the cluster can read."""
    for setting in settings:
        key, _, value = setting.partition("=")
        if key.startswith("notify") and "://" in value:
            raise ConfigError(
                f"--set {key}: expected no address here, as all settings stand in the compiled "
                "pipeline. Put it into a secret of kubeflow.secrets, and name its variable in "
                "notify.webhook.url_env."
            )


def _arguments(config: Config, config_file: Path, settings: Sequence[str]) -> list[str]:
    """Returns what every container is called with."""
    kubeflow = config.kubeflow
    arguments = ["--config", kubeflow.config or f"/app/configs/{config_file.name}"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    arguments += ["--root", kubeflow.root]
    arguments += ["--storage", kubeflow.storage] if kubeflow.storage else []
    for argument in arguments:
        # Kubeflow fills in what stands in double braces, Kubernetes what stands in $(...).
        if found := next((mark for mark in ("{{", "$(") if mark in argument), None):
            raise ConfigError(
                f"{argument}: expected no {found} in what containers are called with."
            )
    return [*arguments, "--run", dsl.PIPELINE_JOB_ID_PLACEHOLDER]


def _define(config: Config, arguments: list[str], apply: Callable[..., None]) -> Any:
    first, *others = plan_tasks(config)
    common = config.kubeflow.common
    light = common.model_copy(update={"cpu": "500m", "memory": "1Gi", "gpu": None, "retry": None})

    def place(task: dsl.PipelineTask, resources: Resources, title: str) -> dsl.PipelineTask:
        apply(task.set_caching_options(False).set_display_name(title), resources, config.kubeflow)
        return task

    def run(task: Task, parameters: Mapping[str, Any]) -> dsl.PipelineTask:
        component = _component(
            task.name, [*arguments, "--nodes", ",".join(task.nodes)], task.image,
            PARAMETERS, parameters_of(task), outputs_of(task, config),
        )  # fmt: skip
        return place(component(**parameters), task.resources, ", ".join(task.nodes))

    def pipeline(
        events: str = "",
        outcomes: str = "",
        span: str = "",
        gates: str = "",
        warm_start: bool = config.training.warm_start,
        push: bool = config.push.enabled,
        only_new_data: bool = False,
    ) -> None:
        """From a behaviour log to a pushed model.

        Args:
            events: Path or pattern of the events in the containers; empty: as configured.
            outcomes: Path or pattern of the outcomes; empty: as configured.
            span: newest, a date or number, or last:7 for the last seven; empty: as configured.
            gates: YAML list of gates instead of the configured ones, e.g. [{metric: f1_macro, min: 0.9}].
            warm_start: Whether training starts from the latest blessed model.
            push: Whether a model that passed is pushed.
            only_new_data: Whether a run on data that was seen before ends at once.
        """
        parameters = {
            "events": events, "outcomes": outcomes, "span": span, "gates": gates,
            "warm_start": warm_start, "push": push, "only_new_data": only_new_data,
        }  # fmt: skip
        image = common.image or config.kubeflow.image
        finish = _component(
            "finish", [*arguments, "--finish"], image, PARAMETERS, {}, {"run_summary": "Markdown"}
        )
        with dsl.ExitHandler(place(finish(**parameters), light, "How the run ended"), name="run"):
            task = run(first, parameters)
            with dsl.If(task.outputs[NEW_DATA] == True, name="new-data"):  # noqa: E712 (it is Kubeflow's to compare)
                verdict = None
                for item in others:
                    task = run(item, parameters).after(task)
                    verdict = task.outputs[FAILED_GATES] if "Evaluator" in item.nodes else verdict
                # Red only after the report is written: what depends on a task that failed is skipped.
                gate = _component(
                    "gates",
                    [],
                    image,
                    {FAILED_GATES: str},
                    {},
                    {},
                    module="pipeline.kubeflow.verdict",
                )
                place(gate(**{FAILED_GATES: verdict}).after(task), light, "Gates")

    return dsl.pipeline(name=pipeline_name(config.name), description=DESCRIPTION)(pipeline)


def _component(
    name: str,
    arguments: list[str],
    image: str,
    inputs: Mapping[str, type],
    parameters: Mapping[str, type],
    artifacts: Mapping[str, str],
    module: str = "pipeline.kubeflow.container",
) -> Component:
    """Returns a container component; the SDK reads its inputs and outputs off a function's signature."""

    def component(*_: Any) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", module],
            args=[*arguments, "--executor-input", _EXECUTOR_INPUT],
        )

    outputs = {key: dsl.OutputPath(kind) for key, kind in parameters.items()}
    outputs |= {key: dsl.Output[_ARTIFACTS[kind]] for key, kind in artifacts.items()}
    slot = partial(inspect.Parameter, kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    component.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [slot(key, annotation=kind) for key, kind in {**inputs, **outputs}.items()]
    )
    component.__name__ = name.replace("-", "_")
    made: Component = dsl.container_component(component)
    return made
