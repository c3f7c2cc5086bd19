"""The state of a fit after an epoch, with which other workers can go on as if nothing had been.

One file holds all of it, so that it is there whole or not at all: the variables of the network and
of the optimizer, the best weights so far, and what Keras' callbacks remember. Arrays are plain;
nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from zipfile import BadZipFile

import keras
import numpy as np

from components.contracts.contract import Contract, ContractError, Part
from components.errors import TrainingError
from components.files.atomic import new_file

if TYPE_CHECKING:
    from components.trainer.fit import FitCallbacks

_STATE = "state"


class Patience(Part):
    """What a callback that waits for a better loss remembers.

    Attributes:
        wait: epochs since the last better one.
        best: the best loss.
        cooldown: epochs in which the learning rate is left alone.
        best_epoch: the best one, from 0.
        stopped_epoch: the one after which the fit was ended, from 0; 0: none.
    """

    wait: int
    best: float | None
    cooldown: int = 0
    best_epoch: int = 0
    stopped_epoch: int = 0


class FitState(Contract):
    """How far a fit is.

    Attributes:
        epoch: epochs that are done.
        epochs: the losses and metrics of each.
        stopping: what early stopping remembers.
        decay: what the decay of the learning rate remembers; None without one.
    """

    FILE: ClassVar[str] = "checkpoint.json"

    epoch: int
    epochs: list[dict[str, int | float | None]]
    stopping: Patience
    decay: Patience | None = None

    @property
    def ended(self) -> bool:
        """Whether the fit was ended early, with this epoch."""
        return self.stopping.stopped_epoch > 0


@dataclass(frozen=True)
class Checkpoint:
    """What a file of `write_checkpoint` holds: arrays in the order of what they belong to."""

    state: FitState
    network: list[np.ndarray]
    optimizer: list[np.ndarray]
    best: list[np.ndarray]


def write_checkpoint(path: Path, network: keras.Model, callbacks: FitCallbacks, epoch: int) -> None:
    """Writes the state after `epoch` epochs, in place of an earlier one."""
    stopping, decay = callbacks.stopping, callbacks.decay
    state = FitState(
        epoch=epoch,
        epochs=callbacks.epochs.epochs,
        stopping=Patience(
            wait=stopping.wait,
            best=_as_float(stopping.best),
            best_epoch=stopping.best_epoch,
            stopped_epoch=stopping.stopped_epoch,
        ),
        decay=decay
        and Patience(wait=decay.wait, best=_as_float(decay.best), cooldown=decay.cooldown_counter),
    )
    groups = {
        "network": [variable.numpy() for variable in network.variables],
        "optimizer": [variable.numpy() for variable in network.optimizer.variables],
        "best": stopping.best_weights,
    }
    arrays = {
        f"{name}/{index}": array
        for name, group in groups.items()
        for index, array in enumerate(group)
    }
    arrays[_STATE] = np.frombuffer(state.to_json().encode(), np.uint8)
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name into a file, whole or not at all."""
    with new_file(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_state(path: Path) -> FitState:
    """Returns how far the fit of a checkpoint is.

    Raises:
        TrainingError: the file cannot be read, or is none of `write_checkpoint`.
    """
    return _read(path, whole=False).state


def read_checkpoint(path: Path) -> Checkpoint:
    """Returns what a checkpoint holds.

    Raises:
        TrainingError: the file cannot be read, or is none of `write_checkpoint`.
    """
    return _read(path, whole=True)


def _read(path: Path, *, whole: bool) -> Checkpoint:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            state = FitState.from_json(arrays[_STATE].tobytes())
            groups: dict[str, list[np.ndarray]] = {"network": [], "optimizer": [], "best": []}
            names = (name for name in arrays.files if name != _STATE and whole)
            for name in sorted(names, key=lambda name: int(name.partition("/")[2])):
                groups[name.partition("/")[0]].append(arrays[name])
    except (OSError, ValueError, KeyError, BadZipFile, ContractError) as error:
        raise TrainingError(f"{path}: the checkpoint could not be read ({error}).") from None
    return Checkpoint(state, **groups)


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Brings back the state of a fit when it begins, and writes it after every epoch.

    It has to come after the callbacks whose states it keeps.

    Args:
        callbacks: those of the fit.
        file: where the state is written; None: nowhere.
        start: the state to begin with; None: from the beginning.
    """

    def __init__(
        self, callbacks: FitCallbacks, file: Path | None, start: Checkpoint | None
    ) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._file = file
        self._start = start

    def on_train_begin(self, logs: object = None) -> None:  # noqa: ARG002
        """Brings back what callbacks remember; Keras' own have forgotten it just before."""
        if self._start is None:
            return
        state, callbacks = self._start.state, self._callbacks
        callbacks.epochs.resume(state.epochs)
        callbacks.stopping.best_weights = self._start.best
        for name in ("wait", "best", "best_epoch", "stopped_epoch"):
            setattr(callbacks.stopping, name, getattr(state.stopping, name))
        if callbacks.decay is not None and state.decay is not None:
            callbacks.decay.wait = state.decay.wait
            callbacks.decay.best = state.decay.best
            callbacks.decay.cooldown_counter = state.decay.cooldown

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Writes the state."""
        if self._file is not None:
            write_checkpoint(self._file, self.model, self._callbacks, epoch + 1)


def restore_variables(network: keras.Model, start: Checkpoint) -> None:
    """Gives a compiled network and its optimizer the values that a checkpoint has.

    Raises:
        TrainingError: they are of another network.
    """
    assign(network.variables, start.network)
    assign(network.optimizer.variables, start.optimizer)


def assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Gives variables their values, in order.

    Raises:
        TrainingError: their numbers or shapes differ.
    """
    expected, found = [tuple(item.shape) for item in variables], [item.shape for item in values]
    if expected != found:
        raise TrainingError(
            f"expected the weights of this network, found others ({len(found)} arrays for "
            f"{len(expected)} variables). Workers need the same code as the Trainer."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _as_float(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
