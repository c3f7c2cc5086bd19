"""Values at paths in records, found for many records at once, are those that a loop finds."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.platforms.expressions import seconds_of, values_at

NAMES = st.sampled_from(["id", "type", "a.b", "@id"])
# A text may be anything, also one that looks like an object.
TEXTS = st.sampled_from(["", "x", "äß 試", "{", '{"id": 1', "{abc}", 'say "no"', "line\nbreak"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
WAYS = {
    "r": [],
    "r.id": ["id"],
    "r.type.id": ["type", "id"],
    'r."a.b"': ["a.b"],
    'r."@id"[0].id': ["@id", 0, "id"],
    "r[1]": [1],
    "r.id[0]": ["id", 0],
}


def follow(value: Any, steps: list[str | int]) -> Any:
    for step in steps:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


@given(st.lists(st.dictionaries(NAMES, VALUES) | st.lists(VALUES), max_size=6))
def test_each_record_has_its_own_values(records: list[Any]) -> None:
    texts = [json.dumps(record) for record in records]

    found = values_at(pl.DataFrame({"r": pl.Series(texts, dtype=pl.String)}), [*WAYS])

    for path, steps in WAYS.items():
        expected = [follow(record, steps) for record in records]
        for text, value in zip(found[path], expected, strict=True):
            if value is None or value == "":
                assert text is None
            elif isinstance(value, str):
                assert text == value
            else:
                assert json.loads(text) == value


def test_text_that_is_no_json_has_nothing_within() -> None:
    frame = pl.DataFrame({"r": ["https://example.edu/1", None, '{"id": "a"}', "{abc}"]})

    found = values_at(frame, ["r", "r.id"])

    assert found["r"].to_list() == ["https://example.edu/1", None, '{"id": "a"}', "{abc}"]
    assert found["r.id"].to_list() == [None, None, "a", None]


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("PT93.4S", "93.4"),
        ("PT05M21S", "321.0"),
        ("P1DT1H", "90000.0"),
        ("-PT1S", "-1.0"),
        ("P", "P"),
        ("PT", "PT"),
        ("12", "12"),
    ],
)
def test_durations_become_seconds(duration: str, seconds: str) -> None:
    frame = pl.DataFrame({"took": [duration, None]})
    assert frame.select(seconds_of(pl.col("took")))["took"].to_list() == [seconds, None]
