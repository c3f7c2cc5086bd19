"""How the supervisor knows that a worker lives: a line in a file that changes every second."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

BEAT_SECONDS = 1.0


class Pulse:
    """Writes what the worker is doing into a file, from a thread of its own, until it ends.

    The line is a count of writings, the phase and the number of steps done, such as `17 fitting
    203`. As long as it changes, the process lives; as long as the last number does, it gets on.

    Attributes:
        phase: starting, joining (waiting for the other workers), reading, fitting.
        steps: how many steps of the fit and of its evaluations are done.
    """

    def __init__(self, file: Path) -> None:
        self.phase = "starting"
        self.steps = 0
        self._file = file

    def start(self) -> None:
        """Starts to write."""
        threading.Thread(target=self._beat, daemon=True, name="pulse").start()

    def step(self) -> None:
        """Counts a step."""
        self.steps += 1

    def _beat(self) -> None:
        count, never = 0, threading.Event()
        while not never.wait(BEAT_SECONDS if count else 0):
            count += 1
            with suppress(OSError):
                self._file.write_text(f"{count} {self.phase} {self.steps}\n", encoding="utf-8")
