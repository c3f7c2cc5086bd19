from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from components.report.charts import (
    STYLES,
    Series,
    bar,
    heat_map,
    histogram,
    line_chart,
    sparkline,
    style_of,
    swatch,
)
from components.report.facts import Bars

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


def test_the_mark_stands_at_its_value() -> None:
    assert '<line class="mark" x1="188.0" x2="188.0"' in _lines([0, 0, 0])


def test_a_bar_is_as_long_as_its_value_and_its_whisker_as_wide_as_the_interval() -> None:
    svg = bar(0.5, interval=(0.4, 0.6), mark=0.7)
    assert '<rect class="bar" x="0.0" y="4" width="55.0"' in svg
    assert 'd="M44.0,8H66.0' in svg
    assert '<line class="mark" x1="77.0"' in svg


def test_bars_stay_inside_their_cell() -> None:
    assert '<rect class="bar" x="0.0" y="4" width="110.0"' in bar(7.0, interval=(-1, 9))


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


def test_styles_come_round_again() -> None:
    assert [style_of(index) for index in (0, STYLES - 1, STYLES)] == [1, STYLES, 1]
