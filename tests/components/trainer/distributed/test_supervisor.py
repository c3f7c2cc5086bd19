"""What the supervisor makes of workers that do their parts, or do not: played by threads."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import TrainingError
from components.trainer.distributed.checkpoint import write_arrays
from components.trainer.distributed.order import (
    FAILED,
    PEER_LOST,
    Failure,
    FitResult,
    Order,
)
from components.trainer.distributed.processes import LocalWorker
from components.trainer.distributed.supervisor import Bounds, fit_on_workers
from tests.components.trainer.distributed.orders import Hired, order_without_examples

FAST = Bounds(look=0.01)
Part = Callable[[Order, int], int | None]  # what a worker does; returns its exit status


class Actor:
    """A worker that does its part at once."""

    def __init__(self, number: int, part: Part) -> None:
        self.name = f"worker {number}"
        self.address = f"127.0.0.1:{number}"
        self.problem = ""
        self.stopped = 0
        self._part = part
        self._status: int | None = None

    def start(self, order: Path, rank: int, tf_config: str) -> None:
        assert f'"index": {rank}' in tf_config
        self._status = self._part(Order.read_file(order), rank)

    def poll(self) -> int | None:
        return self._status

    def stop(self) -> None:
        self.stopped += 1


class Stage:
    """Hires actors.

    Args:
        parts: of each attempt, those of its workers; the last ones are repeated.
    """

    def __init__(self, *parts: list[Part]) -> None:
        self._parts = [*parts]
        self.hired: list[list[Actor]] = []

    def hire(self, count: int) -> list[Actor]:
        parts = self._parts[min(len(self.hired), len(self._parts) - 1)]
        assert count == len(parts)
        self.hired.append([Actor(number, part) for number, part in enumerate(parts, 1)])
        return self.hired[-1]


def works(*lines: str) -> Part:
    """A worker that writes digests; as the chief, it writes how the fit went as well."""

    def part(order: Order, rank: int) -> None:
        order.digests(rank).write_text("".join(f"{line}\n" for line in lines))
        if rank == 0:
            write_arrays(order.weights, {})
            FitResult(epochs=[], best_epoch=1, stopped="", device="CPU").write(Path(order.folder))

    return part


def ends(status: int, failure: Failure | None = None) -> Part:
    """A worker that ends, and may say why."""

    def part(order: Order, rank: int) -> int:
        if failure:
            Failure.path(order.folder, rank).write_text(failure.to_json())
        return status

    return part


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return order_without_examples(tmp_path / "fit")


def test_a_fit_is_done_when_all_workers_have_the_same_weights(order: Order) -> None:
    stage = Stage([works("1 a", "end b"), works("1 a", "end b")])
    assert fit_on_workers(order, stage, FAST).lost == []
    assert all(actor.stopped for actor in stage.hired[0])


@pytest.mark.parametrize(
    ("lines", "when"), [(["1 a", "2 x", "end b"], "after epoch 2"), (["1 a", "2 b", "end x"], "at")]
)
def test_weights_that_differ_are_an_error(order: Order, lines: list[str], when: str) -> None:
    stage = Stage([works("1 a", "2 b", "end b"), works(*lines)])
    with pytest.raises(TrainingError, match=f"same weights in all workers {when}.*worker 2"):
        fit_on_workers(order, stage, FAST)
    assert all(actor.stopped for actor in stage.hired[0])


def test_an_expected_error_of_a_worker_is_told_as_it_is(order: Order) -> None:
    failure = Failure(kind="expected", text="epoch 1: expected finite losses, found loss nan.")
    stage = Stage([ends(PEER_LOST), ends(FAILED, failure)])
    with pytest.raises(TrainingError) as caught:
        fit_on_workers(order, stage, FAST)
    assert str(caught.value) == failure.text
    assert len(stage.hired) == 1


def test_a_crash_of_a_worker_is_told_without_another_attempt(order: Order) -> None:
    stage = Stage([works("1 a"), ends(FAILED, Failure(kind="crash", text="ValueError: no"))])
    with pytest.raises(TrainingError, match=r"^worker 2 failed: ValueError: no\. The log of"):
        fit_on_workers(order, stage, FAST)
    assert len(stage.hired) == 1


def test_the_worker_that_was_killed_is_named_not_the_one_that_misses_it(order: Order) -> None:
    good = [works("end b"), works("end b")]
    stage = Stage([ends(PEER_LOST), ends(-signal.SIGKILL)], good)
    done = fit_on_workers(order, stage, FAST)
    assert done.lost == ["worker 2 was lost in epoch 1 (killed by SIGKILL); starting again"]
    assert done.resumed_epochs == [0]
    assert [len(hired) for hired in stage.hired] == [2, 2]


def test_workers_that_never_meet_are_given_up(order: Order) -> None:
    def joins(order: Order, rank: int) -> None:
        order.beat(rank).write_text("1 joining 0\n")

    with pytest.raises(TrainingError, match=r"3 attempts.*did not reach one another within 0 s"):
        fit_on_workers(order, Stage([joins, joins]), Bounds(look=0.01, joining=0.05))


@pytest.mark.parametrize("steps", [0, 5])
def test_workers_that_make_no_step_are_given_up(order: Order, steps: int) -> None:
    def fits(order: Order, rank: int) -> None:
        order.beat(rank).write_text(f"9 fitting {steps}\n")

    with pytest.raises(TrainingError, match=r"worker 1, worker 2 were lost.*no step was done"):
        fit_on_workers(order, Stage([fits, fits]), Bounds(look=0.01, stuck=0.05))


def test_workers_that_are_killed_again_and_again_end_in_one_clear_error(order: Order) -> None:
    def kill(worker: LocalWorker) -> None:
        os.kill(worker.pid, signal.SIGKILL)

    place = Hired(kill)
    with pytest.raises(
        TrainingError,
        match=r"^training\.workers: gave up after 3 attempts without another epoch; the last "
        r"time, worker 1 \(pid \d+\).* lost in epoch 1 \(killed by SIGKILL\)",
    ):
        fit_on_workers(order, place, FAST)
    assert len(place.workers) == 6
    assert all(worker.poll() == -signal.SIGKILL for worker in place.workers)
