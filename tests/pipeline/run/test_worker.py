"""The worker: the files that it leaves, and the errors when it ends too early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.config import load_config
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecords, RunResult

REPOSITORY = Path(__file__).parents[3]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"
PATIENCE = 120  # seconds until a worker must have begun, even on a busy machine


@pytest.fixture
def running(tmp_path: Path) -> subprocess.Popen[str]:
    """A run on an empty log that has just begun; its worker is still loading TFX."""
    options = [f"data.{table}={tmp_path}/{table}.csv" for table in ("events", "outcomes")]
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.csv").write_text("learner_id,unit_id\n")
    where = ["--config", str(SAMPLE), "--root", f"{tmp_path}/root"]
    command = [sys.executable, "-m", "pipeline.cli.main", "run", *where]
    run = subprocess.Popen(
        [*command, *(part for option in options for part in ("--set", option))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while not [*tmp_path.glob("root/sample/runs/*/logs/start.log")]:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return run


def worker_of(run: subprocess.Popen[str]) -> int:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True, text=True, check=True
    )  # fmt: skip
    [worker] = map(int, listed.stdout.split())
    return worker


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (
            signal.SIGKILL,
            "The worker was killed, as the system does when memory runs out. Lower steps.max_steps",
        ),
        (signal.SIGSEGV, "The worker was ended by SIGSEGV inside a library."),
    ],
)
def test_the_error_names_the_signal_that_ended_the_worker(
    running: subprocess.Popen[str], tmp_path: Path, sent: signal.Signals, says: str
) -> None:
    os.kill(worker_of(running), sent)
    output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 2
    assert says in output
    assert "\nLog: " in output
    assert "Traceback" not in output
    [record] = tmp_path.glob("root/sample/runs/*/run.json")
    assert json.loads(record.read_text())["state"] == "failed"


def test_a_plan_that_cannot_be_read_is_reported_by_the_worker(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(
        '{"run": "r", "root": "/r", "config": {"name": "a", "gates": [{"min": null}]}}'
    )
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.run.worker", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=REPOSITORY,
    ) as worker:  # fmt: skip
        assert worker.wait(PATIENCE) == 1
    result = json.loads((tmp_path / "result.json").read_text())
    plan = tmp_path / "plan.json"
    assert result["error"].startswith(f"{plan}: expected plan.json of Mastery; config.")
    assert "Traceback" in Path(result["log"]).read_text()


def start(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Starts the worker, with nodes that need no TFX, on the plan of a sample."""
    plan = RunPlan(run="r", root=folder / "root", config=load_config(SAMPLE))
    plan.write(folder)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.run.fake_nodes", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=REPOSITORY, env={**os.environ, **environment},
    )  # fmt: skip


def states(folder: Path) -> dict[str, str]:
    return {node.id: node.state for node in NodeRecords.read(folder).nodes}


def test_every_node_has_a_log_and_the_result_says_where_things_are(tmp_path: Path) -> None:
    with start(tmp_path) as worker:
        assert worker.wait(PATIENCE) == 0
    assert set(states(tmp_path).values()) == {"done"}
    for node in states(tmp_path):
        assert (tmp_path / "logs" / f"{node}.log").read_text() == f"{node} prints this\n"
    result = RunResult.read(tmp_path)
    assert (result.error, result.log) == (None, None)
    assert (result.report, result.pushed_version) == (f"{tmp_path}/report.html", "/serving/18")


def test_a_node_that_raises_is_the_error_of_the_run_and_its_log_has_the_traceback(
    tmp_path: Path,
) -> None:
    with start(tmp_path, MASTERY_FAILING="Transform") as worker:
        assert worker.wait(PATIENCE) == 1
    result = RunResult.read(tmp_path)
    assert result.error == "unexpected RuntimeError: Transform is broken"
    assert result.log == f"{tmp_path}/logs/Transform.log"
    assert "Traceback" in Path(result.log).read_text()
    assert states(tmp_path)["Transform"] == "failed"
    assert states(tmp_path)["Trainer"] == "waiting"
    assert result.data is not None  # of ExampleGen, which was done


def test_a_worker_ends_with_the_command_that_started_it(tmp_path: Path) -> None:
    with start(tmp_path, MASTERY_SLOW="ExampleGen") as worker:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "nodes.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(PATIENCE) == 1
    assert states(tmp_path)["ExampleGen"] == "running"
    assert not (tmp_path / "result.json").exists()
