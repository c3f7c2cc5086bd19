"""The process that moves complete files of the spool to the log, and purges the log every day.

The server starts it: `python -m serving.prediction_log.mover JSON`. It takes a file only if it can
lock it, so it moves what any ended server has left, too. A file is removed after its rows are in
the log; a log takes the same rows twice without keeping them twice. When the server ends, however
it ends, so does its end of the pipe; then this process moves what there is, and ends.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from components.errors import MasteryError
from components.files.atomic import sync
from serving.prediction_log.frames import read_segment
from serving.prediction_log.log_store import LogStore, StoreAwayError, kept_since, open_store
from serving.prediction_log.spool import complete, only_mover, segments

log = logging.getLogger("mastery.serving")

LOWER_PRIORITY = 10
POLL_SECONDS = 1.0
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # while the log takes nothing
STOP = b"."  # what a server that is stopped writes, once its file is complete
END_SECONDS = 10.0  # for the end of a killed server
BAD = ".bad"  # of a file that cannot be moved, for a person to look at


class Mover:
    """Moves rows from a spool to its log."""

    def __init__(
        self,
        spool: Path,
        open_log: Callable[[], LogStore],
        days: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens nothing yet.

        Args:
            spool: folder of the spool.
            open_log: opens the log.
            days: how many days rows are kept.
            now: the clock.
        """
        self._spool = spool
        self._open_log = open_log
        self._days = days
        self._now = now
        self._log: LogStore | None = None
        self._purged_on: date | None = None
        self._failures = 0
        self._retry_at = 0.0

    def step(self, *, is_last: bool = False) -> None:
        """Moves every complete file, and purges once a day; failures are tried again later.

        Args:
            is_last: whether to try now, even soon after a failure.
        """
        if time.monotonic() < self._retry_at and not is_last:
            return
        try:
            with only_mover(self._spool, wait=is_last) as is_alone:
                if not is_alone:
                    return
                self._work()
        except (MasteryError, OSError) as error:
            self._fail(error)
            return

        if self._failures:
            log.info("The prediction log can be written again.")
        self._failures = 0

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()

    def _work(self) -> None:
        if self._log is None:
            self._log = self._open_log()
        today = self._now().astimezone(UTC).date()
        if self._purged_on != today:
            removed = self._log.purge(kept_since(self._now(), self._days))
            self._purged_on = today
            if removed:
                log.info(
                    "The prediction log's rows of over %d days: %d removed.", self._days, removed
                )

        for path in segments(self._spool):
            with complete(path) as is_complete:
                if is_complete:
                    self._move(path, self._log)

    def _move(self, path: Path, store: LogStore) -> None:
        try:
            content = read_segment(path)
            store.add(path.stem, content.rows)
        except (StoreAwayError, OSError):
            raise
        except Exception as error:  # these rows would hold up all others
            path.rename(path.with_suffix(BAD))
            log.error(
                "%s: its rows cannot be logged (%s: %s); kept as %s.",
                path, type(error).__name__, error, path.with_suffix(BAD).name,
            )  # fmt: skip
            return

        if content.damaged:
            log.warning(
                "%s: %d bytes could not be read: a crash cut them off, before those rows were "
                "acknowledged or flushed.", path, content.damaged,
            )  # fmt: skip
        path.unlink()
        sync(path.parent)

    def _fail(self, error: Exception) -> None:
        if not self._failures:
            reason = _sentence(str(error))
            log.warning("%s Rows of the prediction log wait in %s.", reason, self._spool)
        wait = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
        self._failures += 1
        self._retry_at = time.monotonic() + wait


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _wait_for_end(server: int) -> None:
    """Waits until a server that has been killed holds no file; its pipe may be closed before."""
    deadline = time.monotonic() + END_SECONDS
    while os.getppid() == server and time.monotonic() < deadline:
        time.sleep(0.01)


def main(text: str) -> None:
    """Moves rows until the server ends.

    Args:
        text: JSON with `target`, `spool`, `days`, and `server`: the server's process.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # both reach the server, which ends this
        signal.signal(number, signal.SIG_IGN)
    os.nice(LOWER_PRIORITY)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    log.setLevel(logging.INFO)

    given = json.loads(text)
    mover = Mover(Path(given["spool"]), lambda: open_store(given["target"]), given["days"])
    mover.step()
    while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        mover.step()
    if os.read(sys.stdin.fileno(), 1) != STOP:
        _wait_for_end(given["server"])
    mover.step(is_last=True)
    mover.close()


if __name__ == "__main__":
    main(sys.argv[1])
