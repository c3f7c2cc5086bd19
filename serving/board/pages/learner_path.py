"""A learner's path through a unit: a time line of events, and what was said after each day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answers.feedback import user_names
from serving.answers.next_step import weakest_first
from serving.answers.words import class_name, reasons_in
from serving.board.links import from_segment, learner_link
from serving.board.pages.learner import LearnerReader, UnitLine, find_learner
from serving.board.pages.path_days import ZOOMS, Day, PathReader, Window, Zoom, window
from serving.board.rendering import language_of, render
from serving.board.shown_answer import ShownAnswer, level_of, show_answer, trust_notes

DAY_WIDTH = 10  # of the drawings, which stretch to the page
LANE_HEIGHT = 100
EVENTS_HEIGHT = 60
COLOURS = 5  # event types with a colour of their own; the others share one


@dataclass(frozen=True)
class Box:
    """A rectangle of a drawing; `kind` is its class."""

    kind: str
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Lane:
    """The answers of one version, drawn: each day a column of the classes' probabilities."""

    version: Any
    boxes: list[Box]


@dataclass(frozen=True)
class Events:
    """The events, drawn: each day a column of types."""

    boxes: list[Box]
    types: list[tuple[str, str]]
    most: int


@dataclass(frozen=True)
class ShownSaid:
    """An answer of a day, in words."""

    as_of: datetime
    version: Any
    shown: ShownAnswer
    changed_from: str | None
    notes: list[str]
    reasons: list[str]


@dataclass(frozen=True)
class ShownDay:
    """A day, in words."""

    day: Day
    said: list[ShownSaid]
    outcomes: list[tuple[Any, str]]
    is_labelled: bool

    @property
    def change(self) -> ShownSaid | None:
        """The last answer of the day that changed the class."""
        return next((said for said in reversed(self.said) if said.changed_from), None)


def show(request: Request) -> Response:
    """Returns the page."""
    unit_id = from_segment(request.path_params["unit_id"])
    learner_id = from_segment(request.path_params["learner_id"])
    zoom = _zoom(request.query_params.get("zoom", ""))
    with Session(request.app.state.engine) as session:
        learner = find_learner(request, session, learner_id)
        if unit_id is None:
            raise HTTPException(404)
        reader = LearnerReader(request, session, learner.learner_id)
        path = PathReader(session, request.state.visible, learner.learner_id, unit_id)
        bounds = path.bounds(request.app.state.now().date())
        if bounds is None and unit_id not in reader.titles:
            raise HTTPException(404)
        until = _date(request.query_params.get("until", ""))
        shown = window(*bounds, zoom, until) if bounds else None
        days = path.days(shown) if shown else []
        lines = {line.unit_id: line for line in reader.lines(with_trends=False)}
        results = reader.results(unit_id).get(unit_id, [])
        versions = _versions(request, session, days)
        people = user_names(session, {action.user for day in days for action in day.actions})

    classes = {number: version.classes for number, version in versions.items()}
    in_words = [_in_words(day, versions, language_of(request)) for day in days]
    return render(
        request,
        "learner_path.html.j2",
        learner=learner,
        learner_page=learner_link(learner.learner_id),
        title=reader.title(unit_id),
        line=lines.get(unit_id),
        before=_prerequisites(reader, unit_id, lines),
        results=weakest_first(results) + [row for row in results if row.correct == row.answered],
        window=shown,
        days=in_words,
        opened=_opened(request, in_words),
        lanes=[Lane(version, _boxes(days, number, classes[number]))
               for number, version in sorted(versions.items(), reverse=True)],
        events=_events(days),
        people=people,
        class_legend=_legend(classes, language_of(request)),
        width=DAY_WIDTH * len(days),
        zoom=zoom,
        zooms=[(each, _address(learner.learner_id, unit_id, each, until)) for each in ZOOMS],
        earlier=shown and _beside(learner.learner_id, unit_id, zoom, shown, earlier=True),
        later=shown and _beside(learner.learner_id, unit_id, zoom, shown, earlier=False),
        all_days=_address(learner.learner_id, unit_id, "all", None),
    )  # fmt: skip


ROUTES = [Route("/learners/{learner_id}/units/{unit_id}", show)]


# The address


def _zoom(text: str) -> Zoom:
    return next((zoom for zoom in ZOOMS if zoom == text), "28")


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text.isascii() else None
    except ValueError:
        return None


def _address(learner_id: str, unit_id: str, zoom: Zoom, until: date | None) -> str:
    said = {"zoom": zoom} | ({"until": until.isoformat()} if until else {})
    return f"{learner_link(learner_id, unit_id)}?{urlencode(said)}"


def _beside(
    learner_id: str, unit_id: str, zoom: Zoom, shown: Window, *, earlier: bool
) -> str | None:
    """Returns the address of the days before or after; None without any."""
    if not (shown.earlier if earlier else shown.later):
        return None
    length = timedelta(days=len(shown.days))
    until = shown.first - timedelta(days=1) if earlier else shown.last + length
    return _address(learner_id, unit_id, zoom, until)


# What is shown in words


def _versions(request: Request, session: Session, days: Sequence[Day]) -> dict[int, Any]:
    """Returns the versions that answered in these days."""
    table = request.state.visible.model_versions
    wanted = {said.answer.version_id for day in days for said in day.said}
    found = session.scalars(select(table).where(table.id.in_(wanted)))
    return {version.id: version for version in found}


def _in_words(day: Day, versions: Mapping[int, Any], language: str) -> ShownDay:
    said = []
    for each in day.said:
        answer = each.answer
        version = versions[answer.version_id]
        said.append(
            ShownSaid(
                as_of=answer.as_of,
                version=version,
                shown=show_answer(answer, version.classes, language),
                changed_from=each.changed_from and class_name(each.changed_from, language),
                notes=trust_notes(answer, version.trust, language),
                reasons=reasons_in(answer.reasons, language),
            )
        )
    outcomes = [
        (row, class_name(row.label, language) if row.label is not None else f"{row.value:g}")
        for row in day.outcomes
    ]
    return ShownDay(day, said, outcomes, is_labelled=day.day.weekday() == 0)


def _opened(request: Request, days: Sequence[ShownDay]) -> date | None:
    """Returns the day that the page opens with: the one asked for, or the last with anything."""
    asked = _date(request.query_params.get("day", ""))
    known = [day.day.day for day in days]
    if asked in known:
        return asked
    said = [day.day.day for day in days if day.said]
    anything = [day.day.day for day in days if not day.day.is_empty]
    return next((found[-1] for found in (said, anything, known) if found), None)


def _prerequisites(
    reader: LearnerReader, unit_id: str, lines: Mapping[str, UnitLine]
) -> list[tuple[str, UnitLine | None]]:
    return [(reader.title(before), lines.get(before)) for before in reader.prerequisites(unit_id)]


# The drawings


def _legend(classes: Mapping[int, Sequence[str]], language: str) -> list[tuple[str, str]]:
    """Returns the classes of all versions shown, with their levels."""
    names = {name: str(level_of(name, known, 0.5)) for known in classes.values() for name in known}
    return [(class_name(name, language), level) for name, level in names.items()]


def _boxes(days: Sequence[Day], version_id: int, classes: Sequence[str]) -> list[Box]:
    """Returns the columns of a version's answers, the lowest class at the bottom.

    A regression's column is its need. A day without a scoring has none: nothing is interpolated.
    """
    boxes = []
    for place, day in enumerate(days):
        answers = [said.answer for said in day.said if said.answer.version_id == version_id]
        if not answers:
            continue
        answer = answers[-1]
        parts = (
            [(level_of(class_, classes, 0.5), probability)
             for class_, probability in zip(classes, answer.probabilities, strict=False)]
            or [(level_of(None, (), answer.need), answer.need)]
        )  # fmt: skip
        boxes += _column(place, [(str(level), value) for level, value in parts], LANE_HEIGHT)
    return boxes


def _events(days: Sequence[Day]) -> Events:
    """Returns the columns of events by type, the most frequent type at the bottom."""
    totals: dict[str, int] = {}
    for day in days:
        for row in day.activity:
            totals[row.event_type] = totals.get(row.event_type, 0) + row.events
    ranked = sorted(totals, key=lambda event_type: (-totals[event_type], event_type))
    kinds = {name: f"type-{min(place, COLOURS)}" for place, name in enumerate(ranked)}

    most = max((day.events for day in days), default=0)
    boxes = []
    for place, day in enumerate(days):
        rows = sorted(day.activity, key=lambda row: ranked.index(row.event_type))
        parts = [(kinds[row.event_type], row.events / most) for row in rows]
        boxes += _column(place, parts, EVENTS_HEIGHT)
    return Events(boxes, list(kinds.items()), most)


def _column(place: int, parts: Sequence[tuple[str, float]], height: float) -> list[Box]:
    boxes = []
    top = height
    for kind, share in parts:
        top -= share * height
        if share > 0:
            boxes.append(Box(kind, place * DAY_WIDTH + 1, round(top, 2), round(share * height, 2)))
    return boxes
