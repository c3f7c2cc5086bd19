"""Which nodes share a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from components.config import Config, load_config
from components.errors import ConfigError
from components.node.node_id import Node
from pipeline.kubeflow.tasks import NODES, check_training_workers, plan_tasks, task_name
from pipeline.layout import Layout

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
DIGEST = "sha256:" + "ab" * 32


def configure(*settings: str) -> Config:
    return load_config(SAMPLE, settings)


def test_light_neighbours_share_a_container_and_the_trainer_has_a_gpu_of_its_own() -> None:
    tasks = {task.name: task for task in plan_tasks(configure())}
    assert [*tasks] == ["data", "prepare", "trainer", "judge", "deliver"]
    assert tasks["data"].nodes == (
        "ExampleGen",
        "StatisticsGen",
        "ImportSchemaGen",
        "ExampleValidator",
        "DataGate",
    )
    assert [name for name, task in tasks.items() if task.resources.gpu] == ["trainer"]


def images(*settings: str) -> dict[str, str]:
    return {task.name: task.image for task in plan_tasks(configure(*settings))}


def test_a_task_that_asks_for_a_gpu_gets_the_image_with_cuda() -> None:
    assert images() == {
        **dict.fromkeys(["data", "prepare", "judge", "deliver"], "mastery"),
        "trainer": "mastery-gpu",
    }
    named = images("kubeflow.image=registry.example:5000/mastery:1.4")
    assert named["trainer"] == "registry.example:5000/mastery:1.4-gpu"
    assert images(f"kubeflow.gpu_image=other@{DIGEST}")["trainer"] == f"other@{DIGEST}"


def test_a_node_s_own_image_wins_and_without_a_gpu_there_is_one_image() -> None:
    own = images("kubeflow.nodes={Trainer: {gpu: {}, image: mine}}", "kubeflow.gpu_image=other")
    assert own["trainer"] == "mine"
    assert set(images("kubeflow.nodes={}").values()) == {"mastery"}
    assert set(images(f"kubeflow.image=mastery@{DIGEST}", "kubeflow.nodes={}").values()) == {
        f"mastery@{DIGEST}"
    }


def test_no_image_for_gpus_can_be_derived_from_a_digest() -> None:
    with pytest.raises(
        ConfigError,
        match=r"kubeflow\.gpu_image: expected the image for task trainer.*mastery@sha256",
    ):
        images(f"kubeflow.image=mastery@{DIGEST}")


def test_every_node_has_its_own_container_if_configured() -> None:
    tasks = plan_tasks(configure("kubeflow.tasks=single"))
    assert [task.nodes for task in tasks] == [(node,) for node in NODES]
    assert [task.name for task in tasks][:2] == ["example-gen", "statistics-gen"]


def test_a_node_with_settings_of_its_own_leaves_its_neighbours() -> None:
    tasks = plan_tasks(configure("kubeflow.nodes={StatisticsGen: {memory: 8Gi}}"))
    assert [task.nodes for task in tasks][:3] == [
        ("ExampleGen",),
        ("StatisticsGen",),
        ("ImportSchemaGen", "ExampleValidator", "DataGate"),
    ]
    assert [task.resources.memory for task in tasks][:3] == ["4Gi", "8Gi", "4Gi"]
    assert tasks[1].resources.cpu == "2"  # what is not said stays common


@pytest.mark.parametrize(
    "settings", [(), ("kubeflow.tasks=single",), ("kubeflow.nodes={Evaluator: {cpu: 1}}",)]
)
def test_every_node_runs_once_in_the_order_of_the_dag(settings: tuple[str, ...]) -> None:
    tasks = plan_tasks(configure(*settings))
    assert [node for task in tasks for node in task.nodes] == [*NODES]
    names = [task.name for task in tasks]
    assert len({*names}) == len(names)


def test_an_unknown_node_is_named() -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected names among ExampleGen, .*found Trianer; did you mean Trainer\?",
    ):
        plan_tasks(configure("kubeflow.nodes={Trianer: {cpu: 1}}"))


def test_names_of_tasks_follow_kubernetes_rules() -> None:
    assert task_name("ImportSchemaGen") == "import-schema-gen"


def upstream_nodes(config: Config) -> dict[str, set[str]]:
    """Returns the DAG as TFX compiles it, warm start included: each node to those before it."""
    from pipeline.dag import create_pipeline
    from pipeline.run.launch import compile_plan

    training = config.training.model_copy(update={"warm_start": True})
    whole = config.model_copy(update={"training": training})
    plan = compile_plan(create_pipeline(whole, Layout(Path("/root"), config.name)), "run")
    nodes = [node.pipeline_node for node in plan.nodes]
    return {node.node_info.id: set(node.upstream_nodes) for node in nodes}


def nodes_too_early(order: Sequence[str], upstream: Mapping[str, set[str]]) -> list[str]:
    """Returns the nodes of an order that run before one that they need."""
    return [node for at, node in enumerate(order) if upstream[node] - set(order[:at])]


def test_a_wrong_order_is_noticed() -> None:
    upstream = {"ExampleGen": set[str](), "Transform": {"ExampleGen"}, "Trainer": {"Transform"}}
    assert nodes_too_early(["ExampleGen", "Transform", "Trainer"], upstream) == []
    assert nodes_too_early(["ExampleGen", "Trainer", "Transform"], upstream) == ["Trainer"]


@pytest.mark.parametrize("tasks", ["grouped", "single"])
def test_the_tasks_hold_every_node_of_the_compiled_plan_in_an_order_that_runs_it(
    tasks: str,
) -> None:
    config = configure(f"kubeflow.tasks={tasks}")
    upstream = upstream_nodes(config)
    order = [node for task in plan_tasks(config) for node in task.nodes]
    assert sorted(order) == sorted(upstream) == sorted(Node)
    assert nodes_too_early(order, upstream) == []


@pytest.mark.parametrize(
    "settings",
    [
        ["kubeflow.nodes={}"],  # the cores of one container
        ["kubeflow.nodes={Trainer: {gpu: {count: 4}}}"],
        ["training.device=cpu"],
        ["training.workers=1", "training.worker_folder=/elsewhere"],
        [
            "training.worker_folder=/mastery/training-workers",
            "kubeflow.volumes=[{claim: runs, path: /mastery}]",
        ],
        [
            "training.worker_folder=/workers",
            "kubeflow.volumes=[{claim: runs, path: /mastery}, {claim: workers, path: /workers}]",
            "kubeflow.storage=s3://bucket/mastery",
        ],
    ],
)
def test_workers_that_the_trainer_s_container_can_have(settings: list[str]) -> None:
    check_training_workers(configure("training.workers=4", *settings))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ([], "kubeflow.nodes.Trainer.gpu.count: expected at least 4, one for each of "
         "training.workers, found 1."),
        (["kubeflow.nodes={}", "kubeflow.common={gpu: {count: 2}}"],
         "kubeflow.common.gpu.count: expected at least 4"),
        (["training.worker_folder=/mastery/workers"],
         "training.worker_folder: expected a folder on a volume of kubeflow.volumes, which workers "
         "mount at the same path, found /mastery/workers."),
        (["training.worker_folder=/mastery-2", "kubeflow.volumes=[{claim: a, path: /mastery}]"],
         "found /mastery-2."),
        (["training.worker_folder=/mastery/workers", "kubeflow.storage=s3://bucket/mastery"],
         "found /mastery/workers; s3://bucket/mastery is none."),
        (["training.worker_folder=/workers", "kubeflow.volumes=[{claim: a, path: /workers}]",
          "kubeflow.storage=gs://bucket/mastery"],
         "expected kubeflow.root, where examples are, on a volume of kubeflow.volumes"),
    ],
)  # fmt: skip
def test_workers_that_it_cannot_have(settings: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_training_workers(configure("training.workers=4", *settings))
    assert problem in str(raised.value)


def test_vertex_mounts_no_folder_for_workers() -> None:
    config = configure(
        "training.workers=4",
        "training.worker_folder=/mastery/workers",
        "kubeflow.volumes=[{claim: runs, path: /mastery}]",
    )
    with pytest.raises(ConfigError, match="Vertex AI mounts no volume"):
        check_training_workers(config, mounts_volumes=False)
