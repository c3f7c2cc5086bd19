"""What workers are asked to do, and what they answer: files in a folder that all of them reach.

An attempt at a fit has a folder of its own, so that a worker that was given up, and lives on
somewhere, can write into no later attempt:

    order.json       what to do (`Order`)
    checkpoint.npz   the state after the last epoch, from which another attempt can go on
    beat-1.txt       what worker 1 is doing, every second (`Pulse`)
    weights-1.txt    a digest of the weights of worker 1 after each epoch, and at the end
    progress.txt     what the chief reports, a line per report
    failure-1.json   why worker 1 gave up (`Failure`)
    log-1.txt        what worker 1 printed, where it runs on the supervisor's machine
    result.json      how the fit went (`FitResult`), written by the chief when all is done
    weights.npz      the weights of the best epoch
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from components.contracts.contract import Contract
from components.node.settings import TrainerSettings

CHECKPOINT = "checkpoint.npz"
WEIGHTS = "weights.npz"
PROGRESS = "progress.txt"

END = "end"  # in place of an epoch's number, of the weights that a worker ends with
FAILED = 3  # exit status of a worker that has written a `Failure`
PEER_LOST = 4  # of one that could not go on because another worker did not answer


def absolute_uri(path: str) -> str:
    """Returns a path as workers elsewhere need it; a URI is one already."""
    return path if "://" in path else str(Path(path).absolute())


class Order(Contract):
    """A fit, as workers get it: enough to rebuild inputs, batches and network anywhere.

    Attributes:
        settings: of the fit, with its own seed.
        train_files: patterns of transformed examples to fit to, as absolute paths or URIs.
        eval_files: the same, for early stopping.
        transform_graph: the folder of Transform's graph.
        base_model: a folder to start from, for `training.warm_start`; None for fresh weights.
        workers: how many share each batch.
        attempt: its number, from 1.
        folder: of the attempt; absolute.
        logs: a folder for TensorBoard.
        name: of the fit among several, for progress.
        resume_from: the checkpoint of an earlier attempt; None: from the start.
    """

    FILE: ClassVar[str] = "order.json"

    settings: TrainerSettings
    train_files: list[str]
    eval_files: list[str]
    transform_graph: str
    base_model: str | None = None
    workers: int
    attempt: int = 1
    folder: str
    logs: str
    name: str = ""
    resume_from: str | None = None

    @property
    def checkpoint(self) -> Path:
        """Where the chief keeps the state after the last epoch."""
        return Path(self.folder, CHECKPOINT)

    @property
    def weights(self) -> Path:
        """Where the chief writes the weights of the best epoch, by their place as `0`, `1`, ..."""
        return Path(self.folder, WEIGHTS)

    def beat(self, rank: int) -> Path:
        """Where a worker says that it lives, and how far it is."""
        return Path(self.folder, f"beat-{rank}.txt")

    def digests(self, rank: int) -> Path:
        """Where a worker writes a line after each epoch: its number, a digest of the weights.

        The last line has `END` in place of the number, and says that the worker is done. It then
        waits to be stopped: if it left, others that still exchange something could not.
        """
        return Path(self.folder, f"weights-{rank}.txt")

    def log(self, rank: int) -> Path:
        """Where what a worker prints goes."""
        return Path(self.folder, f"log-{rank}.txt")


class Failure(Contract):
    """Why a worker gave up.

    Attributes:
        kind: expected, an error that is meant for people; crash, any other.
        text: the error.
    """

    FILE: ClassVar[str] = "failure.json"

    kind: Literal["expected", "crash"]
    text: str

    @staticmethod
    def path(folder: str, rank: int) -> Path:
        """Returns where a worker writes its failure."""
        return Path(folder, f"failure-{rank}.json")


class FitResult(Contract):
    """How a fit on several workers went; see `TrainingHistory`."""

    FILE: ClassVar[str] = "result.json"

    epochs: list[dict[str, int | float | None]]
    best_epoch: int
    stopped: str
    device: str
    device_warning: str | None = None
    warm_start: str | None = None
