"""The picture of a year: macro F1 week by week, and below it what happened, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.report.charts import AxisScale

WIDTH, LEFT, RIGHT = 760, 132, 16
TOP, BOTTOM = 54, 330  # of the curve
LANE = 27  # pixels between two rows of marks
LOWEST = 0.3

# Rows below the curve: what a mark in them means, its class, and which weeks have one.
LANES: dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
    "drift called": ("drift", lambda week: bool(week["drift"])),
    "retrained": ("trained", lambda week: week["trained"] is not None),
    "gates failed": ("failed", lambda week: week["gate"] is not None),
    "canary": ("canary", lambda week: week["canary"] is not None),
    "promoted": ("promoted", lambda week: week["ending"] == "promoted"),
    "taken back": ("failed", lambda week: week["ending"] == "stopped"),
}
NAMES = {"content": "a unit is replaced", "intake": "others come", "relation": "answers are shared"}
STYLE = """\
text { font: 17px sans-serif; fill: #333 } .title { font-weight: bold } .small { font-size: 15px }
.grid { stroke: #ddd } .change { stroke: #777; stroke-dasharray: 3 3 }
.band { fill: #2563a8; opacity: .18 } .f1 { stroke: #2563a8; stroke-width: 2.5; fill: none }
.best { stroke: #666; stroke-width: 1.5; stroke-dasharray: 6 4; fill: none }
.drift { fill: #c2570c } .trained { fill: #2563a8 } .failed { fill: #b91c1c }
.canary { fill: #a16207 } .promoted { fill: #15803d } .wrong { fill: white; stroke: #b91c1c; \
stroke-width: 2 } .alert { fill: #b91c1c }
"""


def chart(result: Mapping[str, Any]) -> str:
    """Returns the picture of a year.

    Args:
        result: what `benchmarks.year` writes into `year.json`.
    """
    lived = result["lived"]
    x = AxisScale(result["first"], max(result["weeks"], result["first"] + 1), LEFT + 8, WIDTH - 22)
    y = AxisScale(LOWEST, 1.0, BOTTOM, TOP)
    height = BOTTOM + 40 + LANE * len(LANES) + 8
    parts = [*_grid(x, y, result), *_curve(lived, x, y), *_lanes(lived, x)]
    label = (
        f"Macro F1 of the version in service over {len(lived)} weeks with two changes of course, "
        "and when drift was called, models were trained, tried, promoted or refused"
    )
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}"'
        ' role="img" aria-label="{2}"><style>{3}</style>'
        '<rect width="100%" height="100%" fill="white"/>{4}</svg>\n'
    ).format(WIDTH, height, label, STYLE, Markup("").join(parts))


def _text(x: float, y: float, text: object, style: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, style, anchor, text
    )


def _line(style: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        style, x1, x2, y1, y2
    )


def _grid(x: AxisScale, y: AxisScale, result: Mapping[str, Any]) -> Iterator[Markup]:
    """Yields axes, and the changes of course."""
    yield _text(8, 24, "macro F1 of the version in service", "title")
    for tenth in range(round(LOWEST * 10), 11):
        yield _line("grid", LEFT, WIDTH - RIGHT, y(tenth / 10), y(tenth / 10))
        yield _text(LEFT - 8, y(tenth / 10) + 5, f"{tenth / 10:.1f}", anchor="end")

    weeks = [week for week in range(5, result["weeks"] + 1, 5) if week >= result["first"]]
    for week in weeks:
        yield _text(x(week), BOTTOM + 21, week, anchor="middle")
    yield _text(LEFT - 8, BOTTOM + 21, "week", anchor="end")

    bottom = BOTTOM + 34 + LANE * len(LANES)
    for change in result["changes"]:
        kind, _, week = change.partition(":")
        if int(week) <= result["weeks"]:
            yield _line("change", x(int(week)), x(int(week)), TOP - 8, bottom)
            yield _text(x(int(week)) + 5, TOP - 2, NAMES[kind], "small")


def _curve(lived: Sequence[Mapping[str, Any]], x: AxisScale, y: AxisScale) -> Iterator[Markup]:
    """Yields the curve with its interval, the best possible, and labels that were wrong."""
    known = [week for week in lived if week["f1"] is not None]
    upper = [(x(week["week"]), y(week["high"])) for week in known]
    lower = [(x(week["week"]), y(week["low"])) for week in reversed(known)]
    yield Markup('<polygon class="band" points="{}"/>').format(_points([*upper, *lower]))
    for name in ("best", "f1"):
        points = [(x(week["week"]), y(week[name])) for week in known]
        yield Markup('<polyline class="{}" points="{}"/>').format(name, _points(points))

    for place, (style, text) in enumerate((("f1", "measured"), ("best", "best possible"))):
        left = 450 + 135 * place
        yield _line(style, left, left + 26, 19, 19)
        yield _text(left + 32, 24, text, "small")
    for week in lived:
        if week["scrambled_f1"] is not None:
            left, top = x(week["week"]), y(week["scrambled_f1"])
            yield Markup('<circle class="wrong" cx="{}" cy="{}" r="5"/>').format(left, top)
            yield _text(left, top - 12, "labels scrambled", "small alert", "middle")


def _lanes(lived: Sequence[Mapping[str, Any]], x: AxisScale) -> Iterator[Markup]:
    """Yields a row of marks for each thing that can happen."""
    for place, (name, (style, happened)) in enumerate(LANES.items()):
        middle = BOTTOM + 48 + LANE * place
        yield _text(8, middle + 5, name)
        yield _line("grid", LEFT, WIDTH - RIGHT, middle, middle)
        for week in lived:
            if happened(week):
                yield Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(
                    style, x(week["week"]), middle
                )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{left},{top}" for left, top in points)
