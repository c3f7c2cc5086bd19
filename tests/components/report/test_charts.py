from __future__ import annotations

import doctest
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.report import charts
from components.report.cell_charts import (
    bar,
    domain_around,
    dots,
    interval_chart,
    sparkline,
    swatch,
)
from components.report.charts import (
    STYLES,
    AxisScale,
    Bars,
    Series,
    heat_map,
    histogram,
    line_chart,
    style_of,
    ticks,
    widen,
)

HOSTILE = '<script>alert("1")</script>&\'"'
BARS = Bars([0.0, 1.0, 2.0, 4.0], [5.0, 0.0, 10.0])


def _lines(ys: list[float | None]) -> str:
    series = [Series(HOSTILE, [0, 1, 2], ys, 1)]
    return str(
        line_chart(series, title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE, y_domain=(0, 1), mark=1)
    )


@pytest.mark.parametrize(
    "svg",
    [
        _lines([0.1, None, float("nan")]),
        _lines([0.1, 0.5, 0.9]),
        _lines([None, None, None]),
        histogram(BARS, title=HOSTILE, x_label="x", y_label="y"),
        sparkline(BARS, title=HOSTILE),
        sparkline(Bars([0, 1], [0]), title=HOSTILE),
        bar(0.5, interval=(0.4, 0.6), mark=0.7),
        bar(None),
        bar(-3.0),
        swatch(2),
        interval_chart(0.5, (0.4, 0.6), domain=(0, 1), mark=0.7, label=HOSTILE),
        interval_chart(0.5, None, domain=(0, 1), mark=0.7, label=HOSTILE, tone="bad"),
        dots([0.5, None, float("nan"), 0.7], domain=(0, 1)),
        heat_map([0, 1, 2], [[1, 0], [4, 2]], title=HOSTILE, x_label="x", y_label="y"),
    ],
)
def test_a_chart_is_well_formed_and_harmless(svg: str) -> None:
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert not root.findall(".//script")
    assert "nan" not in svg


def test_a_line_goes_through_the_places_of_its_points() -> None:
    path = re.search(r'<path class="line s1" d="([^"]+)"', _lines([0.0, 0.5, 1.0]))
    assert path is not None
    assert path[1] == "M46,200L188,105L330,10"


def test_a_single_point_is_a_dot() -> None:
    assert '<circle class="dot s1" cx="188.0" cy="105.0"' in _lines([None, 0.5, None])


def test_the_mark_is_drawn_at_its_value() -> None:
    assert '<line class="mark" x1="188.0" x2="188.0"' in _lines([0, 0, 0])


def test_a_bar_is_as_long_as_its_value_and_its_whisker_as_wide_as_the_interval() -> None:
    svg = bar(0.5, interval=(0.4, 0.6), mark=0.7)
    assert '<rect class="bar" x="0.0" y="4" width="55.0"' in svg
    assert 'd="M44.0,8H66.0' in svg
    assert '<line class="mark" x1="77.0"' in svg


def test_bars_stay_inside_their_cell() -> None:
    assert '<rect class="bar" x="0.0" y="4" width="110.0"' in bar(7.0, interval=(-1, 9))


def test_an_interval_is_drawn_from_end_to_end_with_its_point_and_mark() -> None:
    svg = interval_chart(0.5, (0.25, 1.0), domain=(0, 1), mark=0.0, label="0", tone="good")
    assert '<path class="reach good" d="M33.5,8H98.0' in svg
    assert '<circle class="point good" cx="55.0"' in svg
    assert '<line class="mark" x1="12.0"' in svg
    assert ">0</text>" in svg


def test_every_seed_is_a_dot_and_the_first_one_lies_on_top() -> None:
    svg = dots([0.0, 1.0, None, 0.5], domain=(0, 1))
    found = re.findall(r'<circle class="(\w+)" cx="([^"]+)"', svg)
    assert found == [("other", "55.0"), ("other", "98.0"), ("first", "12.0")]


def test_a_domain_holds_all_values_and_has_a_width() -> None:
    assert domain_around([0.2, None, -0.1, float("nan")]) == (-0.1, 0.2)
    assert domain_around([0.3, 0.3]) == (-0.2, 0.8)
    assert domain_around([]) == (-0.5, 0.5)


def test_dots_of_a_line_have_the_sizes_of_its_points() -> None:
    line = Series("low", [0, 0.5, 1], [0, None, 1], 1, sizes=[2, 9, 4])
    svg = line_chart([line], title="", x_label="", y_label="", x_domain=(0, 1), y_domain=(0, 1))
    assert re.findall(r'cx="([^"]+)" cy="([^"]+)" r="([^"]+)"', svg) == [
        ("46.0", "200.0", "2"),
        ("330.0", "10.0", "4"),
    ]


def test_columns_of_a_histogram_are_as_high_as_their_counts() -> None:
    heights = re.findall(
        r'class="column" x="[^"]+" y="[^"]+" width="[^"]+" height="([^"]+)"',
        sparkline(BARS, title=""),
    )
    assert [float(height) for height in heights] == [10.0, 20.0]


def test_the_first_index_of_a_heat_map_goes_to_the_right() -> None:
    svg = heat_map([0, 1, 2], [[0, 0], [9, 0]], title="", x_label="", y_label="")
    assert svg.count('class="cell"') == 1
    assert '<rect class="cell" x="188.0" y="105.0"' in svg


def test_epochs_are_whole() -> None:
    svg = line_chart(
        [Series("loss", [1, 2, 3], [3, 2, 1], 1)], title="", x_label="", y_label="", whole_x=True
    )
    assert re.findall(r'<text class="x" [^>]+>([^<]+)</text>', svg) == ["1", "2", "3"]


def test_styles_repeat() -> None:
    assert [style_of(index) for index in (0, STYLES - 1, STYLES)] == [1, STYLES, 1]


def test_a_scale_maps_ends_to_ends() -> None:
    upright = AxisScale(0.0, 2.0, 200, 10)
    assert [upright(value) for value in (0, 1, 2)] == [200, 105, 10]


def test_a_domain_of_one_value_maps_to_the_middle() -> None:
    assert AxisScale(3, 3, 0, 100)(3) == 50


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 17, [5, 10, 15]),
        (0.2, 0.87, [0.2, 0.4, 0.6, 0.8]),
        (5, 5, [5]),
        (-2.4, 1.9, [-2, -1, 0, 1]),
        (0, 84_076, [0, 20_000, 40_000, 60_000, 80_000]),
    ],
)
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


def test_the_examples_are_right() -> None:
    results = doctest.testmod(charts)
    assert results.attempted
    assert not results.failed
