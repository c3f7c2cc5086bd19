"""Whole runs on a real Flink cluster, by the commands a user types; processes of it are killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from tests import flink
from tests.beam_pool import start_pool
from tests.end_to_end.conftest import COMMAND, Mastery, environment

pytestmark = pytest.mark.slow

CLOSE = 1e-9  # sums of doubles in another order
AS_OF = "2025-09-01"


@pytest.fixture(scope="module")
def cluster(
    flink_programs: flink.Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[flink.Cluster]:
    with flink.serve(flink_programs, tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SDK workers for all TaskManagers of this machine; what to set `beam.sdk_workers` to."""
    pool = start_pool(tmp_path_factory.mktemp("workers"))
    yield pool.address

    pool.process.terminate()
    pool.process.communicate(timeout=60)
    assert pool.process.returncode == 0, pool.log.read_text()


@pytest.fixture(scope="module")
def on_flink(cluster: flink.Cluster, workers: str) -> list[str]:
    values = {
        "runner": "flink",
        "flink_master": cluster.address,
        "flink_job_server": cluster.programs.job_server,
        "sdk_workers": workers,
        "parallelism": flink.SLOTS,
    }
    return [part for key, value in values.items() for part in ("--set", f"beam.{key}={value}")]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd="/",
    )  # fmt: skip


def job_servers(cluster: flink.Cluster) -> list[int]:
    listed = subprocess.run(
        ["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout
    ours = f"--flink-master http://{cluster.address} "
    return [int(line.split()[0]) for line in listed.splitlines() if ours in line]


def output(root: Path, node: str, name: str) -> Path:
    folders = [
        path for path in (root / "sample" / "nodes" / node / name).iterdir() if path.is_dir()
    ]
    assert len(folders) == 1
    return folders[0]


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the files below a folder, unpacked: gzip's header tells the time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): gzip.decompress(path.read_bytes())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in files
    }


def statistics(folder: Path) -> dict[str, dict[tuple[str, ...], Any]]:
    """Returns the statistics of each split by the path of the feature."""
    found = {}
    for file in folder.glob("Split-*/FeatureStats.pb"):
        [dataset] = DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets
        found[file.parent.name] = {tuple(item.path.step): item for item in dataset.features}
    return found


def values(message: Any) -> Any:
    """Returns a message's fields as dictionaries, lists and numbers."""
    if hasattr(message, "ListFields"):
        return {field.name: values(value) for field, value in message.ListFields()}
    if isinstance(message, str | bytes | int | float):
        return message
    return [values(item) for item in message]


def assert_close(left: Any, right: Any, where: str) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key, value in left.items():
            assert_close(value, right[key], f"{where}.{key}")
    elif isinstance(left, list):
        assert len(left) == len(right), where
        for index, value in enumerate(left):
            assert_close(value, right[index], f"{where}[{index}]")
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=CLOSE, abs=CLOSE, nan_ok=True), where
    else:
        assert left == right, where


def answers(database: Path) -> pl.DataFrame:
    """Returns what a scoring wrote, without the time at which it did."""
    with sqlite3.connect(database) as connection:
        rows = pl.read_database("SELECT * FROM answers", connection)
    kept = [name for name in rows.columns if name not in ("answer_id", "scored_at", "id")]
    return rows.select(kept).sort("learner_id", "unit_id")


def test_a_run_that_loses_a_task_manager_gives_what_a_run_in_memory_gives(
    mastery: Mastery,
    sample: list[str],
    cluster: flink.Cluster,
    on_flink: list[str],
    tmp_path: Path,
) -> None:
    roots = {name: tmp_path / name for name in ("memory", "flink")}
    run = start("run", *sample, *on_flink, "--root", roots["flink"])
    cluster.wait_for_job("StatisticsGen", run)
    cluster.busy_worker().kill()
    cluster.start_worker()
    printed, _ = run.communicate()
    assert run.returncode == 0, printed
    assert "restarting" in printed
    assert f"http://{cluster.address}/#/job/" in printed
    jobs = cluster.jobs()
    nodes = ("ExampleGen", "StatisticsGen", "Transform", "Evaluator")
    assert {name.split("-")[2]: state for name, state in jobs.items()} == dict.fromkeys(
        nodes, "FINISHED"
    )

    alone = mastery("run", *sample, "--root", roots["memory"])
    assert alone.returncode == 0, alone.stdout + alone.stderr
    memory, distributed = roots.values()
    for node, name in (
        ("ExampleGen", "examples"),
        ("Transform", "transformed_examples"),
    ):
        ours, theirs = (contents(output(root, node, name)) for root in (memory, distributed))
        assert ours == theirs, node
    words = "transform_graph"
    ours, theirs = (
        contents(output(root, "Transform", words) / "transform_fn" / "assets")
        for root in (memory, distributed)
    )
    assert ours
    assert ours == theirs
    ours, theirs = (
        statistics(output(root, "StatisticsGen", "statistics")) for root in (memory, distributed)
    )
    assert len(ours) == 3
    for split, features in ours.items():
        assert features.keys() == theirs[split].keys()
        for path, feature in features.items():
            assert_close(values(feature), values(theirs[split][path]), f"{split}, {path}")
    ours, theirs = (
        json.loads((output(root, "Evaluator", "evaluation") / "metrics.json").read_text())
        for root in (memory, distributed)
    )
    assert_close(ours, theirs, "metrics")

    events = next(part for part in sample if part.startswith("data.events=")).partition("=")[2]
    learners = events.replace("events.parquet", "outcomes.parquet")
    for root, options in ((memory, []), (distributed, on_flink)):
        scored = mastery(
            "score", "--events", events, *sample, *options, "--learners", learners,
            "--as-of", AS_OF, "--root", root, "--to", f"sqlite:///{root}/answers.db",
        )  # fmt: skip
        assert scored.returncode == 0, scored.stdout + scored.stderr
    ours, theirs = (answers(root / "answers.db") for root in (memory, distributed))
    assert len(ours) > 100
    assert ours.equals(theirs)

    # Where it runs decides nothing: a run in memory takes all that it made from the cache.
    again = mastery("run", *sample, "--root", distributed)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "12 of them from the cache" in again.stdout
    assert not job_servers(cluster)


def test_a_broken_row_is_the_error_that_it_is_in_memory(
    mastery: Mastery, sample: list[str], on_flink: list[str], tmp_path: Path
) -> None:
    source = next(part for part in sample if part.startswith("data.events=")).partition("=")[2]
    rows = pl.read_parquet(source).with_columns(pl.col("time").cast(pl.String))
    broken = rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 7)
        .then(pl.lit("yesterday"))
        .otherwise("time")
        .alias("time")
    )
    broken.write_csv(tmp_path / "events.csv")
    log = ["--set", f"data.events={tmp_path / 'events.csv'}", "--to", "ExampleGen"]

    told = []
    for name, options in (("memory", []), ("flink", on_flink)):
        run = mastery("run", *sample, *log, *options, "--root", tmp_path / name)
        assert run.returncode == 2
        text = run.stdout + run.stderr
        assert "Traceback" not in text
        told.append(text[text.index("The log has") : text.index("\nLog: ")])
    assert "yesterday" in told[0]
    assert told[0] == told[1]


def test_an_interrupted_run_leaves_no_job_and_no_job_server(
    sample: list[str], cluster: flink.Cluster, on_flink: list[str], tmp_path: Path
) -> None:
    run = start("run", *sample, *on_flink, "--to", "ExampleGen", "--root", tmp_path)
    cluster.wait_for_job("ExampleGen", run)
    run.send_signal(signal.SIGINT)
    printed, _ = run.communicate(timeout=60)
    assert run.returncode == 130, printed
    [record] = tmp_path.glob("sample/runs/*/run.json")
    [state] = [state for name, state in cluster.jobs().items() if name.endswith(record.parent.name)]
    assert state == "CANCELED"
    assert not job_servers(cluster)
    examples = tmp_path / "sample" / "nodes" / "ExampleGen" / "examples"
    assert not [path for path in examples.rglob("*") if path.is_file()]


def test_without_enough_slots_no_node_starts(
    mastery: Mastery, sample: list[str], cluster: flink.Cluster, on_flink: list[str], tmp_path: Path
) -> None:
    more = ["--set", "beam.parallelism=100"]
    run = mastery("run", *sample, *on_flink, *more, "--root", tmp_path)
    assert run.returncode == 2
    assert "beam.parallelism: expected at most the cluster's" in run.stderr
    assert "found 100" in run.stderr
    assert not [*tmp_path.glob("sample/runs/*")]

    doctor = mastery("doctor", *sample, *on_flink)
    assert f"Flink 1.19.3 at http://{cluster.address}" in doctor.stdout


def test_a_lost_job_manager_is_one_error(
    sample: list[str], cluster: flink.Cluster, on_flink: list[str], tmp_path: Path
) -> None:
    run = start("run", *sample, *on_flink, "--to", "ExampleGen", "--root", tmp_path)
    cluster.wait_for_job("ExampleGen", run)
    os.kill(cluster.manager.pid, signal.SIGKILL)
    printed, _ = run.communicate(timeout=300)
    assert run.returncode == 2, printed
    assert "was lost" in printed
    assert "Traceback" not in printed
    assert not job_servers(cluster)
