"""What a part writes down as soon as it knows it. Standard library only."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class SkippedError(Exception):
    """A part cannot run here; the text says why."""


@dataclass(frozen=True)
class Report:
    """Where a part writes what it finds, and what it may use.

    Attributes:
        lines: the file of JSON lines.
        folder: what parts leave for later ones.
        tiny: whether sizes are those of a dry run.
        ends: when its share of the time is over, as `time.monotonic`.
    """

    lines: Path
    folder: Path
    tiny: bool
    ends: float

    def row(self, table: str, **cells: Any) -> None:
        """Adds a row to a table."""
        self._add({"table": table, "row": cells})

    def note(self, text: str) -> None:
        """Adds a sentence."""
        self._add({"note": text})

    def end(self, state: str, reason: str = "") -> None:
        """Says how the part ended."""
        self._add({"state": state, "reason": reason})

    def seconds_left(self) -> float:
        """Returns how much of the part's share is left; below 0 if it is over."""
        return self.ends - time.monotonic()

    def _add(self, line: dict[str, Any]) -> None:
        with self.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
