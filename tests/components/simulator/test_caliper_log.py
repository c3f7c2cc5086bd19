"""The simulated log as Caliper events: what they hold, and what reading leaves out."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.formats import mapping_of
from components.simulator.simulate import simulate

LEARNERS = 60
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "playback_speed",
]  # fmt: skip

# Caliper Analytics 1.2, appendix C: the actions of each type of events, and what each acts on.
SHAPES = {
    "AssessmentItemEvent": ({"Completed", "Skipped"}, {"AssessmentItem"}),
    "Event": ({"Modified"}, {"Page"}),
    "GradeEvent": ({"Graded"}, {"Attempt"}),
    "MediaEvent": ({"Paused"}, {"VideoObject"}),
    "MessageEvent": ({"Posted"}, {"Message"}),
    "SessionEvent": ({"LoggedIn"}, {"SoftwareApplication"}),
    "ThreadEvent": ({"MarkedAsRead"}, {"Thread"}),
    "ToolUseEvent": ({"Used"}, {"SoftwareApplication"}),
    "ViewEvent": ({"Viewed"}, {"Page"}),
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("caliper")
    simulate(LEARNERS, 3, path, format="caliper")
    return path


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_everything_else_is_left_out_for_its_reason(
    folder: Path, records: list[dict[str, Any]]
) -> None:
    frame, hints = _read(folder)

    counted = {hint.text.removeprefix("records left out, "): hint.count for hint in hints}

    assert set(counted) == {
        "entities, which are not events",
        "logins",
        "people without a name",
        "robots",
        "software that acts on its own",
        "staff",
    }
    assert frame.height + sum(counted.values()) == len(records)
    types = Counter(record["type"] for record in records)
    assert counted["logins"] == types["SessionEvent"] > 0
    assert counted["entities, which are not events"] == types["CourseSection"] > 0
    assert counted["people without a name"] == types["ToolUseEvent"] > 0


def test_events_have_the_shape_that_the_specification_gives_them(
    records: list[dict[str, Any]],
) -> None:
    events = [record for record in records if record["type"].endswith("Event")]
    for event in events:
        actions, objects = SHAPES[event["type"]]
        assert event["@context"] == "http://purl.imsglobal.org/ctx/caliper/v1p2"
        assert UUID.fullmatch(event["id"])
        assert TIME.fullmatch(event["eventTime"])
        assert event["action"] in actions
        assert event["object"]["type"] in objects
        assert _has_ids(event)
    assert len({event["id"] for event in events}) == len(events)
    assert {event["type"] for event in events} == set(SHAPES)


def test_members_without_a_value_are_not_written(folder: Path) -> None:
    text = (folder / "events.jsonl").read_text(encoding="utf-8")

    assert "null" not in text
    assert "{}" not in text
    assert '"duration":"PT' in text


def _read(folder: Path) -> tuple[pl.DataFrame, list[Hint]]:
    file = LogFile(str(folder / "events.jsonl"), "jsonl", 0)
    chunks = []
    for chunk in read_chunks(file, COLUMNS, mapping_of("caliper")):
        assert not isinstance(chunk, Problem)
        chunks.append(chunk)
    hints = merge_hints(hint for chunk in chunks for hint in chunk.hints)
    return pl.concat(chunk.frame for chunk in chunks), hints


def _has_ids(value: Any) -> bool:
    """Returns whether all entities have a type and an absolute address as their id."""
    if isinstance(value, list):
        return all(map(_has_ids, value))
    if not isinstance(value, dict):
        return True
    members = {name: item for name, item in value.items() if name != "extensions"}
    is_entity = "type" in members and re.match(r"(https?|urn):", members["id"])
    return bool(is_entity) and all(map(_has_ids, members.values()))
