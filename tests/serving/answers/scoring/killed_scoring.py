"""Scores in a process that is killed before its n-th statement: `python killed_scoring.py ...`.

Arguments: the version's folder, the log's folder, the database's address, and for each process one
number; 0 lets it end. Prints, per process, how many statements it ran, or `killed`. All processes
are forks of one that has imported everything, since that takes longest.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, event

from serving.answers.scoring.run import score
from serving.answers.scoring.versions import PushedVersion, open_version
from tests.serving.answers.scoring.conftest import at, options


def main() -> None:
    """Runs one process after the other."""
    folder, log, url, *numbers = sys.argv[1:]
    version = open_version(Path(folder))
    for number in map(int, numbers):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _score(version, Path(log), url, [at(days=5), at(days=8)], number, writing)
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reading) as said:
            print(said.read() if os.waitstatus_to_exitcode(status) == 0 else "killed", flush=True)


def _score(
    version: PushedVersion, log: Path, url: str, moments: list[datetime], last: int, said: int
) -> None:
    count = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def note(*_: object) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    score(url, version, options(log, moments))
    os.write(said, str(count).encode())


if __name__ == "__main__":
    main()
