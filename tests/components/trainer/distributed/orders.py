"""Orders of tiny fits, and places whose workers are known to a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfx.components.trainer.fn_args_utils import FnArgs

from components.node.settings import TrainerSettings
from components.trainer.distributed.order import Order
from components.trainer.distributed.processes import LocalWorker, ThisMachine
from tests.components.trainer.tiny_log import SETTINGS

# Long enough for a learning rate that falls, and for a fit that ends early.
EXACT: dict[str, Any] = {
    **SETTINGS,
    "model": {**SETTINGS["model"], "dropout": 0.0},
    "training": {
        **SETTINGS["training"],
        "epochs": 12,
        "batch_size": 31,
        "learning_rate": 0.03,
        "patience": 2,
    },
}


def trained(settings: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Returns settings with other values of the section `training`."""
    return {**settings, "training": {**settings["training"], **values}}


def order_of(inputs: FnArgs, folder: Path, settings: dict[str, Any], workers: int) -> Order:
    """Returns the order of a fit."""
    folder.mkdir(parents=True)
    return Order(
        settings=TrainerSettings.model_validate(trained(settings, workers=workers)),
        train_files=inputs.train_files,
        eval_files=inputs.eval_files,
        transform_graph=inputs.transform_graph_path,
        workers=workers,
        folder=str(folder),
        logs=str(folder / "logs"),
    )


def order_without_examples(folder: Path) -> Order:
    """Returns the order of a fit that nobody will do."""
    nothing = FnArgs(train_files=[], eval_files=[], transform_graph_path=str(folder / "none"))
    return order_of(nothing, folder, SETTINGS, 2)


class Hired(ThisMachine):
    """This machine, with what it has hired.

    Args:
        started: is called with each worker after it was started.
    """

    def __init__(self, started: Callable[[LocalWorker], None] = lambda _: None) -> None:
        super().__init__([], 2)
        self.workers: list[LocalWorker] = []
        self._started = started

    def hire(self, count: int) -> list[LocalWorker]:
        """Returns workers of this machine, and remembers them."""
        hired: list[LocalWorker] = [
            _Observed(worker, self._started) for worker in super().hire(count)
        ]
        self.workers += hired
        return hired


class _Observed(LocalWorker):
    def __init__(self, worker: LocalWorker, started: Callable[[LocalWorker], None]) -> None:
        self.__dict__.update(worker.__dict__)
        self._observe = started

    def start(self, order: Path, rank: int, tf_config: str) -> None:
        super().start(order, rank, tf_config)
        self._observe(self)
