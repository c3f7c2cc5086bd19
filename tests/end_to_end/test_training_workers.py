"""A run whose fit is shared by other machines, one of which is lost in the middle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from components.contracts.training_history import TrainingHistory
from tests.end_to_end.conftest import COMMAND, environment
from tests.network_namespaces import Machine, machines

pytestmark = pytest.mark.slow

EPOCHS = 6
PATIENCE = 600  # seconds until something of a run must have happened
SETTINGS = [
    "training.workers=2",
    f"training.epochs={EPOCHS}",
    f"training.patience={EPOCHS}",
    "training.device=cpu",
    "model.dropout=0",  # masks differ by worker; everything else is as with one
]


@contextmanager
def agent(machine: Machine, folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `mastery training-worker` on a machine, and ends it, if the test has not."""
    command = machine.command(*COMMAND, "training-worker", "--folder", str(folder))
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment()) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def options(sample: list[str], root: Path, folder: Path) -> list[str]:
    settings = [*SETTINGS, f"training.worker_folder={folder}"]
    given = [part for setting in settings for part in ("--set", setting)]
    return ["run", *sample, *given, "--root", str(root)]


def history_of(root: Path) -> TrainingHistory:
    [file] = root.glob(f"**/{TrainingHistory.FILE}")
    return TrainingHistory.read_file(file)


def wait_for(pattern: str, root: Path) -> None:
    """Waits until the Trainer of the only run has reported something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reported = [file.read_text() for file in root.glob("*/runs/*/progress/Trainer.txt")]
        if any(re.search(pattern, text) for text in reported):
            return
        assert time.monotonic() < deadline, reported
        time.sleep(0.2)


def children_of(process: int) -> list[int]:
    """Returns the processes that a process has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


def test_a_run_goes_on_when_a_machine_of_its_workers_is_lost(
    sample: list[str], tmp_path: Path
) -> None:
    root, folder = tmp_path / "root", tmp_path / "workers"
    folder.mkdir()
    with ExitStack() as stack:
        first, second, third = stack.enter_context(machines(3))
        logs = [tmp_path / f"agent-{number}.txt" for number in (1, 2, 3)]
        stack.enter_context(agent(first, folder, logs[0]))
        victim = stack.enter_context(agent(second, folder, logs[1]))

        command = [*COMMAND, *options(sample, root, folder)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        ) as run:
            wait_for(f"epoch 2/{EPOCHS}", root)
            for process in (victim.pid, *children_of(victim.pid)):
                os.kill(process, signal.SIGKILL)
            wait_for("waiting for 1 of 2 training workers", root)
            stack.enter_context(agent(third, folder, logs[2]))
            output, _ = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, output

    history = history_of(root)
    assert (history.workers, len(history.epochs)) == (2, EPOCHS)
    [lost] = history.lost_workers
    assert lost.startswith("worker 2 on ")
    assert "process" in logs[2].read_text()

    # Stopped agents leave nothing; what is left of the killed one is its own.
    [left] = (folder / "workers").iterdir()
    assert "10.77.0.2" in (left / "registration.json").read_text()
    assert [*(folder / "trainers").iterdir()] == []
    assert {path.name for path in folder.iterdir()} == {"workers", "trainers"}
