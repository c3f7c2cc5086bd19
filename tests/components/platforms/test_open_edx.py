"""Tracking logs of Open edX: which column gets which value, and which records are left out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.config.data import Data
from components.config.mapping import EventMapping
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of
from tests.components.platforms.tracking_logs import (
    BLOCK,
    COURSE,
    Record,
    browser,
    filled,
    read_file,
    server,
)

Read = Callable[..., tuple[list[Record], dict[str, int], list[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Returns a function that reads records: events, those left out by reason, and problems."""

    def read_records(
        *records: Record, mapping: EventMapping | None = None
    ) -> tuple[list[Record], dict[str, int], list[str]]:
        path = tmp_path / "tracking.log"
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
        return read_file(path, mapping)

    return read_records


def test_an_answer_is_told_by_the_server_only(read: Read) -> None:
    answer = {"problem_id": BLOCK % "problem", "success": "incorrect", "grade": 1, "max_grade": 4}
    points = {"problem_id": BLOCK % "problem", "weighted_earned": 1, "weighted_possible": 4}
    rows, left_out, _ = read(
        server(f"/courses/{COURSE}/xblock/x/handler/problem_check", '{"POST": {}, "GET": {}}'),
        browser("problem_check", "input_b1_2_1=choice_1&input_b1_3_1%5B%5D=choice_2"),
        server("edx.grades.problem.submitted", {"user_id": "7", **points}),
        server("problem_check", answer),
        browser("problem_graded", ["input_b1_2_1=choice_1", "<p>\n</p>"]),
        server("edx.grades.subsection.grade_calculated", {"user_id": "7"}),
        server("edx.grades.course.grade_calculated", {"user_id": "7", "percent_grade": 0.1}),
    )
    assert [filled(row) for row in rows] == [
        {
            "event_type": "exercise",
            "component": "b1",
            "completed": "1",
            "correct": "0",
            "score": "0.25",
        }
    ]
    assert left_out == {"requests of pages": 1, "answers told twice": 3, "grades computed anew": 2}


def test_a_grade_is_the_answer_where_there_is_no_other(read: Read) -> None:
    def graded(earned: float | None, possible: float | None) -> Record:
        points = {"weighted_earned": earned, "weighted_possible": possible}
        event = {"user_id": "8", "problem_id": BLOCK % "drag-and-drop-v2", **points}
        return server("edx.grades.problem.submitted", event)

    rows, left_out, _ = read(graded(2.0, 2), graded(1, 2.0), graded(0, 0), graded(1, None))
    assert [(row["correct"], row["score"]) for row in rows] == [
        ("1", "1.0"), ("0", "0.5"), (None, None), (None, None),
    ]  # fmt: skip
    assert {row["learner_id"] for row in rows} == {"8"}
    assert left_out == {}


def test_quizzes_are_told_by_their_name(read: Read) -> None:
    def checked(title: str) -> Record:
        module = {"display_name": title, "usage_key": BLOCK % "problem"}
        return server("problem_check", {"success": "correct"}, context={"module": module})

    titles = ["Quiz 3", "Final exam: \\(x^2\\)", 'The "test"', "Contest", "Exercise"]
    rows, _, _ = read(*map(checked, titles))
    assert [row["event_type"] for row in rows] == ["quiz", "quiz", "quiz", "exercise", "exercise"]
    assert [row["completed"] for row in rows] == [None, None, None, "1", "1"]
    assert {row["component"] for row in rows} == {"b1"}


def test_one_block_has_one_name(read: Read) -> None:
    rows, _, _ = read(
        browser("play_video", {"id": "b1"}),
        browser("play_video", {"id": BLOCK % "video"}),
        browser("play_video", {"id": "i4x-Org-Course-video-b1"}),
        server("showanswer", {"problem_id": "i4x://Org/Course/problem/b1"}),
        server("problem_check", {"problem_id": BLOCK % "problem"}),
        server("edx.done.toggled", {"done": True}, context={"module": {"usage_key": BLOCK % "d"}}),
    )
    assert {row["component"] for row in rows} == {"b1"}


def test_speed_and_dwell(read: Read) -> None:
    rows, _, _ = read(
        browser("speed_change_video", {"id": "b1", "old_speed": "1.0", "new_speed": "1.25"}),
        browser("play_video", {"id": "b1", "speed": 1.5, "time_spent": 20.5}),
        browser("play_video", {"id": "b1"}),
        browser("page_close"),
    )
    assert [(row["playback_speed"], row["dwell_seconds"]) for row in rows] == [
        ("1.25", None), ("1.5", "20.5"), (None, None), (None, "0"),
    ]  # fmt: skip


def test_events_of_apps(read: Read) -> None:
    context = {"application": {"name": "edx.mobileapp.iOS"}}
    event = json.dumps({"id": "i4x-Org-Course-video-b1", "currentTime": 3})
    played = server(
        "play_video", event, name="edx.video.played", event_source="mobile", context=context
    )
    newer = {**played, "event_type": "edx.video.position.changed"}
    rows, _, _ = read(played, newer)
    assert [row["event_type"] for row in rows] == ["video", "video_seek"]
    assert {row["component"] for row in rows} == {"b1"}


@pytest.mark.parametrize("user", [None, "", "absent"])
def test_records_without_a_learner(read: Read, user: str | None) -> None:
    record = browser("play_video", {"id": "b1"})
    record["context"]["user_id"] = user
    if user == "absent":
        del record["context"]["user_id"]  # the name alone does not make a learner
    rows, left_out, problems = read(record)
    assert (rows, left_out, problems) == ([], {"without a learner": 1}, [])


def test_the_learner_is_who_was_acted_for(read: Read) -> None:
    rows, _, _ = read(
        server("edx.course.enrollment.activated", {"user_id": 9, "course_id": COURSE}),
        server("edx.course.grade.passed.first_time", {"user_id": 9}, context={"user_id": None}),
        server("edx.special_exam.timed.attempt.submitted", {"attempt_user_id": 9}),
    )
    assert [row["learner_id"] for row in rows] == ["9", "9", "9"]
    assert [row["event_type"] for row in rows] == ["enrolment", "passed", "exam"]


@pytest.mark.parametrize(
    ("members", "unit"),
    [
        ({"context": {"course_id": "Org/Course/Run"}}, "Org/Course/Run"),
        ({}, COURSE),
        ({"page": "https://x/courses/Org/Course/Run/courseware/a/"}, "Org/Course/Run"),
        ({"page": f"https://apps.x/learning/course/{COURSE}/block-v1:a"}, COURSE),
        ({"page": "https://x/courses/ccx-v1:Org+C+R+ccx@1/info#top"}, "ccx-v1:Org+C+R+ccx@1"),
        ({"page": None, "context": {"path": f"/courses/{COURSE}/xblock/a"}}, COURSE),
        ({"page": "https://x/xblock/b", "referer": f"https://x/courses/{COURSE}"}, COURSE),
        ({"page": "https://x/courses/", "referer": ""}, None),
    ],
)
def test_the_course_is_in_the_context_or_in_an_address(
    read: Read, members: Record, unit: str | None
) -> None:
    context = {"course_id": "", **members.get("context", {})}
    rows, left_out, _ = read(browser("page_close", **{**members, "context": context}))
    assert [row["unit_id"] for row in rows] == ([unit] if unit else [])
    assert left_out == ({} if unit else {"without a unit": 1})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (browser("page_close", agent="Mozilla/5.0 (compatible; bingbot/2.0; +http://b)"), "robots"),
        (browser("page_close", agent="python-requests/2.32"), "robots"),
        (browser("page_close", username="honor"), "test accounts"),
        (browser("page_close", username="test_user12"), "test accounts"),
        (browser("page_close", host="studio.example.org"), "authors in Studio"),
        (server("edx.forum.thread.created", {"user_course_roles": ["Staff"]}), "staff"),
        (server("edx.forum.thread.created", {"user_forums_roles": ["Moderator"]}), "staff"),
        (server("edx.grades.problem.rescored", {"user_id": "7"}), "staff"),
        (browser("edx.ui.lms.link_clicked"), "without a type of event"),
    ],
)
def test_who_and_what_is_left_out(read: Read, record: Record, reason: str) -> None:
    assert read(record)[:2] == ([], {reason: 1})


@pytest.mark.parametrize(
    "members",
    [
        {"agent": "Mozilla/5.0 (Linux; Android 11; CUBOT X50) Chrome/120.0 Mobile"},
        {"agent": ""},
        {"username": "testarossa"},
        {"username": "edxfan"},
        {"host": "studios.example.org"},
    ],
)
def test_who_is_not_left_out(read: Read, members: Record) -> None:
    assert read(browser("page_close", **members))[1] == {}


def test_what_an_event_may_be(read: Read) -> None:
    events: list[Any] = ["", None, [], 3, "a=b", '{"id": "b1', '{\n"id": "b1"}', '{"id": "\\\\"}']
    rows, left_out, problems = read(*(browser("play_video") | {"event": item} for item in events))
    assert [row["component"] for row in rows] == [*[None] * 6, "b1", "\\"]
    assert (left_out, problems) == ({}, [])


def test_an_object_as_the_learner(read: Read) -> None:
    rows, _, _ = read(server("page_close", context={"user_id": {"id": 7}}))
    assert rows[0]["learner_id"].replace(" ", "") == '{"id":7}'  # the table then refuses it


def test_another_log(read: Read) -> None:
    rows, _, (problem,) = read({"userid": 7, "courseid": 3, "eventname": "viewed"})
    assert rows == []
    assert "is data.format right? data.mapping says where values are found" in problem


def test_a_log_of_a_web_server(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text('127.0.0.1 - - [01/May/2024] "GET /a?b={1} HTTP/1.1" 200\n' * 3)
    rows, _, (problem,) = read_file(path)
    assert rows == []
    assert problem.startswith(
        "access.log, line 1: expected a JSON object in UTF-8 on each line, found '127.0.0.1 - - "
    )


def test_a_log_by_the_names_of_users(read: Read) -> None:
    names = {"learner_id": ["username", "context.username"]}
    config = Data.model_validate(
        {"events": "t", "outcomes": "o", "format": "open_edx", "mapping": names}
    )
    rows, _, _ = read(browser("page_close"), mapping=config.event_mapping)
    assert [row["learner_id"] for row in rows] == ["ada"]


def test_rotated_files_are_found_with_the_format_only(tmp_path: Path) -> None:
    line = f"{json.dumps(browser('page_close'))}\n".encode()
    names = ["tracking.log", "tracking.log-20240501", "tracking_7.log.1", "Events-2024.LOG"]
    for name in names:
        (tmp_path / name).write_bytes(line)
    (tmp_path / "tracking.log-20240501-1714550000.gz").write_bytes(gzip.compress(line))
    for name in ("README.txt", "tracking.log.bz2.part?", "catalog"):
        (tmp_path / name).write_bytes(line)

    found = find_files("events", [str(tmp_path)], mapping_of("open_edx"))
    assert {Path(file.path).name for file in found.files} == {
        *names, "tracking.log-20240501-1714550000.gz",
    }  # fmt: skip
    assert {file.format for file in found.files} == {"jsonl"}
    assert len(read_file(tmp_path / "tracking.log-20240501-1714550000.gz")[0]) == 1

    (problem,) = find_files("events", [str(tmp_path)]).problems
    assert "is it a platform's log? data.format says of which" in str(problem)
