"""Mappings of records: paths, and what is wrong with them, by file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.config import load_config
from components.config.data import Data
from components.config.mapping import EventMapping, Source
from components.config.record_paths import check_pattern, split_path
from tests.components.config.test_load import BASE, message, write


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("userid", ["userid"]),
        ("a.b.c", ["a", "b", "c"]),
        ("a[0].b[12]", ["a", 0, "b", 12]),
        ('a."https://x.org/[1].y".z', ["a", "https://x.org/[1].y", "z"]),
        ("it's", ["it's"]),
        ("gro\u00df e", ["gro\u00df e"]),
    ],
)
def test_paths(path: str, parts: list[str | int]) -> None:
    assert split_path(path) == parts


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "[0]", "a[x]", "a[", 'a."', "a\\b"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as userid"):
        split_path(path)


@pytest.mark.parametrize(
    "pattern", [r"^a$", r"\(?=", r"[(?=)]", r"(?i)bot\b|spider", r"(?P<name>x)", r"a{2,}", r"\\1"]
)
def test_patterns_that_both_engines_read(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=a)", "without looking ahead or behind, found '\\(\\?=' at character 1 of"),
        (r"x(?<!a)", "without looking ahead or behind, found '\\(\\?<!' at character 2 of"),
        (r"(a)\1", "without references to groups"),
        (r"(?P<n>a)(?P=n)", "without references to groups"),
        (r"a\Z", "with \\$ for the end"),
        (r"a{,3}", "with a number before the comma"),
        (r"[[:alpha:]]", "expected a regular expression, found"),
        (r"(", "expected a regular expression, found"),
    ],
)
def test_patterns_that_rust_does_not_read(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_pattern(pattern)


def with_data(folder: Path, *overrides: str, **data: Any) -> str:
    text = message(folder, *overrides, data={**BASE["data"], **data})  # type: ignore[dict-item]
    return text.replace(f"{folder}/", "")


def test_mistakes_name_the_line_and_the_key(tmp_path: Path) -> None:
    mapping = {"time": "at", "unit_id": ["course", {"from": "a[b"}], "score": {"from": "x"}}
    found = with_data(tmp_path, mapping=mapping)
    assert found.startswith("algebra.yaml, line 11, data.mapping.unit_id[1].from: expected a path")

    mapping = {"score": {"from": "points", "over": 0}}
    found = with_data(tmp_path, mapping=mapping)
    assert "line 10, data.mapping.score.over: expected a path or a positive number" in found

    found = with_data(tmp_path, mapping={"score": {"template": "{a} {b..c}"}})
    assert "line 9, data.mapping.score.template: expected a path" in found

    found = with_data(tmp_path, mapping={"score": {"from": "a", "constant": "1"}})
    assert "data.mapping.score: expected one of from, template, constant and file, found" in found

    found = with_data(tmp_path, leave_out={"staff": [{"a": ["x"]}, {"b": "(?!x)"}]})
    assert "data.leave_out.staff[1].b: expected a regular expression without looking" in found

    found = with_data(tmp_path, mapping={"score": {"from": "a", "wehn": {"b": ["c"]}}})
    assert "data.mapping.score.wehn" in found


def test_lookups_have_to_be_there(tmp_path: Path) -> None:
    lookup = {"table": "q.csv", "key": "id", "path": "question"}
    found = with_data(tmp_path, mapping={"x": "lookups.q.a"}, lookups={"w": lookup})
    expected = "expected lookups.NAME.COLUMN with one of data.lookups"
    assert f"data.mapping.x: {expected} (w)" in found
    found = with_data(tmp_path, leave_out={"r": {"lookups.q": ["a"]}})
    assert f"data.leave_out.r: {expected} (none)" in found
    found = with_data(tmp_path, lookups={"w": {**lookup, "path": "lookups.w.a"}})
    assert "data.lookups.w.path: expected a path in the record" in found


def test_files_count_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        **BASE["data"],  # type: ignore[dict-item]
        "lookups": {"w": {"table": "w.csv", "key": "id", "path": "q"}},
        "leave_out": {
            "one": {"a": {"file": "one.txt"}},
            "two": [{"b": ["x"]}, {"a": {"file": "two.txt"}}],
        },
        "mapping": {"x": {"from": "a", "when": {"b": {"file": "three.txt"}}}},
    }
    file = write(tmp_path, data=data)
    mapping = load_config(file).data.event_mapping
    assert mapping is not None
    names = ["w.csv", "three.txt", "one.txt", "two.txt"]
    assert mapping.side_files == [str(tmp_path / name) for name in names]

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    mapping = load_config(file, ["data.lookups.w.table=v.csv"]).data.event_mapping
    assert mapping is not None
    assert mapping.side_files[0] == str(tmp_path / "here/v.csv")


def test_a_configuration_is_laid_over_its_format() -> None:
    data = Data.model_validate(
        {
            "events": "e.jsonl",
            "outcomes": "o.csv",
            "format": "xapi",
            "mapping": {"unit_id": "course", "score": None},
            "leave_out": {"test users": None, "pilot": {"course": ["p"]}},
        }
    )
    mapping = data.event_mapping
    assert mapping is not None
    assert mapping.columns["unit_id"] == [Source.model_validate("course")]
    assert "score" not in mapping.columns
    assert {"pilot", "groups as actors"} <= {*mapping.leave_out}
    assert "test users" not in mapping.leave_out


def test_numbers_and_booleans_are_text() -> None:
    mapping = EventMapping.model_validate(
        {"columns": {"x": {"from": "a", "values": {1: True, 2: 0.5}, "when": {"b": [0, False]}}}}
    )
    [source] = mapping.columns["x"]
    assert source.values == {"1": "true", "2": "0.5"}
    assert source.when == {"b": ["0", "false"]}
