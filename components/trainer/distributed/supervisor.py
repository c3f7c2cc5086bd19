"""Has workers fit a network, and starts again from the last epoch when one of them is lost.

The supervisor belongs to no cluster. TensorFlow's exchange does not recover in a process whose
partner has gone; so all workers are stopped then, and fresh processes go on from the checkpoint.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.command.explain import as_sentence
from components.contracts.contract import ContractError
from components.errors import TrainingError
from components.node.progress import report_progress
from components.trainer.distributed.checkpoint import read_state
from components.trainer.distributed.order import (
    END,
    FAILED,
    PEER_LOST,
    PROGRESS,
    Failure,
    FitResult,
    Order,
)

if TYPE_CHECKING:
    from components.trainer.distributed.processes import Place, Worker

SHOWN = 20  # lines of the log of a worker that was lost


@dataclass(frozen=True)
class Bounds:
    """How long to wait for workers, in seconds, and how often to try.

    Attributes:
        attempts: in a row that end before another epoch is done.
        look: between two looks at the workers.
        silent: without a sign of life from a worker that has started.
        joining: until all workers have started and reached one another.
        stuck: without a step by any worker, once all of them fit.
    """

    attempts: int = 3
    look: float = 0.25
    silent: float = 60.0
    joining: float = 600.0
    stuck: float = 900.0


@dataclass(frozen=True)
class TeamFit:
    """How a fit on several workers went.

    Attributes:
        result: what the chief wrote.
        weights: of the best epoch, in the order of the network's.
        lost: for people, which workers were lost, when and why.
        resumed_epochs: the epochs that were gone on from; 0: the start.
    """

    result: FitResult
    weights: list[np.ndarray]
    lost: list[str] = field(default_factory=list)
    resumed_epochs: list[int] = field(default_factory=list)


def fit_on_workers(order: Order, place: Place, bounds: Bounds | None = None) -> TeamFit:
    """Fits on as many workers as the order says, and returns how that went.

    Whatever happens, no worker is left.

    Args:
        order: the fit. Attempts get folders inside its folder.
        place: where workers come from.
        bounds: how patient to be.

    Raises:
        TrainingError: the fit failed as one by a single process would have, workers were lost too
            often, or they do not have the same weights.
    """
    bounds = bounds or Bounds()
    lost: list[str] = []
    resumed: list[int] = []
    done, in_vain, checkpoint = 0, 0, None
    while True:
        number = len(lost) + 1
        folder = Path(order.folder, f"attempt-{number}")
        attempt = order.model_copy(
            update={"attempt": number, "folder": str(folder), "resume_from": checkpoint}
        )
        loss = _try(attempt, place, bounds)
        if loss is None:
            return TeamFit(FitResult.read(folder), _read_weights(attempt), lost, resumed)

        before = done
        if attempt.checkpoint.exists():
            checkpoint, done = str(attempt.checkpoint), read_state(attempt.checkpoint).epoch
        in_vain = 1 if done > before else in_vain + 1
        text = f"{loss.who} lost in epoch {done + 1} ({loss.why})"
        if in_vain >= bounds.attempts:
            raise TrainingError(
                f"training.workers: gave up after {in_vain} attempts without another epoch; the "
                f"last time, {text}. The log of this node has the last lines of the worker's. "
                "If memory is short, lower training.workers or training.batch_size."
            )

        text += f"; resuming from epoch {done}" if done else "; starting again"
        logging.getLogger(__name__).warning("%s", text)
        report_progress(f"{order.name}  {text}" if order.name else text)
        lost.append(text)
        resumed.append(done)


@dataclass(frozen=True)
class _Loss:
    """Why an attempt has to end: `worker 2 (pid 4711) was`, and what happened to it."""

    who: str
    why: str


def _try(order: Order, place: Place, bounds: Bounds) -> _Loss | None:
    """Makes one attempt; returns whom it lost, None if it succeeded."""
    order.write(Path(order.folder))
    with _started(order, place) as workers:
        return _Watch(order, workers, bounds).to_end()


@contextmanager
def _started(order: Order, place: Place) -> Iterator[Sequence[Worker]]:
    """Starts workers, and stops them at the end of the block."""
    workers = place.hire(order.workers)
    addresses = [worker.address for worker in workers]
    file = Path(order.folder, order.FILE)
    try:
        for rank, worker in enumerate(workers):
            task = {"type": "worker", "index": rank}
            tf_config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            worker.start(file, rank, tf_config)
        yield workers
    finally:
        for worker in workers:
            worker.stop()


class _Watch:
    """Watches the workers of an attempt."""

    def __init__(self, order: Order, workers: Sequence[Worker], bounds: Bounds) -> None:
        self._order = order
        self._workers = workers
        self._bounds = bounds
        self._reported = 0
        now = time.monotonic()
        self._began = now
        self._beats = ["" for _ in workers]
        self._heard = [now for _ in workers]
        self._got_to = ["" for _ in workers]  # phase and steps of each
        self._got_on = now
        self._missed: float | None = None  # when a worker first missed another one

    def to_end(self) -> _Loss | None:
        """Waits for the end; returns whom the attempt has lost, None if it succeeded.

        Raises:
            TrainingError: a worker gave up, or weights differ.
        """
        while True:
            self._report()
            ended = self._compare_weights()
            if ended and (Path(self._order.folder) / FitResult.FILE).exists():
                self._report()
                return None
            loss = self._dead() or self._silent() or self._stuck()
            if loss:
                self._compare_weights()
                return loss
            time.sleep(self._bounds.look)

    def _report(self) -> None:
        """Passes on what the chief has reported."""
        file = Path(self._order.folder, PROGRESS)
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        whole, _, _ = text.rpartition("\n")
        lines = whole.split("\n") if whole else []
        for line in lines[self._reported :]:
            report_progress(line)
        self._reported = len(lines)

    def _compare_weights(self) -> bool:
        """Returns whether all workers have ended.

        Raises:
            TrainingError: the weights of two workers differ after an epoch.
        """
        known = [_digests(self._order.digests(rank)) for rank in range(len(self._workers))]
        for epoch, digest in known[0].items():
            others = zip(self._workers[1:], known[1:], strict=True)
            wrong = [worker.name for worker, its in others if its.get(epoch, digest) != digest]
            if wrong:
                when = "at the end" if epoch == END else f"after epoch {epoch}"
                raise TrainingError(
                    f"training.workers: expected the same weights in all workers {when}, found "
                    f"others in {', '.join(wrong)} than in {self._workers[0].name}. Machines may "
                    "differ in versions of libraries, or a machine computes wrongly."
                )
        return all(END in its for its in known)

    def _dead(self) -> _Loss | None:
        """Returns the workers whose processes have ended.

        Raises:
            TrainingError: one gave up and said why.
        """
        found = [(worker, worker.poll()) for worker in self._workers]
        statuses = [(worker, status) for worker, status in found if status is not None]
        if not statuses:
            return None
        for rank, (worker, status) in enumerate(found):
            if status == FAILED:
                self._raise(rank, worker)

        # Those that only miss another one, or that TensorFlow aborts for that, come last.
        gone = [item for item in statuses if item[1] not in (PEER_LOST, -signal.SIGABRT)]
        frozen = [
            worker
            for (worker, status), heard in zip(found, self._listen(), strict=True)
            if status is None and time.monotonic() - heard > self._bounds.silent / 4
        ]
        if not gone and frozen:
            return _loss(frozen, "not heard from, and others lost their connection to it")
        if not gone and len(statuses) < len(found) and not self._is_overdue():
            return None  # it will be known whose connection it was
        gone = gone or statuses
        for rank, (_, status) in enumerate(found):
            if status is not None:
                self._log(rank)
        return _loss([worker for worker, _ in gone], gone[0][0].problem or _explain(gone[0][1]))

    def _is_overdue(self) -> bool:
        """Returns whether the first worker to miss another one did so long ago."""
        now = time.monotonic()
        self._missed = self._missed or now
        return now - self._missed > self._bounds.silent / 2

    def _silent(self) -> _Loss | None:
        """Returns the workers that have shown no sign of life for too long."""
        limit = time.monotonic() - self._bounds.silent
        silent = [
            worker
            for worker, heard, beat in zip(self._workers, self._listen(), self._beats, strict=True)
            # While libraries are loaded, a process may not get to say anything for long.
            if heard < limit and _phase(beat) != "starting"
        ]
        why = f"not heard from for {self._bounds.silent:.0f} s"
        return _loss(silent, why) if silent else None

    def _stuck(self) -> _Loss | None:
        """Returns all workers if they live, but have not met, or have not got on, for too long."""
        now = time.monotonic()
        phases = [_phase(beat) for beat in self._beats]
        apart = any(phase in ("starting", "joining") for phase in phases)
        if apart and now - self._began > self._bounds.joining:
            why = f"they did not reach one another within {self._bounds.joining:.0f} s"
            return _loss(self._workers, why)
        # Also before the first step, which comes after an exchange that a firewall may swallow. A
        # worker that still reads its examples may take long, and the others wait for it.
        fitting = all(phase == "fitting" for phase in phases)
        if fitting and now - self._got_on > self._bounds.stuck:
            why = f"no step was done in {self._bounds.stuck:.0f} s"
            return _loss(self._workers, why)
        return None

    def _listen(self) -> list[float]:
        """Returns when each worker was last heard from, a time of `time.monotonic`.

        What counts is that its line has changed, not the time of the file: clocks of machines
        differ.
        """
        now = time.monotonic()
        for rank in range(len(self._workers)):
            file = self._order.beat(rank)
            beat = file.read_text(encoding="utf-8") if file.exists() else ""
            if beat in ("", self._beats[rank]):
                continue
            self._beats[rank], self._heard[rank] = beat, now

        got_to = [beat.partition(" ")[2] for beat in self._beats]
        if got_to != self._got_to:
            self._got_to, self._got_on = got_to, now
        return self._heard

    def _raise(self, rank: int, worker: Worker) -> None:
        """Raises what a worker said before it gave up."""
        failure = Failure.read_file(Failure.path(self._order.folder, rank))
        if failure.kind == "expected":
            raise TrainingError(failure.text)
        self._log(rank)
        raise TrainingError(
            f"{worker.name} failed: {as_sentence(failure.text)} The log of this node has the last "
            "lines of the worker's."
        )

    def _log(self, rank: int) -> None:
        """Logs what a worker printed last, if it is here."""
        file = self._order.log(rank)
        if not file.exists():
            return
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
        text = "\n".join([f"{self._workers[rank].name}, the last lines of its log:", *lines])
        logging.getLogger(__name__).warning("%s", text)


def _phase(beat: str) -> str:
    """Returns the phase in a line of a `Pulse`."""
    parts = beat.split()
    return parts[1] if len(parts) > 1 else "starting"


def _loss(workers: Sequence[Worker], why: str) -> _Loss:
    names = ", ".join(worker.name for worker in workers)
    return _Loss(f"{names} {'was' if len(workers) == 1 else 'were'}", why)


def _explain(status: int) -> str:
    """Returns why a process has ended, in words."""
    if status == PEER_LOST:
        return "its connection to another worker broke"
    if status >= 0:
        return f"it ended with exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _digests(file: Path) -> dict[str, str]:
    """Returns the digests that a worker has written so far, by epoch."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    whole, _, _ = text.rpartition("\n")
    return dict(line.split() for line in whole.split("\n")) if whole else {}


def _read_weights(order: Order) -> list[np.ndarray]:
    """Returns the best weights, which the chief has written.

    Raises:
        ContractError: they cannot be read.
    """
    try:
        with np.load(order.weights, allow_pickle=False) as arrays:
            return [arrays[str(index)] for index in range(len(arrays.files))]
    except (OSError, ValueError, KeyError) as error:
        raise ContractError(f"{order.weights}: could not be read ({error}).") from None
