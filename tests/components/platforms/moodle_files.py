"""Reads files of Moodle as events, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.config.data import Data
from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of

COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "score", "playback_speed",
]  # fmt: skip


def read_events(path: Path, **data: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Returns the events in a file without columns that have no value, and what is left out."""
    mapping = Data(events=str(path), outcomes="o.csv", format="moodle", **data).event_mapping
    file = LogFile(str(path), format_of(str(path)) or "csv", 0)
    events: list[dict[str, Any]] = []
    hints: list[Hint] = []
    for chunk in read_chunks(file, COLUMNS, mapping):
        assert not isinstance(chunk, Problem), chunk
        events += (
            {name: value for name, value in row.items() if value is not None}
            for row in chunk.frame.to_dicts()
        )
        hints += chunk.hints
    left_out = {hint.text.removeprefix("records left out, "): hint.count for hint in hints}
    assert len(left_out) == len(merge_hints(hints))
    return events, left_out


def problem_of(path: Path, **data: Any) -> str:
    """Returns the problem of a file."""
    mapping = Data(events=str(path), outcomes="o.csv", format="moodle", **data).event_mapping
    chunks = [*read_chunks(LogFile(str(path), "csv", 0), COLUMNS, mapping)]
    [problem] = [chunk for chunk in chunks if isinstance(chunk, Problem)]
    return str(problem)
