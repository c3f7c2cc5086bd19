"""Writes the DAG as a pipeline file: one container task per node or group of light nodes.

TFX's own Kubeflow runner writes for Vertex AI only. Here Kubeflow's SDK makes the file, and each
container runs its nodes with TFX's launcher on a shared root and metadata store, so that resolvers,
cache, spans and blessings are the same as on one machine.
https://www.kubeflow.org/docs/components/pipelines/user-guides/
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kfp import compiler, dsl, kubernetes

from components.config import Config, Kubeflow
from components.config.kubeflow import Resources, Score
from components.errors import ConfigError, MasteryError
from components.files.atomic import new_file
from pipeline.kubeflow.engine import CLIENT, check_engine
from pipeline.kubeflow.parameters import PARAMETERS
from pipeline.kubeflow.submit import pipeline_name
from pipeline.kubeflow.tasks import (
    FAILED_GATES,
    FINISH_TASK,
    GATES_TASK,
    NEW_DATA,
    SCORE_TASK,
    Task,
    check_training_workers,
    outputs_of,
    parameters_of,
    plan_tasks,
)

Target = Literal["kubeflow", "vertex"]
Component = Callable[..., dsl.PipelineTask]
Apply = Callable[[dsl.PipelineTask, Resources, Kubeflow], None]

DESCRIPTION = "From a behaviour log to a pushed model."
_EXECUTOR_INPUT = "{{$}}"  # Kubeflow's placeholder for a task's parameters and outputs, as JSON
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
        config_file: where it was read from; containers read the file of this name, see
            `kubeflow.config`.
        output: the pipeline file, `.yaml`.
        target: whose resources the file asks for: open-source Kubeflow's or Vertex AI's.
        settings: `key=value` of `--set`, which the containers apply too.

    Raises:
        MasteryError: `output` has another ending.
        ConfigError: `kubeflow.nodes` names an unknown node, or a setting holds the address of a
            webhook or would not reach the containers unchanged, or containers cannot use the engine
            of `beam`, or Trainer's container cannot have the workers configured.
    """
    require_yaml(output)
    refuse_secrets(settings)
    arguments = container_arguments(config, config_file, settings)
    check_engine(config, mounts_volumes=target == "kubeflow")
    check_training_workers(config, mounts_volumes=target == "kubeflow")
    tasks = plan_tasks(config)

    apply = apply_for_kubeflow if target == "kubeflow" else apply_for_vertex
    pipeline = _define(config, tasks, arguments, apply)
    with new_file(output.resolve()) as file:
        compiler.Compiler().compile(pipeline, str(file))


def require_yaml(output: Path) -> None:
    """Makes sure that Kubeflow will take the file.

    Raises:
        MasteryError: its name has another ending.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise MasteryError(f"{output}: expected a name that ends in .yaml.")


def refuse_secrets(settings: Sequence[str]) -> None:
    """Keeps addresses of webhooks out of the file, which everybody on the cluster can read.

    Raises:
        ConfigError: a setting holds one.
    """
    for setting in settings:
        key, _, value = setting.partition("=")
        if key.startswith("notify") and "://" in value:
            raise ConfigError(
                f"--set {key}: expected no address here, because the compiled pipeline shows all "
                "settings. Put it into a secret of kubeflow.secrets, and name its variable in "
                "notify.webhook.url_env."
            )


def container_arguments(config: Config, config_file: Path, settings: Sequence[str]) -> list[str]:
    """Returns the arguments that every container that runs nodes starts with; `--run` is the last.

    Raises:
        ConfigError: one of them would not reach the containers unchanged.
    """
    kubeflow = config.kubeflow
    arguments = ["--config", kubeflow.config or f"/app/configs/{config_file.name}"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    arguments += ["--root", kubeflow.root]
    if kubeflow.storage:
        arguments += ["--storage", kubeflow.storage]

    for argument in arguments:
        for mark in ("{{", "$("):  # Kubeflow fills in the former, Kubernetes the latter
            if mark in argument:
                raise ConfigError(f"{argument}: expected no {mark} in an argument of containers.")
    return [*arguments, "--run", dsl.PIPELINE_JOB_ID_PLACEHOLDER]


def _define(config: Config, tasks: Sequence[Task], arguments: list[str], apply: Apply) -> Any:
    """Returns the pipeline, made with Kubeflow's SDK, with the parameters of `PARAMETERS`."""

    def pipeline(*values: Any) -> None:
        names = [parameter.name for parameter in PARAMETERS]
        parameters = dict(zip(names, values, strict=True))
        _chain(tasks, _TaskFactory(config, arguments, apply, parameters))

    # The SDK reads names, types and defaults off the signature, and descriptions off the docstring.
    pipeline.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            _argument(parameter.name, parameter.type, parameter.default(config))
            for parameter in PARAMETERS
        ]
    )
    descriptions = [f"    {parameter.name}: {parameter.description}" for parameter in PARAMETERS]
    pipeline.__doc__ = "\n".join([DESCRIPTION, "", "Args:", *descriptions])
    return dsl.pipeline(name=pipeline_name(config.name), description=DESCRIPTION)(pipeline)


def _chain(tasks: Sequence[Task], factory: _TaskFactory) -> None:
    """Chains the tasks of a pipeline: those with nodes in their order, then that of the gates."""
    first, *others = tasks
    with dsl.ExitHandler(factory.finish_task(), name="run"):
        last = factory.node_task(first)
        has_new_data = last.outputs[NEW_DATA] == True  # noqa: E712 (Kubeflow compares, in the cluster)
        with dsl.If(has_new_data, name="new-data"):
            failed_gates = None
            for task in others:
                last = factory.node_task(task).after(last)
                if FAILED_GATES in parameters_of(task):
                    failed_gates = last.outputs[FAILED_GATES]
            if factory.config.kubeflow.score is not None:
                last = factory.score_task(factory.config.kubeflow.score).after(last)
            # Fails only after the report is written: what depends on a failed task is skipped.
            factory.gates_task(failed_gates).after(last)


@dataclass(frozen=True)
class _TaskFactory:
    """Makes the tasks of one pipeline while Kubeflow's SDK collects them.

    Attributes:
        config: what to run.
        arguments: what every container that runs nodes starts with.
        apply: sets the resources of a task.
        parameters: of the pipeline, by name, as the SDK passes them.
    """

    config: Config
    arguments: list[str]
    apply: Apply
    parameters: Mapping[str, Any]

    def node_task(self, task: Task) -> dsl.PipelineTask:
        """Returns the task that runs the nodes of `task`."""
        component = component_of(
            task.name,
            [*self.arguments, "--nodes", ",".join(task.nodes)],
            task.image,
            inputs=self._input_types(),
            parameters=parameters_of(task),
            artifacts=outputs_of(task, self.config),
        )
        placed = self._place(component(**self.parameters), task.resources, ", ".join(task.nodes))
        if self.config.beam.runs_elsewhere:
            kubernetes.add_pod_label(placed, *CLIENT)
        return placed

    def finish_task(self) -> dsl.PipelineTask:
        """Returns the exit handler, which runs after a failure as well."""
        component = component_of(
            FINISH_TASK,
            [*self.arguments, "--finish"],
            self._light_image(),
            inputs=self._input_types(),
            artifacts={"run_summary": "Markdown"},
        )
        return self._place(component(**self.parameters), self._light(), "How the run ended")

    def gates_task(self, failed_gates: Any) -> dsl.PipelineTask:
        """Returns the task that fails when a gate did.

        Args:
            failed_gates: the output of Evaluator's task.
        """
        component = component_of(
            GATES_TASK,
            [],
            self._light_image(),
            inputs={FAILED_GATES: str},
            module="pipeline.kubeflow.gates_task",
        )
        return self._place(component(**{FAILED_GATES: failed_gates}), self._light(), "Gates")

    def score_task(self, score: Score) -> dsl.PipelineTask:
        """Returns the task that scores the log with the stable version, or else the newest one.

        If a gate failed, nothing new was pushed, and the version from before goes on answering.
        """
        arguments = _score_arguments(self.config, score, self.arguments)
        component = component_of(
            SCORE_TASK, arguments, self._light_image(), inputs={}, module="pipeline.cli.main"
        )
        return self._place(component(), self.config.kubeflow.common, "Score")

    def _place(self, task: dsl.PipelineTask, resources: Resources, title: str) -> dsl.PipelineTask:
        task = task.set_caching_options(False).set_display_name(title)
        self.apply(task, resources, self.config.kubeflow)
        return task

    def _light(self) -> Resources:
        """Returns what a task without nodes gets."""
        return self.config.kubeflow.common.model_copy(
            update={"cpu": "500m", "memory": "1Gi", "gpu": None, "retry": None}
        )

    def _light_image(self) -> str:
        return self.config.kubeflow.common.image or self.config.kubeflow.image

    def _input_types(self) -> dict[str, type]:
        return {parameter.name: parameter.type for parameter in PARAMETERS}


def _score_arguments(config: Config, score: Score, arguments: list[str]) -> list[str]:
    """Returns the command line of `mastery score`, which finds the model where the others do.

    Raises:
        ConfigError: the root is not on a volume, and the models are not in an object store.
    """
    directory = config.push.directory or ""
    if config.kubeflow.storage and "://" not in directory:
        raise ConfigError(
            "kubeflow.score: expected push.directory in an object store, since kubeflow.storage "
            f"keeps the root between containers, found {directory or 'none'}."
        )
    places = arguments[: arguments.index("--run")]
    if "--storage" in places:
        places = places[: places.index("--storage")]
    given = [*places]
    if config.beam.runs_elsewhere:
        # Rows are in the container's own folder meanwhile, and only it has the database's password.
        beam = config.beam
        given += ["--set", f"beam={{partitions: {beam.partitions}, workers: {beam.workers}}}"]
    given += [part for path in score.events or config.data.events for part in ("--events", path)]
    given += [part for path in score.learners for part in ("--learners", path)]
    given += ["--only-new"] if score.only_new else []
    given += ["--answers", score.answers] if score.answers else []
    return ["score", *given]


def component_of(
    name: str,
    arguments: list[str],
    image: str,
    *,
    inputs: Mapping[str, type],
    parameters: Mapping[str, type] | None = None,
    artifacts: Mapping[str, str] | None = None,
    module: str = "pipeline.kubeflow.container",
) -> Component:
    """Returns a container component; the SDK reads its inputs and outputs off a signature."""

    def component(*_: Any) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(
            image=image,
            command=["python", "-m", module],
            args=[*arguments, *(["--executor-input", _EXECUTOR_INPUT] if inputs else [])],
        )

    annotations: dict[str, Any] = dict(inputs)
    for key, kind in (parameters or {}).items():
        annotations[key] = dsl.OutputPath(kind)
    for key, artifact in (artifacts or {}).items():
        annotations[key] = dsl.Output[_ARTIFACTS[artifact]]
    component.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_argument(key, annotation) for key, annotation in annotations.items()]
    )
    component.__name__ = name.replace("-", "_")
    made: Component = dsl.container_component(component)
    return made


def _argument(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def apply_for_kubeflow(task: dsl.PipelineTask, resources: Resources, kubeflow: Kubeflow) -> None:
    """Sets the resources of a task in Kubernetes' terms.

    Placement, volumes, secrets and rights are in the file's second document, which open-source
    Kubeflow reads. Of a container's rights it takes the user only: from its release 2.16 on
    Kubeflow itself withholds new privileges, all capabilities and all but the runtime's seccomp
    profile. The user's number is not set: the image has one, and some clusters give each namespace
    its own.
    """
    _apply_common(task, resources)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu.type).set_accelerator_limit(resources.gpu.count)
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory)

    for label, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, label, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    for volume in kubeflow.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, volume.sub_path)
    for secret in kubeflow.secrets:
        kubernetes.use_secret_as_env(task, secret.name, dict(sorted(secret.variables.items())))
    if resources.timeout_seconds:
        kubernetes.set_timeout(task, resources.timeout_seconds)

    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.set_image_pull_policy(task, kubeflow.image_pull_policy)
    if kubeflow.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, kubeflow.image_pull_secrets)


def apply_for_vertex(task: dsl.PipelineTask, resources: Resources, kubeflow: Kubeflow) -> None:
    """Sets CPU, memory, GPUs and retries of a task; Vertex AI picks a machine by them."""
    del kubeflow
    _apply_common(task, resources)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu.vertex_type)
        task.set_accelerator_limit(resources.gpu.count)


def _apply_common(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_limit(resources.memory)
    retry = resources.retry
    if retry and retry.attempts:
        task.set_retry(
            retry.attempts,
            f"{retry.backoff_seconds}s",
            retry.backoff_factor,
            f"{retry.backoff_max_seconds}s",
        )
