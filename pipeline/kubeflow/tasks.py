"""Which nodes share a container, and what each container leaves behind for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

from components.config import Config, Kubeflow
from components.config.resources import Resources
from components.errors import ConfigError

DATA, PREPARE, FIT, JUDGE, DELIVER = "data", "prepare", "fit", "judge", "deliver"
_GROUPS = {
    DATA: ("ExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "DataGate"),
    PREPARE: ("Transform", "WarmStartResolver"),
    FIT: ("Trainer",),
    JUDGE: ("BaselineResolver", "Evaluator", "ServingCheck"),
    DELIVER: ("Pusher", "Report"),
}
NODES = tuple(
    node for nodes in _GROUPS.values() for node in nodes
)  # of the DAG with a warm start, in its order

# The output of a node, and the file in it, that tells people how it went.
RESULT_FILES = {
    "ExampleGen": ("examples", "log_summary.json"),
    "DataGate": ("verdict", "verdict.json"),
    "Trainer": ("model_run", "history.json"),
    "Evaluator": ("evaluation", "metrics.json"),
    "Pusher": ("pushed_model", "push.json"),
    "Report": ("report", "report.html"),
}

# Kinds of Kubeflow's artifacts.
MARKDOWN, HTML, METRICS, CLASSIFICATION, MODEL = (
    "Markdown",
    "HTML",
    "Metrics",
    "ClassificationMetrics",
    "Model",
)
# Output parameters, and the pipeline's that asks for the first.
NEW_DATA, FAILED_GATES, ONLY_NEW_DATA = "new_data", "failed_gates", "only_new_data"


@dataclass(frozen=True)
class Task:
    """One container: the nodes it runs, in order, and what it gets."""

    name: str  # lower-case letters, digits and -: a legal name in Kubernetes
    nodes: tuple[str, ...]
    resources: Resources
    image: str


def plan_tasks(config: Config) -> list[Task]:
    """Returns the containers of a configuration, in the order they run.

    With `kubeflow.tasks: grouped` light neighbours share one; a node named under `kubeflow.nodes` has its own.

    Raises:
        ConfigError: `kubeflow.nodes` names a node that the pipeline does not have, or a task asks for a GPU and no
            image is for it.
    """
    unknown = sorted(set(config.kubeflow.nodes) - {*NODES})
    if unknown:
        raise ConfigError(
            f"kubeflow.nodes: expected names among {', '.join(NODES)}, found {', '.join(unknown)}."
        )
    alone = set(NODES) if config.kubeflow.tasks == "single" else set(config.kubeflow.nodes)
    tasks: list[Task] = []
    for group, nodes in _GROUPS.items():
        for run in _runs(nodes, alone):
            name = group if run == nodes and len(run) > 1 else "-".join(map(task_name, run))
            resources = config.kubeflow.resources(run[0])
            tasks.append(Task(name, run, resources, _image(name, resources, config.kubeflow)))
    return tasks


def _image(task: str, resources: Resources, kubeflow: Kubeflow) -> str:
    """Returns the image of a task: its own, or the one for GPUs where it asks for one, or the common one."""
    if resources.image or not resources.gpu:
        return resources.image or kubeflow.image
    if kubeflow.gpu_image is None and "@" in kubeflow.image:
        raise ConfigError(
            f"kubeflow.gpu_image: expected the image for task {task}, which asks for a GPU; found none, and none can "
            f"be derived from kubeflow.image, a digest ({kubeflow.image}). Name the image that `make image GPU=1` "
            "made, or train on CPUs: kubeflow.nodes: {}"
        )
    return kubeflow.gpu_image or f"{kubeflow.image}-gpu"


def outputs_of(task: Task, config: Config) -> dict[str, str]:
    """Returns the artifacts a container shows in Kubeflow's user interface: name to kind."""
    outputs = {summary_name(node): MARKDOWN for node in task.nodes}
    if "Evaluator" in task.nodes:
        outputs["metrics"] = METRICS
        if config.label.classes:
            outputs["confusion_matrix"] = CLASSIFICATION
            outputs |= {
                roc_name(index): CLASSIFICATION for index in range(len(config.label.classes))
            }
    if "Pusher" in task.nodes:
        outputs["pushed_model"] = MODEL
    if "Report" in task.nodes:
        outputs["report"] = HTML
    return outputs


def parameters_of(task: Task) -> dict[str, type]:
    """Returns the values a container hands to later ones: name to type."""
    parameters: dict[str, type] = {}
    if "ExampleGen" in task.nodes:
        parameters[NEW_DATA] = bool
    if "Evaluator" in task.nodes:
        parameters[FAILED_GATES] = str
    return parameters


def task_name(node: str) -> str:
    """Returns `example-gen` for `ExampleGen`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node).lower()


def summary_name(node: str) -> str:
    """Returns the name of a node's Markdown summary: `example_gen_summary`."""
    return f"{task_name(node).replace('-', '_')}_summary"


def roc_name(index: int) -> str:
    """Returns the name of a class's ROC curve; by number, because a class may be called anything."""
    return f"roc_class_{index}"


def _runs(nodes: tuple[str, ...], alone: set[str]) -> list[tuple[str, ...]]:
    """Cuts neighbours apart around those that stand alone."""
    runs: list[list[str]] = []
    for node in nodes:
        if not runs or node in alone or runs[-1][-1] in alone:
            runs.append([])
        runs[-1].append(node)
    return [tuple(run) for run in runs]
