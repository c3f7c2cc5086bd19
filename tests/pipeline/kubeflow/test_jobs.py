"""The pipelines of one task: their files, and their schedules beside that of the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from components.config import load_config
from components.errors import ConfigError
from pipeline.kubeflow.jobs import Job, compile_job
from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import StandIn
from tests.pipeline.kubeflow.test_compile import SAMPLE, SETTINGS

SCORED = ("kubeflow.score={learners: [learners.csv], answers: /mastery/answers.yaml}",)


def compiled(folder: Path, job: Job, *settings: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the container and its place of a job's file, which Kubeflow's protos can read."""
    file = folder / "job.yaml"
    compile_job(load_config(SAMPLE, [*SETTINGS, *settings]), SAMPLE, file, job, settings)
    spec, platform = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    [executor] = spec["deploymentSpec"]["executors"].values()
    [place] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    json_format.ParseDict(place, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    assert "retryPolicy" not in str(spec)
    return executor["container"], place


def test_watching_is_one_light_task_which_tells_channels(tmp_path: Path) -> None:
    container, place = compiled(tmp_path, "watch", *SCORED)
    settings = [part for setting in SCORED for part in ("--set", setting)]
    assert container["command"] == ["python", "-m", "pipeline.cli.main"]
    assert container["args"] == [
        "watch", "--config", "/app/configs/sample.yaml", *settings, "--root", "/mastery",
        "--answers", "/mastery/answers.yaml",
    ]  # fmt: skip
    assert container["image"] == "registry.example/mastery:1.4"
    assert "accelerator" not in container["resources"]
    assert place["pvcMount"][0]["mountPath"] == "/mastery"
    assert place["secretAsEnv"][0]["secretName"] == "metadata"


def test_retraining_has_what_the_trainer_has(tmp_path: Path) -> None:
    container, place = compiled(tmp_path, "retrain")
    assert container["args"][0] == "retrain"
    assert container["image"] == "registry.example/mastery:1.4-gpu"
    assert container["resources"]["accelerator"]["count"] == "2"
    assert place["nodeSelector"]["labels"] == {"pool": "gpu"}


def test_a_root_that_containers_do_not_keep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"kubeflow\.storage: expected none for `watch`"):
        compiled(tmp_path, "watch", "kubeflow.storage=s3://bucket/mastery", "metadata.store=mysql")
    assert not [*tmp_path.iterdir()]


def test_jobs_have_schedules_of_their_own(mastery: Mastery, cluster: StandIn) -> None:
    mastery("schedule", "--cron", "0 3 * * *")
    code, out, err = mastery("schedule", "--job", "watch", "--cron", "0 6 * * *")
    assert (code, err) == (0, "")
    assert "Scheduled algebra-watch" in out
    names = {
        made.display_name: made.trigger.cron_schedule.cron for made in cluster.schedules.values()
    }
    assert names == {"algebra": "0 0 3 * * *", "algebra-watch": "0 0 6 * * *"}
    assert {item.display_name for item in cluster.pipelines.values()} == {
        "algebra",
        "algebra-watch",
    }

    assert mastery("schedule", "--job", "watch", "--delete")[0] == 0
    assert [made.display_name for made in cluster.schedules.values()] == ["algebra"]
    code, _, err = mastery(
        "schedule", "--job", "watch", "--cron", "0 6 * * *", "--param", "push=false"
    )
    assert code == 2
    assert "--param: expected none with --job watch" in err
