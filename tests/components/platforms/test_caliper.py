"""Caliper events of any sensor: which column gets which value, and which records are left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of
from tests.samples import unpacked

USER, COURSE = "https://example.edu/users/1", "https://example.edu/courses/7/sections/1"
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "score", "playback_speed",
]  # fmt: skip

Record = dict[str, Any]


def event(kind: str = "ViewEvent", action: str = "Viewed", **members: Any) -> Record:
    """Returns an event; a member of value None is left out."""
    record = {
        "@context": "http://purl.imsglobal.org/ctx/caliper/v1p2",
        "type": kind,
        "actor": {"id": USER, "type": "Person"},
        "action": action,
        "object": {"id": "https://example.edu/page/1", "type": "Page"},
        "eventTime": "2026-01-05T08:00:00.000Z",
        "group": {"id": COURSE, "type": "CourseSection"},
        **members,
    }
    return {name: value for name, value in record.items() if value is not None}


def read(folder: Path, *records: Record) -> tuple[list[Record], dict[str, int]]:
    """Returns the events that records become, and how many are left out for which reason."""
    path = folder / "events.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return read_file(path)


def read_file(path: Path) -> tuple[list[Record], dict[str, int]]:
    """Returns the same for a file."""
    (file,) = find_files("events", [str(path)]).files
    rows: list[Record] = []
    hints: list[Hint] = []
    for chunk in read_chunks(file, COLUMNS, mapping_of("caliper")):
        assert not isinstance(chunk, Problem), chunk
        missing = [pl.lit(None).alias(name) for name in COLUMNS if name not in chunk.frame.columns]
        rows += chunk.frame.with_columns(missing).to_dicts()
        hints += chunk.hints
    prefix = "records left out, "
    return rows, {hint.text.removeprefix(prefix): hint.count for hint in merge_hints(hints)}


def values(folder: Path, record: Record, *names: str) -> list[str | None]:
    """Returns some values of the event that a record becomes."""
    (row,), left_out = read(folder, record)
    assert not left_out
    return [row[name] for name in names]


ITEM = {"id": "https://example.edu/items/3", "type": "AssessmentItem"}
QUIZ = {"id": "https://example.edu/quizzes/1", "type": "Assessment"}


@pytest.mark.parametrize(
    ("kind", "action", "about", "expected"),
    [
        ("MediaEvent", "Paused", {"id": "v", "type": "VideoObject"}, "video"),
        ("MediaEvent", "Started", "v", "video"),
        ("AssessmentEvent", "Submitted", QUIZ, "quiz"),
        ("AssessmentItemEvent", "Started", ITEM, "exercise"),
        ("AssessmentItemEvent", "Started", ITEM | {"isPartOf": QUIZ}, "quiz"),
        ("NavigationEvent", "NavigatedTo", {"id": "w", "type": "WebPage"}, "navigation"),
        ("NavigationEvent", "NavigatedTo", {"id": "f", "type": "Forum"}, "forum"),
        ("MessageEvent", "Posted", {"id": "m", "type": "Message"}, "forum"),
        ("ToolUseEvent", "Used", {"id": "t", "type": "SoftwareApplication"}, "tool"),
        ("SurveyEvent", "OptedIn", {"id": "s", "type": "Survey"}, "survey"),
        ("ResourceManagementEvent", "Printed", {"id": "d", "type": "Document"}, "resource"),
        ("Event", "Modified", {"id": "d", "type": "Document"}, "other"),
        ("ViewEvent", "Viewed", "https://example.edu/page/1", "reading"),
        ("OwnEvent", "Used", {"id": "o", "type": "OwnThing"}, "OwnEvent"),
    ],
)
def test_types_of_events(tmp_path: Path, kind: str, action: str, about: Any, expected: str) -> None:
    record = event(kind, action, object=about)
    assert values(tmp_path, record, "event_type") == [expected]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [USER, COURSE]),
        ({"actor": USER, "group": COURSE, "membership": "https://example.edu/m/1"}, [USER, COURSE]),
        (
            {
                "group": {
                    "id": "https://example.edu/team/4",
                    "type": "Group",
                    "subOrganizationOf": {"id": COURSE, "type": "CourseSection"},
                }
            },
            [USER, COURSE],
        ),
        ({"group": None, "membership": {"organization": {"id": COURSE}}}, [USER, COURSE]),
        ({"group": None, "membership": {"organization": COURSE}}, [USER, COURSE]),
        (
            {
                "group": None,
                "object": {"id": "f", "isPartOf": {"id": COURSE, "type": "CourseSection"}},
            },
            [USER, COURSE],
        ),
    ],
)
def test_entities_are_objects_or_only_their_ids(
    tmp_path: Path, members: Record, expected: list[str]
) -> None:
    assert values(tmp_path, event(**members), "learner_id", "unit_id") == expected


@pytest.mark.parametrize(
    ("given", "best", "correct", "score"),
    [(1, 1.0, "1", 1.0), (0.5, 1, "0", 0.5), (5.0, 5, "1", 1.0), (0, 2, "0", 0.0)],
)
def test_a_grade_is_of_the_learner_whose_attempt_it_is(
    tmp_path: Path, given: float, best: float, correct: str, score: float
) -> None:
    attempt = {"type": "Attempt", "assignee": USER, "assignable": ITEM | {"isPartOf": QUIZ}}
    record = event(
        "GradeEvent",
        "Graded",
        actor={"id": "https://example.edu/autograder", "type": "SoftwareApplication"},
        object=attempt | {"duration": "PT1M30.5S"},
        generated={"type": "Score", "scoreGiven": given, "maxScore": best},
    )

    (row,), _ = read(tmp_path, record)

    assert row["learner_id"] == USER
    assert (row["event_type"], row["component"]) == ("quiz", ITEM["id"])
    assert (row["correct"], float(row["score"])) == (correct, score)
    assert float(row["dwell_seconds"]) == 90.5


def test_the_grade_of_a_whole_quiz_is_a_score_alone(tmp_path: Path) -> None:
    attempt = {"assignee": {"id": USER}, "assignable": QUIZ, "type": "Attempt"}
    score = {"type": "Score", "scoreGiven": 10.0, "maxScore": 15.0}
    record = event("GradeEvent", "Graded", object=attempt, generated=score)

    found = values(tmp_path, record, "event_type", "correct", "score", "completed")

    assert found[:2] == ["quiz", None]
    assert float(found[2] or 0) == pytest.approx(2 / 3)
    assert found[3] is None


@pytest.mark.parametrize(
    ("action", "completed"),
    [("Completed", "1"), ("Submitted", "1"), ("Ended", "1"), ("Skipped", "0"), ("Started", None)],
)
def test_what_was_completed(tmp_path: Path, action: str, completed: str | None) -> None:
    assert values(tmp_path, event(action=action), "completed") == [completed]


def test_the_length_of_a_video_is_no_time_spent(tmp_path: Path) -> None:
    video = {"id": "v", "type": "VideoObject", "duration": "PT20M20S"}
    target = {
        "type": "MediaLocation",
        "currentTime": "PT05M21S",
        "extensions": {"playbackRate": 1.5},
    }
    record = event("MediaEvent", "Paused", object=video, target=target)
    assert values(tmp_path, record, "dwell_seconds", "playback_speed") == [None, "1.5"]


def test_time_spent_is_where_sensors_write_it(tmp_path: Path) -> None:
    places = [
        {"extensions": {"duration": "PT1M"}},
        {"generated": {"type": "Response", "duration": "PT60S"}},
        {"generated": {"type": "Response", "attempt": {"duration": "PT0.5M30S"}}},
    ]
    rows, _ = read(tmp_path, *(event(**place) for place in places))
    assert [float(row["dwell_seconds"]) for row in rows] == [60.0, 60.0, 60.0]


def test_an_objective_is_the_component_before_the_object(tmp_path: Path) -> None:
    page = {"id": "p", "type": "Page", "learningObjectives": [{"id": "https://example.edu/o/1"}]}
    message = {"id": "m", "type": "Message", "isPartOf": {"id": "t", "type": "Thread"}}
    rows, _ = read(
        tmp_path,
        event(object=page),
        event(object="https://example.edu/page/2"),
        event("MessageEvent", "Posted", object=message),
    )
    expected = ["https://example.edu/o/1", "https://example.edu/page/2", "t"]
    assert [row["component"] for row in rows] == expected


def test_records_that_are_no_events_of_learners_are_left_out(tmp_path: Path) -> None:
    software = {"id": "https://example.edu", "type": "SoftwareApplication"}
    robot = {"type": "Session", "client": {"userAgent": "Mozilla/5.0 (compatible; Bingbot/2.0)"}}
    rows, left_out = read(
        tmp_path,
        event(),
        {"id": USER, "type": "Person"},
        {"id": "https://example.edu/d", "type": "Document"},
        event("SessionEvent", "LoggedIn", object=software, group=None),
        event(actor=software),
        event(session=robot),
        event(membership={"roles": ["Instructor"]}),
        event(membership={"roles": ["Learner"]}),
        event(actor={"id": "http://purl.imsglobal.org/caliper/Person", "type": "Person"}),
        event(actor={"id": USER, "type": "Person", "name": "Test Student"}),
        event(group=None),
        event("GradeEvent", "Graded", object="https://example.edu/attempts/1"),
    )
    assert len(rows) == 2
    assert left_out == {
        "entities, which are not events": 2,
        "logins": 1,
        "software that acts on its own": 1,
        "robots": 1,
        "staff": 1,
        "people without a name": 1,
        "test users": 1,
        "without a unit": 1,
        "without a learner": 1,
    }


def test_teachers_may_grade(tmp_path: Path) -> None:
    attempt = {"assignee": {"id": USER}, "assignable": ITEM, "type": "Attempt"}
    teacher = {"id": "https://example.edu/users/9", "type": "Person"}
    record = event(
        "GradeEvent", "Graded", actor=teacher, object=attempt, membership={"roles": ["Instructor"]}
    )
    assert values(tmp_path, record, "learner_id", "event_type") == [USER, "exercise"]


def test_caliper_1_0(tmp_path: Path) -> None:
    def old(name: str) -> str:
        return f"http://purl.imsglobal.org/caliper/v1/{name}"

    section = {"@id": COURSE, "@type": old("lis/CourseSection")}
    record = {
        "@type": old("MediaEvent"),
        "actor": {"@id": USER, "@type": old("lis/Person")},
        "action": "http://purl.imsglobal.org/vocab/caliper/v1/action#Ended",
        "object": {"@id": "https://example.edu/v", "@type": old("VideoObject"), "duration": 1420},
        "eventTime": "2015-09-15T10:15:00.000Z",
        "group": {"@id": "g", "@type": old("lis/Group"), "subOrganizationOf": section},
    }
    names = ("learner_id", "unit_id", "event_type", "component", "completed", "dwell_seconds")
    expected = [USER, COURSE, "video", "https://example.edu/v", "1", None]
    assert values(tmp_path, record, *names) == expected


def test_the_events_of_open_edx_caliper_tracking(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Reads the 165 records (Caliper 1.1) that the package `openedx-caliper-tracking` ships."""
    package = unpacked(
        request.config.cache.mkdir("openedx-caliper-tracking"),
        "openedx-caliper-tracking==0.14.3",
        "88dc3989cb8b31f16418159877379dc6e5d69384e2b5a24521b560e0b5e0535b",
        options=("--only-binary=:all:", "--python-version=27", "--implementation=py", "--abi=none"),
    )
    folder = package / "openedx_caliper_tracking" / "tests" / "expected"
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]

    rows, left_out = read(tmp_path, *records)

    assert len(rows) + sum(left_out.values()) == len(records)
    types = Counter(row["event_type"] for row in rows)
    assert types.most_common(1)[0][0] in {"navigation", "other"}
    assert all(row["learner_id"].startswith("http://localhost:18000/u/") for row in rows)
    assert all(row["unit_id"].startswith("course-v1:") for row in rows)
    assert {row["playback_speed"] for row in rows} == {None, "0.75"}


def envelope(*records: Record) -> Record:
    return {
        "sensor": "https://example.edu/sensors/1",
        "sendTime": "2026-01-05T08:00:01.000Z",
        "dataVersion": "http://purl.imsglobal.org/ctx/caliper/v1p2",
        "data": [*records],
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.jsonl", lambda a, b, c: f"{json.dumps(envelope(a, b))}\n{json.dumps(c)}\n"),
        ("array.json", lambda a, b, c: json.dumps([a, b, c])),
        ("envelopes.json", lambda a, b, c: json.dumps([envelope(a), envelope(b, c)], indent=2)),
        ("one.json", lambda a, b, c: json.dumps(envelope(a, b, c), indent=2)),
    ],
)
def test_envelopes_are_opened(tmp_path: Path, name: str, text: Callable[..., str]) -> None:
    person = {"id": USER, "type": "Person"}
    path = tmp_path / name
    path.write_text(text(event(), person, event("MediaEvent", "Paused")), encoding="utf-8")

    rows, left_out = read_file(path)

    assert [row["event_type"] for row in rows] == ["reading", "video"]
    assert left_out == {"entities, which are not events": 1}
