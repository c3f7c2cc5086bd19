"""Files of JSON: arrays, envelopes, objects one after the other; whole, damaged, and in pieces."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.mapping import EventMapping
from components.event_log import chunks, json_items
from components.event_log.chunks import Chunk, TextFault
from components.event_log.envelopes import open_envelopes
from components.event_log.json_items import Lines, split_items
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, find_files, format_of

MAPPING = EventMapping(
    records="statements",
    columns={"learner_id": ["actor.name"], "unit_id": ["unit"], "verb": ["verb.id"]},
)


def read(path: Path, columns: Sequence[str] = ("learner_id", "verb")) -> tuple[list[Any], ...]:
    """Returns rows, their numbers, and problems without the folder."""
    file = LogFile(str(path), format_of(str(path)) or "", 0)
    rows: list[Any] = []
    numbers: list[Any] = []
    problems: list[Any] = []
    for item in read_chunks(file, columns, MAPPING):
        if isinstance(item, Problem):
            problems.append(str(item).replace(f"{path.parent}/", ""))
        else:
            rows += item.frame.rows()
            numbers += [f"{item.unit} {number}" for number in item.numbers]
    return rows, numbers, problems


def statement(name: str, verb: str = "played") -> dict[str, Any]:
    return {"actor": {"name": name}, "verb": {"id": verb}, "unit": "u"}


A, B, C = (statement(name) for name in "abc")
ROWS = [("a", "played"), ("b", "played"), ("c", "played")]
RECORDS = ["record 1", "record 2", "record 3"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([A, B, C]),
        json.dumps([A, B, C], indent=2).replace("\n", "\r\n"),
        "\ufeff  " + json.dumps([A, B, C], separators=(",", ":")) + "\n\n",
        json.dumps({"statements": [A, B, C], "more": "/xAPI/more?cursor=1"}),
        json.dumps({"more": "", "statements": [A, B, C]}, indent=1),
        json.dumps([{"statements": [A]}, {"statements": []}, {"statements": [B, C]}]),
        json.dumps([{"statements": [A, B]}, C]),
        "".join(json.dumps(item) for item in (A, B, C)),
        "\n".join(json.dumps(item) for item in (A, B, C)),
        "\n\n".join(json.dumps(item, indent=1) for item in ({"statements": [A, B]}, C)),
    ],
)
@pytest.mark.parametrize("block", [7, 100, 16 << 20])
def test_records_of_a_json_file_in_all_its_forms(
    text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", block)
    monkeypatch.setattr(json_items, "BLOCK_BYTES", block)
    for name in ("log.json", "log.json.gz"):
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        assert read(tmp_path / name) == (ROWS, RECORDS, [])


def test_one_statement_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(A, indent=4))
    assert read(tmp_path / "one.json") == (ROWS[:1], RECORDS[:1], [])


@pytest.mark.parametrize("text", ["", " \n", "[]", "[ \n]", '{"statements": []}'])
def test_files_without_records(text: str, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text(text)
    rows, _, problems = read(tmp_path / "none.json")
    assert (rows, problems) == ([], [])


def test_lines_that_are_envelopes_count_their_records(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines: list[Any] = [{"statements": [A, B]}, C, {"statements": None}, {"statements": [A]}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rows, numbers, problems = read(path)
    assert rows == [*ROWS, ROWS[0]]  # the one without a list has no actor either
    assert (numbers, problems) == ([*RECORDS, "record 5"], [])


def test_lines_stay_lines_until_the_first_envelope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 80)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (A, B, {"statements": [C]}, A)))
    rows, numbers, problems = read(path)
    assert rows == [*ROWS, ROWS[0]]
    assert (numbers, problems) == (["line 1", "line 2", "record 3", "record 4"], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[A, {'actor': 01}]", "record 2: expected {} (Expecting property name enclosed"),
        ("[A, 7, A]", "record 2: expected {}no single comma before an object: ', 7, {"),
        ("[A A]", "record 2: expected {}no single comma before an object: ' {"),
        ("[A,,A]", "record 2: expected {}no single comma before an object: ',,{"),
        ("[A,]", "record 2: expected {}something that is not an object: ','"),
        ("[7]", "record 1: expected {}something that is not an object: '7'"),
        ("[A] []", "record 2: expected {}something after the end of the array: '[]'"),
        ('[A, {"b"', "record 2: expected {}the end of the file, but its array is not closed: it"),
        ("[A", "record 2: expected {}the end of the file, but its array is not closed: it was"),
        ('{"statements": [A, A', "record 1: expected {}the end of the file, but its last object"),
        ('[{"a": "x}, {"a": "long", "b": "lo"}]', "record 1: expected {}Expecting ',' delimiter"),
        ("A}", "record 2: expected {}a bracket too many: '}'"),
        ("A x A", "record 2: expected {}something that is not an object: ' x {"),
        ('[A, {"a": "x\ny"}]', "record 2: expected {} (Invalid control character"),
        ("[A, [1], [2]]", "record 2: expected {}something that is not an object: ', [1], [2]]'"),
        ('{"statements": [A, 7, null]}', "record 2: expected {}'7'; also in record 3"),
        ("PK\x03\x04", "expected JSON in UTF-8, found a ZIP archive"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(text.replace("A", json.dumps(A)))
    _, _, (found,) = read(tmp_path / "log.json")
    start, _, end = problem.partition("{}")
    expected = "JSON objects in UTF-8, in an array or one after the other, found "
    assert found.startswith(("log.json, ", "log.json: "))
    assert start + (expected if end else "") in found
    assert end in found


def test_a_damaged_record_leaves_the_others(tmp_path: Path) -> None:
    text = json.dumps([A, B, C]).replace('{"name": "b"}', "{'b'}")
    (tmp_path / "log.json").write_text(text)
    rows, numbers, (problem,) = read(tmp_path / "log.json")
    assert rows == [ROWS[0], ROWS[2]]
    assert numbers == ["record 1", "record 3"]
    assert problem.startswith("log.json, record 2: expected JSON objects in UTF-8")


@pytest.mark.parametrize("name", ["log.jsonl", "log.json", "blank.jsonl"])
def test_values_within_a_record_keep_what_is_escaped(name: str, tmp_path: Path) -> None:
    characters = [
        *map(chr, range(32)),
        *'"\\/\x7f',
        "\u00e9",
        "\u2028",
        "\U0001f600",
        "\\frac",
        '\\"',
    ]
    records = [
        {"actor": {text: text, "name": f"a{text}b"}, "verb": {"id": text + "v"}, "unit": "u"}
        for text in characters
    ]
    for ascii_ in (True, False):
        lines = [json.dumps(record, ensure_ascii=ascii_) for record in records]
        text = {
            "log.jsonl": "\n".join(lines),
            "log.json": f'{{"statements": [{",".join(lines)}]}}',
            "blank.jsonl": "\n\n".join(lines),
        }[name]
        (tmp_path / name).write_text(text, encoding="utf-8")
        rows, _, problems = read(tmp_path / name)
        assert problems == []
        assert rows == [(f"a{text}b", f"{text}v") for text in characters]


def test_a_record_that_never_ends_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BLOCK_BYTES", 100)
    monkeypatch.setattr(json_items, "MAX_RECORD_BYTES", 1 << 20)
    (tmp_path / "log.json").write_text('[{"a": "' + "x" * (2 << 20))
    _, _, (problem,) = read(tmp_path / "log.json")
    assert problem.startswith("log.json, record 1: ")
    assert "a record of more than 1 MiB" in problem


def test_a_long_envelope_is_read_in_pieces() -> None:
    envelope = json.dumps({"more": "", "statements": [{"n": number} for number in range(1000)]})
    data = envelope.encode()
    pieces = [data[start : start + 500] for start in range(0, len(data), 500)]
    longest = 0
    found: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "BLOCK_BYTES", 500)
        for lines in open_envelopes(split_items(pieces, "statements"), "statements"):
            assert lines.number == len(found) + 1
            found += [json.loads(line)["n"] for line in lines.content.split(b"\n")]
            longest = max(longest, len(lines.content))
    assert found == list(range(1000))
    assert longest < 2500


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", 'b"', "statements", "\\"]), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "{", "]", '"']), VALUES, max_size=3)


@given(
    st.lists(OBJECTS, max_size=6),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.integers(1, 40),
    st.booleans(),
)
def test_any_objects_come_back(
    objects: list[dict[str, Any]], indent: int | None, ascii_: bool, size: int, in_array: bool
) -> None:
    texts = [json.dumps(item, indent=indent, ensure_ascii=ascii_) for item in objects]
    text = f"[{', '.join(texts)}]" if in_array else "".join(texts)
    data = text.encode()
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    found: list[dict[str, Any]] = []
    for lines in split_items(blocks):
        assert lines.number == len(found) + 1
        found += [json.loads(line) for line in lines.content.split(b"\n")]
    assert found == objects


@given(st.lists(st.lists(OBJECTS, max_size=3) | OBJECTS, min_size=1, max_size=6))
def test_envelopes_are_opened_in_their_order(items: list[Any]) -> None:
    lines = [{"statements": item} if isinstance(item, list) else item for item in items]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    found = [
        json.loads(line)
        for part in open_envelopes([Lines(1, content)], "statements")
        for line in part.content.split(b"\n")
    ]
    assert found == [x for item in items for x in (item if isinstance(item, list) else [item])]


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_are_read_or_refused(content: bytes, size: int) -> None:
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    for start in (b"", b"[", b'{"statements": ['):
        with suppress(TextFault):
            for lines in split_items([start, *blocks], "statements"):
                assert lines.content


def test_json_files_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.json", "sub/c.json.gz", "sub/d.JSON"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("[]")

    def found(*patterns: str) -> list[str]:
        listing = find_files("events", [f"{tmp_path}/{pattern}" for pattern in patterns])
        return [Path(file.path).name for file in listing.files]

    assert found("") == ["a.jsonl"]
    assert found("*") == ["a.jsonl"]
    assert found("b.json") == ["b.json"]
    assert found("**/*.json", "**/*.JSON", "**/*.json.gz") == ["b.json", "d.JSON", "c.json.gz"]
    assert found("", "b.json") == ["a.jsonl", "b.json"]
    (problem,) = find_files("events", [f"{tmp_path}/sub"]).problems
    assert "or JSON by a path or pattern that ends in .json, found c.json.gz, d.JSON" in str(
        problem
    )


def test_a_table_of_events_may_be_an_array(tmp_path: Path) -> None:
    path = tmp_path / "events.json"
    path.write_text('[{"learner_id": "a", "dwell": 1.5}, {"learner_id": "b"}]')
    (chunk,) = read_chunks(LogFile(str(path), "json", 0), ["learner_id", "dwell"])
    assert isinstance(chunk, Chunk)
    expected = pl.DataFrame({"learner_id": ["a", "b"], "dwell": ["1.5", None]})
    assert chunk.frame.equals(expected)
