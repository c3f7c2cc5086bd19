"""Tracking logs of Open edX: which column gets which value, and which records are left out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config.mapping import EventMapping
from components.event_log.problems import Hint, Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of
from tests.samples import unpacked

COURSE = "course-v1:Org+Course+Run"
BLOCK = "block-v1:Org+Course+Run+type@%s+block@b1"
PAGE = f"https://lms.example.org/courses/{COURSE}/courseware/week1/"
COLUMNS = [
    "learner_id", "unit_id", "time", "event_type", "component", "dwell_seconds", "completed",
    "correct", "score", "playback_speed",
]  # fmt: skip

Record = dict[str, Any]
Read = Callable[..., tuple[list[Record], dict[str, int], list[str]]]


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


def read_file(
    path: Path, mapping: EventMapping | None = None
) -> tuple[list[Record], dict[str, int], list[str]]:
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


SAMPLES = {
    "book": "bookmark",
    "edx.bookmark.added": "bookmark",
    "edx.certificate.created": "certificate",
    "edx.course.enrollment.activated": "enrolment",
    "edx.course.enrollment.deactivated": "unenrolment",
    "edx.course.student_notes.added": "note",
    "edx.done.toggled(server)": "completion",
    "edx.drag_and_drop_v2.item.dropped": "exercise_step",
    "edx.forum.searched": "forum",
    "edx.forum.thread.created": "forum",
    "edx.grades.problem.submitted": "exercise",
    "edx.problem.hint.demandhint_displayed": "hint",
    "edx.special_exam.timed.attempt.submitted": "exam",
    "edx.ui.lms.sequence.next_selected": "navigation",
    "edx.video.closed_captions.shown": "transcript",
    "load_video": "video_load",
    "openassessmentblock.create_submission": "assignment",
    "page_close": "page_close",
    "pause_video": "video_pause",
    "play_video": "video",
    "problem_check(server)": "exercise",
    "reset_problem": "exercise_reset",
    "save_problem_success": "exercise",
    "seek_video": "video_seek",
    "seq_goto": "navigation",
    "seq_next": "navigation",
    "show_transcript": "transcript",
    "showanswer": "solution",
    "speed_change_video": "video_speed",
    "stop_video": "video_end",
    "textbook.pdf.page.scrolled": "reading",
    "ubc.peer_instruction.original_submitted": "exercise_step",
    "xblock.poll.submitted": "poll",
    # What is left out, with the reason.
    "edx.cohort.created": "staff",
    "edx.done.toggled(browser)": "answers told twice",
    "edx.drag_and_drop_v2.loaded": "without a type of event",
    "edx.grades.problem.rescored(v2)": "staff",
    "edx.special_exam.timed.created": "staff",
    "edx.ui.lms.link_clicked": "without a type of event",
    "edx.user.login(edx)": "without a learner",
    "edx.user.settings.viewed": "without a unit",
    "openassessmentblock.staff_assess": "staff",
    "problem_check(browser)": "answers told twice",
    "problem_graded": "answers told twice",
    "problem_save": "answers told twice",
    "problem_show": "answers told twice",
}


def test_real_records_of_each_kind(read: Read, request: pytest.FixtureRequest) -> None:
    package = unpacked(
        request.config.cache.mkdir("openedx-caliper-tracking"),
        "openedx-caliper-tracking==0.14.3",
        "88dc3989cb8b31f16418159877379dc6e5d69384e2b5a24521b560e0b5e0535b",
        options=("--only-binary=:all:", "--python-version=27", "--implementation=py", "--abi=none"),
    )
    folder = package / "openedx_caliper_tracking" / "tests" / "current"
    records = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    assert len(records) == 165
    mapping = mapping_of("open_edx").laid_over({}, {"test accounts": None}, {}, {})  # it has "edx"

    found = {}
    for name in SAMPLES:
        rows, left_out, problems = read(records[name], mapping=mapping)
        assert problems == []
        (found[name],) = [*(row["event_type"] for row in rows), *left_out]
    assert found == SAMPLES

    rows, left_out, problems = read(*records.values(), mapping=mapping)
    assert len(rows) + sum(left_out.values()) == len(records)
    assert problems == []
    assert {row["playback_speed"] for row in rows} == {None, "0.75"}
    assert "605.734101" in {row["dwell_seconds"] for row in rows}
    assert all(row["learner_id"].isdecimal() for row in rows)
    assert all(row["unit_id"].startswith("course-v1:") for row in rows)


def test_a_real_log_with_a_logger_s_lines(request: pytest.FixtureRequest) -> None:
    package = unpacked(
        request.config.cache.mkdir("edx-event-routing-backends"),
        "edx-event-routing-backends==10.1.0",
        "11e375c1051a28b3126046fe2a6793b1773022c77a14c606e5d077a17cc6907c",
        options=("--no-binary=:all:", "--ignore-requires-python"),
    )
    (source,) = package.rglob("commands/tests/fixtures/tracking.log")
    rows, left_out, problems = read_file(source)
    assert [filled(row) for row in rows] == [
        {
            "event_type": "exercise",
            "component": "932e6f2ce8274072a355a94560216d1a",
            "completed": "1",
            "correct": "1",
            "score": "1.0",
        }
    ]
    assert left_out == {"answers told twice": 3, "grades computed anew": 5, "requests of pages": 1}
    (problem,) = problems  # two lines that are broken on purpose
    assert problem.startswith(
        "tracking.log, line 3: expected a JSON object in UTF-8 on each line, found "
    )
    assert problem.endswith("; also in line 11")
