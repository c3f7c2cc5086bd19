"""What the server does for the prediction log: as little as possible, because answers wait for it.

Rows are hashed, encoded and appended to the spool in the event loop, while the graph computes the
next batch, and before any request of theirs is answered. A thread flushes the spool, and a process
of lower priority moves complete files to the log. Both are behind the spool: whatever happens to
them, requests are answered.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MasteryError
from serving.prediction_log.frames import Layout, encode_rows
from serving.prediction_log.mover import STOP
from serving.prediction_log.row_hashes import RowHasher
from serving.prediction_log.settings import PredictionLogSettings, is_database, make_folder
from serving.prediction_log.spool import Spool, Tally

if TYPE_CHECKING:
    from serving.server.model_signatures import Arrays, Signature

log = logging.getLogger("mastery.serving")

TEND_SECONDS = 1.0  # between two flushes: what a power cut can take
DATABASE_SECONDS = 2.0  # after which rows go to a database
FOLDER_SECONDS = 300.0  # after which they become a Parquet file, unless 8 MiB come sooner
RESTART_SECONDS = 10.0
STOP_SECONDS = 10.0  # for the last rows to reach the log; after that, they wait in the spool


@dataclass(eq=False, slots=True)
class Asked:
    """A request in progress.

    Attributes:
        started: when it arrived, by `time.perf_counter`.
        label: the version label that it asks for, if any.
        learners: the names of its rows' learners, if it gives them.
        is_logged: whether the log has its rows, as far as they are in the sample.
        is_lost: whether some of these could not be logged.
    """

    started: float
    label: str | None = None
    learners: str | None = None
    is_logged: bool = False
    is_lost: bool = False

    def part(self, places: Sequence[int]) -> Asked:
        """Returns the same request for some of its rows."""
        names = None if self.learners is None else self.learners.split(",")
        if names is not None and len(names) > 1:
            names = [names[place] for place in places]
        return Asked(self.started, self.label, None if names is None else ",".join(names))

    def conclude(self, parts: Sequence[Asked]) -> None:
        """Takes over what became of the rows of all parts."""
        self.is_lost = any(part.is_lost for part in parts)
        self.is_logged = not self.is_lost and any(part.is_logged for part in parts)


class Recorder:
    """The prediction log of a running server, as far as the server has to do with it."""

    def __init__(
        self, settings: PredictionLogSettings, model: str, *, shadow: bool = False
    ) -> None:
        """Opens nothing yet.

        Args:
            settings: of the log.
            model: the model's name.
            shadow: whether the answers are returned to nobody. Then this process is the helper of
                a server, whose other process moves these rows, too.
        """
        self._settings = settings
        self._model = model
        self._shadow = shadow
        self._spool = Spool(settings.spool_folder)
        self._below = round(settings.sample * 2**64)
        self._warned: set[str] = set()

        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._maintain, name="prediction log", daemon=True)
        self._mover: subprocess.Popen[bytes] | None = None
        self._restart_at = 0.0

    @property
    def tally(self) -> Tally:
        """Counts of rows since the start."""
        return self._spool.tally

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the spool that are not in the log yet."""
        return self._spool.waiting

    @property
    def mover_pid(self) -> int | None:
        """The number of the process that moves rows; None before the start."""
        return None if self._mover is None else self._mover.pid

    def start(self) -> None:
        """Begins to take rows; those that an earlier server has left are moved to the log.

        Raises:
            MasteryError: the folders cannot be written.
        """
        try:
            if not is_database(self._settings.target):
                make_folder(Path(self._settings.target))
            self._spool.open()
        except OSError as error:
            raise MasteryError(
                f"{error.filename or self._settings.spool_folder}: the prediction log cannot be "
                f"written: {error.strerror}."
            ) from None
        if not self._shadow:
            self._start_mover()
        self._thread.start()

    def stop(self) -> None:
        """Ends the file, and waits for its rows to reach the log, but not for long."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._spool.close()
        if self._mover is None:
            return

        assert self._mover.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._mover.stdin.write(STOP)
        self._mover.stdin.close()  # it moves what is complete, and ends
        try:
            self._mover.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._mover.kill()
            self._mover.wait()

    def recording(self, version: int, signature: Signature) -> Recording:
        """Returns what records the answers of a version's signature."""
        return Recording(self, version, signature)

    def record(
        self,
        layout: Layout,
        hashes: list[bytes],
        asked: Sequence[tuple[Asked, int]],
        outputs: Arrays,
    ) -> None:
        """Appends the rows of a batch that are in the sample, and notes which requests have some.

        Args:
            layout: of the outputs.
            hashes: of each row.
            asked: the batch's requests, each with its number of rows.
            outputs: arrays by name, each [rows, ...].
        """
        owners = [place for place, (_, rows) in enumerate(asked) for _ in range(rows)]
        if self._below < 2**64:
            kept = [at for at, digest in enumerate(hashes) if self._is_sampled(digest)]
            self._spool.leave_out(len(hashes) - len(kept))
            if not kept:
                return
            hashes = [hashes[at] for at in kept]
            owners = [owners[at] for at in kept]
            outputs = {name: values[kept] for name, values in outputs.items()}

        now = time.perf_counter()
        since = time.time() - now
        requests = [(since + item.started, now - item.started, item.label) for item, _ in asked]
        frame = encode_rows(layout, hashes, owners, requests, outputs)
        is_logged = self._spool.append(layout, frame, len(hashes))
        for owner in owners:
            asked[owner][0].is_logged = is_logged
            asked[owner][0].is_lost = not is_logged

    def fail(self, error: Exception, rows: int) -> None:
        """Counts rows that could not be encoded as lost."""
        self._spool.lose(rows)
        self._warn_once("The prediction log cannot keep some rows", error)

    def layout(self, version: int, outputs: Arrays) -> Layout:
        """Returns the layout of a version's outputs."""
        return Layout.of(self._model, version, outputs, shadow=self._shadow)

    def _warn_once(self, what: str, error: Exception) -> None:
        if what not in self._warned:
            self._warned.add(what)
            why = f"{type(error).__name__}: {error}"
            log.warning("%s (%s); requests are answered as before.", what, why)

    def _is_sampled(self, digest: bytes) -> bool:
        return int.from_bytes(digest[:8], "big") < self._below

    def _maintain(self) -> None:
        """Flushes the spool, begins new files, and keeps the other process running."""
        while not self._stopping.wait(TEND_SECONDS):
            try:
                self._spool.sync()
                self._spool.renew(self._file_seconds())
                self._spool.measure()
                self._keep_mover()
            except OSError as error:  # no memory or no descriptors for now
                self._warn_once("The prediction log is not tended", error)

    def _file_seconds(self) -> float:
        """Returns how long a file is in use: not for long if a database takes what there is."""
        is_quick = is_database(self._settings.target) and not self._spool.waiting
        return DATABASE_SECONDS if is_quick else FOLDER_SECONDS

    def _keep_mover(self) -> None:
        if self._mover is None:
            return
        code = self._mover.poll()
        if code is None or time.monotonic() < self._restart_at:
            return
        log.warning("The process that moves rows to the prediction log ended (%d).", code)
        assert self._mover.stdin is not None
        self._mover.stdin.close()
        self._start_mover()

    def _start_mover(self) -> None:
        self._restart_at = time.monotonic() + RESTART_SECONDS
        settings = self._settings
        given = {
            "target": settings.target,
            "spool": str(settings.spool_folder.resolve()),
            "days": settings.days,
            "server": os.getpid(),
        }
        if not is_database(settings.target):
            given["target"] = str(Path(settings.target).resolve())
        self._mover = subprocess.Popen(
            [sys.executable, "-m", "serving.prediction_log.mover", json.dumps(given)],
            stdin=subprocess.PIPE,  # its end tells the process that this one has ended
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )


class Recording:
    """Records the answers of one signature of one version."""

    def __init__(self, recorder: Recorder, version: int, signature: Signature) -> None:
        self._recorder = recorder
        self._version = version
        self._signature = signature
        self._layout: Layout | None = None
        # A request to a signature without rows is one row, and has no steps.
        self._hasher = RowHasher(signature.step_inputs if signature.is_row_wise else ())

    def __call__(self, inputs: Arrays, outputs: Arrays, asked: Sequence[tuple[Asked, int]]) -> None:
        """Records a batch; never raises.

        Args:
            inputs: of all its requests.
            outputs: the answers.
            asked: the requests in order, each with its number of rows.
        """
        try:
            if not self._signature.is_row_wise:
                inputs = {name: values[None] for name, values in inputs.items()}
                outputs = {name: values[None] for name, values in outputs.items()}
            if self._layout is None:
                self._layout = self._recorder.layout(self._version, outputs)
            self._recorder.record(self._layout, self._hasher.hash(inputs), asked, outputs)
        except Exception as error:  # whatever it is, the requests have their answers
            for item, _ in asked:
                item.is_lost = True
            self._recorder.fail(error, sum(rows for _, rows in asked))
