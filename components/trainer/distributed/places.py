"""Where the workers of a fit come from: this machine, or others that share a folder with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from components.config.training import WORKER_FOLDER
from components.node.this_machine import usable_cores
from components.trainer.distributed.processes import ThisMachine, gpus_of_this_machine
from components.trainer.distributed.remote import JoinedMachines

if TYPE_CHECKING:
    from components.config.training import Training
    from components.trainer.distributed.processes import Place


@contextmanager
def place_of(training: Training) -> Iterator[tuple[Place, Path | None]]:
    """Yields where to hire workers, and the folder that they share with this process.

    The folder is None for workers of this machine, which reach every folder.

    Raises:
        MasteryError: `training.worker_folder` cannot be used.
    """
    folder = os.environ.get(WORKER_FOLDER)
    if folder:
        yield JoinedMachines(Path(folder)), Path(folder)
        return

    on_cpu = training.device == "cpu"
    seen = 0 if on_cpu else len(tf.config.list_physical_devices("GPU"))
    yield ThisMachine(gpus_of_this_machine(seen), usable_cores()), None
