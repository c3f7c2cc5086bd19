"""The compiled pipeline file in real containers: Kubeflow's own local runner, every task in a container of our image.

It is not a cluster: placement, volumes, secrets and retries are not acted on, and the exit handler runs only
after a success. Everything that happens inside a container is the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import REPOSITORY, Mastery

docker = pytest.importorskip("docker")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:kfp")]

IMAGE = "localhost/mastery-test:latest"
SETTINGS = [
    "training.epochs=1", "training.histograms=false", "gates=[{metric: f1_macro, min: 0.1}]", "kubeflow.root=/mastery",
    f"kubeflow.image={IMAGE}", f"kubeflow.gpu_image={IMAGE}",
]  # fmt: skip


@dataclass
class Cluster:
    """What stands in for one: a folder as volume claim, one with the log, and Kubeflow's local runner."""

    folder: Path
    pipeline: Path

    @property
    def root(self) -> Path:
        return self.folder / "volume" / "sample"

    def run(self, **parameters: Any) -> None:
        """Runs the pipeline file; raises what Kubeflow's runner raises when a task is red."""
        from kfp import components, local

        mounts = [
            docker.types.Mount(
                target, str(self.folder / source), type="bind", read_only=target == "/log"
            )
            for target, source in (("/mastery", "volume"), ("/log", "log"))
        ]
        # The image's entry point is `mastery`; Kubeflow replaces it, its local runner has to be told.
        runner = local.DockerRunner(
            mounts=mounts, entrypoint=["/usr/bin/env"], user=f"{os.getuid()}:{os.getgid()}"
        )
        local.init(runner, pipeline_root=str(self.folder / "outputs"))
        run = components.load_component_from_file(str(self.pipeline))
        run(events="/log/events.parquet", outcomes="/log/outcomes.parquet", **parameters)

    def records(self) -> list[dict[str, Any]]:
        files = sorted(self.root.glob("runs/*/run.json"), key=lambda file: file.stat().st_mtime)
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def versions(self) -> list[str]:
        return sorted(folder.name for folder in (self.root / "serving").glob("[0-9]*"))

    def shown(self, name: str) -> list[str]:
        """Returns the texts of an artifact in Kubeflow's user interface, run by run."""
        files = sorted(
            (self.folder / "outputs").glob(f"*/*/{name}"), key=lambda file: file.stat().st_mtime
        )
        return [file.read_text(encoding="utf-8") for file in files]


@pytest.fixture(scope="module")
def image() -> str:
    """Builds the image from the Dockerfile; the engine keeps its layers between runs."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip(
            "NO CONTAINER ENGINE: `docker info` fails, so the compiled pipeline is not run in containers"
        )
    built = subprocess.run(
        ["docker", "build", "--tag", IMAGE, str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return IMAGE


@pytest.fixture(autouse=True)
def exit_codes_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps containers until their end is known.

    Kubeflow's runner has the engine remove each as it ends, and takes one that is gone already for a success.
    """
    run, started = docker.models.containers.ContainerCollection.run, []

    def run_and_keep(*arguments: Any, **options: Any) -> Any:
        container = run(*arguments, **{**options, "auto_remove": False})
        started.append(container)
        return container

    monkeypatch.setattr(docker.models.containers.ContainerCollection, "run", run_and_keep)
    yield
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module")
def cluster(
    image: str, mastery: Mastery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    assert image
    folder = tmp_path_factory.mktemp("cluster")
    simulated = mastery("simulate", "--learners", "300", "--seed", "3", "--out", folder / "log")
    assert simulated.returncode == 0, simulated.stderr
    for name in ("volume", "outputs"):
        (folder / name).mkdir()
    pipeline = folder / "pipeline.yaml"
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    config = REPOSITORY / "configs" / "sample.yaml"
    compiled = mastery("kubeflow", "compile", "--config", config, *settings, "-o", pipeline)
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    yield Cluster(folder, pipeline)
    shutil.rmtree(folder, ignore_errors=True)


def states(record: dict[str, Any]) -> dict[str, str]:
    return {node["id"]: node["state"] for node in record["nodes"]}


def test_from_events_to_a_pushed_version_and_a_report(cluster: Cluster) -> None:
    cluster.run()
    [record] = cluster.records()
    assert record["state"] == "passed"
    assert {*states(record).values()} == {"done"}
    [version] = cluster.versions()
    assert record["pushed_version"] == f"/mastery/sample/serving/{version}"
    [report] = cluster.shown("report")
    assert report.startswith("<!DOCTYPE html>")
    [examples] = cluster.shown("example_gen_summary")
    assert "300 learners" in examples
    [ended] = cluster.shown("run_summary")
    assert "passed" in ended


def test_a_second_run_takes_what_is_unchanged_from_the_cache(cluster: Cluster) -> None:
    before = cluster.versions()
    cluster.run()
    reused = states(cluster.records()[-1])
    assert reused == dict.fromkeys(reused, "cached")
    assert cluster.versions() == before


def test_new_events_are_learned_from_the_blessed_model_on(
    cluster: Cluster, mastery: Mastery
) -> None:
    more = mastery(
        "simulate",
        "--learners",
        "320",
        "--seed",
        "3",
        "--out",
        cluster.folder / "log",
        "--overwrite",
    )
    assert more.returncode == 0, more.stderr
    [first] = cluster.versions()
    cluster.run(warm_start=True)
    assert states(cluster.records()[-1])["Trainer"] == "done"
    assert (
        "Started from weights of /mastery/sample/nodes/Trainer/model"
        in cluster.shown("trainer_summary")[-1]
    )
    assert len(cluster.versions()) == 2
    assert first in cluster.versions()


def test_a_gate_set_too_high_ends_red_and_pushes_nothing(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    before = cluster.versions()
    with pytest.raises(RuntimeError, match="gates"):
        cluster.run(gates="[{metric: f1_macro, min: 0.999}]")
    assert cluster.versions() == before
    assert "Pushed nothing" in cluster.shown("pusher_summary")[-1]
    assert "f1_macro >= 0.999" in capfd.readouterr().out
