"""Panels of lines over numbers of learners, all axes logarithmic, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.report.charts import AxisScale

WIDTH, HEIGHT = 380, 280  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 44
STYLE = """\
text { font: 12px sans-serif; fill: #444 } .title { font-weight: bold }
.grid { stroke: #ddd } polyline { stroke-width: 2; fill: none }
.reference { stroke: #888; stroke-width: 1; stroke-dasharray: 5 4 }
.s0 { stroke: #2563a8 } .s1 { stroke: #c2570c } .s2 { stroke: #15803d } .s3 { stroke: #7e22ce }
.s4 { stroke: #b91c1c } .s5 { stroke: #0e7490 } circle { fill: white; stroke-width: 2 }
"""


@dataclass(frozen=True)
class Line:
    """Measured values.

    Attributes:
        values: one per number of learners; NaN where it is not known.
        name: shown in the legend; none without a name.
        is_reference: what others are compared with: dashed, without dots.
    """

    values: Sequence[float]
    name: str = ""
    is_reference: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines over the same numbers of learners."""

    title: str
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], learners: Sequence[int], label: str) -> str:
    """Returns panels beside each other.

    Args:
        panels: the first one's lines name the colours of all.
        learners: the numbers on the x axes.
        label: what is shown, for those who cannot see it.
    """
    legend = _legend(panels[0].lines)
    height = HEIGHT + (22 if legend else 0)
    parts = [
        Markup('<g transform="translate({} 0)">{}</g>').format(
            place * WIDTH, _panel(item, learners)
        )
        for place, item in enumerate(panels)
    ]
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}"'
        ' role="img" aria-label="{2}"><style>{3}</style>'
        '<rect width="100%" height="100%" fill="white"/>{4}{5}</svg>\n'
    ).format(len(panels) * WIDTH, height, label, STYLE, Markup("").join(parts), legend)


def _legend(lines: Sequence[Line]) -> Markup:
    parts, x, y = [], LEFT, HEIGHT + 8
    for place, line in enumerate(lines):
        if not line.name:
            continue
        parts.append(
            Markup(
                '<polyline class="{}" points="{},{} {},{}"/><text x="{}" y="{}">{}</text>'
            ).format(_style(line, place), x, y, x + 20, y, x + 26, y + 4, line.name)
        )
        x += 44 + 7 * len(line.name)
    return Markup("").join(parts)


def _style(line: Line, place: int) -> str:
    return "reference" if line.is_reference else f"s{place % 6}"


def _panel(panel: Panel, learners: Sequence[int]) -> Markup:
    x = _Logarithmic(learners, LEFT, WIDTH - RIGHT)
    y = _Logarithmic((v for line in panel.lines for v in line.values), HEIGHT - BOTTOM, TOP)
    parts = [Markup('<text class="title" x="{}" y="18">{}</text>').format(LEFT, panel.title)]

    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    number = Markup('<text text-anchor="{}" x="{}" y="{}">{}</text>')
    for value in y.ticks():
        parts.append(grid.format(LEFT, WIDTH - RIGHT, y(value), y(value)))
        parts.append(number.format("end", LEFT - 6, y(value) + 4, f"{value:g}"))
    for size in learners:
        parts.append(grid.format(x(size), x(size), TOP, HEIGHT - BOTTOM))
        parts.append(number.format("middle", x(size), HEIGHT - BOTTOM + 17, f"{size:,}"))
    parts.append(number.format("middle", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "learners"))

    shape = Markup('<polyline class="{}" points="{}"/>')
    dot = Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>')
    for place, line in enumerate(panel.lines):
        known = [
            (x(size), y(value))
            for size, value in zip(learners, line.values, strict=True)
            if math.isfinite(value)
        ]
        style = _style(line, place)
        parts.append(shape.format(style, " ".join(f"{left},{top}" for left, top in known)))
        if not line.is_reference:
            parts += [dot.format(style, *point) for point in known]
    return Markup("").join(parts)


class _Logarithmic:
    """A logarithmic axis around some values, at least a decade, from `start` to `end` in pixels."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        finite = [value for value in values if math.isfinite(value)]
        low, high = min(finite), max(finite)
        room = max(1.3, math.sqrt(10 * low / high))
        self._low, self._high = low / room, high * room
        self._scale = AxisScale(math.log(self._low), math.log(self._high), start, end)

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        return self._scale(math.log(value))

    def ticks(self) -> list[float]:
        """Returns 1, 2 and 5 times the powers of ten within the axis."""
        decades = range(math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)))
        marks = (factor * 10.0**decade for decade in decades for factor in (1, 2, 5))
        return [mark for mark in marks if self._low <= mark <= self._high]
