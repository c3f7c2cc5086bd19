"""JSON lines with nested objects: every value as JSON, whatever is in the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.chunks import Chunk
from components.event_log.jsonl_reader import read_jsonl
from components.event_log.problems import Problem
from components.event_log.sources import LogFile

LOGGER = r"[\w<\[][^{\"\n]*[ \t]"

Read = Callable[..., tuple[pl.DataFrame, list[int], list[str]]]


@pytest.fixture
def read_nested(tmp_path: Path) -> Read:
    """Returns a function that reads lines: rows, their numbers, and the problems."""

    def read(content: bytes, *columns: str) -> tuple[pl.DataFrame, list[int], list[str]]:
        return _read(tmp_path / "tracking.log", content, columns)

    return read


def _read(
    path: Path, content: bytes, columns: tuple[str, ...]
) -> tuple[pl.DataFrame, list[int], list[str]]:
    path.write_bytes(content)
    file = LogFile(str(path), "jsonl", 0)
    frames, numbers, problems = [], [], []
    for item in read_jsonl(file, columns, nested=True, line_start=LOGGER):
        if isinstance(item, Problem):
            problems.append(str(item).replace(f"{path.parent}/", ""))
        else:
            assert isinstance(item, Chunk)
            frames.append(item.frame)
            numbers += list(item.numbers)
    return pl.concat(frames) if frames else pl.DataFrame(), numbers, problems


def test_values_of_each_kind(read_nested: Read) -> None:
    values: list[Any] = [{"a": [1, {"b": None}]}, "x", '{"a": 1}', "a=1&b=2", "", None, 3, True, []]
    lines = [json.dumps({"event": value, "time": "t"}) for value in values]
    frame, numbers, problems = read_nested("\n".join(lines).encode(), "event", "time")
    assert frame["event"].to_list() == [
        '{"a": [1, {"b": null}]}', "x", '{"a": 1}', "a=1&b=2", "", None, "3", "true", "[]",
    ]  # fmt: skip
    assert (numbers, problems) == ([*range(1, 10)], [])


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r"\u0000", "\0"),
        (r"\u001B[1m", "\x1b[1m"),
        (r"\b\f", "\b\f"),
        (r"\\frac{1}{2} \\nu", r"\frac{1}{2} \nu"),
        (r"\\", "\\"),
        (r"\\\"", r"\""),
        (r"\ud83d", "\ufffd"),
        (r"\uDE00 \ud83d", "\ufffd \ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\n\r\t\u0009\u000a", "\n\r\t\t\n"),
        (r"\\u0000 \\b", r"\u0000 \b"),
        (r"\u00e9\u2028\u007f", "\u00e9\u2028\u007f"),
    ],
)
def test_answers_with_odd_characters_do_not_hide_other_fields(
    read_nested: Read, written: str, kept: str
) -> None:
    line = f'{{"event": {{"answer": "{written}", "success": "correct"}}, "user": 1}}'
    plain = '{"event": {"answer": "x", "success": "incorrect"}, "user": 2}'
    frame, _, problems = read_nested(f"{plain}\n{line}\n{plain}".encode(), "event", "user")
    answers = [json.loads(text)["answer"] for text in frame["event"]]
    success = frame["event"].str.json_path_match("$.success").to_list()
    assert (answers, problems) == (["x", kept, "x"], [])
    assert success == ["incorrect", "correct", "incorrect"]
    assert frame["user"].to_list() == ["2", "1", "2"]


def test_half_a_character_in_the_event_of_a_browser(read_nested: Read) -> None:
    event = json.dumps({"name": "\ud83d", "id": "v1"})  # JSON in text
    frame, _, _ = read_nested(json.dumps({"event": event}).encode(), "event")
    assert frame["event"].str.json_path_match("$.id").to_list() == ["v1"]


def test_every_line_with_a_fault_is_reported(read_nested: Read) -> None:
    good = b'{"event": {"a": 1}}\n'
    lines = [good, b"\n", b'{"event": {"a": 1}\n', good, b'{"event": {"a": "\xfc"}}\n', b"[1]\n"]
    frame, numbers, (problem,) = read_nested(b"".join(lines) + good * 3000, "event")
    assert frame.height == 3002
    assert numbers[:3] == [1, 4, 7]
    assert numbers[-1] == 3006
    assert problem == (
        "tracking.log, line 3: expected a JSON object in UTF-8 on each line, found "
        "'{\"event\": {\"a\": 1}' (Expecting ',' delimiter at character 19); also in line 5, 6"
    )


def test_not_utf8_in_a_key_that_is_not_read(read_nested: Read) -> None:
    _, numbers, (problem,) = read_nested(b'{"a": 1}\n{"a": 2, "b": "\xfc"}\n', "a")
    assert numbers == [1]
    assert problem.startswith("tracking.log, line 2: expected a JSON object in UTF-8")


def test_not_a_number_as_python_writes_it(read_nested: Read) -> None:
    frame, _, problems = read_nested(
        b'{"event": {"grade": NaN, "b": 1e400}}\n{"event": 1}', "event"
    )
    assert json.loads(frame["event"][0]) == {"grade": "NaN", "b": "1e400"}
    assert problems == []


def test_repeated_keys(read_nested: Read) -> None:
    content = b'{"a": {"a": 1, "a": 2}}\n{"a": 1, "b": 2, "b": 3, "a": {"c": 4}}\n'
    _, _, (problem,) = read_nested(content, "a")
    assert problem == (
        "tracking.log, line 2, column a: expected each key once in an object, "
        "found 'a' 2 times, with '1, {\"c\": 4}'"
    )


def test_odd_keys_do_not_hide_other_fields(read_nested: Read) -> None:
    for key in ('"', "\n", "\\", 'a"b'):
        line = json.dumps({"event": {key: 1, "id": "v"}}).encode()
        frame, _, problems = read_nested(line, "event")
        assert problems == []
        assert frame["event"].str.json_path_match("$.id").to_list() == ["v"]


def test_keys_with_quotes_may_be_read(read_nested: Read) -> None:
    line = json.dumps({"o'clock": {"text": "\\", "id": "v"}, "a b": ["\\"]}).encode()
    frame, _, _ = read_nested(line, "o'clock", "a b")
    assert frame["o'clock"].str.json_path_match("$.id").to_list() == ["v"]
    assert json.loads(frame["a b"][0]) == ["\\"]


def test_a_very_long_line(read_nested: Read) -> None:
    long = json.dumps({"event": {"text": "x" * (60 << 20), "id": "v"}, "time": "t"})
    content = f'{{"event": 1}}\n{long}\n{{"event": 2}}\n'.encode()
    frame, numbers, problems = read_nested(content, "event")
    assert (numbers, problems) == ([1, 2, 3], [])
    assert frame["event"].str.json_path_match("$.id").to_list() == [None, "v", None]


def test_too_long_a_line(read_nested: Read) -> None:
    content = b'{"event": 1}\n{"event": "' + b"x" * (90 << 20) + b'"}\n'
    _, _, (problem,) = read_nested(content, "event")
    assert problem.startswith(
        "tracking.log, line 2: expected a JSON object in UTF-8 on each line, "
        "found a line of more than 64 MiB"
    )


def test_what_a_logger_writes_before_the_object(read_nested: Read) -> None:
    logger = b"2023-05-23 13:53:13,461 INFO 20 [tracking] [user None] [ip None] logger.py:41 - "
    syslog = b"May 23 13:53:13 lms [service_variant=lms][tracking][env:x] INFO [lms 1] - "
    lines = [logger + b'{"a": {"b": "{"}}', syslog + b'{"a": 2}', b'{"a": 3}', b"", b'x": {"a": 4}']
    frame, numbers, (problem,) = read_nested(b"\n".join(lines), "a")
    assert frame["a"].to_list() == ['{"b": "{"}', "2", "3"]
    assert numbers == [1, 2, 3]
    assert problem.startswith("tracking.log, line 5: expected a JSON object")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), _JSON), min_size=1, max_size=8))
@settings(deadline=None, max_examples=100)
def test_nested_values_mean_the_same(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "tracking.log"
    content = "\n".join(json.dumps(record) for record in records).encode()
    frame, numbers, problems = _read(path, content, ("a", "b"))
    assert (numbers, problems) == ([*range(1, len(records) + 1)], [])
    for name in {"a", "b"} & {*frame.columns}:
        expected = [record.get(name) for record in records]
        for found, value in zip(frame[name], expected, strict=True):
            if isinstance(value, dict | list):
                assert json.loads(found) == value
            elif isinstance(value, str):
                assert found == value
            else:
                assert found == (None if value is None else json.dumps(value))
