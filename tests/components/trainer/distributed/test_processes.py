from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.errors import TrainingError
from components.trainer.distributed.processes import (
    ThisMachine,
    gpus_of_this_machine,
    worker_command,
    worker_environment,
)
from tests.components.trainer.distributed.orders import Hired, order_without_examples

ROOT = Path(__file__).parents[4]


def test_each_worker_gets_a_gpu_of_its_own() -> None:
    workers = ThisMachine(["2", "3", "5"], 8).hire(2)
    assert [worker.gpu for worker in workers] == ["2", "3"]
    assert [worker.threads for worker in workers] == [4, 4]
    assert workers[0].address != workers[1].address


def test_more_workers_than_gpus_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"one per GPU, found 2 with 1 GPU\. .*device: cpu"):
        ThisMachine(["0"], 8).hire(2)


def test_a_worker_runs_our_code_whatever_is_in_the_current_folder(tmp_path: Path) -> None:
    other = tmp_path / "components"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('another package')")
    command = worker_command(Path("order.json"), 0, "--help")
    done = subprocess.run(
        command, cwd=tmp_path, env=worker_environment("{}"), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_workers_on_the_cpu_share_its_cores() -> None:
    workers = ThisMachine([], 5).hire(2)
    assert [(worker.gpu, worker.threads) for worker in workers] == [(None, 2), (None, 2)]
    assert ThisMachine([], 1).hire(3)[2].threads == 1


def test_gpus_that_the_process_may_use_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_of_this_machine(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a, 3")
    assert gpus_of_this_machine(2) == ["GPU-8a", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus_of_this_machine(0) == []


def test_a_worker_prints_into_its_log_and_is_stopped(tmp_path: Path) -> None:
    order = order_without_examples(tmp_path / "fit")
    file = order.write(Path(order.folder))
    [worker] = Hired().hire(1)
    assert worker.name == "worker 1"
    worker.start(file, 0, "{}")
    assert worker.name == f"worker 1 (pid {worker.pid})"
    try:
        deadline = time.monotonic() + 60
        while not order.beat(0).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert worker.poll() is None
    finally:
        worker.stop()
    assert worker.poll() == -signal.SIGKILL
    assert order.log(0).exists()
    worker.stop()


def test_workers_end_when_who_started_them_is_killed(tmp_path: Path) -> None:
    order = order_without_examples(tmp_path / "fit")
    code = (
        "import sys; from pathlib import Path\n"
        "from components.trainer.distributed.order import Order\n"
        "from components.trainer.distributed.processes import ThisMachine\n"
        "[one, two] = ThisMachine([], 2).hire(2)\n"
        "for rank, worker in enumerate((one, two)): worker.start(Path(sys.argv[1]), rank, '{}')\n"
        "print(one.pid, two.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(order.write(Path(order.folder)))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as supervisor:
        assert supervisor.stdout
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert all(map(_runs, pids))
        supervisor.kill()

    deadline = time.monotonic() + 60
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
