"""Values at paths: many records at once give what each gives alone, read by Python."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.platforms.expressions import values_at

PATHS: dict[str, list[str | int]] = {
    "a": ["a"],
    "a.b": ["a", "b"],
    "a.c": ["a", "c"],
    "a.b.c": ["a", "b", "c"],
    "a.c[1]": ["a", "c", 1],
    "a.c[0].b": ["a", "c", 0, "b"],
    'd."x.y"': ["d", "x.y"],
}

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.sampled_from([0.5, -1.25, 2.0, 1e5])
    | st.text(max_size=4)
    | st.sampled_from(["\\", '"', "\\nu", "\n", "\0", "{", "[1", '{"b": "in text"}', "a=b&c=d"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b", "c", "x.y", '"', "\n"]), inner, max_size=4)
    ),
    max_leaves=6,
)


def _below(value: Any, steps: list[str | int]) -> Any:
    """Returns the value that Python finds, as text; None where there is none or an empty one."""
    for step in steps:
        if isinstance(value, str):  # objects and lists may be within text
            try:
                value = json.loads(value)
            except ValueError:
                return None
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _is_same(found: str | None, value: Any) -> bool:
    if value is None or value == "":
        return found is None
    if found is None:
        return False
    if isinstance(value, str):
        return found == value
    read = json.loads(found)
    return bool(read == value) and isinstance(read, bool) == isinstance(value, bool)


@given(st.lists(st.fixed_dictionaries({"a": _VALUES, "d": _VALUES}), min_size=1, max_size=8))
@settings(deadline=None, max_examples=200)
def test_values_are_those_that_python_finds(records: list[dict[str, Any]]) -> None:
    texts = {
        name: [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in (record[name] for record in records)
        ]
        for name in ("a", "d")
    }
    frame = pl.DataFrame(texts, schema={"a": pl.String, "d": pl.String})
    found = values_at(frame, PATHS)
    assert {*found.columns} == {*PATHS}
    for path, (name, *steps) in PATHS.items():
        for row, text in enumerate(texts[str(name)]):
            value = _below(text, steps)
            assert _is_same(found[path][row], value), (path, text, found[path][row], value)


@pytest.mark.parametrize("cut", ['{"b": "x', '{"b": 1}}', "{b: 1}", '{"b": NaN}'])
def test_a_record_that_is_cut_off_hides_no_other(cut: str) -> None:
    texts = ['{"b": "\\\\frac", "c": 2}', cut, '{\n"b": "y"\n}', None]
    found = values_at(pl.DataFrame({"a": texts}), ["a.b", "a.c"])
    assert found["a.b"].to_list() == ["\\frac", None, "y", None]
    assert found["a.c"].to_list() == ["2", None, None, None]
