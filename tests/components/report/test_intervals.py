from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.report import intervals
from components.report.intervals import (
    class_intervals,
    f1_interval,
    macro_f1_interval,
    mean_interval,
    wilson,
)

COUNTS = st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=3, max_size=3)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (50, 100, 0.4038, 0.5962),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_has_the_published_values(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_no_interval_without_trials() -> None:
    assert wilson(0, 0) is None
    assert f1_interval(0, 0) is None


def test_the_interval_of_a_mean_of_one_is_its_own() -> None:
    assert mean_interval([0.5], [(0.4, 0.7)]) == pytest.approx((0.4, 0.7))


def test_the_interval_of_a_mean_narrows_by_the_root_of_how_many() -> None:
    assert mean_interval([0.5] * 4, [(0.4, 0.6)] * 4) == pytest.approx((0.45, 0.55))


def test_class_intervals_count_rows_for_recall_and_columns_for_precision() -> None:
    intervals = class_intervals([[8, 2], [0, 90]], 0)
    assert intervals["recall"] == wilson(8, 10)
    assert intervals["precision"] == wilson(8, 8)
    assert intervals["f1"] == f1_interval(8, 10)


def test_a_class_neither_present_nor_predicted_does_not_count() -> None:
    assert macro_f1_interval([[5, 1, 0], [2, 7, 0], [0, 0, 0]]) == macro_f1_interval(
        [[5, 1], [2, 7]]
    )
    assert macro_f1_interval([[0, 0], [0, 0]]) is None


@given(COUNTS)
def test_an_interval_holds_its_own_value(confusion: list[list[int]]) -> None:
    interval = macro_f1_interval(confusion)
    scores = []
    for index, row in enumerate(confusion):
        total = sum(row) + sum(other[index] for other in confusion)
        scores += [2 * row[index] / total] if total else []
    if interval is None:
        assert not scores
    else:
        assert interval[0] - 1e-9 <= sum(scores) / len(scores) <= interval[1] + 1e-9


def test_the_examples_are_right() -> None:
    results = doctest.testmod(intervals)
    assert results.attempted
    assert not results.failed
