"""The parts of a proposal: looks, values, roles, the document."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.strict_yaml import read_yaml
from pipeline.proposal.document import Item, plain_values, write_document
from pipeline.proposal.look import HEAD_BYTES, look_at
from pipeline.proposal.profile import Profile, is_skewed
from pipeline.proposal.roles import roles_of_events
from pipeline.proposal.tables import find_tables
from pipeline.proposal.words import Role

names = st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable())
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(names, values, min_size=1, max_size=5), st.text(), names)
def test_a_document_reads_as_its_values_whatever_its_comments_say(
    content: dict[str, object], why: str, alternative: str
) -> None:
    items = [Item(key, value, why=why, instead=[alternative]) for key, value in content.items()]
    nested = [Item("top", items=items, why=why), Item("list", items=[Item("", why), Item("", 1)])]
    text = write_document([why], nested)
    expected = {"top": content, "list": [why, 1]}
    assert plain_values(nested) == expected
    if all(mark not in why for mark in "\x85\u2028\u2029") and why.isprintable():
        assert read_yaml(text)[1] == expected


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2024-05-01T10:00:00Z", "2024-05-13T10:00:00Z"], None),
        (["1714557600", "1714558600"], None),
        (["20240501", "20240513"], None),
        (["01.05.2024 10:00", "13.05.2024 11:30"], "%d.%m.%Y %H:%M"),
        (["05/13/2024 1:05 PM", "05/01/2024 11:30 AM"], "%m/%d/%Y %I:%M %p"),
        (["2024/05/01", "2024/05/13"], "%Y/%m/%d"),
        (["2024年05月01日 10:00", "2024年05月13日 10:00"], "%Y年%m月%d日 %H:%M"),
    ],
)
def test_times_are_recognised_as_they_are_written(written: list[str], form: str | None) -> None:
    time = Profile(pl.Series("t", written)).time
    assert time is not None
    assert (time.format, time.is_number, time.is_ambiguous) == (form, False, False)


def test_a_date_that_could_be_of_two_months_is_doubtful() -> None:
    time = Profile(pl.Series("t", ["03/04/2024", "05/06/2024"])).time
    assert time is not None
    assert time.is_ambiguous


@pytest.mark.parametrize("written", [["soon", "later"], ["1.5e", "x"], ["", ""]])
def test_other_text_is_no_time(written: list[str]) -> None:
    assert Profile(pl.Series("t", written)).time is None


def test_numbers_with_zeros_in_front_are_learners_and_no_times() -> None:
    ids = [f"{learner:08d}" for learner in range(20)] * 10
    times = [f"2024-05-01T10:{minute % 60:02d}:00" for minute in range(200)]
    table = pl.DataFrame({"user": ids, "time": times, "course": ["algebra"] * 200})
    roles = roles_of_events([Profile(column) for column in table.iter_columns()])
    assert {role: guess.column for role, guess in roles.items()} == {
        Role.LEARNER: "user", Role.TIME: "time", Role.UNIT: "course"
    }  # fmt: skip


def test_numbers_of_learners_are_no_clock_where_times_are_missing() -> None:
    table = pl.DataFrame({"user": [str(row % 20) for row in range(200)], "course": ["a"] * 200})
    roles = roles_of_events([Profile(column) for column in table.iter_columns()])
    assert Role.TIME not in roles
    assert roles[Role.LEARNER].column == "user"


def test_decimal_commas_are_numbers() -> None:
    assert Profile(pl.Series("n", ["1,5", "2"]), decimal=",").quantile(1) == 2
    assert Profile(pl.Series("n", ["1,5", "2"])).numbers is None
    assert Profile(pl.Series("n", ["007", "123"])).numbers is None  # codes


def test_heavy_tails_are_skewed() -> None:
    assert is_skewed(pl.Series([float(2 ** (row % 12)) for row in range(500)]))
    assert not is_skewed(pl.Series([float(row % 12) for row in range(500)]))
    assert not is_skewed(pl.Series([-1.0, 0.0, 1.0, 900.0]))


LANGUAGES = {
    "en": ("Student ID", "Course", "Timestamp", "Event Type", "Is Correct"),
    "de": ("Schüler-ID", "Kurs", "Zeitpunkt", "Aktivität", "richtig"),
    "fr": ("id_étudiant", "Cours", "Horodatage", "Activité", "juste"),
    "es": ("id_alumno", "Asignatura", "fecha_hora", "actividad", "acierto"),
    "zh": ("学号", "课程", "时间", "事件类型", "正确"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_columns_are_known_by_name_in_five_languages(language: str) -> None:
    learner, unit, time, kind, correct = LANGUAGES[language]
    rows = range(600)
    columns = {
        correct: [str(row % 2) for row in rows],
        kind: [("a", "b", "c")[row % 3] for row in rows],
        "other": [str(row * 7919 % 600) for row in rows],
        time: [f"2024-05-{1 + row % 28:02} 10:00:00" for row in rows],
        unit: [("x", "y")[row // 300] for row in rows],
        learner: [f"s{row % 50}" for row in rows],
    }
    roles = roles_of_events([Profile(pl.Series(*item)) for item in columns.items()])
    found = {role: guess.column for role, guess in roles.items()}
    assert found == {
        Role.LEARNER: learner,
        Role.UNIT: unit,
        Role.TIME: time,
        Role.EVENT_TYPE: kind,
        Role.CORRECT: correct,
    }


def test_the_beginning_and_the_end_of_a_large_file_are_looked_at(tmp_path: Path) -> None:
    row = "s1,2024-05-01," + "x" * 80 + "\n"
    middle = row * (2 * HEAD_BYTES // len(row))
    (tmp_path / "log.csv").write_text(
        "user,time,text\nfirst,2024-05-01,a\n" + middle + "last,2024-05-02,b\n"
    )
    [look] = look_at([str(tmp_path / "log.csv")])
    assert {"first", "last"} <= {*look.frame["user"]}
    assert look.frame.height < 60_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_delimiter_and_encoding_are_found(tmp_path: Path, encoding: str) -> None:
    text = "Schüler;Zeit;Punkte\r\n" + "Jürg;1.5.2024;1,5\r\n" * 20 + "Ann;2.5.2024;NULL\r\n"
    (tmp_path / "log.csv").write_bytes(text.encode(encoding))
    [look] = look_at([str(tmp_path / "log.csv")])
    assert look.frame.columns == ["Schüler", "Zeit", "Punkte"]
    assert look.frame["Schüler"][0] == "Jürg"
    dialect = look.dialect
    assert (dialect.delimiter, dialect.decimal, dialect.missing) == (";", ",", ("NULL",))
    assert dialect.encoding == {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert look.frame["Punkte"].null_count() == 1


def test_chinese_in_gb18030_is_told_from_western_letters(tmp_path: Path) -> None:
    text = "学生,课程,时间\n" + "王伟,代数,2024年05月01日\n" * 20
    (tmp_path / "log.csv").write_bytes(text.encode("gb18030"))
    [look] = look_at([str(tmp_path / "log.csv")])
    assert look.dialect.encoding == "gb18030"
    assert look.frame.row(0) == ("王伟", "代数", "2024年05月01日")


def test_western_letters_side_by_side_are_not_chinese(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(("Kurs;Note\n" + "Größen;2\n" * 20).encode("cp1252"))
    [look] = look_at([str(tmp_path / "log.csv")])
    assert (look.dialect.encoding, look.frame["Kurs"][0]) == ("cp1252", "Größen")


def test_lines_lists_and_envelopes_of_json_hold_the_same_records(tmp_path: Path) -> None:
    records = [{"id": str(row), "actor": {"name": "a"}, "n": row} for row in range(9)]
    lines = "\n".join(map(json.dumps, records))
    contents = {
        "lines.jsonl": lines.encode(),
        "packed.jsonl.gz": gzip.compress(lines.encode()),
        "list.json": json.dumps(records, indent=1).encode(),
        "envelope.json": json.dumps({"more": "", "statements": records}).encode(),
    }
    frames = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        [look] = look_at([str(tmp_path / name)])
        frames.append(look.frame)
    assert all(frame.equals(frames[0]) for frame in frames)
    assert frames[0]["n"].to_list() == [str(row) for row in range(9)]
    assert json.loads(frames[0]["actor"][0]) == {"name": "a"}


def test_files_of_a_folder_are_sorted_into_tables(tmp_path: Path) -> None:
    for day in range(12):
        (tmp_path / f"day-{day}.csv").write_text(f"user,time,kind\nu{day},2024-05-01,a\n")
    (tmp_path / "grades.csv").write_text("user,grade\nu1,5\n")
    tables = look_at([str(tmp_path)])
    assert sorted(len(look.files) for look in tables) == [1, 12]


def test_a_log_of_another_platform_in_the_folder_is_named(tmp_path: Path) -> None:
    event = {"type": "Event", "action": "Used", "actor": {"id": "a"}, "eventTime": "2024-05-01"}
    statement = {"actor": {"mbox": "a"}, "verb": {"id": "did"}, "object": {"id": "b"}}
    (tmp_path / "one.jsonl").write_text(f"{json.dumps(event)}\n" * 9)
    (tmp_path / "two.jsonl").write_text(f"{json.dumps(statement)}\n" * 9)
    tables = find_tables([str(tmp_path)], [], format="", label="")
    assert tables.format.format == "caliper"
    assert tables.foreign == ((str(tmp_path / "two.jsonl"), "xapi"),)
    assert tables.outcomes is None
