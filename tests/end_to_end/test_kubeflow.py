"""The compiled pipeline file in real containers, run by Kubeflow's own local runner.

It is not a cluster: placement, volumes, secrets and retries are not acted on, and the exit handler
runs only after a success. Everything that happens inside a container is the same.

A run takes minutes, nearly all of it importing, so there are only three: the first, one whose gate
fails on the same log, and one on a longer log. The image is built once; the engine keeps its
layers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.contracts.run_record import RunRecord
from components.node.node_id import Node
from tests.end_to_end.conftest import IMAGE, REPOSITORY, Mastery

docker = pytest.importorskip("docker")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:kfp")]

SETTINGS = [
    "training.epochs=1",
    "training.histograms=false",
    "gates=[{metric: f1_macro, min: 0.1}]",
    "kubeflow.root=/mastery",
    f"kubeflow.image={IMAGE}",
    f"kubeflow.gpu_image={IMAGE}",
]
NEW_WITH_OTHER_GATES = {  # and the node that exists only with a warm start
    Node.EVALUATOR,
    Node.SERVING_CHECK,
    Node.PUSHER,
    Node.REPORT,
    Node.WARM_START_RESOLVER,
}
LOG = ("--seed", "3", "--out")


@dataclass
class Cluster:
    """A stand-in for a cluster: a folder as volume, one with the log, Kubeflow's local runner."""

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
        # The image's entry point is `mastery`. Kubeflow replaces it, its local runner does not.
        runner = local.DockerRunner(
            mounts=mounts, entrypoint=["/usr/bin/env"], user=f"{os.getuid()}:{os.getgid()}"
        )
        local.init(runner, pipeline_root=str(self.folder / "outputs"))
        run = components.load_component_from_file(str(self.pipeline))
        run(events="/log/events.parquet", outcomes="/log/outcomes.parquet", **parameters)

    def records(self) -> list[RunRecord]:
        """Returns the records of the runs that reached their exit handler, oldest first."""
        files = sorted(self.root.glob("runs/*/run.json"), key=lambda file: file.stat().st_mtime)
        return [RunRecord.read(file.parent) for file in files]

    def versions(self) -> list[str]:
        return sorted(folder.name for folder in (self.root / "serving").glob("[0-9]*"))

    def shown(self, name: str) -> list[str]:
        """Returns the texts of an artifact in Kubeflow's user interface, run by run."""
        files = sorted(
            (self.folder / "outputs").glob(f"*/*/{name}"), key=lambda file: file.stat().st_mtime
        )
        return [file.read_text(encoding="utf-8") for file in files]


@pytest.fixture(scope="module", autouse=True)
def exit_codes_count() -> Iterator[None]:
    """Keeps containers until their end is known.

    Kubeflow's runner lets the engine remove each as it ends, and takes a removed one for a success.
    """
    collection = docker.models.containers.ContainerCollection
    run = collection.run
    started = []

    def run_and_keep(*arguments: Any, **options: Any) -> Any:
        container = run(*arguments, **{**options, "auto_remove": False})
        started.append(container)
        return container

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "run", run_and_keep)
        yield
    for container in started:
        container.remove(force=True)


@pytest.fixture(scope="module")
def cluster(
    image: str, mastery: Mastery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster on which the pipeline has run once."""
    assert image
    folder = tmp_path_factory.mktemp("cluster")
    simulated = mastery("simulate", "--learners", "300", *LOG, folder / "log")
    assert simulated.returncode == 0, simulated.stderr
    for name in ("volume", "outputs"):
        (folder / name).mkdir()

    pipeline = folder / "pipeline.yaml"
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    config = REPOSITORY / "configs" / "sample.yaml"
    compiled = mastery("kubeflow", "compile", "--config", config, *settings, "-o", pipeline)
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr

    cluster = Cluster(folder, pipeline)
    cluster.run()
    yield cluster
    shutil.rmtree(folder, ignore_errors=True)


def states(record: RunRecord) -> dict[str, str]:
    return {node.id: node.state for node in record.nodes}


def test_from_events_to_a_pushed_version_and_a_report(cluster: Cluster) -> None:
    record = cluster.records()[0]
    assert record.state == "passed"
    assert {*states(record).values()} == {"done"}
    version = cluster.versions()[0]
    assert record.pushed_version == f"/mastery/sample/serving/{version}"
    assert cluster.shown("report")[0].startswith("<!DOCTYPE html>")
    assert "300 learners" in cluster.shown("example_gen_summary")[0]
    assert "passed" in cluster.shown("run_summary")[0]


def test_a_failed_gate_fails_the_run_pushes_nothing_and_trains_nothing_anew(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    before = cluster.versions()
    with pytest.raises(RuntimeError, match="gates"):
        cluster.run(gates="[{metric: f1_macro, min: 0.999}]")
    assert cluster.versions() == before
    assert "Pushed nothing" in cluster.shown("pusher_summary")[-1]
    printed = capfd.readouterr().out
    assert "f1_macro >= 0.999" in printed
    unchanged = [node for node in Node if node not in NEW_WITH_OTHER_GATES]
    for node in unchanged:
        assert f"{node:<20} cached after" in printed, node


def test_a_warm_start_trains_the_blessed_model_on_new_events(
    cluster: Cluster, mastery: Mastery
) -> None:
    log = (*LOG, cluster.folder / "log", "--overwrite")
    more = mastery("simulate", "--learners", "320", *log)
    assert more.returncode == 0, more.stderr
    [first] = cluster.versions()

    cluster.run(warm_start=True)
    assert states(cluster.records()[-1])["Trainer"] == "done"
    start = "Started from weights of /mastery/sample/nodes/Trainer/model"
    assert start in cluster.shown("trainer_summary")[-1]
    assert len(cluster.versions()) == 2
    assert first in cluster.versions()
