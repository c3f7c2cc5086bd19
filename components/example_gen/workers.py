"""ExampleGen on this machine: the tasks of a job one after the other, or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from components.event_log.learners import smallest_hashes
from components.event_log.tally import merge_tallies

if TYPE_CHECKING:
    from components.event_log.tally import Tally
    from components.example_gen.job import Job

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_job(job: Job, workers: int) -> tuple[Tally, Tally]:
    """Runs a job on this machine; returns the counts of reading and of joining.

    Args:
        job: what to do.
        workers: number of processes; 1 is this one. The results do not depend on it.
    """
    sample = None
    if job.spec.sample_learners is not None:
        hashes = _run_all(job.hash_learners, job.groups("outcomes"), workers)
        sample = job.choose_sample(smallest_hashes(hashes, job.spec.sample_learners))

    read_group = partial(job.read, sample=sample)
    read = merge_tallies(_run_all(read_group, job.groups("events", "outcomes"), workers))
    join_shard = partial(job.join, read=read)
    return read, merge_tallies(_run_all(join_shard, range(job.parts.shards), workers))


def _run_all(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterable[Result]:
    """Yields the result of each task, in their order."""
    if min(workers, len(tasks)) < 2:
        yield from map(function, tasks)
        return
    with _processes(min(workers, len(tasks))) as pool:
        yield from pool.map(function, tasks)


@contextmanager
def _processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool of fresh processes, which end with the block, or at once if it raises.

    Fresh, since Polars and TensorFlow do not survive a fork of a process that has used them.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(number, context, _begin_worker)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ends this process with the one that started it, which alone is told of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
