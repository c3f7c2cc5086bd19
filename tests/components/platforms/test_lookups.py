"""Lookups: small tables that are joined to records; lists of values; what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components.config.mapping import EventMapping
from components.event_log.chunks import Chunk
from components.event_log.problems import Problem, merge_hints
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.platforms import lookups

Read = Callable[..., tuple[list[tuple[Any, ...]], list[str], list[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Returns a function that reads a log of answers and returns rows, hints and problems."""
    (tmp_path / "log.csv").write_text("learner,question,answer\nann,q1,a\nbob,q2.0,b\nann,q9,c\n")

    def read_log(*columns: str, **mapping: Any) -> tuple[list[Any], list[str], list[str]]:
        lookup = {"table": str(tmp_path / "questions.csv"), "key": "id", "path": "question"}
        given = {"lookups": {"questions": lookup}, **mapping}
        file = LogFile(str(tmp_path / "log.csv"), "csv", 0)
        items = [*read_chunks(file, columns, EventMapping.model_validate(given))]
        chunks = [item for item in items if isinstance(item, Chunk)]
        rows = [row for chunk in chunks for row in chunk.frame.rows()]
        hints = merge_hints(hint for chunk in chunks for hint in chunk.hints)
        problems = [str(item) for item in items if isinstance(item, Problem)]
        texts = [str(hint).replace(f"{tmp_path}/", "") for hint in hints]
        return rows, texts, [problem.replace(f"{tmp_path}/", "") for problem in problems]

    return read_log


CORRECT = {
    "learner_id": "learner",
    "skill": "lookups.questions.skill",
    "correct": {"from": "answer", "equals": "lookups.questions.right"},
}


def test_values_are_looked_up_and_missing_keys_are_counted(read: Read, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("id,skill,right\nq1,adding,a\nq2.0,halves,c\n")
    rows, hints, problems = read("learner_id", "skill", "correct", columns=CORRECT)
    assert rows == [("ann", "adding", "1"), ("bob", "halves", "0"), ("ann", None, None)]
    assert hints == [
        "events whose question is not in the lookup questions (nothing is found): 1, "
        "such as 'q9' in log.csv, line 4"
    ]
    assert not problems


def test_keys_are_the_same_in_files_of_any_type(read: Read, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("learner,question\nann,1\nbob,2.0\n")
    table = pl.DataFrame({"id": [1.0, 2.0, 3.5], "skill": ["adding", "halves", "none"]})
    table.write_parquet(tmp_path / "questions.parquet")
    lookup = {"table": str(tmp_path / "questions.parquet"), "key": "id", "path": "question"}
    columns = {"skill": "lookups.questions.skill"}
    rows, hints, _ = read("skill", columns=columns, lookups={"questions": lookup})
    assert (rows, hints) == ([("adding",), ("halves",)], [])


def test_rules_and_conditions_look_up(read: Read, tmp_path: Path) -> None:
    (tmp_path / "questions.csv").write_text("id,skill,right\nq1,adding,a\nq2.0,halves,c\n")
    columns = {"x": {"from": "answer", "when": {"lookups.questions.skill": ["halves"]}}}
    rule = {"lookups.questions.skill": ["adding"]}
    rows, hints, _ = read("x", columns=columns, leave_out={"adding": rule})
    assert rows == [("b",), (None,)]
    assert hints[1] == "records left out, adding: 1, such as line 2 of log.csv"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            "id,skill,right\nq1,a,a\nq2,a,a\nq1,b,b\nq2,c,c\n",
            "questions.csv, column id: expected each key once in the lookup questions, "
            "found 'q1' in line 2 and 4, and 1 more keys several times",
        ),
        (
            "id,skill,right\nq1,a,a\n,b,b\n",
            "questions.csv, column id: expected a key in every line of the lookup questions, "
            "found none in line 3",
        ),
        (
            "id,skil,right\nq1,a,a\n",
            "questions.csv: expected 'skill' in the lookup questions, found the columns id, skil, "
            "right; did you mean skil?",
        ),
        (
            'id,skill,right\nq1,"a,a\n',
            "questions.csv, line 2: expected CSV as in RFC 4180 (quotes around",
        ),
        (None, "questions.csv: expected the table of data.lookups.questions, found No such file"),
    ],
)
def test_lookups_that_cannot_be_used(
    read: Read, tmp_path: Path, table: str | None, problem: str
) -> None:
    if table is not None:
        (tmp_path / "questions.csv").write_text(table)
    rows, _, [found] = read("skill", "correct", columns=CORRECT)
    assert found.startswith(problem)
    assert not rows


def test_a_table_that_is_too_large_is_refused(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LARGEST_BYTES", 1 << 20)
    rows = "".join(f"q{n},{'x' * 50},a\n" for n in range(30_000))
    (tmp_path / "questions.csv").write_text(f"id,skill,right\n{rows}")
    _, _, [found] = read("skill", columns=CORRECT)
    assert found.startswith("questions.csv: expected at most 1 MiB in the lookup questions, since")


def test_a_lookup_is_read_once_until_it_changes(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[str] = []
    original = lookups._read_lookup

    def counted(*args: Any) -> pl.DataFrame:
        times.append(args[1])
        return original(*args)

    monkeypatch.setattr(lookups, "_read_lookup", counted)
    table = tmp_path / "questions.csv"
    table.write_text("id,skill,right\nq1,adding,a\n")
    for _ in range(3):
        assert read("skill", columns=CORRECT)[0][0] == ("adding",)
    assert len(times) == 1
    table.write_text("id,skill,right\nq1,subtracting,a\n")
    assert read("skill", columns=CORRECT)[0][0] == ("subtracting",)
    assert len(times) == 2


def test_lists_of_values_in_files(read: Read, tmp_path: Path) -> None:
    staff = tmp_path / "staff.txt"
    staff.write_text("\ufeff# teachers\nann\n\n  carl \r\n", encoding="utf-8")
    rule = {"learner": {"file": str(staff)}}
    rows, hints, _ = read("learner", columns={}, lookups={}, leave_out={"staff": rule})
    assert rows == [("bob",)]
    assert hints == ["records left out, staff: 2, such as line 2 of log.csv"]
    staff.write_text("bob\n")
    rows, _, _ = read("learner", columns={}, lookups={}, leave_out={"staff": rule})
    assert rows == [("ann",), ("ann",)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "staff.txt: expected a text file of values, found No such file or directory"),
        (b"a\nb\xff\n", "staff.txt: expected UTF-8 text, found other bytes in line 2"),
    ],
)
def test_lists_that_cannot_be_used(
    read: Read, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "staff.txt").write_bytes(content)
    rule = {"learner": {"file": str(tmp_path / "staff.txt")}}
    rows, _, problems = read("learner", columns={}, lookups={}, leave_out={"staff": rule})
    assert (rows, problems) == ([], [problem])


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    lookups._READ.clear()
