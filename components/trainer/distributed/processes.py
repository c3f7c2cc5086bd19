"""Workers as processes of this machine: one per GPU, or several that share the CPU's cores.

`Worker` and `Place` are what the supervisor knows of workers, wherever they run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import components
from components.errors import TrainingError
from components.node.progress import PROGRESS_FILE
from components.node.this_machine import free_ports
from components.trainer.distributed.order import Order

MODULE = "components.trainer.distributed.worker"  # the main of a worker's process

_LOOPBACK = "127.0.0.1"


class Worker(Protocol):
    """A process that takes part in one attempt, and is not used again."""

    @property
    def name(self) -> str:
        """For people: `worker 2 (pid 4711)`, `worker 2 on host-b`; complete once it was started."""

    @property
    def address(self) -> str:
        """`host:port` that the other workers reach."""

    @property
    def problem(self) -> str:
        """Why it ended, where the exit status does not say it; otherwise empty."""

    def start(self, order: Path, rank: int, tf_config: str) -> None:
        """Starts the worker.

        Args:
            order: the file of the `Order`.
            rank: which of the workers it is, from 0; 0 is the chief.
            tf_config: TensorFlow's description of the cluster, the variable `TF_CONFIG`.
        """

    def poll(self) -> int | None:
        """Returns its exit status; None while it runs. A machine not heard from counts as lost."""

    def stop(self) -> None:
        """Ends the worker at once, whatever it is doing; may be called again, and before start."""


class Place(Protocol):
    """Where workers come from."""

    def hire(self, count: int) -> Sequence[Worker]:
        """Returns that many workers, not started yet, for one attempt.

        It may wait for machines to join, and reports what it waits for.

        Raises:
            TrainingError: there are not that many.
        """


def worker_command(order: Path, rank: int, *options: str) -> list[str]:
    """Returns the command of a worker's process, for `worker_environment`."""
    # -P: none of our packages is taken from the folder in which somebody has started this process.
    return [sys.executable, "-P", "-m", MODULE, str(order), "--rank", str(rank), *options]


def worker_environment(tf_config: str, **more: str) -> dict[str, str]:
    """Returns this process's environment, extended to find our packages and the other workers."""
    root = Path(components.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "TF_CONFIG": tf_config, **more}
    environment.pop(PROGRESS_FILE, None)  # the supervisor passes on what the chief reports
    return environment


class LocalWorker:
    """A process of this machine.

    Its standard input is a pipe that this process holds open: the worker ends when it closes, which
    it does whenever and however this process ends.

    Args:
        number: of the worker, from 1, for its name.
        port: a free port.
        gpu: the GPU that it gets, as `CUDA_VISIBLE_DEVICES` names it; None: the CPU.
        threads: how many cores it may use.

    Attributes:
        gpu: as above.
        threads: as above.
    """

    def __init__(self, number: int, port: int, gpu: str | None, threads: int) -> None:
        self.address = f"{_LOOPBACK}:{port}"
        self.problem = ""
        self._number = number
        self.gpu = gpu
        self.threads = threads
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Its number and, once it was started, its process."""
        process = f" (pid {self._process.pid})" if self._process else ""
        return f"worker {self._number}{process}"

    @property
    def pid(self) -> int:
        """Its process number, once it was started."""
        assert self._process
        return self._process.pid

    def start(self, order: Path, rank: int, tf_config: str) -> None:
        """Starts the process; what it prints goes to a file in the attempt's folder."""
        command = worker_command(order, rank, "--threads", str(self.threads))
        visible = "-1" if self.gpu is None else self.gpu
        environment = worker_environment(tf_config, CUDA_VISIBLE_DEVICES=visible)
        with Order.read_file(order).log(rank).open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def poll(self) -> int | None:
        """Returns its exit status; None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Kills the process and waits for its end."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


class ThisMachine:
    """Hires processes of this machine.

    Args:
        gpus: the GPUs to use, as `CUDA_VISIBLE_DEVICES` names them; none: the CPU.
        cores: how many cores there are to share.
    """

    def __init__(self, gpus: Sequence[str], cores: int) -> None:
        self.gpus = gpus
        self._cores = cores

    def hire(self, count: int) -> list[LocalWorker]:
        """Returns processes to start, each with a GPU of its own if there are GPUs.

        Raises:
            TrainingError: there are GPUs, but fewer than workers.
        """
        if self.gpus and count > len(self.gpus):
            found = "1 GPU" if len(self.gpus) == 1 else f"{len(self.gpus)} GPUs"
            raise TrainingError(
                f"training.workers: expected at most one per GPU, found {count} with {found}. "
                "Lower it, or fit on the CPU with training.device: cpu."
            )

        threads = max(1, self._cores // count)
        ports = free_ports(count, _LOOPBACK)
        gpus: Sequence[str | None] = self.gpus or [None] * count
        return [
            LocalWorker(number, port, gpu, threads)
            for number, (port, gpu) in enumerate(zip(ports, gpus, strict=False), 1)
        ]


def gpus_of_this_machine(seen: int) -> list[str]:
    """Returns the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        seen: how many TensorFlow sees.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in named.split(",")] if named else map(str, range(seen))
    return [*names][:seen]
