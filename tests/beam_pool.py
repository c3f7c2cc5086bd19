"""A pool of SDK workers, started by the command that users type."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.conftest import COMMAND, environment


class Pool(NamedTuple):
    """A pool that serves.

    Attributes:
        process: the command's.
        address: host:port where TaskManagers reach it.
        log: what it has printed beside that.
    """

    process: subprocess.Popen[str]
    address: str
    log: Path


def start_pool(folder: Path) -> Pool:
    """Starts a pool on a free port, and waits until it serves; its log goes to the folder."""
    log = folder / "log.txt"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "beam-workers", "--port", "0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(), cwd="/",
        )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r" at (127\.0\.0\.1:\d+);", line)
    assert found, line + log.read_text()
    return Pool(process, found[1], log)
