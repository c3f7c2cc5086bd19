"""Which nodes share a container, and what each container shows and passes on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.command.suggest import did_you_mean
from components.errors import ConfigError
from components.node.node_id import Node

if TYPE_CHECKING:
    from components.config import Config, Kubeflow
    from components.config.kubeflow import Resources

# Light neighbours share a container; the groups are in the order they run.
_GROUPS = {
    "data": (
        Node.EXAMPLE_GEN,
        Node.STATISTICS_GEN,
        Node.IMPORT_SCHEMA_GEN,
        Node.EXAMPLE_VALIDATOR,
        Node.DATA_GATE,
    ),
    "prepare": (Node.TRANSFORM, Node.WARM_START_RESOLVER),
    "fit": (Node.TRAINER,),
    "judge": (Node.BASELINE_RESOLVER, Node.EVALUATOR, Node.SERVING_CHECK),
    "deliver": (Node.PUSHER, Node.REPORT),
}
NODES = tuple(node for nodes in _GROUPS.values() for node in nodes)  # with a warm start

# Tasks that run no node: the one that fails when a gate did, and the exit handler.
GATES_TASK = "gates"
FINISH_TASK = "finish"
SCORE_TASK = "score"  # the command line's own

# Output parameters of the tasks with ExampleGen and Evaluator; later tasks read them.
NEW_DATA = "new_data"
FAILED_GATES = "failed_gates"


@dataclass(frozen=True)
class Task:
    """One container.

    Attributes:
        name: lower-case letters, digits and `-`, as Kubernetes requires.
        nodes: those it runs, in this order.
        resources: what it gets.
        image: what it is started from.
    """

    name: str
    nodes: tuple[Node, ...]
    resources: Resources
    image: str


def plan_tasks(config: Config) -> list[Task]:
    """Returns the containers of a configuration, in the order they run.

    With `kubeflow.tasks: grouped` light neighbours share one; a node that `kubeflow.nodes` names
    has its own.

    Raises:
        ConfigError: `kubeflow.nodes` names a node that the pipeline does not have, or a task asks
            for a GPU and there is no image with CUDA for it.
    """
    kubeflow = config.kubeflow
    _check_names(kubeflow)
    alone = set(NODES) if kubeflow.tasks == "single" else {Node(name) for name in kubeflow.nodes}

    tasks = []
    for group, members in _GROUPS.items():
        for nodes in _split(members, alone):
            is_whole_group = nodes == members and len(nodes) > 1
            name = group if is_whole_group else "-".join(map(task_name, nodes))
            resources = kubeflow.resources(nodes[0])
            tasks.append(Task(name, nodes, resources, image_of(name, resources, kubeflow)))
    return tasks


def check_training_workers(config: Config, *, mounts_volumes: bool = True) -> None:
    """Checks that the Trainer's container can have the workers that are configured.

    Args:
        config: what to run.
        mounts_volumes: whether containers mount `kubeflow.volumes`; Vertex AI's do not.

    Raises:
        ConfigError: it has fewer GPUs than workers, or workers on other machines would not see what
            they need.
    """
    if config.training.workers == 1:
        return
    if config.training.worker_folder is None:
        _check_gpus(config)
    else:
        _check_worker_folder(config, config.training.worker_folder, mounts_volumes=mounts_volumes)


def _check_gpus(config: Config) -> None:
    """Workers in one container get a GPU each; without any they share the cores."""
    workers, kubeflow = config.training.workers, config.kubeflow
    gpu = kubeflow.resources(Node.TRAINER).gpu
    if gpu is None or gpu.count >= workers or config.training.device == "cpu":
        return

    own = kubeflow.nodes.get(Node.TRAINER)
    place = "nodes.Trainer" if own and "gpu" in own.model_fields_set else "common"
    raise ConfigError(
        f"kubeflow.{place}.gpu.count: expected at least {workers}, one for each of "
        f"training.workers, found {gpu.count}. Ask for more, name a folder for workers on other "
        "machines in training.worker_folder, or train on CPUs: kubeflow.nodes: {}"
    )


def _check_worker_folder(config: Config, folder: str, *, mounts_volumes: bool) -> None:
    """Workers on other machines read their orders in the folder, and the examples in the root."""
    if not mounts_volumes:
        raise ConfigError(
            "training.worker_folder: expected none, because Vertex AI mounts no volume that other "
            f"machines could share, found {folder}. Ask for several GPUs instead: "
            "kubeflow.nodes.Trainer.gpu.count."
        )

    kubeflow = config.kubeflow
    for what, path in (("a folder", folder), ("kubeflow.root, where examples are,", kubeflow.root)):
        if kubeflow.is_on_volume(path):
            continue
        storage = f"; {kubeflow.storage} is none" if kubeflow.storage else ""
        raise ConfigError(
            f"training.worker_folder: expected {what} on a volume of kubeflow.volumes, which "
            f"workers mount at the same path, found {path}{storage}."
        )


def outputs_of(task: Task, config: Config) -> dict[str, str]:
    """Returns the artifacts a container shows in Kubeflow's user interface: name to kind."""
    outputs = {summary_name(node): "Markdown" for node in task.nodes}
    if Node.EVALUATOR in task.nodes:
        outputs["metrics"] = "Metrics"
        if config.label.classes:
            outputs["confusion_matrix"] = "ClassificationMetrics"
            curves = map(roc_name, range(len(config.label.classes)))
            outputs |= dict.fromkeys(curves, "ClassificationMetrics")
    if Node.PUSHER in task.nodes:
        outputs["pushed_model"] = "Model"
    if Node.REPORT in task.nodes:
        outputs["report"] = "HTML"
    return outputs


def parameters_of(task: Task) -> dict[str, type]:
    """Returns the output parameters of a container, which later tasks read: name to type."""
    parameters: dict[str, type] = {}
    if Node.EXAMPLE_GEN in task.nodes:
        parameters[NEW_DATA] = bool
    if Node.EVALUATOR in task.nodes:
        parameters[FAILED_GATES] = str
    return parameters


def task_name(node: str) -> str:
    """Returns the name of a node's own task.

    >>> task_name("ExampleGen")
    'example-gen'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node).lower()


def summary_name(node: str) -> str:
    """Returns the name of a node's Markdown summary.

    >>> summary_name("ExampleGen")
    'example_gen_summary'
    """
    return f"{task_name(node).replace('-', '_')}_summary"


def roc_name(index: int) -> str:
    """Returns the name of a class's ROC curve, by number: a class's name may be any text."""
    return f"roc_class_{index}"


def _check_names(kubeflow: Kubeflow) -> None:
    unknown = sorted(set(kubeflow.nodes) - set(NODES))
    if unknown:
        raise ConfigError(
            f"kubeflow.nodes: expected names among {', '.join(NODES)}, "
            f"found {', '.join(unknown)}{did_you_mean(unknown[0], NODES) or '.'}"
        )


def image_of(task: str, resources: Resources, kubeflow: Kubeflow) -> str:
    """Returns the image of a task: its own, that for GPUs if it asks for one, or the common one.

    Raises:
        ConfigError: it asks for a GPU, and there is no image with CUDA for it.
    """
    if resources.image or not resources.gpu:
        return resources.image or kubeflow.image
    if kubeflow.gpu_image:
        return kubeflow.gpu_image
    if "@" in kubeflow.image:
        raise ConfigError(
            f"kubeflow.gpu_image: expected the image for task {task}, which asks for a GPU, found "
            f"none; it cannot be derived from kubeflow.image, a digest ({kubeflow.image}). Name "
            "the image that `make image GPU=1` made, or train on CPUs: kubeflow.nodes: {}"
        )
    return f"{kubeflow.image}-gpu"


def _split(nodes: tuple[Node, ...], alone: set[Node]) -> list[tuple[Node, ...]]:
    """Returns neighbours together, and each node that stands alone by itself."""
    parts: list[list[Node]] = []
    for node in nodes:
        starts_a_part = not parts or node in alone or parts[-1][-1] in alone
        if starts_a_part:
            parts.append([])
        parts[-1].append(node)
    return [tuple(part) for part in parts]
