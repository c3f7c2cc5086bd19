"""The process that answers in the shadow: it may be slow, fail or run out of memory.

The server starts it, sends it batches of inputs that have been answered, and never waits for it. It
loads the versions that it is asked for, and writes their answers into the prediction log with the
mark of a shadow. Its priority is low, its memory is limited, and it is the first that the
system ends if memory is short. When the server ends, so does the connection, and then this process.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.model_version.signature import Trust
    from serving.prediction_log.recorder import Recorder
    from serving.prediction_log.settings import PredictionLogSettings
    from serving.server.model_signatures import Arrays
    from serving.server.servable import LoadedModel

RETRY_SECONDS = 30.0  # until loading a version that has failed is tried again
LEAST_MEMORY = 4 * 2**30  # TensorFlow alone has reserved one of them
FIRST_TO_END = "1000"  # for the system's choice of a process to end when memory is short

log = logging.getLogger("mastery.serving")


@dataclass(frozen=True, kw_only=True)
class ShadowSettings:
    """What the process needs of the server's settings; see `ServerSettings`."""

    name: str
    models: Path
    require_manifest: bool
    trust: Trust | None
    allowed_operations: frozenset[str]
    prediction_log: PredictionLogSettings


@dataclass(frozen=True)
class Other:
    """The version that is asked in the shadow of another one.

    Attributes:
        version: its number.
        folder: its files.
        pair: both versions, which the process keeps in memory.
    """

    version: int
    folder: Path
    pair: frozenset[int]


@dataclass(frozen=True)
class ShadowBatch:
    """Requests that have been answered, joined.

    Attributes:
        version: who is asked now.
        folder: its files.
        signature: name of the signature.
        inputs: arrays by name, each [rows, ...].
        requests: when each request arrived, by `time.time`; its label; its number of rows.
        keep: the versions to keep in memory.
    """

    version: int
    folder: Path
    signature: str
    inputs: Arrays
    requests: list[tuple[float, str | None, int]]
    keep: frozenset[int]


class Shadows:
    """The versions that answer in this process."""

    def __init__(self, settings: ShadowSettings, recorder: Recorder) -> None:
        self._settings = settings
        self._recorder = recorder
        self._models: dict[int, LoadedModel] = {}
        self._failures: dict[int, tuple[float, Exception]] = {}
        self._recordings: dict[tuple[int, str], Any] = {}

    def answer(self, batch: ShadowBatch) -> int:
        """Answers a batch, logs the answers, and returns the number of rows.

        Raises:
            MasteryError: the version must not be loaded, or lacks the signature.
            Exception: whatever TensorFlow raises.
        """
        from serving.prediction_log.recorder import Asked

        model = self._model(batch)
        signature = model.signature(batch.signature)
        rows = signature.check(batch.inputs, 2**31)
        since = time.perf_counter() - time.time()
        asked = [(Asked(since + at, label), count) for at, label, count in batch.requests]
        outputs = model.run(signature, batch.inputs)

        key = (batch.version, signature.name)
        if key not in self._recordings:
            self._recordings[key] = self._recorder.recording(batch.version, signature)
        self._recordings[key](batch.inputs, outputs, asked)
        if any(item.is_lost for item, _ in asked):
            raise OSError("its answers could not be logged")
        return rows

    def _model(self, batch: ShadowBatch) -> LoadedModel:
        from serving.server.served_versions import load_verified

        for version in self._models.keys() - batch.keep - {batch.version}:
            self._models.pop(version).close()
        if batch.version not in self._models:
            failed_at, error = self._failures.get(batch.version, (-math.inf, Exception()))
            if time.monotonic() < failed_at + RETRY_SECONDS:
                raise error
            try:
                self._models[batch.version] = load_verified(batch.folder, self._settings)
            except Exception as error:
                self._failures[batch.version] = (time.monotonic(), error)
                raise
        return self._models[batch.version]


def main(descriptor: int, niceness: int) -> None:
    """Answers until the server ends.

    Args:
        descriptor: of the connection to it.
        niceness: by how much to lower the priority.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # both reach the server, which ends this
        signal.signal(number, signal.SIG_IGN)
    os.nice(niceness)
    _limit_memory()
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    connection: Connection[Any, Any] = Connection(descriptor)
    settings: ShadowSettings = connection.recv()

    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from components.command.program import quiet_imports

    with quiet_imports():
        from serving.prediction_log.recorder import Recorder

        recorder = Recorder(settings.prediction_log, settings.name, shadow=True)
        import serving.server.served_versions  # noqa: F401 - seconds, before the first batch
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    recorder.start()
    try:
        with contextlib.suppress(EOFError, OSError):  # the server has ended
            _serve(connection, Shadows(settings, recorder))
    finally:
        recorder.stop()


def _serve(connection: Connection[Any, Any], shadows: Shadows) -> None:
    while True:
        batch: ShadowBatch = connection.recv()
        found: Mapping[str, Any]
        try:
            found = {"rows": shadows.answer(batch)}
        except Exception as error:
            reason = getattr(error, "message", None) or str(error)
            found = {"error": f"{type(error).__name__}: {reason}"[:500]}
        connection.send(found)


def _limit_memory() -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = max(LEAST_MEMORY, physical // 2)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError):  # another system than Linux
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_END)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
