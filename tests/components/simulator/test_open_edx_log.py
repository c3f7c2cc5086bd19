"""The simulated log as tracking log of Open edX: what it holds, and what reading leaves out."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of
from components.simulator.simulate import simulate

LEARNERS = 60
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "playback_speed",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("open_edx")
    simulate(LEARNERS, 3, path, format="open_edx")
    return path


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "tracking.log.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_scores_are_those_of_the_answers(folder: Path) -> None:
    frame, _ = _read(folder)
    assert frame["score"].cast(pl.Float64).equals(frame["correct"].cast(pl.Float64))


def test_everything_else_is_left_out_for_its_reason(
    folder: Path, records: list[dict[str, Any]]
) -> None:
    frame, hints = _read(folder)
    counted = {hint.text.removeprefix("records left out, "): hint.count for hint in hints}
    assert set(counted) == {
        "answers told twice",
        "authors in Studio",
        "grades computed anew",
        "requests of pages",
        "robots",
        "staff",
        "test accounts",
        "without a learner",
        "without a type of event",
    }
    assert frame.height + sum(counted.values()) == len(records)

    kinds = Counter(record["event_type"] for record in records)
    from_browser = [
        record
        for record in records
        if record["event_type"] == "problem_check" and record["event_source"] == "browser"
    ]
    requests = sum(count for kind, count in kinds.items() if kind.startswith("/"))
    assert counted["requests of pages"] == requests
    assert counted["without a type of event"] == kinds["edx.ui.lms.link_clicked"]
    assert counted["answers told twice"] == len(from_browser) * 2
    assert kinds["edx.grades.problem.submitted"] == len(from_browser)


def test_records_are_those_of_the_platform(records: list[dict[str, Any]]) -> None:
    for record in records:
        assert record["name"] == record["event_type"]
        assert record["event_source"] in ("browser", "server")
        assert record["page"] is None or record["event_source"] == "browser"
        is_request = record["event_type"].startswith("/")
        assert isinstance(record["event"], str) == (
            is_request or record["event_source"] == "browser"
        )
    videos = [record for record in records if record["event_type"] == "play_video"]
    assert all("id" in json.loads(record["event"]) for record in videos)
    answers = [json.dumps(record) for record in records if "problem" in record["event_type"]]
    assert not any("{name}" in text or "{component}" in text for text in answers)


def _read(folder: Path) -> tuple[pl.DataFrame, list[Hint]]:
    mapping = mapping_of("open_edx")
    [file] = find_files("events", [str(folder / "tracking*")], mapping).files
    chunks = []
    for chunk in read_chunks(file, [*COLUMNS, "score"], mapping):
        assert not isinstance(chunk, Problem)
        chunks.append(chunk)
    hints = merge_hints(hint for chunk in chunks for hint in chunk.hints)
    return pl.concat(chunk.frame for chunk in chunks), hints
