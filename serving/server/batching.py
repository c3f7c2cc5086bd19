"""Micro-batching: concurrent requests to one signature share one call of the graph.

A request that comes alone is answered at once. While a batch is computed, requests gather; the
next batch takes as many as fit. If the last batch had several requests, the next one waits for as
many, but no longer than the timeout. Otherwise, clients that send a request after each answer
would split into one early request and a late crowd.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from grpc import StatusCode

from components.contracts.names import NUM_STEPS
from serving.server.model_signatures import Array, Arrays, Signature
from serving.server.request_error import RequestError

if TYPE_CHECKING:
    from serving.prediction_log.recorder import Asked
    from serving.server.server_settings import Limits

FEW_ROWS = 8  # of a lone request that may be computed in the event loop
# Seconds: a batch as fast as this is computed in the event loop; a change of threads and back takes
# a millisecond on a busy machine.
QUICK = 0.02
SOON = 0.0015  # seconds after an answer: too soon to be a follow-up, so it was already queued
CROWD = 0.2  # seconds to assume concurrent clients after they were last seen
SMALLEST_WIDTH = 64  # steps: shorter requests are padded to one another; longer ones within 2x

Run = Callable[[Arrays], Arrays]
Observe = Callable[[float, int, int, list[float]], None]
Record = Callable[[Arrays, Arrays, Sequence[tuple["Asked", int]]], None]


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request in the queue."""

    asked: Asked
    inputs: Arrays
    rows: int
    kind: Hashable  # requests of one kind can share a call
    answer: asyncio.Future[Arrays]
    since: float


@dataclass(slots=True)
class _Computed:
    """A computed batch.

    Attributes:
        answers: answers or errors in the order of the requests.
        started: when computing began.
        records: what there is to record: inputs, outputs, and the requests with their numbers of
            rows.
    """

    answers: list[Arrays | Exception]
    started: float
    records: list[tuple[Arrays, Arrays, Sequence[tuple[Asked, int]]]]


class Batcher:
    """Answers the requests to one signature of one version; belongs to one event loop."""

    def __init__(
        self,
        signature: Signature,
        run: Run,
        executor: Executor,
        limits: Limits,
        threads: int,
        is_alone: Callable[[], bool],
        observe: Observe,
        record: Record | None = None,
    ) -> None:
        """Makes an empty queue.

        Args:
            signature: the signature that has checked the requests.
            run: computes a batch, in a thread.
            executor: the threads.
            limits: sizes and the timeout.
            threads: how many batches are computed at the same time.
            is_alone: returns whether exactly one request is in progress in the whole server.
            observe: called after each batch with its seconds, requests, rows, and the seconds that
                each request had waited.
            record: called with each batch's inputs, outputs, and requests with their numbers of
                rows, before any of them is answered.
        """
        self._signature = signature
        self._run = run
        self._executor = executor
        self._limits = limits
        self._is_alone = is_alone
        self._observe = observe
        self._record = record

        self._free = threads
        self._queue: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._running: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

        # Learned from the last batch, for the next one.
        self._expected = 1  # how many requests to wait for
        self._is_quick = False
        self._crowded_until = 0.0
        self._answered_here = 0.0  # when the loop last computed, and could not count arrivals

    async def submit(self, inputs: Arrays, rows: int, asked: Asked) -> Arrays:
        """Answers one request.

        Args:
            inputs: arrays that the signature has checked.
            rows: their number of rows.
            asked: the request, for the prediction log.

        Raises:
            RequestError: too many rows are waiting, or the graph refuses the request.
        """
        if self._queued_rows and self._queued_rows + rows > self._limits.max_queue_rows:
            raise RequestError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{self._queued_rows} rows are waiting; try again later.",
            )

        answer: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()
        now = time.perf_counter()
        if now - self._answered_here < SOON:
            self._crowded_until = now + CROWD
        kind = batch_kind(self._signature, inputs)
        self._queue.append(_Waiting(asked, inputs, rows, kind, answer, now))
        self._queued_rows += rows
        self._start_batches()
        return await answer

    async def drain(self) -> None:
        """Returns when nothing is waiting or running."""
        while self._queue or self._running:
            await asyncio.sleep(0.005)

    def _start_batches(self) -> None:
        """Starts as many batches as there are free threads, or sets the timer that will."""
        while self._free and self._queue:
            is_enough = (
                len(self._queue) >= self._expected
                or self._queued_rows >= self._limits.max_batch_rows
            )
            if is_enough or self._limits.batch_timeout <= 0:
                self._start_batch()
                continue

            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._limits.batch_timeout, self._stop_waiting)
            return

    def _stop_waiting(self) -> None:
        self._timer = None
        if self._free and self._queue:
            self._start_batch()
            self._start_batches()

    def _start_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._take()
        if not batch:
            return

        self._expected = len(batch)
        if len(batch) > 1:
            self._crowded_until = time.perf_counter() + CROWD
        elif not self._queue and self._may_compute_here(batch[0]):
            self._compute_here(batch)
            return

        self._free -= 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._compute, batch)
        self._running.add(future)
        future.add_done_callback(lambda done: self._finish(batch, done))

    def _take(self) -> list[_Waiting]:
        """Takes the oldest request and others of its kind, in their order, as long as they fit."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        rows = 0
        most = self._limits.max_batch_rows
        while self._queue and rows < most:
            item = self._queue.popleft()
            if item.answer.done():  # its caller has gone
                self._queued_rows -= item.rows
                continue

            is_alike = not batch or item.kind == batch[0].kind
            if batch and (not is_alike or rows + item.rows > most):
                others.append(item)
                continue
            batch.append(item)
            rows += item.rows
            if not self._signature.is_row_wise:
                break

        self._queue.extendleft(reversed(others))
        self._queued_rows -= rows
        return batch

    def _may_compute_here(self, item: _Waiting) -> bool:
        is_short = item.rows <= FEW_ROWS and self._is_quick
        return is_short and time.perf_counter() > self._crowded_until and self._is_alone()

    def _compute_here(self, batch: Sequence[_Waiting]) -> None:
        """Computes in the event loop, which has nothing else to do."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(self._compute(batch))
        self._free -= 1
        self._finish(batch, done)
        self._answered_here = time.perf_counter()

    def _compute(self, batch: Sequence[_Waiting]) -> _Computed:
        """Computes the answers, in a thread."""
        computed = _Computed([], time.perf_counter(), [])
        if len(batch) > 1:
            try:
                self._together(batch, computed)
                return computed
            except Exception:  # a request is wrong; the others must not fail with it
                pass
        for item in batch:
            self._alone(item, computed)
        return computed

    def _together(self, batch: Sequence[_Waiting], computed: _Computed) -> None:
        inputs = join_requests([item.inputs for item in batch], self._signature.step_inputs)
        outputs = self._run(inputs)

        ends = np.cumsum([item.rows for item in batch])
        if any(len(values) != ends[-1] for values in outputs.values()):
            raise ValueError("expected as many rows in every output as in the inputs")
        computed.records.append((inputs, outputs, [(item.asked, item.rows) for item in batch]))
        computed.answers = [
            {name: values[end - item.rows : end] for name, values in outputs.items()}
            for item, end in zip(batch, ends.tolist(), strict=True)
        ]

    def _alone(self, item: _Waiting, computed: _Computed) -> None:
        try:
            outputs = self._run(item.inputs)
        except Exception as error:
            computed.answers.append(error)
            return
        computed.records.append((item.inputs, outputs, [(item.asked, item.rows)]))
        computed.answers.append(outputs)

    def _finish(self, batch: Sequence[_Waiting], done: asyncio.Future[Any]) -> None:
        """Starts the next batch, then records the answers and passes them on."""
        self._free += 1
        self._running.discard(done)
        answers = self._answers(batch, done)
        self._start_batches()
        if self._record is not None and not done.cancelled():
            # Here, not in the thread: the graph computes the next batch meanwhile, and writing
            # costs the thread its turn with the interpreter.
            for record in done.result().records:
                self._record(*record)
        for item, answer in zip(batch, answers, strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, Exception):
                item.answer.set_exception(answer)
            else:
                item.answer.set_result(answer)

    def _answers(
        self, batch: Sequence[_Waiting], done: asyncio.Future[Any]
    ) -> Sequence[Arrays | Exception]:
        if done.cancelled():
            stopping = RequestError(StatusCode.UNAVAILABLE, "the server is stopping.")
            return [stopping] * len(batch)

        computed: _Computed = done.result()
        started = computed.started
        seconds = time.perf_counter() - started
        self._is_quick = seconds < QUICK
        rows = sum(item.rows for item in batch)
        self._observe(seconds, len(batch), rows, [started - item.since for item in batch])
        return computed.answers


def batch_kind(signature: Signature, inputs: Arrays) -> Hashable:
    """Returns what requests must have in common to share a call."""
    steps = signature.step_inputs
    widths = {inputs[name].shape[1] for name in steps}
    if len(widths) > 1:  # the graph decides how many steps count; padding would change that
        return object()
    if not widths:
        return tuple(values.shape[1:] for values in inputs.values())

    # Widths within a factor of two: otherwise, padding could take any amount of memory.
    width = max(SMALLEST_WIDTH, widths.pop())
    rest = tuple(values.shape[1:] for name, values in inputs.items() if name not in steps)
    return ((width - 1).bit_length(), *rest)


def join_requests(requests: Sequence[Arrays], step_inputs: Sequence[str]) -> Arrays:
    """Concatenates requests along their rows, padding their steps to the longest.

    Args:
        requests: inputs by name.
        step_inputs: names of those [rows, steps], whose number of steps is in `num_steps`. Within
            a request they are equally wide.
    """
    widths = [request[name].shape[1] for request in requests for name in step_inputs]
    widest = max(widths, default=0)
    joined: Arrays = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        if name in step_inputs:
            parts = [_padded(part, widest) for part in parts]
        elif name == NUM_STEPS and step_inputs:
            # Alone, a request has at most as many steps as it is wide; now it is padded.
            limits = [request[step_inputs[0]].shape[1] for request in requests]
            parts = [np.minimum(part, limit) for part, limit in zip(parts, limits, strict=True)]
        joined[name] = np.concatenate(parts)
    return joined


def _padded(part: Array, width: int) -> Array:
    if part.shape[1] == width:
        return part
    fill: Any = b"" if part.dtype == object else 0
    whole = np.full((len(part), width), fill, part.dtype)
    whole[:, : part.shape[1]] = part
    return whole
