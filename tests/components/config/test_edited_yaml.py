"""Values of a YAML file are changed; whatever else is in it stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.edited_yaml import as_flow, edit_yaml
from components.config.strict_yaml import read_yaml

BLOCKS = """\
# first
model:  # the network
  lstm:  # units
    - 64
    - 32
  # after the units

  dense: [64]  # layers
training:
name: x  # last"""


def test_a_value_keeps_its_place_and_comment() -> None:
    changed = edit_yaml(BLOCKS, {("model", "dense"): [], ("name",): "y: z"})
    assert changed == BLOCKS.replace("[64]  #", "[]  #").replace("name: x", 'name: "y: z"')


def test_a_block_becomes_one_line_and_comments_around_it_stay() -> None:
    changed = edit_yaml(BLOCKS, {("model", "lstm"): [128]})
    assert changed == BLOCKS.replace("lstm:  # units\n    - 64\n    - 32", "lstm: [128]  # units")


def test_new_keys_come_at_the_end_of_their_section() -> None:
    values = {("model", "dropout"): 0.3, ("training", "epochs"): 4, ("push", "enabled"): False}
    assert edit_yaml(BLOCKS, values) == (
        BLOCKS.replace("# layers\n", "# layers\n  dropout: 0.3\n").replace(
            "training:", "training: {epochs: 4}"
        )
        + "\npush: {enabled: false}\n"
    )
    flow = "training: {epochs: 3 }  # few\nmodel: {}\n"
    expected = "training: {epochs: 3, decay: 0.5 }  # few\nmodel: {dropout: 0.1}\n"
    assert edit_yaml(flow, {("training", "decay"): 0.5, ("model", "dropout"): 0.1}) == expected


def test_items_of_lists_go_by_number() -> None:
    text = "data:\n  events:\n  - a.csv\n  - b.csv  # late\n"
    assert edit_yaml(text, {("data", "events", "1"): "/b.csv"}) == text.replace("b.csv", "/b.csv")


def test_a_value_inside_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"name\.first"):
        edit_yaml("name: x\n", {("name", "first"): 1})


SCALARS = st.one_of(
    st.booleans(), st.none(), st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.sampled_from(["no", "007", "1e-3", "null", "- a", "a #b", " c", "yes: no", "~", "<<", ""]),
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c", "no", "007"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
TREES = st.recursive(VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)


@settings(max_examples=60)
@given(TREES)
def test_flow_style_is_read_back_as_it_was(value: Any) -> None:
    assert read_yaml(f"key: {as_flow(value)}\n")[1] == {"key": value}


def put(values: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(values.get(key), dict):
            values[key] = {}
        values = values[key]
    values[keys[-1]] = value


KEYS = st.sampled_from(
    [("model", "lstm"), ("model", "dense"), ("model", "new"), ("training", "x", "y"), ("name",),
     ("model",), ("model", "deep", "er"), ("other",)]
)  # fmt: skip


@settings(max_examples=60)
@given(keys=KEYS, value=VALUES)
def test_only_the_value_changes(keys: tuple[str, ...], value: Any) -> None:
    expected = read_yaml(BLOCKS)[1]
    put(expected, keys, value)
    assert read_yaml(edit_yaml(BLOCKS, {keys: value}))[1] == expected
