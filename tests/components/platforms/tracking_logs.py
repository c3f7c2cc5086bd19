"""Records of tracking logs for tests, and how a file of them is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from components.config.mapping import EventMapping
from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of

COURSE = "course-v1:Org+Course+Run"
BLOCK = "block-v1:Org+Course+Run+type@%s+block@b1"
PAGE = f"https://lms.example.org/courses/{COURSE}/courseware/week1/"
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "score", "playback_speed",
]  # fmt: skip

Record = dict[str, Any]


def server(kind: str, event: Any = None, /, **members: Any) -> Record:
    """Returns a record of the server; `context` is added to what it usually is."""
    context = {"user_id": 7, "course_id": COURSE, "org_id": "Org", **members.pop("context", {})}
    record = {
        "name": kind,
        "event_type": kind,
        "event_source": "server",
        "username": "ada",
        "context": context,
        "event": {} if event is None else event,
        "time": "2024-05-01T08:00:00.123456+00:00",
        "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "host": "lms.example.org",
        "referer": PAGE,
        "page": None,
    }
    return {**record, **members}


def browser(kind: str, event: Any = None, /, **members: Any) -> Record:
    """Returns a record of the browser, whose event is text."""
    text = event if isinstance(event, str) else json.dumps(event or {})
    return server(kind, text, **{"event_source": "browser", "page": PAGE, **members})


def read_file(
    path: Path, mapping: EventMapping | None = None
) -> tuple[list[Record], dict[str, int], list[str]]:
    """Returns the events in a file, how many records are left out by reason, and problems."""
    mapping = mapping or mapping_of("open_edx")
    (file,) = find_files("events", [str(path)], mapping).files
    rows: list[Record] = []
    hints: list[Hint] = []
    problems = []
    for chunk in read_chunks(file, COLUMNS, mapping):
        if isinstance(chunk, Problem):
            problems.append(str(chunk).replace(f"{path.parent}/", ""))
            continue
        missing = [pl.lit(None).alias(name) for name in COLUMNS if name not in chunk.frame.columns]
        rows += chunk.frame.with_columns(missing).to_dicts()
        hints += chunk.hints
    reasons = merge_hints(hints)
    left_out = {hint.text.removeprefix("records left out, "): hint.count for hint in reasons}
    return rows, left_out, problems


def filled(row: Record) -> Record:
    """Returns an event's values, without its keys and time."""
    keys = ("learner_id", "unit_id", "time")
    return {name: value for name, value in row.items() if value is not None and name not in keys}
