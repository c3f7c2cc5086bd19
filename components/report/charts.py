"""Charts in a frame, as inline SVG: pure functions from numbers to markup, coloured by the page.

All text is escaped. A chart is drawn at the width of a phone and never scaled down, so its letters
stay readable. Colours are CSS classes (`s1` to `s6`), each with its own dash pattern.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from components.report.formats import rough

WIDTH, HEIGHT = 340, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 40
STYLES = 6
Domain = tuple[float, float]


@dataclass(frozen=True)
class AxisScale:
    """A linear map from `low..high` to `start..end` in pixels; on y axes `start` is the larger."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Returns the place of a value, to a tenth of a pixel; the middle if `low` is `high`."""
        width = self.high - self.low
        share = (value - self.low) / width if width else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns at most `most` round numbers within `low..high`, for an axis.

    They are 1, 2 or 5 times a power of ten apart.

    >>> ticks(1, 17)
    [5, 10, 15]
    """
    if not high > low:
        return [low]

    step = 10 ** math.floor(math.log10((high - low) / most))
    while True:
        for factor in (1, 2, 5):
            width = step * factor
            first = math.ceil(low / width - 1e-9)
            last = math.floor(high / width + 1e-9)
            if last - first < most:
                return [round(index * width, 12) for index in range(first, last + 1)]
        step *= 10


def widen(values: Iterable[float | None]) -> tuple[float, float]:
    """Returns a domain from round number to round number that holds all finite values.

    >>> widen([0.2, 7.8, None])
    (0, 8)
    """
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return 0.0, 1.0

    low, high = min(finite), max(finite)
    if low == high:
        return low - 0.5, high + 0.5

    marks = ticks(low, high)
    step = marks[1] - marks[0] if len(marks) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


@dataclass(frozen=True)
class Bars:
    """A histogram: `counts[i]` values lie between `edges[i]` and `edges[i + 1]`."""

    edges: list[float]
    counts: list[float]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    `style` names its colour and dashes (1 to 6); 0 is a faint line for reference. `sizes` are the
    radii of dots on its points, in pixels; empty for a line without dots. `reach` are intervals of
    its points, drawn as upright lines; empty for none.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    style: int
    sizes: Sequence[float] = ()
    reach: Sequence[Domain | None] = ()


def style_of(index: int) -> int:
    """Returns the style of the series at `index`; the seventh has the first one's."""
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
    """Returns lines in a frame.

    Args:
        series: the lines.
        title: for screen readers.
        x_label: below the x axis.
        y_label: beside the y axis.
        x_domain: ends of the x axis; default: round numbers around the values.
        y_domain: ends of the y axis; likewise.
        mark: where to draw a vertical line.
        whole_x: whether the x axis has whole numbers only.
    """
    x_domain = x_domain or widen(x for line in series for x in line.xs)
    y_domain = y_domain or widen(y for line in series for y in line.ys)
    x, y = _frame(x_domain, y_domain)

    parts = [_axes(x, y, x_label, y_label, whole_x=whole_x)]
    if mark is not None:
        vertical = Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>')
        parts.append(vertical.format(x(mark), TOP, HEIGHT - BOTTOM))
    parts += [_line(line, x, y) for line in series]
    return svg(title, parts, "chart")


def _line(line: Series, x: AxisScale, y: AxisScale) -> Markup:
    upright = Markup('<path class="reach s{0}" d="M{1},{2}V{3}"/>')
    reaches = [
        upright.format(line.style, x(at), y(ends[0]), y(ends[1]))
        for at, ends in zip(line.xs, line.reach, strict=False)
        if ends is not None
    ]
    return Markup("").join(reaches) + _path(line, x, y)


def _path(line: Series, x: AxisScale, y: AxisScale) -> Markup:
    sizes = line.sizes or [0.0] * len(line.xs)
    points = [
        (x(at), y(to), size)
        for at, to, size in zip(line.xs, line.ys, sizes, strict=True)
        if to is not None and math.isfinite(to)
    ]
    dot = Markup('<circle class="dot s{}" cx="{}" cy="{}" r="{:g}"/>')
    if len(points) == 1:
        px, py, size = points[0]
        return dot.format(line.style, px, py, size or 3)

    path = "M" + "L".join(f"{px:g},{py:g}" for px, py, _ in points) if points else "M0,0"
    drawn = Markup('<path class="line s{}" d="{}"><title>{}</title></path>')
    dots = [dot.format(line.style, px, py, round(size, 1)) for px, py, size in points if size]
    return drawn.format(line.style, path, line.name) + Markup("").join(dots)


def histogram(bars: Bars, *, title: str, x_label: str, y_label: str) -> Markup:
    """Returns a histogram in a frame."""
    x, y = _frame((bars.edges[0], bars.edges[-1]), (0, widen([0, *bars.counts])[1]))
    return svg(title, [_axes(x, y, x_label, y_label), *columns(bars, x, y)], "chart")


def columns(bars: Bars, x: AxisScale, y: AxisScale) -> Iterable[Markup]:
    """Yields the columns of a histogram, each at least a pixel high."""
    column = Markup('<rect class="column" x="{}" y="{}" width="{}" height="{}"/>')
    for low, high, height in zip(bars.edges, bars.edges[1:], bars.counts, strict=False):
        if height > 0:
            left, right, top = x(low), x(high), y(height)
            yield column.format(
                left,
                min(top, y.start - 1),
                length(right - left - 0.6),
                length(max(y.start - top, 1)),
            )


def heat_map(
    edges: Sequence[float], grid: Sequence[Sequence[int]], *, title: str, x_label: str, y_label: str
) -> Markup:
    """Returns counts as cells, darker by the square root of the count, and the diagonal.

    Args:
        edges: edges of the cells, the same on both axes, [N + 1].
        grid: counts [N, N], by x, then y.
        title: for screen readers.
        x_label: below the x axis.
        y_label: beside the y axis.
    """
    domain = (edges[0], edges[-1])
    x, y = _frame(domain, domain)
    diagonal = Series("predicted = actual", domain, domain, 0)
    parts = [_axes(x, y, x_label, y_label), *_cells(edges, grid, x, y), _line(diagonal, x, y)]
    return svg(title, parts, "chart")


def _cells(
    edges: Sequence[float], grid: Sequence[Sequence[int]], x: AxisScale, y: AxisScale
) -> Iterable[Markup]:
    square = Markup('<rect class="cell" x="{}" y="{}" width="{}" height="{}" opacity="{}"/>')
    most = max(map(max, grid)) or 1
    for i, column in enumerate(grid):
        for j, cell in enumerate(column):
            if cell:
                left, right = x(edges[i]), x(edges[i + 1])
                low, high = y(edges[j]), y(edges[j + 1])
                shade = round(0.1 + 0.9 * math.sqrt(cell / most), 2)
                yield square.format(left, high, length(right - left), length(low - high), shade)


def _frame(x_domain: Domain, y_domain: Domain) -> tuple[AxisScale, AxisScale]:
    return AxisScale(*x_domain, LEFT, WIDTH - RIGHT), AxisScale(*y_domain, HEIGHT - BOTTOM, TOP)


def _axes(
    x: AxisScale, y: AxisScale, x_label: str, y_label: str, *, whole_x: bool = False
) -> Markup:
    parts = []
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    number = Markup('<text class="{}" x="{}" y="{}">{}</text>')
    for value in ticks(y.low, y.high):
        at = y(value)
        parts.append(line.format("grid", LEFT, WIDTH - RIGHT, at, at))
        parts.append(number.format("y", LEFT - 6, at + 4, _tick(value)))

    for value in ticks(x.low, x.high):
        if whole_x and value != int(value):
            continue
        parts.append(number.format("x", x(value), HEIGHT - BOTTOM + 16, _tick(value)))
    parts.append(line.format("base", LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM))

    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    turned = Markup('<text class="x label" transform="translate(11 {}) rotate(-90)">{}</text>')
    parts.append(number.format("x label", middle_x, HEIGHT - 6, x_label))
    parts.append(turned.format(middle_y, y_label))
    return Markup("").join(parts)


def _tick(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):  # 2500 is short enough as it is
            return f"{rough(value / size)}{unit}"
    return rough(value)


def length(value: float) -> float:
    """Returns a width or height to a tenth of a pixel; 0 for a negative one."""
    return max(0.0, round(value, 1))


def svg(
    title: str, parts: Iterable[Markup], kind: str, width: int = WIDTH, height: int = HEIGHT
) -> Markup:
    """Returns a chart of its parts; `kind` is its CSS class, `title` is read to the blind."""
    return Markup(
        '<svg class="{0}" viewBox="0 0 {1} {2}" width="{1}" height="{2}" role="img"'
        ' aria-label="{3}">{4}</svg>'
    ).format(kind, width, height, title, Markup("").join(parts))
