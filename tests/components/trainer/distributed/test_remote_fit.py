"""Fits that machines share: one of them is lost, and another one takes over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfx.components.trainer.fn_args_utils import FnArgs

from components.node.settings import TrainerSettings
from components.trainer.distributed.order import Order
from components.trainer.distributed.remote import JoinedMachines
from components.trainer.distributed.supervisor import TeamFit, fit_on_workers
from tests.components.trainer.distributed.agents import wait_until
from tests.components.trainer.tiny_log import SETTINGS
from tests.network_namespaces import Machine, machines

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[4]
COMMAND = [sys.executable, "-m", "pipeline.cli.main", "training-worker", "--folder"]
EPOCHS = 6
SETTINGS_OF_FIT: dict[str, Any] = {
    **SETTINGS,
    "model": {**SETTINGS["model"], "dropout": 0.0},
    "training": {
        **SETTINGS["training"],
        "workers": 2,
        "device": "cpu",
        "epochs": EPOCHS,
        "patience": EPOCHS,
        "batch_size": 31,
    },
}


@contextmanager
def agent(machine: Machine, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `mastery training-worker` on a machine, and ends it, if the test has not."""
    with subprocess.Popen(
        machine.command(*COMMAND, str(folder)),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def order_of(inputs: FnArgs, folder: Path) -> Order:
    folder.mkdir(parents=True)
    return Order(
        settings=TrainerSettings.model_validate(SETTINGS_OF_FIT),
        train_files=inputs.train_files,
        eval_files=inputs.eval_files,
        transform_graph=inputs.transform_graph_path,
        workers=2,
        folder=str(folder),
        logs=str(folder / "logs"),
    )


def fit(inputs: FnArgs, root: Path, name: str) -> TeamFit:
    return fit_on_workers(order_of(inputs, root / name), JoinedMachines(root))


def children_of(process: int) -> list[int]:
    """Returns the processes that a process has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


def test_a_machine_that_dies_is_replaced_and_the_weights_are_the_same(
    inputs: FnArgs, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, second, third = stack.enter_context(machines(3))
        stack.enter_context(agent(first, tmp_path))
        victim = stack.enter_context(agent(second, tmp_path))
        calm = fit(inputs, tmp_path, "calm")
        assert calm.lost == []

        found: list[TeamFit] = []
        disturbed = threading.Thread(target=lambda: found.append(fit(inputs, tmp_path, "other")))
        disturbed.start()
        progress = tmp_path / "other" / "attempt-1" / "progress.txt"
        wait_until(lambda: progress.exists() and f"epoch 2/{EPOCHS}" in progress.read_text())
        for process in (victim.pid, *children_of(victim.pid)):
            os.kill(process, signal.SIGKILL)
        stack.enter_context(agent(third, tmp_path))
        disturbed.join()

    [done] = found
    [lost] = done.lost
    assert lost.startswith("worker 2 on ")
    assert done.resumed_epochs[0] >= 2
    assert len(done.result.epochs) == len(calm.result.epochs) == EPOCHS
    for before, after in zip(calm.result.epochs, done.result.epochs, strict=True):
        assert after == pytest.approx(before, abs=1e-6)
    for one, other in zip(calm.weights, done.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)

    [left] = (tmp_path / "workers").iterdir()  # of the one that was killed
    assert "10.77.0.2" in (left / "registration.json").read_text()
    assert [*(tmp_path / "trainers").iterdir()] == []
