"""The analyses against their definitions, on rows in any order, in batches of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import Beam
from components.transform.analyzers import ONE, GroupSums, Moments, Quantiles, exact_sums

ANY_FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ORDINARY = st.sampled_from([0.1, 0.25, -3.7, 1e-3, 86_400.0, 1.7e9])
COLUMN = st.lists(st.one_of(ANY_FLOAT32, ORDINARY), min_size=1, max_size=60)


def in_batches(order: Sequence[int], cuts: Sequence[int]) -> Iterator[list[int]]:
    """Yields the rows of an order in batches, cut at some places."""
    bounds = sorted({0, *(cut for cut in cuts if cut < len(order)), len(order)})
    yield from ([*order[low:high]] for low, high in pairwise(bounds))


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300))
)
def test_a_sum_is_rounded_once(values: list[float]) -> None:
    [total] = exact_sums(np.array(values, np.float64), np.zeros(len(values), np.int64), 1)
    assert Fraction(total, ONE) == sum(map(Fraction, values))
    assert total / ONE == math.fsum(values)


@given(st.lists(st.tuples(ANY_FLOAT32, st.integers(0, 4))))
def test_every_group_has_its_own_sum(rows: list[tuple[float, int]]) -> None:
    values, groups = (
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], np.int64),
    )
    sums = exact_sums(values, groups, 5)
    assert [Fraction(total, ONE) for total in sums] == [
        sum(Fraction(value) for value, group in rows if group == wanted) for wanted in range(5)
    ]


def test_a_long_column_is_summed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    whole = exact_sums(values, np.zeros(1000, np.int64), 1)
    monkeypatch.setattr("components.transform.analyzers.CHUNK", 7)
    assert exact_sums(values, np.zeros(1000, np.int64), 1) == whole


def run(transform: beam.PTransform, batches: list[Any], folder: Path) -> list[np.ndarray]:
    """Runs a transform and returns its results, one array each."""
    with beam.Pipeline(argv=Beam().options) as pipeline:
        results = pipeline | beam.Create(batches, reshuffle=False) | transform
        for index, result in enumerate(results if isinstance(results, tuple) else (results,)):
            _ = result | f"Keep {index}" >> beam.Map(
                lambda array, name: np.save(name, array), str(folder / str(index))
            )
    return [np.load(file) for file in sorted(folder.iterdir())]


def everywhere(transform: Any, columns: Sequence[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Runs a transform on rows in three orders and batchings; returns their common result."""
    rng, rows = np.random.default_rng(5), len(columns[0])
    orders = [
        (np.arange(rows), []),
        (rng.permutation(rows), [1, 2, 3, 50]),
        (rng.permutation(rows), range(rows)),
    ]
    found = []
    for number, (order, cuts) in enumerate(orders):
        (place := folder / str(number)).mkdir()
        batches = [
            tuple(column[rows] for column in columns) for rows in in_batches(order.tolist(), cuts)
        ]
        found.append(run(transform, batches, place))
    first, *others = found
    for other in others:
        assert [array.tobytes() for array in other] == [array.tobytes() for array in first]
    return first


@pytest.fixture
def columns() -> np.ndarray:
    rng = np.random.default_rng(3)
    values = np.stack(
        [
            rng.exponential(60, 200),
            rng.normal(1e6, 0.5, 200),
            np.full(200, 0.1),
            np.full(200, np.nan),
        ],
        1,
    )
    values[rng.random(200) < 0.2, 0] = np.nan
    return values.astype(np.float32)


def test_moments_are_those_of_the_known_values_in_any_order(
    columns: np.ndarray, tmp_path: Path
) -> None:
    [(means, deviations)] = everywhere(Moments(4), [columns], tmp_path)
    known = columns[:, 0][~np.isnan(columns[:, 0])].astype(np.float64)
    assert (means[0], deviations[0]) == (
        math.fsum(known) / len(known),
        pytest.approx(known.std(), rel=1e-14),
    )
    assert deviations[1] == pytest.approx(columns[:, 1].astype(np.float64).std(), rel=1e-9)
    assert (means[2], deviations[2]) == (np.float32(0.1), 0.0)
    assert (means[3], deviations[3]) == (0.0, 0.0)


def test_group_sums_are_exact_in_any_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    groups, rows = (
        rng.integers(0, 9, 300),
        rng.standard_normal((300, 2)) * 10.0 ** rng.integers(-9, 9, (300, 2)),
    )
    levels = np.stack([groups, 10 + groups % 2, np.full(300, 20)], axis=1)
    found, sums = everywhere(GroupSums(2), [levels, rows], tmp_path)
    assert found.tolist() == [*range(9), 10, 11, 20]
    members = [(levels == group).any(axis=1) for group in found]
    expected = [[math.fsum(rows[member, place]) for place in (0, 1)] for member in members]
    assert sums.tolist() == expected


@given(COLUMN, st.integers(2, 9), st.randoms())
def test_quantiles_are_values_at_their_ranks(values: list[float], parts: int, random: Any) -> None:
    from components.transform import analyzers

    random.shuffle(values)
    table = np.array(values, np.float32)[:, np.newaxis]
    batches = [table[rows] for rows in in_batches(range(len(values)), random.sample(range(60), 3))]
    counted: dict[Any, list[Any]] = {}
    for batch in batches:
        for cell, counts in analyzers._count_values(batch):
            counted.setdefault(cell, []).append(counts)
    cells = {cell: analyzers._merge_counts(counts) for cell, counts in counted.items()}
    ranks = analyzers._rank_cells([(cell, int(counts[1].sum())) for cell, counts in cells.items()])
    picked = [
        bound for item in cells.items() for bound in analyzers._pick_bounds(item, [parts], ranks)
    ]
    ordered = np.sort(table[:, 0])
    expected = [ordered[len(ordered) * index // parts] for index in range(1, parts)]
    assert analyzers._arrange_bounds(picked, [parts]).tolist() == expected


def test_quantiles_of_several_columns_do_not_depend_on_the_order(
    columns: np.ndarray, tmp_path: Path
) -> None:
    [bounds] = everywhere(Quantiles([4, 2, 3, 3]), [columns], tmp_path)
    known = np.sort(columns[:, 0][~np.isnan(columns[:, 0])])
    assert bounds[:3].tolist() == [known[len(known) * index // 4] for index in (1, 2, 3)]
    assert bounds[3] == np.sort(columns[:, 1])[100]
    assert bounds[4:].tolist() == [np.float32(0.1)] * 2 + [0.0] * 2
