"""The statements of docs/formats/moodle.md, on real databases: their rows become events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms.formats import mapping_of
from tests.mariadb import PASSWORD, USER
from tests.moodle import Moodle, new_moodle

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "moodle.md"
STATEMENTS: list[str] = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]
COLUMNS = ["learner_id", "unit_id", "event_type", "component", "score", "completed"]
DONE = 1711111160

# Tables that are only joined, with the columns that statements name.
_JOINED = {
    "user": "",  # is there
    "course": "id bigint, shortname varchar(255)",
    "role": "id bigint, archetype varchar(30)",
    "role_assignments": "id bigint, roleid bigint, userid bigint",
    "question_attempts": "id bigint, questionusageid bigint",
    "question_attempt_steps": "id bigint, questionattemptid bigint, sequencenumber bigint, "
    "state varchar(13), fraction decimal(12,7), timecreated bigint, userid bigint",
}


@pytest.fixture(scope="module", params=["mariadb", "postgresql"])
def site(request: pytest.FixtureRequest) -> Iterator[Moodle]:
    """A Moodle in which the learner anna has done one thing of each kind."""
    server = request.getfixturevalue(request.param)
    if request.param == "mariadb":
        url = f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/mysql"
    else:
        url = server.url.replace("postgresql://", "postgresql+psycopg://")
    with new_moodle(url) as moodle:
        for name, columns in _JOINED.items():
            if columns:
                moodle.run(f"CREATE TABLE mdl_{name} ({columns})")
        moodle.run("ALTER TABLE mdl_course_modules ADD COLUMN idnumber varchar(100)")
        _fill(moodle)
        yield moodle


def _fill(site: Moodle) -> None:
    site.insert("user", {"id": 7, "username": "anna", "email": "a@example.org"})
    site.insert("course", {"id": 4, "shortname": "algebra"})
    site.insert("modules", {"id": 1, "name": "quiz"}, {"id": 2, "name": "h5pactivity"})
    site.insert(
        "course_modules",
        {"id": 57, "course": 4, "module": 1, "instance": 3, "idnumber": "fractions"},
        {"id": 59, "course": 4, "module": 2, "instance": 3, "idnumber": "decimals"},
    )
    site.insert("quiz", {"id": 3, "course": 4, "sumgrades": 10})
    attempt = {"id": 1, "quiz": 3, "userid": 7, "uniqueid": 9, "state": "finished"}
    site.insert("quiz_attempts", {**attempt, "timefinish": DONE, "sumgrades": 7.5})
    site.insert("question_attempts", {"id": 5, "questionusageid": 9})
    step = {"questionattemptid": 5, "userid": 3, "timecreated": DONE, "fraction": 1}
    site.insert(
        "question_attempt_steps", {**step, "id": 1, "sequencenumber": 2, "state": "gradedright"}
    )
    site.insert(
        "grade_items",
        {"id": 12, "courseid": 4, "itemtype": "mod", "itemmodule": "quiz", "iteminstance": 3},
        {"id": 13, "courseid": 4, "itemtype": "course", "itemmodule": None, "iteminstance": 4},
    )
    grade = {"userid": 7, "rawgrademax": 50, "timemodified": DONE}
    site.insert("grade_grades", {**grade, "id": 1, "itemid": 12, "finalgrade": 40})
    site.insert("grade_grades", {**grade, "id": 2, "itemid": 13, "finalgrade": 25})
    completion = {"coursemoduleid": 57, "userid": 7, "completionstate": 1, "timemodified": DONE}
    site.insert("course_modules_completion", {**completion, "id": 1})
    site.insert("h5pactivity", {"id": 3, "course": 4})
    attempt = {"h5pactivityid": 3, "userid": 7, "attempt": 1, "rawscore": 3, "maxscore": 4}
    times = {"timecreated": DONE, "timemodified": DONE}
    site.insert("h5pactivity_attempts", {**attempt, **times, "id": 1, "scaled": 0.75})
    event = {"component": "mod_quiz", "contextinstanceid": 57, "courseid": 4, "timecreated": DONE}
    name = r"\mod_quiz\event\attempt_submitted"
    site.insert("logstore_standard_log", {**event, "id": 1, "userid": 7, "eventname": name})
    name = r"\core\event\course_module_completion_updated"
    done = {**event, "component": "core", "userid": 3, "relateduserid": 7, "eventname": name}
    site.insert("logstore_standard_log", {**done, "id": 2, "other": '{"completionstate":1}'})
    site.insert("role", {"id": 3, "archetype": "editingteacher"}, {"id": 5, "archetype": "student"})
    assigned = [{"id": 1, "roleid": 3, "userid": 3}, {"id": 2, "roleid": 5, "userid": 7}]
    site.insert("role_assignments", *assigned)


def _statement(start: str) -> str:
    (found,) = [item for item in STATEMENTS if start in item]
    return found


def _select(site: Moodle, statement: str) -> pl.DataFrame:
    with site.engine.connect() as connection:
        rows = connection.execute(text(statement)).mappings().all()
    return pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)


def _events(rows: pl.DataFrame, path: Path) -> list[dict[str, Any]]:
    rows.write_csv(path)
    events = []
    for chunk in read_chunks(LogFile(str(path), "csv", 0), COLUMNS, mapping_of("moodle")):
        assert not isinstance(chunk, Problem), chunk
        events += chunk.frame.to_dicts()
    return [{name: row[name] for name in row if row[name] is not None} for row in events]


KEYS = {"learner_id": "7", "unit_id": "4"}
QUIZ = {**KEYS, "component": "quiz/57"}


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (
            "SELECT * FROM mdl_logstore_standard_log",
            [
                {**QUIZ, "event_type": "quiz"},
                {**KEYS, "event_type": "completion", "completed": "1"},
            ],
        ),
        (
            "FROM mdl_quiz_attempts a\n  JOIN mdl_quiz q",
            [{**QUIZ, "event_type": "quiz_attempt", "score": "0.75", "completed": "1"}],
        ),
        ("FROM mdl_question_attempt_steps", [{**QUIZ, "event_type": "question", "score": "1.0"}]),
        (
            "FROM mdl_grade_grades g",
            [
                {**QUIZ, "event_type": "grade", "score": "0.8"},
                {
                    **KEYS, "event_type": "course_grade", "score": "0.5",
                    "component": "grade_item/13",
                },
            ],
        ),
        (
            "FROM mdl_course_modules_completion",
            [{**QUIZ, "event_type": "completion", "completed": "1"}],
        ),
        (
            "FROM mdl_h5pactivity_attempts",
            [{**KEYS, "event_type": "h5p_attempt", "component": "h5pactivity/59", "score": "0.75"}],
        ),
        (
            "SELECT l.*, u.username",
            [
                {
                    "learner_id": "anna", "unit_id": "algebra", "component": "fractions",
                    "event_type": "quiz",
                },
                {
                    "learner_id": "anna", "unit_id": "algebra", "component": "fractions",
                    "event_type": "completion", "completed": "1",
                },
            ],
        ),
    ],
)  # fmt: skip
def test_a_statement_gives_the_rows_of_its_table(
    site: Moodle, tmp_path: Path, start: str, expected: list[dict[str, str]]
) -> None:
    rows = _select(site, _statement(start)).sort("id")

    found = _events(rows, tmp_path / "table.csv")

    for event in found:
        if "score" in event:
            event["score"] = str(float(event["score"]))
    assert found == expected


def test_staff_are_those_with_the_role_of_one(site: Moodle) -> None:
    assert _select(site, _statement("FROM mdl_role_assignments"))["userid"].to_list() == [3]


def test_every_statement_of_the_page_is_tried() -> None:
    assert len(STATEMENTS) == 8
