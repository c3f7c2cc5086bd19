"""Micro-batching: requests to one signature that are there at the same time share one call of the graph.

A request that comes alone is answered at once. While a batch is computed, requests gather; the next batch takes as
many as fit. Where the batch before had several requests, the next waits for as many, but no longer than the timeout:
clients that ask, wait for the answer and ask again would otherwise split into one lone request and a late crowd.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from grpc import StatusCode

from components.contracts.names import NUM_STEPS
from serving.server.model_signatures import Array, Arrays, Signature
from serving.server.request_error import RequestError
from serving.server.server_settings import Limits

FEW_ROWS = 8  # of a lone request that may be computed in the event loop


SOON = 0.0015  # seconds after an answer: hardly a caller has read it and asked again, so who asks now was waiting


CROWD = 0.2  # seconds to assume concurrent clients after they were last seen


QUICK = 0.02  # seconds: if the batch before took less. Two changes of threads take a millisecond on a busy machine.


Run = Callable[[Arrays], Arrays]


Observe = Callable[[float, int, int, list[float]], None]


@dataclass(eq=False, slots=True)
class _Waiting:
    inputs: Arrays
    rows: int
    kind: Hashable  # requests of one kind can share a call
    answer: asyncio.Future[Arrays]
    since: float


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
    ) -> None:
        """Makes one.

        Args:
            signature: what the requests are checked against.
            run: computes a batch, in a thread.
            executor: the threads.
            limits: sizes and the timeout.
            threads: batches at the same time.
            is_alone: says whether one request, and no more, is under way in the whole server.
            observe: is told of each batch: seconds, requests, rows, and the seconds that each request had waited.
        """
        self._signature, self._run, self._executor, self._observe = (
            signature,
            run,
            executor,
            observe,
        )
        self._is_alone = is_alone
        self._limits, self._free = limits, threads
        self._queue: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._expected = 1  # requests in the batch before
        self._is_quick = False  # whether the batch before was
        self._answered_here = (
            0.0  # when the loop was last blocked by an answer; who came meanwhile was not counted
        )
        self._crowded_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Future[Any]] = set()

    async def submit(self, inputs: Arrays, rows: int) -> Arrays:
        """Answers one request.

        Args:
            inputs: arrays that the signature has checked.
            rows: how many rows they have.

        Raises:
            RequestError: too many rows are waiting already, or the graph refuses the request.
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
        self._queue.append(_Waiting(inputs, rows, batch_kind(self._signature, inputs), answer, now))
        self._queued_rows += rows
        self._consider()
        return await answer

    async def drain(self) -> None:
        """Returns when nothing is waiting and nothing is running."""
        while self._queue or self._running:
            await asyncio.sleep(0.005)

    def _consider(self) -> None:
        """Starts batches, or sets the timer that will."""
        while self._free and self._queue:
            enough = (
                len(self._queue) >= self._expected
                or self._queued_rows >= self._limits.max_batch_rows
            )
            if not enough and self._limits.batch_timeout > 0:
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._limits.batch_timeout, self._time_is_up)
                return
            self._start()

    def _time_is_up(self) -> None:
        self._timer = None
        if self._free and self._queue:
            self._start()
            self._consider()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not (batch := self._take()):
            return
        self._expected = len(batch)
        if len(batch) > 1:
            self._crowded_until = time.perf_counter() + CROWD
        elif not self._queue and self._may_answer_here(batch[0]):
            self._answer_here(batch)
            return
        self._free -= 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, self._compute, batch)
        self._running.add(future)
        future.add_done_callback(lambda done: self._finish(batch, done))

    def _may_answer_here(self, item: _Waiting) -> bool:
        is_short = item.rows <= FEW_ROWS and self._is_quick
        return is_short and time.perf_counter() > self._crowded_until and self._is_alone()

    def _answer_here(self, batch: Sequence[_Waiting]) -> None:
        """Computes in the event loop, where nobody else would have had any use of it."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(self._compute(batch))
        self._free -= 1
        self._finish(batch, done)
        self._answered_here = time.perf_counter()

    def _take(self) -> list[_Waiting]:
        """Takes the oldest request and those of its kind, in order, as long as they fit."""
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        rows = 0
        while self._queue and rows < self._limits.max_batch_rows:
            item = self._queue.popleft()
            if item.answer.done():  # its caller has gone
                self._queued_rows -= item.rows
            elif not batch or (
                item.kind == batch[0].kind and rows + item.rows <= self._limits.max_batch_rows
            ):
                batch.append(item)
                rows += item.rows
                if not self._signature.is_row_wise:
                    break
            else:
                others.append(item)
        self._queue.extendleft(reversed(others))
        self._queued_rows -= rows
        return batch

    def _compute(self, batch: Sequence[_Waiting]) -> tuple[list[Arrays | Exception], float]:
        """In a thread: answers or errors of the requests, in their order, and when the computing began."""
        started = time.perf_counter()
        if len(batch) > 1:
            try:
                return self._together(batch), started
            except Exception:  # one of them is wrong: the others shall not suffer
                pass
        return [self._alone(item) for item in batch], started

    def _together(self, batch: Sequence[_Waiting]) -> list[Arrays | Exception]:
        outputs = self._run(
            join_requests([item.inputs for item in batch], self._signature.step_inputs)
        )
        ends = np.cumsum([item.rows for item in batch])
        if any(len(values) != ends[-1] for values in outputs.values()):
            raise ValueError("expected as many rows in every output as in the inputs")
        return [
            {name: values[end - item.rows : end] for name, values in outputs.items()}
            for item, end in zip(batch, ends.tolist(), strict=True)
        ]

    def _alone(self, item: _Waiting) -> Arrays | Exception:
        try:
            return self._run(item.inputs)
        except Exception as error:
            return error

    def _finish(self, batch: Sequence[_Waiting], done: asyncio.Future[Any]) -> None:
        self._free += 1
        self._running.discard(done)
        error = None if done.cancelled() else done.exception()
        answers, started = (
            done.result() if not error and not done.cancelled() else ([error] * len(batch), 0.0)
        )
        if started:
            self._is_quick = time.perf_counter() - started < QUICK
            waits = [started - item.since for item in batch]
            self._observe(
                time.perf_counter() - started, len(batch), sum(item.rows for item in batch), waits
            )
        for item, answer in zip(batch, answers, strict=True):
            if item.answer.done():
                continue
            if isinstance(answer, dict):
                item.answer.set_result(answer)
            else:
                item.answer.set_exception(
                    answer or RequestError(StatusCode.UNAVAILABLE, "the server is stopping.")
                )
        self._consider()


SMALLEST_WIDTH = 64  # steps: requests up to this long are padded to one another; longer ones within a factor of two


def batch_kind(signature: Signature, inputs: Arrays) -> Hashable:
    """Returns what requests have to have in common to share a call."""
    steps = signature.step_inputs
    widths = {inputs[name].shape[1] for name in steps}
    if len(widths) > 1:
        return object()  # the graph decides how many steps count; padded, it would decide otherwise
    if widths:
        width = max(SMALLEST_WIDTH, widths.pop())
        rest = tuple(values.shape[1:] for name, values in inputs.items() if name not in steps)
        return (
            (width - 1).bit_length(),
            *rest,
        )  # widths within a factor of two, or padding could cost any memory
    return tuple(values.shape[1:] for values in inputs.values())


def join_requests(requests: Sequence[Arrays], step_inputs: Sequence[str]) -> Arrays:
    """Concatenates requests along their rows, padding their steps to the longest.

    Args:
        requests: inputs by name.
        step_inputs: names of those [rows, steps]; `num_steps` says how many of their steps count. Within a request
            they are equally wide.
    """
    joined: Arrays = {}
    widest = max(
        (request[name].shape[1] for request in requests for name in step_inputs), default=0
    )
    for name in requests[0]:
        parts = [request[name] for request in requests]
        if name in step_inputs:
            parts = [_padded(part, widest) for part in parts]
        elif name == NUM_STEPS and step_inputs:
            # The model takes at most as many steps as the request is wide; now it could see the padding.
            widths = [request[step_inputs[0]].shape[1] for request in requests]
            parts = [np.minimum(part, width) for part, width in zip(parts, widths, strict=True)]
        joined[name] = np.concatenate(parts)
    return joined


def _padded(part: Array, width: int) -> Array:
    if part.shape[1] == width:
        return part
    fill: Any = b"" if part.dtype == object else 0
    whole = np.full((len(part), width), fill, part.dtype)
    whole[:, : part.shape[1]] = part
    return whole
