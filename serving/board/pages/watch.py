"""For managers: whether the model in service is still right, from what `mastery watch` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from components.contracts.contract import ContractError
from components.contracts.watch_report import WatchReport
from serving.answers.words import class_name
from serving.board.rendering import language_of, render

if TYPE_CHECKING:
    from components.contracts.quality_report import (
        Measure,
        Measurement,
        QualityGroup,
        VersionQuality,
    )

VERSIONS = 3  # with a chart, the newest
WIDTH, HEIGHT = 720.0, 200.0  # of a chart's drawing
_TICKS = 4  # between the lowest and the highest share


@dataclass(frozen=True)
class Mark:
    """What outcomes of a week showed, in the chart's units; without ends if there are too few."""

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Chart:
    """Expected and realised accuracy of a version, week by week.

    Attributes:
        quality: what is drawn.
        weeks: the Mondays, oldest first, with their groups.
        expected: the line of expected accuracy, as the points of an SVG polyline.
        band: its interval, as the points of a polygon; empty with too few learners.
        marks: realised accuracy, in the weeks with outcomes.
        ticks: shares at the lines of the grid, highest first, each with its height.
    """

    quality: VersionQuality
    weeks: list[tuple[date, QualityGroup]]
    expected: str
    band: str
    marks: list[Mark]
    ticks: list[tuple[float, float]]


def show(request: Request) -> Response:
    """Returns what the newest watch found."""
    path = request.app.state.settings.board.watch
    if path is None:
        return render(request, "watch.html.j2", report=None, missing=False)
    try:
        report = WatchReport.read_file(Path(path))
    except ContractError as error:
        if Path(path).exists():
            raise HTTPException(409, str(error)) from None
        return render(request, "watch.html.j2", report=None, missing=True)

    known = report.quality.versions if report.quality else []
    charts = [_chart(item) for item in known[::-1] if item.classes and item.of("week")]
    newest = report.log.newest_event
    return render(
        request, "watch.html.j2", report=report, missing=False, charts=charts[:VERSIONS],
        as_of=datetime.fromisoformat(report.as_of), width=WIDTH, height=HEIGHT,
        newest_event=None if newest is None else datetime.fromisoformat(newest),
        measured=_measured, class_name=partial(class_name, language=language_of(request)),
    )  # fmt: skip


ROUTES = [Route("/watch", show)]


def _measured(
    group: QualityGroup, *, realised: bool, class_: str | None = None
) -> Measurement | None:
    """Returns the accuracy of a group, or the recall of a class; None where it has none."""
    measure: Measure = "accuracy" if class_ is None else "recall"
    found = group.find(measure, class_, realised=realised)
    return None if found is None or found.value is None else found


def _chart(quality: VersionQuality) -> Chart:
    weeks = [(date.fromisoformat(group.value), group) for group in quality.of("week")]
    expected, realised = _points(weeks, realised=False), _points(weeks, realised=True)
    bottom = _bottom([*expected, *realised])

    def y(share: float) -> float:
        return round(HEIGHT * (1 - (share - bottom) / (1 - bottom)), 1)

    above = [f"{x},{y(reach[1])}" for x, _, reach in expected if reach]
    below = [f"{x},{y(reach[0])}" for x, _, reach in expected if reach]
    steps = [bottom + (1 - bottom) * place / _TICKS for place in range(_TICKS, -1, -1)]
    return Chart(
        quality=quality,
        weeks=weeks,
        expected=" ".join(f"{x},{y(share)}" for x, share, _ in expected),
        band=" ".join([*above, *below[::-1]]),
        marks=[
            Mark(x, y(share), *((y(reach[0]), y(reach[1])) if reach else (None, None)))
            for x, share, reach in realised
        ],
        ticks=[(share, y(share)) for share in steps],
    )


# Where a week stands, a share, and its interval if there is one.
_Point = tuple[float, float, tuple[float, float] | None]


def _points(weeks: list[tuple[date, QualityGroup]], *, realised: bool) -> list[_Point]:
    """Returns the accuracy of the weeks that have one."""
    points: list[_Point] = []
    for x, (_, group) in zip(_places([monday for monday, _ in weeks]), weeks, strict=True):
        found = _measured(group, realised=realised)
        if found is not None and found.value is not None:
            has_ends = found.low is not None and found.high is not None
            points.append((x, found.value, (found.low, found.high) if has_ends else None))  # type: ignore[arg-type]
    return points


def _bottom(points: list[_Point]) -> float:
    """Returns the share at the chart's lower edge, so that the lines stand at whole percents."""
    lowest = min((reach[0] if reach else share for _, share, reach in points), default=0.0)
    return max(0.0, min(0.8, floor(lowest * 5) / 5))


def _places(mondays: list[date]) -> list[float]:
    """Returns where weeks stand, by their dates; one alone stands in the middle."""
    days = (mondays[-1] - mondays[0]).days
    if not days:
        return [WIDTH / 2 for _ in mondays]
    return [round(WIDTH * (monday - mondays[0]).days / days, 1) for monday in mondays]
