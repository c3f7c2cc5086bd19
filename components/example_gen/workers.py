"""ExampleGen on this machine: runs the tasks of a job one after the other, or in several threads.

Threads are enough: Polars, tfx-bsl's coder and zlib do most of the work, and let other threads run
meanwhile. Processes would first import them, which takes longer than it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        workers: number of threads. The results do not depend on it.
    """
    sample = None
    if job.spec.sample_learners is not None:
        hashes = _run_all(job.hash_learners, job.groups(job.asking), workers)
        sample = job.choose_sample(smallest_hashes(hashes, job.spec.sample_learners))

    read_group = partial(job.read, sample=sample)
    read = merge_tallies(_run_all(read_group, job.reading, workers))
    join_shard = partial(job.join, read=read)
    return read, merge_tallies(_run_all(join_shard, range(job.parts.shards), workers))


def _run_all(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yields the result of each task, in their order; after an error no other task begins."""
    if workers == 1:
        yield from map(function, tasks)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="example-gen")
    try:
        yield from pool.map(function, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
