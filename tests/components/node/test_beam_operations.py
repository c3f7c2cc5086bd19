"""What the steps of a pipeline do in a round."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsMultiMap, AsSingleton
from apache_beam.transforms.combiners import ToListCombineFn, curry_combine_fn

from components.node import beam_operations
from components.node.beam_operations import (
    GLOBAL,
    Call,
    Combine,
    Forward,
    Group,
    Grouping,
    Operation,
    Outlet,
    View,
    read,
)


def outlet(seen: list[Any]) -> Outlet:
    """Returns an outlet that appends the elements to a list."""
    made = Outlet()
    made.targets.append(lambda element: seen.append(element.value))
    return made


def feed(operation: Operation, elements: list[Any]) -> None:
    operation.start()
    for element in elements:
        operation.process(GLOBAL.with_value(element))
    operation.finish()


@pytest.mark.parametrize(
    "grouping", [Group(), Combine(curry_combine_fn(ToListCombineFn(), (), {}))]
)
def test_keys_of_other_types_are_other_keys(grouping: Grouping) -> None:
    feed(grouping, [(1, "a"), (True, "b"), (1.0, "c"), (None, "d"), ([2], "e"), (1, "f"), ([2], 7)])
    assert repr([*grouping.results()]) == (
        "[(1, ['a', 'f']), (True, ['b']), (1.0, ['c']), (None, ['d']), ([2], ['e', 7])]"
    )
    assert [*grouping.results()] == []


class Largest(beam.CombineFn):  # type: ignore[misc]
    """Says what it was given, and what became of it."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def setup(self) -> None:
        self.calls.append("setup")

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, largest: int, number: int) -> int:
        self.calls.append(f"add {number} to {largest}")
        return max(largest, number)

    def merge_accumulators(self, found: Iterable[int]) -> int:
        return max(found)

    def extract_output(self, largest: int) -> str:
        return f"largest {largest}"

    def teardown(self) -> None:
        self.calls.append("teardown")


def test_a_combination_keeps_what_elements_come_to_and_not_the_elements() -> None:
    calls: list[str] = []
    combine = Combine(Largest(calls))
    feed(combine, [("a", 3), ("b", 5), ("a", 8)])
    assert calls == ["setup", "add 3 to 0", "add 5 to 0", "add 8 to 3"]

    combine.teardown()
    assert [*combine.results()] == [("a", "largest 8"), ("b", "largest 5")]
    assert calls[4:] == ["teardown", "setup", "teardown"]


@pytest.mark.parametrize(
    ("kind", "elements", "expected"),
    [
        (AsSingleton, [7], 7),
        (AsIter, [7, 8], [7, 8]),
        (AsDict, [("a", 1), ("b", 2)], {"a": 1, "b": 2}),
    ],
)
def test_a_view_has_the_form_that_its_kind_says(kind: Any, elements: Any, expected: Any) -> None:
    view = kind(beam.Pipeline(options=PipelineOptions([])) | beam.Create(elements))
    value = View(view, elements)[None]
    assert (list(value) if kind is AsIter else value) == expected


def test_a_view_by_key_gives_the_values_of_a_key_in_their_order() -> None:
    view = AsMultiMap(beam.Pipeline(options=PipelineOptions([])) | beam.Create([("a", 1)]))
    value = View(view, [("a", 1), ("b", 2), ("a", 3)])[None]
    assert [list(value[key]) for key in "abc"] == [[1, 3], [2], []]


def split(number: int, border: int) -> Any:
    yield number if number < border else beam.pvalue.TaggedOutput("high", number)


def test_a_function_is_called_with_its_arguments_and_gives_to_the_outlet_of_each_tag() -> None:
    low: list[int] = []
    high: list[int] = []
    transform = beam.ParDo(split, 4)
    outlets = {None: outlet(low), "high": outlet(high)}
    feed(Call(transform, transform.fn, [], outlets), [2, 5, 3])
    assert (low, high) == ([2, 3], [5])


def test_merging_passes_every_element_on() -> None:
    seen: list[int] = []
    feed(Forward(outlet(seen)), [2, 1, 2])
    assert seen == [2, 1, 2]


def test_values_of_a_pipeline_are_copied_each_time_they_are_read() -> None:
    given = beam.Create([[1], [2]])
    first, again = [*read(given)], [*read(given)]
    assert first == again == [[1], [2]]
    first[0].append(5)
    assert again[0] == [1] == next(read(given))


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_combination_of_many_keys_goes_by_way_of_files_and_gives_the_same(
    most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = [1, 1.0, True, -0.0, 0, None, "1", b"1", ("1", 1), ("1", 1.0), "\udc80", 10**30, [2]]
    elements = [(key, place) for place, key in enumerate(keys * 3)]
    in_memory = Combine(curry_combine_fn(ToListCombineFn(), (), {}))
    feed(in_memory, elements)
    expected = [*in_memory.results()]

    monkeypatch.setattr(beam_operations, "MOST_KEYS", most)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    orders = []
    for _ in range(2):
        stored = Combine(curry_combine_fn(ToListCombineFn(), (), {}))
        feed(stored, elements)
        assert any(tmp_path.iterdir())
        found = [*stored.results()]
        orders.append(found)
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
        assert not any(tmp_path.iterdir())
        assert [*stored.results()] == []
    assert repr(orders[0]) == repr(orders[1])


def test_the_order_of_stored_groups_is_that_of_every_process(tmp_path: Path) -> None:
    """Python's own hashes of texts differ from process to process."""
    program = (
        "from components.node import beam_operations as o; o.MOST_KEYS = 2\n"
        "from apache_beam.transforms.combiners import ToListCombineFn\n"
        "c = o.Combine(ToListCombineFn()); c.start()\n"
        "[c.process(o.GLOBAL.with_value((('slice', f'key {i % 50}'), i))) for i in range(100)]\n"
        "print([*c.results()])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().count("key") == 50
