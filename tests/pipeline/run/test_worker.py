"""The worker: the files that it leaves, and the errors when it ends too early."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.config import load_config
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import NodeRecords, RunResult
from components.node.node_id import Node
from components.node.progress import latest_progress
from components.serving_check.standby import Standby
from pipeline.run.worker import StandbyForServing

REPOSITORY = Path(__file__).parents[3]
SAMPLE = REPOSITORY / "configs" / "sample.yaml"
WORKER = [sys.executable, "-m", "tests.pipeline.run.fake_nodes"]
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
        [sys.executable, "-m", "pipeline.run.worker", str(tmp_path), str(os.getpid())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=REPOSITORY,
    ) as worker:  # fmt: skip
        assert worker.wait(PATIENCE) == 1
    result = json.loads((tmp_path / "result.json").read_text())
    plan = tmp_path / "plan.json"
    assert result["error"].startswith(f"{plan}: expected plan.json of Mastery; config.")
    assert "Traceback" in Path(result["log"]).read_text()


def plan(folder: Path) -> None:
    """Writes the plan of a run on a sample."""
    RunPlan(run="r", root=folder / "root", config=load_config(SAMPLE)).write(folder)


def start(
    folder: Path, *, stdin: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    """Starts the worker, with nodes that need no TFX, on the plan of a sample."""
    plan(folder)
    return subprocess.Popen(
        [*WORKER, str(folder)],
        stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
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


def test_a_node_whose_process_is_killed_is_named_with_its_log(tmp_path: Path) -> None:
    with start(tmp_path, MASTERY_KILLED="Trainer") as worker:
        assert worker.wait(PATIENCE) == 1
    result = RunResult.read(tmp_path)
    assert result.error is not None
    assert result.error.startswith("Trainer was killed, as the system does when memory runs out.")
    assert result.log == f"{tmp_path}/logs/Trainer.log"
    assert states(tmp_path)["Trainer"] == "failed"


def test_the_error_is_that_of_the_first_node_and_not_of_the_fastest(tmp_path: Path) -> None:
    with start(tmp_path, MASTERY_FAILING="Transform DataGate") as worker:
        assert worker.wait(PATIENCE) == 1
    result = RunResult.read(tmp_path)
    assert result.error == "unexpected RuntimeError: DataGate is broken"
    assert result.log == f"{tmp_path}/logs/DataGate.log"


def test_the_record_of_a_node_has_its_time_and_its_memory(tmp_path: Path) -> None:
    with start(tmp_path) as worker:
        assert worker.wait(PATIENCE) == 0
    nodes = NodeRecords.read(tmp_path).nodes
    starts = [node.started for node in nodes if node.started]
    assert len(starts) == len(nodes)
    assert starts[0] == min(starts)
    for node in nodes:
        assert node.seconds is not None
        assert node.peak_mib is not None
        assert 10 < node.peak_mib < 10_000


def test_every_node_reports_its_own_progress(tmp_path: Path) -> None:
    with start(tmp_path) as worker:
        assert worker.wait(PATIENCE) == 0
    for node in states(tmp_path):
        assert latest_progress(tmp_path, node) == f"{node} reports this"


def test_only_the_trainer_sees_gpus(tmp_path: Path) -> None:
    with start(tmp_path, CUDA_VISIBLE_DEVICES="1") as worker:
        assert worker.wait(PATIENCE) == 0
    seen = {node: (tmp_path / f"{node}.runs").read_text() for node in states(tmp_path)}
    assert seen.pop("Trainer") == "1"
    assert set(seen.values()) == {"-1"}


def test_all_processes_end_with_the_command_that_started_them(tmp_path: Path) -> None:
    nodes = ["StatisticsGen", "Transform"]
    plan(tmp_path)
    script = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    read, write = os.pipe()  # each process inherits one end as its standard input
    with subprocess.Popen(
        [sys.executable, "-c", script, *WORKER, str(tmp_path)], stdin=write, cwd=REPOSITORY,
        env={**os.environ, "MASTERY_SLOW": " ".join(nodes)},
    ) as command:  # fmt: skip
        os.close(write)
        deadline = time.monotonic() + PATIENCE
        while not all((tmp_path / f"{node}.runs").exists() for node in nodes):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        command.kill()
    with os.fdopen(read, "rb", buffering=0) as held:
        assert select.select([held], [], [], PATIENCE)[0]
        assert held.read() == b""
    assert [states(tmp_path)[node] for node in nodes] == ["running", "running"]
    assert not (tmp_path / "result.json").exists()


def test_a_worker_whose_parent_ended_before_it_began_runs_nothing(tmp_path: Path) -> None:
    plan(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert ended.wait(PATIENCE) == 0
    command = [sys.executable, "-m", "pipeline.run.worker", str(tmp_path), str(ended.pid)]
    assert subprocess.run(command, cwd=REPOSITORY, timeout=PATIENCE, check=False).returncode == 1
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_of_the_worker_ends_its_nodes(tmp_path: Path, number: signal.Signals) -> None:
    read, write = os.pipe()
    with start(tmp_path, stdin=write, MASTERY_SLOW="StatisticsGen Transform") as worker:
        os.close(write)
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "Transform.runs").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        worker.send_signal(number)
    with os.fdopen(read, "rb", buffering=0) as held:
        assert select.select([held], [], [], PATIENCE)[0]


def test_the_process_for_serving_check_starts_once_and_only_for_a_new_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Path] = []

    def start_standby(folder: Path) -> Standby:
        started.append(folder)
        return Standby()

    monkeypatch.setattr("pipeline.run.worker.start_standby", start_standby)
    with StandbyForServing([Node.TRAINER]) as standby:
        standby.start_for(Node.TRAINER)
    assert started == []
    with StandbyForServing(list(Node)) as standby:
        standby.start_for(Node.TRANSFORM)
        assert started == []
        standby.start_for(Node.DATA_GATE)
        standby.start_for(Node.TRAINER)
    assert len(started) == 1


def test_where_processes_do_not_end_with_their_parent_its_closed_pipe_ends_them(
    tmp_path: Path,
) -> None:
    """Runs the worker as on macOS: nodes run in its own process, and it watches its input."""
    with start(tmp_path, MASTERY_SLOW="ExampleGen", MASTERY_LINUX="no") as worker:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "ExampleGen.runs").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(PATIENCE) == 1
    assert states(tmp_path)["ExampleGen"] == "running"
    assert not (tmp_path / "result.json").exists()


def test_without_forks_the_worker_leaves_the_same_files(tmp_path: Path) -> None:
    with start(tmp_path, MASTERY_FAILING="Trainer", MASTERY_LINUX="no") as worker:
        assert worker.wait(PATIENCE) == 1
    assert RunResult.read(tmp_path).log == f"{tmp_path}/logs/Trainer.log"
    assert RunResult.read(tmp_path).error == "unexpected RuntimeError: Trainer is broken"
    assert "Traceback" in (tmp_path / "logs" / "Trainer.log").read_text()
    assert (tmp_path / "logs" / "Transform.log").read_text() == "Transform prints this\n"
    assert latest_progress(tmp_path, "Transform") == "Transform reports this"
    assert {node.peak_mib for node in NodeRecords.read(tmp_path).nodes} == {None}
