"""A job on a cluster with the options of the manifests, by their job server and their workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from components.config import Beam
from tests import flink
from tests.ports import START, free_port

BASE = Path(__file__).parents[2] / "configs" / "flink" / "base"
HOST = "127.0.0.2"  # as in a pod, not the address that `localhost` is
# Of the places that a machine does not have, or others use.
OF_PODS = ("io.tmp.dirs",)


def document(name: str, kind: str) -> dict[str, Any]:
    [found] = [one for one in yaml.safe_load_all((BASE / name).read_text()) if one["kind"] == kind]
    return dict(found["spec"])


@contextmanager
def running(command: list[str], log: Path, says: str) -> Iterator[None]:
    """Runs a command until the block ends; the block begins when it has said something."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline = time.monotonic() + 4 * START
        while says not in log.read_text(errors="replace"):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_job_runs_as_on_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    programs = flink.find_programs(request.config.cache.mkdir("flink"))
    cluster = document("cluster.yaml", "FlinkDeployment")
    options = {
        key: value
        for key, value in cluster["flinkConfiguration"].items()
        if not key.endswith("port") and key not in OF_PODS
    }
    assert options.pop("taskmanager.numberOfTaskSlots") == str(flink.SLOTS)
    containers = cluster["taskManager"]["podTemplate"]["spec"]["containers"]
    [workers] = [one["args"] for one in containers if one["name"] == "beam-workers"]
    [server] = document("jobs.yaml", "Deployment")["template"]["spec"]["containers"]
    jobs, artifacts, pool = str(free_port()), str(free_port()), str(free_port())

    (tmp_path / "cluster").mkdir()
    with flink.serve(programs, tmp_path / "cluster", others=options) as served:
        given = {
            "--flink-master": served.address,
            "--job-host": HOST,
            "--job-port": jobs,
            "--artifact-port": artifacts,
            "--artifacts-dir": str(tmp_path / "artifacts"),
        }
        names = [argument.split("=") for argument in server["args"]]
        command = [f"{name}={given.get(name, value)}" for name, value in names]
        engine = Beam(
            runner="flink", flink_master=served.address, flink_job_server=f"{HOST}:{jobs}",
            sdk_workers=f"localhost:{pool}", parallelism=4,
        )  # fmt: skip
        for name, value in engine.as_environment().items():
            monkeypatch.setenv(name, value)
        mastery = [sys.executable, "-m", "pipeline.cli.main"]
        with (
            running(
                [str(programs.java), "-jar", str(programs.job_server), *command],
                tmp_path / "jobs.log",
                "JobService started on",
            ),
            running(
                [*mastery, *(pool if part == "50000" else part for part in workers)],
                tmp_path / "workers.log",
                "SDK workers for TaskManagers",
            ),
        ):
            add_up(engine, tmp_path)
        assert {job["state"] for job in served.ask("jobs/overview")["jobs"]} == {"FINISHED"}
        with pytest.raises(OSError, match="404"):  # no jars from browsers
            served.ask("jars")


def add_up(engine: Beam, folder: Path) -> None:
    """Adds numbers up by their remainders, and checks the sums and where they were made."""

    def write(item: tuple[int, int]) -> None:
        (folder / f"sum-{item[0]}").write_text(f"{item[1]} {os.getpid()}")

    with beam.Pipeline(options=PipelineOptions(engine.options)) as pipeline:
        (
            pipeline
            | beam.Create(range(1000), reshuffle=True)
            | beam.Map(lambda number: (number % 7, number))
            | beam.CombinePerKey(sum)
            | beam.Map(write)
        )
    written = [(folder / f"sum-{key}").read_text().split() for key in range(7)]
    assert [int(text) for text, _ in written] == [sum(range(key, 1000, 7)) for key in range(7)]
    assert str(os.getpid()) not in {pid for _, pid in written}
