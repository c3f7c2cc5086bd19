from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.report.scales import Scale, ticks, widen


def test_a_scale_maps_ends_to_ends() -> None:
    upright = Scale(0.0, 2.0, 200, 10)
    assert [upright(value) for value in (0, 1, 2)] == [200, 105, 10]


def test_a_domain_of_one_value_maps_to_the_middle() -> None:
    assert Scale(3, 3, 0, 100)(3) == 50


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, 17, [5, 10, 15]), (0.2, 0.87, [0.2, 0.4, 0.6, 0.8]), (5, 5, [5]),
        (-2.4, 1.9, [-2, -1, 0, 1]), (0, 84_076, [0, 20_000, 40_000, 60_000, 80_000]),
    ],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert len(found) <= 6
    assert all(low - 1e-6 * width <= tick <= low + width + 1e-6 * width for tick in found)


def test_widening_goes_to_round_numbers() -> None:
    assert widen([0.23, 0.88, None, float("nan")]) == pytest.approx((0.2, 0.9))
    assert widen([]) == (0, 1)
    assert widen([2, 2]) == (1.5, 2.5)
