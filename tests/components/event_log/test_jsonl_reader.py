"""JSON lines: whole, damaged, and in other formats."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.event_log import chunks, jsonl_reader

Read = Callable[..., tuple[pl.DataFrame, list[int], list[str]]]


def test_jsonl_as_text(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"a": 1, "b": "x", "other": [1]}\n\n{"a": 1.5}\n{"b": true, "a": null}', encoding="utf-8"
    )
    frame, numbers, problems = read(path, "b", "a", "missing")
    assert frame.rows() == [("x", "1"), (None, "1.5"), ("true", None)]
    assert (numbers, problems) == ([1, 3, 4], [])


def test_jsonl_with_bad_lines(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2\n[3]\n{"a": "\xfc"}\n{"a": NaN}\n')
    frame, numbers, (problem,) = read(path, "a")
    assert frame["a"].to_list() == ["1", "NaN"]
    assert numbers == [1, 5]
    assert problem == (
        "log.jsonl, line 2: expected a JSON object in UTF-8 on each line, found "
        "'{\"a\": 2' (Expecting ',' delimiter at character 8); also in line 3, 4"
    )


def test_jsonl_in_chunks(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 64)
    path = tmp_path / "log.ndjson.gz"
    lines = [json.dumps({"a": row, "b": "x" * (row % 50)}) for row in range(200)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    frame, numbers, problems = read(path, "a")
    assert frame["a"].cast(int).to_list() == list(range(200))
    assert (numbers, problems) == (list(range(1, 201)), [])


def test_jsonl_cut_off_within_its_compression(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-20])
    _, _, (problem,) = read(path, "a")
    assert problem.startswith(
        "log.jsonl.gz: could not be read (compressed data is damaged or cut off: "
    )


BAD_JSON = [
    (
        '{"a": 1, "b": 2, "a": 3}',
        ", column a: expected each key once in an object, found 'a' 2 times, with '1, 3'",
    ),
    ('{"a": 1, "\\u0061": 3}', ", column a: expected each key once in an object"),
    ('{"a": null, "a": 3}', ", column a: expected each key once in an object"),
    (
        '{"a": {"name": "x"}}',
        ", column a: expected text, a number or a boolean (put a field of it into a column of",
    ),
    ('{"a": ["x"]}', ", column a: expected text, a number or a boolean"),
    ('{"a": "\\ud83d"}', ", column a: expected text in Unicode, found half a character in"),
    (
        '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}",
        ": expected a JSON object in UTF-8 on each line",
    ),
    ('{"a": 1', ": expected a JSON object in UTF-8 on each line"),
    (
        "[1]",
        ": expected a JSON object in UTF-8 on each line, found '[1]' (turn an array into lines "
        "with jq",
    ),
]


@pytest.mark.parametrize("gap", ["", "\n"])
@pytest.mark.parametrize(("line", "problem"), BAD_JSON)
def test_a_bad_json_line_is_named_with_and_without_blank_lines(
    read: Read, line: str, problem: str, gap: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"a": "[x", "n": {{"a": 1}}}}\n{gap}{line}\n{{"a": 5}}\n')
    frame, numbers, (found,) = read(path, "a")
    assert frame["a"].to_list() == ["[x", "5"]
    assert numbers == [1, 3 + len(gap)]
    assert found.startswith(f"log.jsonl, line {2 + len(gap)}{problem}")


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ('{\n  "a": 1\n}\n', "put each object on one line with jq -c ."),
        ('[\n{"a": 1},\n{"a": 2}\n]', "turn an array into lines with jq -c '.[]'"),
        (
            "\ufeff".encode("utf-16-le").decode("latin-1") + "{\0",
            "found UTF-16 text; save it as UTF-8",
        ),
    ],
)
def test_json_that_is_not_one_object_a_line(
    read: Read, content: str, advice: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content.encode("latin-1"))
    _, _, (problem,) = read(path, "a", "b")
    assert advice in problem


def test_numbers_of_json_keep_their_digits(read: Read, tmp_path: Path) -> None:
    long = "1234567890" * 6
    for gap in ("", "\n"):
        path = tmp_path / "log.jsonl"
        path.write_text(
            f'{{"a": 12345678901234567890123}}\n{gap}{{"a": {long}}}\n'
            '{"a": 1E400}\n{"a": 1.50}\n'
        )
        assert read(path, "a")[0]["a"].to_list() == [
            "12345678901234567890123",
            long,
            "1E400",
            "1.5",
        ]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b", "other"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.lists(st.integers()),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_blank_line_changes_nothing(read: Read, rows: list[dict[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, gaps = Path(folder, "log.jsonl"), Path(folder, "gaps.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        gaps.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
        (whole, numbers, problems), (other, others, more) = (
            read(path, "a", "b"),
            read(gaps, "a", "b"),
        )
    assert whole.equals(other)
    assert others == [2 * number - 1 for number in numbers]
    assert len(problems) == len(more)


def test_a_line_without_end_is_an_error(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 10)
    monkeypatch.setattr(jsonl_reader, "MAX_RECORD_BYTES", 50)
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 100 + '"}\n')
    frame, _, (problem,) = read(path, "a")
    assert frame["a"].to_list() == ["1"]
    assert problem.startswith("log.jsonl, line 2: expected a JSON object in UTF-8 on each line")


def test_a_key_with_several_spellings_in_json(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"é": 1}\n{"é": 2, "\\u00e9": 3}\n', encoding="utf-8")
    frame, numbers, (problem,) = read(path, "é")
    assert (frame["é"].to_list(), numbers) == (["1"], [1])
    assert "column é: expected each key once in an object" in problem
