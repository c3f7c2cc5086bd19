"""Memory and processor time of processes and all that they have started; Linux alone has both."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

INTERVAL = 0.5  # seconds between two looks at memory
TICKS = os.sysconf("SC_CLK_TCK")

Group = Callable[[], Iterator[int]]  # yields the processes that belong together


def family(process: int) -> Iterator[int]:
    """Yields a process and all its descendants; nothing once it has ended, or without `/proc`."""
    waiting = [process]
    while waiting:
        current = waiting.pop()
        yield current
        for thread in Path(f"/proc/{current}/task").glob("*/children"):
            try:
                waiting += map(int, thread.read_text().split())
            except OSError:  # it has just ended
                continue


def memory_of(process: int) -> float:
    """Returns the GB of a process, its share of shared pages included; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e9


def seconds_of(process: int) -> float:
    """Returns the processor seconds of a process and of its children that have ended."""
    try:
        _, _, values = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return 0.0
    return sum(map(int, values.split()[11:15])) / TICKS


def runs_java(process: int) -> bool:
    """Returns whether a process is a Java virtual machine."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip() == "java"
    except OSError:
        return False


@contextmanager
def peaks_of(groups: Mapping[str, Group]) -> Iterator[dict[str, float]]:
    """Watches memory while the block runs.

    Args:
        groups: processes by the name of what they do.

    Yields:
        The peak of each group in GB, each shared page counted once; complete after the block.
    """
    peaks = dict.fromkeys(groups, 0.0)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL):
            for name, group in groups.items():
                peaks[name] = max(peaks[name], sum(map(memory_of, group())))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()
