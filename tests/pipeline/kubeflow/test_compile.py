"""The pipeline file: checked against Kubeflow's own protos, field by field where it matters."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from components.config import load_config
from components.errors import ConfigError, MasteryError
from pipeline.kubeflow.compile import Target, compile_pipeline
from pipeline.kubeflow.parameters import PARAMETERS
from pipeline.kubeflow.tasks import FINISH_TASK, GATES_TASK

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
SETTINGS = (
    "kubeflow.image=registry.example/mastery:1.4",
    "kubeflow.volumes=[{claim: mastery-runs, path: /mastery}]",
    "kubeflow.secrets=[{name: metadata, variables: {password: MASTERY_METADATA_PASSWORD}}]",
    "kubeflow.common={cpu: 2, memory: 4Gi, timeout_seconds: 3600, retry: {attempts: 3}}",
    "kubeflow.nodes={Trainer: {gpu: {count: 2}, node_selector: {pool: gpu}, "
    "tolerations: [{key: nvidia.com/gpu}]}}",
)


def compiled(folder: Path, *settings: str, target: Target = "kubeflow") -> list[dict[str, Any]]:
    file = folder / "pipeline.yaml"
    compile_pipeline(load_config(SAMPLE, settings), SAMPLE, file, target)
    return [*yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def tasks_of(spec: dict[str, Any]) -> dict[str, Any]:
    dags = [spec["root"], *spec["components"].values()]
    return {
        name: task for dag in dags for name, task in dag.get("dag", {}).get("tasks", {}).items()
    }


def containers_of(spec: dict[str, Any]) -> dict[str, Any]:
    executors = spec["deploymentSpec"]["executors"]
    return {
        name.removeprefix("exec-"): executor["container"] for name, executor in executors.items()
    }


def platform_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): config for name, config in executors.items()}


@pytest.mark.parametrize("settings", [SETTINGS, ("kubeflow.tasks=single",)])
def test_both_documents_parse_as_kubeflow_s_protos(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    documents = compiled(tmp_path, *settings)
    spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    assert spec.schema_version == "2.1.0"  # the one that open-source Kubeflow reads
    for config in platform_of(documents).values():
        json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    files = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for file in files:
        compile_pipeline(load_config(SAMPLE, SETTINGS), SAMPLE, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(files[0].read_bytes()) < 50_000


def test_every_parameter_has_its_description(tmp_path: Path) -> None:
    [spec, *_] = compiled(tmp_path, "training.warm_start=true")
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert sorted(parameters) == sorted(parameter.name for parameter in PARAMETERS)
    assert all(item["isOptional"] for item in parameters.values())
    assert {name: item["description"] for name, item in parameters.items()} == {
        parameter.name: parameter.description for parameter in PARAMETERS
    }
    assert parameters["warm_start"]["defaultValue"] is True
    assert parameters["gates"]["defaultValue"] == ""


def test_tasks_have_legal_names_and_kubeflow_s_cache_is_off(tmp_path: Path) -> None:
    [spec, *_] = compiled(tmp_path, "kubeflow.tasks=single")
    tasks = tasks_of(spec)
    assert {"example-gen", "trainer", "report", GATES_TASK, FINISH_TASK} <= {*tasks}
    assert all(re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in tasks)
    leaves = [task for task in tasks.values() if "cachingOptions" in task]
    assert len(leaves) == len(containers_of(spec)) == 15
    assert not any(task["cachingOptions"].get("enableCache") for task in leaves)


def test_every_container_has_an_image_its_nodes_and_the_run_s_id(tmp_path: Path) -> None:
    [spec, *_] = compiled(tmp_path, *SETTINGS)
    containers = containers_of(spec)
    images = {name: container["image"] for name, container in containers.items()}
    assert images.pop("trainer") == "registry.example/mastery:1.4-gpu"
    assert {*images.values()} == {"registry.example/mastery:1.4"}
    data = containers["data"]
    assert data["command"] == ["python", "-m", "pipeline.kubeflow.container"]
    arguments = dict(zip(data["args"][::2], data["args"][1::2], strict=True))
    assert arguments == {
        "--config": "/app/configs/sample.yaml",
        "--root": "/mastery",
        "--run": "{{$.pipeline_job_uuid}}",
        "--nodes": "ExampleGen,StatisticsGen,ImportSchemaGen,ExampleValidator,DataGate",
        "--executor-input": "{{$}}",
    }


def test_the_trainer_alone_asks_for_gpus_and_their_nodes(tmp_path: Path) -> None:
    documents = compiled(tmp_path, *SETTINGS)
    resources = {name: item["resources"] for name, item in containers_of(documents[0]).items()}
    assert {name for name, item in resources.items() if "accelerator" in item} == {"trainer"}
    accelerator = resources["trainer"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "2")
    assert resources["data"]["resourceMemoryLimit"] == "4Gi"
    platform = platform_of(documents)
    assert platform["trainer"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert platform["trainer"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert "tolerations" not in platform["data"]


def test_the_trainer_has_a_gpu_for_each_of_its_workers(tmp_path: Path) -> None:
    settings = ("training.workers=2", *SETTINGS)
    config = load_config(SAMPLE, settings)
    file = tmp_path / "pipeline.yaml"
    compile_pipeline(config, SAMPLE, file, settings=settings[:1])
    [spec, _] = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    trainer = containers_of(spec)["trainer"]
    assert trainer["resources"]["accelerator"]["resourceCount"] == "2"
    assert "training.workers=2" in trainer["args"]

    with pytest.raises(ConfigError, match="expected at least 3, one for each"):
        compiled(tmp_path, "training.workers=3", *SETTINGS)


def test_workers_on_other_machines_share_the_volume_with_the_trainer(tmp_path: Path) -> None:
    own = ("training.workers=8", "training.worker_folder=/mastery/training-workers")
    file = tmp_path / "pipeline.yaml"
    config = load_config(SAMPLE, (*SETTINGS, *own))
    compile_pipeline(config, SAMPLE, file, settings=own)
    documents = [*yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    arguments = containers_of(documents[0])["trainer"]["args"]
    assert [arguments[arguments.index(setting) - 1] for setting in own] == ["--set", "--set"]
    [mount] = platform_of(documents)["trainer"]["pvcMount"]
    assert (mount["constant"], mount["mountPath"]) == ("mastery-runs", "/mastery")

    with pytest.raises(ConfigError, match="Vertex AI mounts no volume"):
        compile_pipeline(config, SAMPLE, file, "vertex", own)


def test_volumes_secrets_time_limits_and_retries_are_asked_for(tmp_path: Path) -> None:
    documents = compiled(tmp_path, *SETTINGS)
    for config in platform_of(documents).values():
        assert config["pvcMount"][0]["mountPath"] == "/mastery"
        assert config["pvcMount"][0]["constant"] == "mastery-runs"
        assert config["secretAsEnv"][0]["secretName"] == "metadata"
        assert config["activeDeadlineSeconds"] == "3600"
    tasks = tasks_of(documents[0])
    assert tasks["judge"]["retryPolicy"]["maxRetryCount"] == 3
    assert "retryPolicy" not in tasks["gates"]  # a failed gate fails again


def test_settings_that_are_not_given_are_left_to_the_cluster(tmp_path: Path) -> None:
    bare = ("kubeflow.common={cpu: null, memory: null, retry: null}", "kubeflow.nodes={}")
    documents = compiled(tmp_path, *bare, "kubeflow.image_pull_secrets=[registry]")
    assert "resources" not in containers_of(documents[0])["data"]
    assert "retryPolicy" not in tasks_of(documents[0])["data"]
    for config in platform_of(documents).values():
        assert config["imagePullSecret"][0]["secretName"] == "registry"


def test_without_a_volume_containers_use_the_object_store(tmp_path: Path) -> None:
    settings = ("kubeflow.storage=s3://bucket/mastery", "metadata.store=mysql")
    [spec, *_] = compiled(tmp_path, *settings)
    arguments = containers_of(spec)["data"]["args"]
    assert arguments[arguments.index("--storage") + 1] == "s3://bucket/mastery"


def test_no_container_runs_as_root(tmp_path: Path) -> None:
    platform = platform_of(compiled(tmp_path))
    assert len(platform) == 7
    for config in platform.values():
        # The image has a user by number; a number here would clash with clusters that give
        # namespaces theirs.
        assert config["securityContext"] == {"runAsNonRoot": True}


def test_gates_fail_after_the_report_and_the_exit_handler_always_runs(
    tmp_path: Path,
) -> None:
    [spec, *_] = compiled(tmp_path)
    tasks = tasks_of(spec)
    assert "deliver" in tasks["gates"]["dependentTasks"]
    assert (
        tasks["gates"]["inputs"]["parameters"]["failed_gates"]["taskOutputParameter"][
            "producerTask"
        ]
        == "judge"
    )
    assert tasks["finish"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_artifacts_have_kubeflow_s_own_kinds(tmp_path: Path) -> None:
    [spec, *_] = compiled(tmp_path)
    kinds = {
        name: artifact["artifactType"]["schemaTitle"].removeprefix("system.")
        for component in spec["components"].values()
        for name, artifact in component.get("outputDefinitions", {}).get("artifacts", {}).items()
    }
    assert kinds["report"] == "HTML"
    assert kinds["metrics"] == "Metrics"
    assert kinds["confusion_matrix"] == kinds["roc_class_2"] == "ClassificationMetrics"
    assert kinds["pushed_model"] == "Model"
    assert kinds["trainer_summary"] == "Markdown"


def test_a_file_for_vertex_ai_comes_from_the_same_dag(tmp_path: Path) -> None:
    [spec] = compiled(
        tmp_path, *SETTINGS, target="vertex"
    )  # no second document: that one is Kubernetes'
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert {*tasks_of(spec)} == {*tasks_of(compiled(tmp_path, *SETTINGS)[0])}
    accelerator = containers_of(spec)["trainer"]["resources"]["accelerator"]
    assert (accelerator["type"], accelerator["count"]) == ("NVIDIA_TESLA_T4", "2")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasteryError, match=r"pipeline\.json: expected a name that ends in \.yaml"):
        compile_pipeline(load_config(SAMPLE), SAMPLE, tmp_path / "pipeline.json")


def test_the_address_of_a_webhook_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    for setting in (
        "notify.webhook.url=https://chat/canary",
        "notify={webhook: {url: 'https://chat/canary'}}",
    ):
        with pytest.raises(
            ConfigError, match=r"--set notify[^ ]*: expected no address here"
        ) as error:
            compile_pipeline(load_config(SAMPLE, [setting]), SAMPLE, file, settings=[setting])
        assert "canary" not in str(error.value)
    assert not file.exists()


def test_placeholders_of_kubeflow_and_kubernetes_are_refused(tmp_path: Path) -> None:
    config = load_config(SAMPLE)
    for setting in ("data.splits.seed={{$.pipeline_job_uuid}}", "data.splits.seed=$(HOSTNAME)"):
        with pytest.raises(ConfigError, match=r"expected no .* in an argument of containers"):
            compile_pipeline(config, SAMPLE, tmp_path / "pipeline.yaml", settings=[setting])
    assert not (tmp_path / "pipeline.yaml").exists()


def test_containers_read_what_was_configured(tmp_path: Path) -> None:
    settings = [
        "data.splits.seed=😀 🇨🇭 grün",
        'data.splits.seed="\\u2028\\x85\\t\\n\\\\ \'"',
        "steps.features.dwell_seconds.clip=[0, .inf]",
        "gates=[{metric: f1_macro, min: 0.1}, {metric: recall, class: not_mastered, max: 1}]",
    ]
    config = load_config(SAMPLE, settings)
    compile_pipeline(config, SAMPLE, tmp_path / "pipeline.yaml", settings=settings)
    [spec, *_] = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text(encoding="utf-8"))
    given = [
        container["args"]
        for container in containers_of(spec).values()
        if "--config" in container["args"]
    ]
    assert len(given) > 3
    for arguments in given:
        read = [value for option, value in pairwise(arguments) if option == "--set"]
        assert load_config(SAMPLE, read) == config


SCORE = "{learners: [/data/learners.parquet]}"


def test_the_log_is_scored_after_the_training(tmp_path: Path) -> None:
    spec = compiled(tmp_path, f"kubeflow.score={SCORE}", "data.events=/data/events.parquet")[0]
    container = containers_of(spec)["score"]
    assert container["command"] == ["python", "-m", "pipeline.cli.main"]
    assert container["args"] == [
        "score", "--config", "/app/configs/sample.yaml", "--root", "/mastery",
        "--events", "/data/events.parquet",
        "--learners", "/data/learners.parquet", "--only-new",
    ]  # fmt: skip
    tasks = tasks_of(spec)
    assert tasks["score"]["dependentTasks"] == ["deliver"]
    assert set(tasks[GATES_TASK]["dependentTasks"]) >= {"score"}


def test_without_the_section_nothing_is_scored(tmp_path: Path) -> None:
    assert "score" not in containers_of(compiled(tmp_path)[0])


def test_scoring_needs_models_that_its_container_reaches(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kubeflow\.score: expected push\.directory"):
        compiled(tmp_path, f"kubeflow.score={SCORE}", "kubeflow.storage=s3://bucket/runs")
