"""Charts the size of a word, for cells of tables and for legends, as inline SVG.

Each repeats numbers that stand beside it, so all but the sparkline are hidden from screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from markupsafe import Markup

from components.report.charts import AxisScale, Bars, Domain, columns, length, svg

WIDTH = 110  # of a chart in a cell, in pixels
MARGIN = 12  # at both ends of a chart of intervals
Tone = Literal["good", "bad", "open"]  # whether an interval is beyond a mark, or holds it


def sparkline(bars: Bars, *, title: str, width: int = 72, height: int = 22) -> Markup:
    """Returns a histogram the size of a word."""
    x = AxisScale(bars.edges[0], bars.edges[-1], 0, width)
    y = AxisScale(0, max(bars.counts) or 1, height - 1, 1)
    line = Markup('<line class="base" x1="0" x2="{0}" y1="{1}" y2="{1}"/>')
    base = line.format(width, height - 0.5)
    return svg(title, [*columns(bars, x, y), base], "spark", width, height)


def bar(
    value: float | None,
    *,
    domain: Domain = (0, 1),
    interval: Domain | None = None,
    mark: float | None = None,
) -> Markup:
    """Returns a bar with its interval as a whisker and a tick at `mark`."""
    inside = _inside(domain)

    parts = [Markup('<rect class="track" x="0" y="4" width="{}" height="8"/>').format(WIDTH)]
    if value is not None and math.isfinite(value):
        left, right = sorted((inside(0), inside(value)))
        filled = Markup('<rect class="bar" x="{}" y="4" width="{}" height="8"/>')
        parts.append(filled.format(left, length(right - left)))
    if interval:
        low, high = (inside(end) for end in interval)
        whisker = Markup('<path class="whisker" d="M{0},8H{1}M{0},5.5V10.5M{1},5.5V10.5"/>')
        parts.append(whisker.format(low, high))
    if mark is not None and math.isfinite(mark):
        tick = Markup('<line class="mark" x1="{0}" x2="{0}" y1="1" y2="15"/>')
        parts.append(tick.format(inside(mark)))

    return _cell(parts, 16)


def swatch(style: int) -> Markup:
    """Returns a piece of a series' line, for a legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 28 8" width="28" height="8" aria-hidden="true">'
        '<path class="line s{}" d="M0,4L28,4"/></svg>'
    ).format(style)


def interval_chart(
    value: float,
    interval: Domain | None,
    *,
    domain: Domain,
    mark: float,
    label: str,
    tone: Tone = "open",
) -> Markup:
    """Returns a point with its interval as a line, and a labelled upright line at `mark`.

    Args:
        value: where the point is.
        interval: ends of the line; None for a point alone.
        domain: what the chart's width stands for; charts of one column have the same one.
        mark: what the value is held against: a threshold, or zero.
        label: the text at the mark.
        tone: the colour of point and line.
    """
    inside = _inside(domain, MARGIN)
    upright = Markup(
        '<line class="mark" x1="{0}" x2="{0}" y1="0" y2="16"/><text class="x" x="{0}" y="27">{1}'
        "</text>"
    )
    parts = [upright.format(inside(mark), label)]
    if interval:
        low, high = (inside(end) for end in interval)
        line = Markup('<path class="reach {2}" d="M{0},8H{1}M{0},4.5V11.5M{1},4.5V11.5"/>')
        parts.append(line.format(low, high, tone))
    point = Markup('<circle class="point {}" cx="{}" cy="8" r="3.5"/>')
    parts.append(point.format(tone, inside(value)))
    return _cell(parts, 30)


def dots(values: Sequence[float | None], *, domain: Domain) -> Markup:
    """Returns a dot per value on a line; the first one is filled, the others are rings."""
    inside = _inside(domain, MARGIN)
    parts = [Markup('<line class="base" x1="0" x2="{0}" y1="8" y2="8"/>').format(WIDTH)]
    dot = Markup('<circle class="{}" cx="{}" cy="8" r="4"/>')
    known = [
        (value, "first" if index == 0 else "other")
        for index, value in enumerate(values)
        if value is not None and math.isfinite(value)
    ]
    # The first one last, so that no ring covers it.
    parts += [dot.format(kind, inside(value)) for value, kind in reversed(known)]
    return _cell(parts, 16)


def domain_around(values: Iterable[float | None]) -> Domain:
    """Returns the smallest domain that holds all finite values; one of some width."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _inside(domain: Domain, margin: int = 0) -> Callable[[float], float]:
    """Returns a map from values to pixels that never leaves the chart."""
    x = AxisScale(*domain, margin, WIDTH - margin)
    return lambda value: min(max(x(value), float(margin)), float(WIDTH - margin))


def _cell(parts: Iterable[Markup], height: int) -> Markup:
    frame = Markup(
        '<svg class="inline" viewBox="0 0 {0} {1}" width="{0}" height="{1}"'
        ' preserveAspectRatio="none" aria-hidden="true">{2}</svg>'
    )
    return frame.format(WIDTH, height, Markup("").join(parts))
