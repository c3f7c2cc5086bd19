"""CSV files of other dialects: separators, encodings, decimal commas, words for missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.config.csv_dialect import CsvDialect
from components.event_log import chunks as chunks_module
from components.event_log.chunks import Chunk
from components.event_log.csv_reader import read_csv
from components.event_log.problems import Problem
from components.event_log.sources import LogFile


def read(path: Path, columns: list[str], **dialect: Any) -> tuple[list[Any], list[str], list[str]]:
    """Returns the rows of a file, its hints and its problems, without the folder."""
    items = [*read_csv(LogFile(str(path), "csv", 0), columns, CsvDialect(**dialect))]
    chunks = [item for item in items if isinstance(item, Chunk)]
    rows = [row for chunk in chunks for row in chunk.frame.rows()]
    hints = [str(hint) for chunk in chunks for hint in chunk.hints]
    problems = [str(item) for item in items if isinstance(item, Problem)]
    folder = f"{path.parent}/"
    return rows, *([text.replace(folder, "") for text in texts] for texts in (hints, problems))


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_delimiters_and_encodings(tmp_path: Path, delimiter: str, encoding: str) -> None:
    lines = ["name#note", 'Zoë#"a#b"', '#"two\r\nlines, ""quoted"""', "Zürich#x"]
    content = "\r\n".join(lines).replace("#", delimiter)
    (tmp_path / "log.csv").write_bytes(content.encode(encoding))
    rows, _, problems = read(
        tmp_path / "log.csv", ["name", "note"], delimiter=delimiter, encoding=encoding
    )
    note = f"a{delimiter}b"
    assert rows == [("Zoë", note), (None, 'two\r\nlines, "quoted"'), ("Zürich", "x")]
    assert not problems


FIELDS = st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]), max_size=5)


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=5), st.sampled_from(";\t,|"))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_quoted_comes_back(
    tmp_path: Path, table: list[tuple[str, str]], delimiter: str
) -> None:
    quoted = [[f'"{field.replace(chr(34), chr(34) * 2)}"' for field in row] for row in table]
    text = "".join(f"{delimiter.join(row)}\n" for row in [["a", "b"], *quoted])
    (tmp_path / "log.csv").write_bytes(text.encode("cp1252"))
    rows, _, problems = read(
        tmp_path / "log.csv", ["a", "b"], delimiter=delimiter, encoding="cp1252"
    )
    assert not problems
    assert [(a or "", b or "") for a, b in rows] == table


def test_blocks_may_end_within_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "BLOCK_BYTES", 7)
    names = [f"学习者{n}" for n in range(50)]
    (tmp_path / "log.csv").write_bytes("\n".join(["name", *names]).encode("gb18030"))
    rows, _, problems = read(tmp_path / "log.csv", ["name"], encoding="gb18030")
    assert rows == [(name,) for name in names]
    assert not problems


def test_bytes_that_are_no_text_are_named_with_their_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "BLOCK_BYTES", 5)
    (tmp_path / "log.csv").write_bytes(b"a,b\n1,2\n3,\x81\n5,6\n")
    rows, _, problems = read(tmp_path / "log.csv", ["a"], encoding="cp1252")
    assert problems == [
        "log.csv, line 3: expected text in cp1252 (`encoding` of data.csv or data.outcomes_csv), "
        "found the bytes 81"
    ]
    assert rows in ([], [("1",)])


def test_a_file_that_is_utf16_says_which_key_to_set(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    _, _, [problem] = read(tmp_path / "log.csv", ["a"])
    assert problem.startswith("log.csv: expected CSV in UTF-8, found UTF-16 text; save it as UTF-8")
    assert problem.endswith("or name the encoding: `encoding` of data.csv or data.outcomes_csv")


def test_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('n;s\n1,5;x,y\n-0,25;1,2,3\n7;"1,5 h"\n1.500;1.2.2024\n')
    rows, hints, _ = read(tmp_path / "log.csv", ["n", "s"], delimiter=";", decimal=",")
    assert rows == [
        ("1.5", "x,y"), ("-0.25", "1,2,3"), ("7", "1,5 h"), ("1.500", "1.2.2024"),
    ]  # fmt: skip
    assert hints == [
        "values of n with points between thousands (read as they are): 1, such as '1.500' in "
        "log.csv, line 5"
    ]


def test_words_for_missing_values(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\nNULL,1\n?,NULLS\n\\N,?\n")
    rows, _, _ = read(tmp_path / "log.csv", ["a", "b"], missing=["NULL", "?", "\\N"])
    assert rows == [(None, "1"), (None, "NULLS"), (None, None)]


def test_errors_name_the_line_in_any_dialect(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text('a;b\n1;2\n3;x"y\n')
    _, _, [problem] = read(tmp_path / "log.csv", ["a"], delimiter=";")
    assert problem.startswith("log.csv, line 3: expected CSV as in RFC 4180")
    (tmp_path / "log.csv").write_text("a;b\n1;2\n3;4;5\n")
    rows, _, [problem] = read(tmp_path / "log.csv", ["a"], delimiter=";")
    assert problem == "log.csv, line 3: expected 2 fields as in the header, found 3: '3;4;5'"
    assert rows == [("1",)]


@pytest.mark.parametrize(
    ("dialect", "problem"),
    [
        ({"delimiter": ";;"}, "expected one character that separates fields"),
        ({"delimiter": '"'}, "expected one character that separates fields"),
        ({"delimiter": "a"}, "expected one character that separates fields"),
        ({"encoding": "klingon"}, "expected an encoding such as utf-8, cp1252"),
        ({"encoding": "rot13"}, "expected an encoding such as utf-8, cp1252"),
    ],
)
def test_dialects_that_are_none(dialect: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        CsvDialect.model_validate(dialect)


def test_words_for_characters() -> None:
    assert CsvDialect(delimiter="tab").delimiter == "\t"
    assert CsvDialect(delimiter="semicolon").delimiter == ";"
    assert CsvDialect(encoding="Latin1") == CsvDialect(encoding="iso8859-1")


def test_the_frame_is_text(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a;b\n1;2\n")
    items = read_csv(LogFile(str(tmp_path / "log.csv"), "csv", 0), ["b"], CsvDialect(delimiter=";"))
    frames = [item.frame for item in items if isinstance(item, Chunk)]
    assert {dtype for frame in frames for dtype in frame.dtypes} == {pl.String}
