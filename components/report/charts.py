"""Charts as inline SVG: small pure functions from numbers to markup, coloured by the page's style sheet.

Everything textual is escaped. A chart is drawn at the width of a phone and never scaled down, so its
letters stay readable; colours are classes (`s1` to `s6`), each with a dash pattern of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.report.facts import Bars
from components.report.formats import rough
from components.report.scales import Scale, ticks, widen

WIDTH, HEIGHT = 340, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 40
STYLES = 6
Domain = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart; `style` names its colour and dashes (1 to 6), 0 a faint line for reference."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: int


def style_of(index: int) -> int:
    """Returns the style of the series at `index`; after six they come round again."""
    return index % STYLES + 1


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_domain: Domain | None = None,
    y_domain: Domain | None = None,
    mark: float | None = None,
    whole_x: bool = False,
) -> Markup:
    """Returns lines in a frame; `mark` puts an upright line at an x, `whole_x` numbers the x axis by whole steps."""
    x_domain = x_domain or widen(x for line in series for x in line.xs)
    y_domain = y_domain or widen(y for line in series for y in line.ys)
    x, y = _frame(x_domain, y_domain)
    parts = [_axes(x, y, x_label, y_label, whole_x=whole_x)]
    if mark is not None:
        parts.append(
            Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                x(mark), TOP, HEIGHT - BOTTOM
            )
        )
    parts += [_line(line, x, y) for line in series]
    return _svg(title, parts, "chart")


def _line(line: Series, x: Scale, y: Scale) -> Markup:
    points = [
        (x(at), y(to))
        for at, to in zip(line.xs, line.ys, strict=True)
        if to is not None and math.isfinite(to)
    ]
    if len(points) == 1:
        return Markup('<circle class="dot s{}" cx="{}" cy="{}" r="3"/>').format(
            line.style, *points[0]
        )
    path = "M" + "L".join(f"{px:g},{py:g}" for px, py in points) if points else "M0,0"
    return Markup('<path class="line s{}" d="{}"><title>{}</title></path>').format(
        line.style, path, line.name
    )


def histogram(bars: Bars, *, title: str, x_label: str, y_label: str) -> Markup:
    """Returns a histogram in a frame."""
    x, y = _frame((bars.edges[0], bars.edges[-1]), (0, widen([0, *bars.counts])[1]))
    return _svg(title, [_axes(x, y, x_label, y_label), *_columns(bars, x, y)], "chart")


def sparkline(bars: Bars, *, title: str, width: int = 72, height: int = 22) -> Markup:
    """Returns a histogram the size of a word."""
    x = Scale(bars.edges[0], bars.edges[-1], 0, width)
    y = Scale(0, max(bars.counts) or 1, height - 1, 1)
    base = Markup('<line class="base" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(
        width, height - 0.5
    )
    return _svg(title, [*_columns(bars, x, y), base], "spark", width, height)


def _columns(bars: Bars, x: Scale, y: Scale) -> Iterable[Markup]:
    for low, high, height in zip(bars.edges, bars.edges[1:], bars.counts, strict=False):
        if height > 0:
            left, right, top = x(low), x(high), y(height)
            yield Markup('<rect class="column" x="{}" y="{}" width="{}" height="{}"/>').format(
                left,
                min(top, y.start - 1),
                _length(right - left - 0.6),
                _length(max(y.start - top, 1)),
            )


def bar(
    value: float | None,
    *,
    domain: Domain = (0, 1),
    interval: Domain | None = None,
    mark: float | None = None,
) -> Markup:
    """Returns a bar for a cell of a table, with its interval as a whisker and a tick at `mark`.

    It repeats a number that stands beside it, so it is hidden from screen readers.
    """
    width, height = 110, 16
    x = Scale(*domain, 0, width)
    place = {
        name: min(max(x(at), 0.0), float(width))
        for name, at in _known(value=value, mark=mark).items()
    }
    parts = [Markup('<rect class="track" x="0" y="4" width="{}" height="8"/>').format(width)]
    if "value" in place:
        zero = min(max(x(0), 0.0), float(width))
        left, right = sorted((zero, place["value"]))
        filled = Markup('<rect class="bar" x="{}" y="4" width="{}" height="8"/>')
        parts.append(filled.format(left, _length(right - left)))
    if interval:
        low, high = (min(max(x(end), 0.0), float(width)) for end in interval)
        parts.append(
            Markup('<path class="whisker" d="M{0},8H{1}M{0},5.5V10.5M{1},5.5V10.5"/>').format(
                low, high
            )
        )
    if "mark" in place:
        parts.append(
            Markup('<line class="mark" x1="{0}" x2="{0}" y1="1" y2="15"/>').format(place["mark"])
        )
    return Markup(
        '<svg class="inline" viewBox="0 0 {0} {1}" width="{0}" height="{1}" preserveAspectRatio="none"'
        ' aria-hidden="true">{2}</svg>'
    ).format(width, height, Markup("").join(parts))


def _known(**places: float | None) -> dict[str, float]:
    return {name: at for name, at in places.items() if at is not None and math.isfinite(at)}


def swatch(style: int) -> Markup:
    """Returns a piece of a series' line, for a legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 28 8" width="28" height="8" aria-hidden="true">'
        '<path class="line s{}" d="M0,4L28,4"/></svg>'
    ).format(style)


def heat_map(
    edges: Sequence[float], grid: Sequence[Sequence[int]], *, title: str, x_label: str, y_label: str
) -> Markup:
    """Returns counts as cells, darker for more (by the root of the count), with the diagonal drawn.

    `edges` of the cells are the same on both axes [N + 1]; `grid` [N, N] goes along x first, then up y.
    """
    domain = (edges[0], edges[-1])
    x, y = _frame(domain, domain)
    top = max(map(max, grid)) or 1
    square = Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" opacity="{}"/>')
    parts = []
    for i, column in enumerate(grid):
        for j, cell in enumerate(column):
            if cell:
                left, right, low, high = x(edges[i]), x(edges[i + 1]), y(edges[j]), y(edges[j + 1])
                shade = round(0.1 + 0.9 * math.sqrt(cell / top), 2)
                parts.append(
                    square.format(left, high, _length(right - left), _length(low - high), shade)
                )
    diagonal = Series("predicted = actual", domain, domain, 0)
    return _svg(title, [_axes(x, y, x_label, y_label), *parts, _line(diagonal, x, y)], "chart")


def _frame(x_domain: Domain, y_domain: Domain) -> tuple[Scale, Scale]:
    return Scale(*x_domain, LEFT, WIDTH - RIGHT), Scale(*y_domain, HEIGHT - BOTTOM, TOP)


def _axes(x: Scale, y: Scale, x_label: str, y_label: str, *, whole_x: bool = False) -> Markup:
    parts = []
    for value in ticks(y.low, y.high):
        at = y(value)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                LEFT, WIDTH - RIGHT, at, at
            )
        )
        parts.append(
            Markup('<text class="y" x="{}" y="{}">{}</text>').format(LEFT - 6, at + 4, _tick(value))
        )
    marks = [value for value in ticks(x.low, x.high) if not whole_x or value == int(value)]
    number = Markup('<text class="x" x="{}" y="{}">{}</text>')
    parts += [number.format(x(value), HEIGHT - BOTTOM + 16, _tick(value)) for value in marks]
    base = Markup('<line class="base" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    parts.append(base.format(LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM))
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        Markup('<text class="x label" x="{}" y="{}">{}</text>').format(
            middle_x, HEIGHT - 6, x_label
        )
    )
    turned = Markup('<text class="x label" transform="translate(11 {}) rotate(-90)">{}</text>')
    parts.append(turned.format(middle_y, y_label))
    return Markup("").join(parts)


def _tick(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):  # 2500 is shorter than 2.5k is clear
            return f"{rough(value / size)}{unit}"
    return rough(value)


def _length(value: float) -> float:
    return max(0.0, round(value, 1))


def _svg(
    title: str, parts: Iterable[Markup], kind: str, width: int = WIDTH, height: int = HEIGHT
) -> Markup:
    return Markup(
        '<svg class="{0}" viewBox="0 0 {1} {2}" width="{1}" height="{2}" role="img" aria-label="{3}">{4}</svg>'
    ).format(kind, width, height, title, Markup("").join(parts))
