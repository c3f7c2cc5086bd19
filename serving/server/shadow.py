"""Asks the other version of a pair what has been answered, in another process, after the answer.

While one version answers, the other one is asked the same: the canary, or the newest version that
was pushed, where the stable version answered; the stable version where the canary did. So there are
pairs of answers to the same questions, of the same moment. The answers of the shadow are logged
with a mark and returned to nobody.

The answer path pays for a look at the settings and an entry in a list; everything else happens
later in a thread that waits for `shadow_process`. The list is bounded: if the process is slow or
has died, further requests are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from components.contracts.names import EXPLAIN, EXPLAIN_STEPS
from serving.server.batching import batch_kind, join_requests
from serving.server.canary import learner_keys, select
from serving.server.child_process import start_child
from serving.server.shadow_process import Other, ShadowBatch, ShadowSettings

if TYPE_CHECKING:
    from serving.prediction_log.recorder import Asked
    from serving.server.model_signatures import Arrays, Signature
    from serving.server.server_settings import ServerSettings

log = logging.getLogger("mastery.serving")

PROGRAM = "serving.server.shadow_process"
LOWER_PRIORITY = 10
LATER = 0.02  # seconds after which an answer is taken to have gone out
MOST_REQUESTS = 256  # that wait
MOST_BYTES = 64 * 2**20  # theirs
BATCH_ROWS = 128
RESTART_SECONDS = 30.0  # after the process has died
NOT_ASKED = frozenset({EXPLAIN, EXPLAIN_STEPS})  # many times the work, and the same answer


@dataclass(frozen=True)
class _Copy:
    other: Other
    signature: Signature
    inputs: Arrays
    rows: int
    size: int
    at: float
    label: str | None
    learners: str | None


@dataclass
class ShadowTally:
    """What became of rows: numbers since the start.

    Attributes:
        answered: by the other version, and logged.
        failed: that it could not answer.
        dropped: because too much waited.
    """

    answered: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass
class _Waiting:
    requests: int = 0
    bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Shadow:
    """Copies requests to the process; belongs to one event loop.

    Attributes:
        tally: what became of them.
    """

    def __init__(self, settings: ServerSettings, share: float) -> None:
        """Starts nothing yet: the process begins with the first request.

        Args:
            settings: the server's, with a prediction log.
            share: of the learners whose requests are copied.
        """
        assert settings.prediction_log is not None
        self.tally = ShadowTally()
        self._below = round(share * 2**64)
        self._settings = ShadowSettings(
            name=settings.name,
            models=settings.models,
            require_manifest=settings.require_manifest,
            trust=settings.trust,
            allowed_operations=settings.allowed_operations,
            prediction_log=settings.prediction_log,
        )
        self._later: deque[_Copy] = deque()
        self._is_called = False
        self._waiting = _Waiting()
        self._queue: queue.SimpleQueue[_Copy | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._restart_at = 0.0
        self._is_closed = False
        self._is_failing = False

    @property
    def pid(self) -> int | None:
        """The process's number; None before the first request."""
        return None if self._process is None else self._process.pid

    def offer(
        self, other: Other, signature: Signature, inputs: Arrays, rows: int, asked: Asked
    ) -> None:
        """Takes a request that has been answered, or drops it; does not wait or raise.

        Args:
            other: the version to ask.
            signature: of the request.
            inputs: arrays by name, each [rows, ...].
            rows: their number.
            asked: the request.
        """
        if not signature.is_row_wise or signature.name in NOT_ASKED:
            return
        size = sum(map(_size, inputs.values()))
        waiting = self._waiting
        if waiting.requests >= MOST_REQUESTS or waiting.bytes + size > MOST_BYTES:
            self.tally.dropped += rows
            return
        with waiting.lock:
            waiting.requests += 1
            waiting.bytes += size

        at = time.time() - time.perf_counter() + asked.started
        copy = _Copy(other, signature, inputs, rows, size, at, asked.label, asked.learners)
        self._later.append(copy)
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_later(LATER, self._hand_over)

    def close(self) -> None:
        """Ends the process; what waits is dropped."""
        self._is_closed = True
        self._queue.put(None)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._thread is not None:
            self._thread.join()

    def _hand_over(self) -> None:
        self._is_called = False
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask_all, name="shadow", daemon=True)
            self._thread.start()
        while self._later:
            self._queue.put(self._later.popleft())

    # What the thread does.

    def _ask_all(self) -> None:
        while (first := self._queue.get()) is not None and not self._is_closed:
            copies = [first]
            while len(copies) < BATCH_ROWS and not self._queue.empty():
                further = self._queue.get()
                if further is None:
                    return
                copies.append(further)
            try:
                for batch in self._batches(copies):
                    self._ask(batch)
            except Exception as error:  # such as a wrong number of learners
                self.tally.failed += sum(copy.rows for copy in copies)
                self._note(f"{type(error).__name__}: {error}")
            with self._waiting.lock:
                self._waiting.requests -= len(copies)
                self._waiting.bytes -= sum(copy.size for copy in copies)

    def _batches(self, copies: Sequence[_Copy]) -> list[list[_Copy]]:
        """Returns the rows to ask about, together what can share a call."""
        kinds: dict[Any, list[_Copy]] = {}
        for copy in copies:
            chosen = self._chosen(copy)
            if chosen is not None:
                kind = batch_kind(copy.signature, chosen.inputs)
                key = (chosen.other, chosen.signature.name, kind)
                kinds.setdefault(key, []).append(chosen)

        batches: list[list[_Copy]] = []
        for alike in kinds.values():
            left = deque(alike)
            while left:
                taken = [left.popleft()]
                rows = taken[0].rows
                while left and rows + left[0].rows <= BATCH_ROWS:
                    rows += left[0].rows
                    taken.append(left.popleft())
                batches.append(taken)
        return batches

    def _chosen(self, copy: _Copy) -> _Copy | None:
        """Returns the rows whose learners are in the share."""
        if self._below >= 2**64:
            return copy
        keys = learner_keys(copy.learners, copy.signature, copy.inputs, copy.rows)
        places = [place for place, key in enumerate(keys) if self._takes(key)]
        if not places:
            return None
        inputs = select(copy.inputs, places)
        return _Copy(
            copy.other, copy.signature, inputs, len(places), copy.size, copy.at, copy.label, None
        )

    def _takes(self, key: bytes) -> bool:
        digest = sha256(b"shadow " + key).digest()
        return int.from_bytes(digest[:8], "big") < self._below

    def _ask(self, copies: Sequence[_Copy]) -> None:
        rows = sum(copy.rows for copy in copies)
        if time.monotonic() < self._restart_at:
            self.tally.dropped += rows
            return
        try:
            connection = self._connect()
            connection.send(_join(copies))
            found = connection.recv()
        except (OSError, EOFError):
            self.tally.failed += rows
            if not self._is_closed:
                self._note("the process has ended")
            self._disconnect()
            return
        except Exception as error:  # it cannot be sent
            found = {"error": f"{type(error).__name__}: {error}"}

        if "error" in found:
            self.tally.failed += rows
            self._note(found["error"])
            return
        self.tally.answered += rows
        self._is_failing = False

    def _note(self, reason: str) -> None:
        if not self._is_failing:
            log.warning("No answers in the shadow (%s); requests are answered as before.", reason)
        self._is_failing = True

    def _connect(self) -> Connection[Any, Any]:
        if self._connection is not None:
            return self._connection

        self._process, self._connection = start_child(PROGRAM, LOWER_PRIORITY)
        self._connection.send(self._settings)
        return self._connection

    def _disconnect(self) -> None:
        self._restart_at = time.monotonic() + RESTART_SECONDS
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _join(copies: Sequence[_Copy]) -> ShadowBatch:
    first = copies[0]
    inputs = first.inputs
    if len(copies) > 1:
        steps = first.signature.step_inputs
        inputs = join_requests([copy.inputs for copy in copies], steps)
    return ShadowBatch(
        version=first.other.version,
        folder=first.other.folder,
        signature=first.signature.name,
        inputs=inputs,
        requests=[(copy.at, copy.label, copy.rows) for copy in copies],
        keep=first.other.pair,
    )


def _size(values: Any) -> int:
    """Returns the bytes of an array."""
    if values.dtype != object:
        return int(values.nbytes)
    return sum(map(len, values.ravel().tolist()))
