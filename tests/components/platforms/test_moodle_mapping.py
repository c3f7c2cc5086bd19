"""What becomes of the rows of Moodle's log and of its other tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.formats import mapping_of
from tests.components.platforms.moodle_files import COLUMNS, problem_of, read_events

LOG = {
    "id": 1, "eventname": r"\mod_quiz\event\attempt_submitted", "component": "mod_quiz",
    "action": "submitted", "target": "attempt", "objecttable": "quiz_attempts", "objectid": 3,
    "crud": "u", "edulevel": 2, "contextid": 31, "contextlevel": 70, "contextinstanceid": 57,
    "userid": 7, "courseid": 4, "relateduserid": 7, "anonymous": 0, "other": "null",
    "timecreated": 1711111120, "origin": "web", "ip": "10.0.0.1", "realuserid": None,
}  # fmt: skip
QUIZ_ATTEMPT = {
    "id": 1, "quiz": 3, "userid": 7, "attempt": 1, "uniqueid": 9, "preview": 0,
    "state": "finished", "timestart": 1711111100, "timefinish": 1711111160,
    "timemodified": 1711111170, "sumgrades": "7.50000",
    "courseid": 4, "cmid": 57, "quizsumgrades": "10.00000",
}  # fmt: skip
ANSWER = {
    "id": 1, "questionattemptid": 5, "sequencenumber": 2, "state": "gradedpartial",
    "fraction": "0.5000000", "timecreated": 1711111160, "userid": 7,
    "courseid": 4, "modname": "quiz", "cmid": 57,
}  # fmt: skip
GRADE = {
    "id": 1, "itemid": 12, "userid": 7, "rawgrade": "40.00000", "rawgrademax": "50.00000",
    "rawgrademin": 0, "finalgrade": "40.00000", "timemodified": 1711111160,
    "courseid": 4, "itemtype": "mod", "modname": "assign", "cmid": 58,
}  # fmt: skip
COMPLETION = {
    "id": 1, "coursemoduleid": 57, "userid": 7, "completionstate": 1, "overrideby": None,
    "timemodified": 1711111160, "courseid": 4, "modname": "quiz",
}  # fmt: skip
COURSE_COMPLETION = {
    "id": 1, "userid": 7, "course": 4, "timeenrolled": 1700000000, "timestarted": 1700000100,
    "timecompleted": 1711111160, "reaggregate": 0,
}  # fmt: skip
H5P_ATTEMPT = {
    "id": 1, "h5pactivityid": 3, "userid": 7, "timecreated": 1711111100,
    "timemodified": 1711111160, "attempt": 2, "rawscore": 3, "maxscore": 4, "scaled": None,
    "duration": 42, "completion": 1, "success": 0, "courseid": 4, "cmid": 59,
}  # fmt: skip


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    frame = pl.DataFrame([*rows], infer_schema_length=None)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path


def test_a_column_that_a_table_does_not_have_is_without_values(tmp_path: Path) -> None:
    path = _write(tmp_path / "completion.csv", COMPLETION)

    chunks = [*read_chunks(LogFile(str(path), "csv", 0), COLUMNS, mapping_of("moodle"))]

    frames = [chunk.frame for chunk in chunks if not isinstance(chunk, Problem)]
    assert pl.concat(frames).select("playback_speed", "score").rows() == [(None, None)]
    assert all(frame.columns == COLUMNS for frame in frames)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_row_of_the_log_is_an_event_of_its_activity(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log.{suffix}"
    if suffix == "jsonl":
        pl.DataFrame([LOG]).write_ndjson(path)
    else:
        _write(path, LOG)

    events, left_out = read_events(path)

    assert events == [
        {
            "learner_id": "7", "unit_id": "4", "time": "2024-03-22T12:38:40Z",
            "event_type": "quiz", "component": "quiz/57",
        }
    ]  # fmt: skip
    assert not left_out


@pytest.mark.parametrize(
    ("component", "event", "event_type"),
    [
        ("core", "course_viewed", "course"),
        ("mod_assign", "assessable_submitted", "assignment"),
        ("mod_book", "chapter_viewed", "reading"),
        ("mod_resource", "course_module_viewed", "reading"),
        ("mod_forum", "post_created", "forum"),
        ("mod_hvp", "attempt_submitted", "exercise"),
        ("mod_videotime", "course_module_viewed", "video"),
        ("mod_newgame", "level_solved", "newgame"),  # a plugin that nobody has heard of
    ],
)
def test_types_follow_from_event_and_module(
    tmp_path: Path, component: str, event: str, event_type: str
) -> None:
    row = {**LOG, "component": component, "eventname": rf"\{component}\event\{event}"}
    [found], _ = read_events(_write(tmp_path / "log.csv", row))

    assert found["event_type"] == event_type


@pytest.mark.parametrize(
    ("content", "event_type"),
    [
        ("InteractiveVideo-1.26", "video"),
        ("QuestionSet-1.20", "quiz"),
        ("CoursePresentation-1.25", "reading"),
        ("DragQuestion-1.14", "exercise"),
    ],
)
def test_a_statement_of_h5p_says_what_was_achieved(
    tmp_path: Path, content: str, event_type: str
) -> None:
    other = (
        r'{"verb":{"id":"http:\/\/adlnet.gov\/expapi\/verbs\/answered"},"context":'
        r'{"contextActivities":{"category":[{"id":"http:\/\/h5p.org\/libraries\/H5P.' + content
        + r'"}]},"extensions":{"https:\/\/w3id.org\/xapi\/video\/extensions\/speed":"1.25x"}},'
        r'"result":{"score":{"min":0,"raw":3,"max":4},"duration":"PT1M2.5S",'
        r'"completion":true,"success":false}}'
    )  # fmt: skip
    row = {**LOG, "component": "mod_h5pactivity", "other": other}
    [found], _ = read_events(_write(tmp_path / "log.csv", row))

    assert found["event_type"] == event_type
    assert found["component"] == "h5pactivity/57"
    assert {name: float(found[name]) for name in COLUMNS[5:]} == {
        "dwell_seconds": 62.5, "completed": 1, "correct": 0, "score": 0.75, "playback_speed": 1.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("other", "completed"),
    [
        ('{"relateduserid":"7","overrideby":null,"completionstate":1}', "1"),
        ('{"completionstate":"3"}', "1"),
        ('{"completionstate":0}', "0"),
        ('a:2:{s:13:"relateduserid";s:1:"7";s:15:"completionstate";i:2;}', "1"),
        ('a:1:{s:15:"completionstate";s:1:"0";}', "0"),
        ("N;", None),
    ],
)
def test_completion_is_the_learners_in_json_and_as_php_serializes(
    tmp_path: Path, other: str, completed: str | None
) -> None:
    name = r"\core\event\course_module_completion_updated"
    row = {**LOG, "eventname": name, "component": "core", "userid": 3, "other": other}
    [found], _ = read_events(_write(tmp_path / "log.csv", row))

    assert found["learner_id"] == "7"
    assert found["event_type"] == "completion"
    assert found.get("completed") == completed


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"courseid": 1}, "site"),
        ({"courseid": 0}, "site"),
        ({"courseid": "1.0"}, "site"),
        ({"courseid": "NULL"}, "site"),
        ({"courseid": "\\N"}, "site"),
        ({"courseid": None}, "without a unit"),
        ({"userid": 0}, "guests and robots"),
        ({"userid": 1}, "guests and robots"),
        ({"userid": -20}, "guests and robots"),
        ({"realuserid": 2}, "logged in as somebody else"),
        ({"origin": "cli"}, "scripts and restored courses"),
        ({"origin": "restore"}, "scripts and restored courses"),
        ({"anonymous": 1}, "anonymous"),
        ({"edulevel": 1}, "teaching"),
        (
            {"component": "core", "edulevel": 0, "eventname": r"\core\event\user_loggedin"},
            "logins, reports and administration",
        ),
        (
            {"component": "gradereport_user", "eventname": r"\gradereport_user\event\viewed"},
            "logins, reports and administration",
        ),
        (
            {"eventname": r"\mod_quiz\event\course_module_instance_list_viewed"},
            "lists of activities",
        ),
        ({"component": "core", "eventname": r"\core\event\badge"}, "without a type of event"),
    ],
)
def test_what_is_no_learning_is_left_out_and_counted(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    events, left_out = read_events(_write(tmp_path / "log.csv", LOG, {**LOG, **changes}))

    assert len(events) == 1
    assert left_out == {rule: 1}


def test_ids_are_the_same_whoever_wrote_the_file(tmp_path: Path) -> None:
    name = r"\core\event\course_completed"
    row = {**LOG, "courseid": "4.0", "relateduserid": "7.0", "realuserid": "0.0"}
    row |= {"eventname": name, "component": "core", "userid": 3}

    [found], _ = read_events(_write(tmp_path / "log.csv", row))

    assert (found["learner_id"], found["unit_id"]) == ("7", "4")
    assert found["completed"] == "1"


def test_staff_is_left_out_by_a_rule_of_the_configuration(tmp_path: Path) -> None:
    path = _write(tmp_path / "log.csv", LOG, {**LOG, "userid": 3}, {**LOG, "realuserid": 2})
    rules = {"staff": {"userid": [3, 5]}, "logged in as somebody else": None}

    events, left_out = read_events(path, leave_out=rules)

    assert [event["learner_id"] for event in events] == ["7", "7"]
    assert left_out == {"staff": 1}


def test_the_names_of_a_join_come_before_numbers(tmp_path: Path) -> None:
    names = {"username": "anna", "shortname": "algebra", "cmidnumber": "fractions"}
    [found], _ = read_events(_write(tmp_path / "log.csv", {**LOG, **names}))

    assert found["learner_id"] == "anna"
    assert found["unit_id"] == "algebra"
    assert found["component"] == "fractions"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            QUIZ_ATTEMPT,
            {"event_type": "quiz_attempt", "component": "quiz/57", "dwell_seconds": 60,
             "completed": 1, "score": 0.75},
        ),
        (
            {**QUIZ_ATTEMPT, "state": "abandoned", "timefinish": 0, "timemodified": 1711111160,
             "sumgrades": None},
            {"event_type": "quiz_attempt", "component": "quiz/57", "completed": 0},
        ),
        (
            ANSWER,
            {"event_type": "question", "component": "quiz/57", "correct": 0, "score": 0.5},
        ),
        (
            {**ANSWER, "state": "gradedright", "fraction": "1.0000000"},
            {"event_type": "question", "component": "quiz/57", "correct": 1, "score": 1},
        ),
        (GRADE, {"event_type": "grade", "component": "assign/58", "score": 0.8}),
        (
            {**GRADE, "itemtype": "course", "modname": None, "cmid": None},
            {"event_type": "course_grade", "component": "grade_item/12", "score": 0.8},
        ),
        (
            {**GRADE, "oldid": 3, "action": 2, "source": "mod/assign", "loggeduser": 3},
            {"event_type": "grade", "component": "assign/58", "score": 0.8},
        ),
        (COMPLETION, {"event_type": "completion", "component": "quiz/57", "completed": 1}),
        (COURSE_COMPLETION, {"event_type": "completion", "completed": 1}),
        (
            H5P_ATTEMPT,
            {"event_type": "h5p_attempt", "component": "h5pactivity/59", "dwell_seconds": 42,
             "completed": 1, "correct": 0, "score": 0.75},
        ),
    ],
)  # fmt: skip
def test_each_table_is_recognised_by_its_columns(
    tmp_path: Path, suffix: str, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    [found], left_out = read_events(_write(tmp_path / f"table.{suffix}", row))

    keys = {"learner_id": "7", "unit_id": "4", "time": "2024-03-22T12:39:20Z"}
    texts = {name: found.pop(name) for name in ("event_type", "component") if name in found}
    assert {name: found.pop(name) for name in keys} == keys
    assert texts | {name: float(value) for name, value in found.items()} == expected
    assert not left_out


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**QUIZ_ATTEMPT, "preview": 1}, "previews"),
        ({**ANSWER, "state": "todo", "fraction": None}, "without a type of event"),
        ({**ANSWER, "state": "mangrright", "userid": 3}, "without a type of event"),
        ({**GRADE, "finalgrade": None}, "without a type of event"),
        ({**GRADE, "timemodified": None}, "without a type of event"),
        ({**COMPLETION, "completionstate": 0, "timemodified": 0}, "without a type of event"),
        ({**COURSE_COMPLETION, "timecompleted": None}, "without a type of event"),
    ],
)
def test_rows_of_tables_that_say_nothing_yet_are_left_out(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    events, left_out = read_events(_write(tmp_path / "table.csv", row))

    assert not events
    assert left_out == {reason: 1}


def test_a_table_without_its_course_says_which_columns_would_name_it(tmp_path: Path) -> None:
    row = {name: value for name, value in QUIZ_ATTEMPT.items() if name != "courseid"}

    problem = problem_of(_write(tmp_path / "quiz_attempts.csv", row))

    assert "expected 'shortname', 'courseid' in events, found the columns id, quiz" in problem


def test_another_table_is_told_apart_from_those_of_moodle(tmp_path: Path) -> None:
    problem = problem_of(_write(tmp_path / "users.csv", {"id": 7, "lastname": "A"}))

    assert "expected one of the tables logstore_standard_log, quiz_attempts," in problem
    assert "the log report in English, German, French, Spanish, Chinese" in problem
    assert problem.endswith("found the columns id, lastname")


def test_a_dump_of_some_columns_says_which_are_missing(tmp_path: Path) -> None:
    row = {name: value for name, value in LOG.items() if name != "timecreated"}

    problem = problem_of(_write(tmp_path / "log.csv", row))

    assert problem.endswith("; for logstore_standard_log it lacks timecreated")


def test_a_table_of_the_users_own_is_described_in_the_configuration(tmp_path: Path) -> None:
    row = {"studentid": 7, "course": 4, "timetaken": 1711111160, "status": "P"}
    kind = {
        "title": "attendance",
        "has": ["studentid", "timetaken"],
        "columns": {
            "learner_id": "studentid", "unit_id": "course",
            "time": {"from": "timetaken", "format": "%s"},
            "event_type": {"constant": "attendance"},
        },
    }  # fmt: skip

    [found], _ = read_events(_write(tmp_path / "a.csv", row), kinds={"attendance": kind})

    assert found["event_type"] == "attendance"
    assert found["learner_id"] == "7"
