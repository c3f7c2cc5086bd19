"""The worklist: who needs attention today, and what people do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from serving.answers.feedback import (
    LONGEST_NOTE,
    SNOOZE,
    Feedback,
    FeedbackError,
    PrecisionInUse,
    can_undo,
    precision_in_use,
    record,
    undo,
)
from serving.answers.words import (
    class_name,
    decisions_in_words,
    percentage,
    sure_in_words,
    unlike_in_words,
)
from serving.board.links import from_segment, learner_link
from serving.board.pages.worklist_filters import Filters, week_start
from serving.board.pages.worklist_rows import EXPORTED, Row, Rows, Worklist
from serving.board.rendering import is_partial, language_of, render
from serving.board.shown_answer import show_answer
from serving.board.table_export import csv_response

SNOOZE_DAYS = 7
CHOICES = 500  # groups or units in a filter


def show(request: Request) -> Response:
    """Returns the page, or to htmx the list alone."""
    filters = Filters.of(request.query_params)
    with _reading(request) as (session, worklist):
        found = worklist.page(filters)
        values = _common(request) | _of_list(request, session, worklist, filters, found)
        # htmx also asks for a page that the browser goes back to, and needs all of it.
        if is_partial(request) and "hx-history-restore-request" not in request.headers:
            return render(request, "worklist_part.html.j2", **values)
        values |= _choices(request, session)
        return render(request, "worklist.html.j2", **values)


def export(request: Request) -> Response:
    """Returns the rows of the list on all pages as CSV."""
    filters = Filters.of(request.query_params)
    return csv_response("worklist", _exported_rows(request, filters), _COLUMNS)


async def act(request: Request) -> Response:
    """Stores what the viewer did about a learner."""
    return await run_in_threadpool(_act, request, await request.form())


async def take_back(request: Request) -> Response:
    """Deletes the viewer's newest action about a learner."""
    return await run_in_threadpool(_take_back, request, await request.form())


ROUTES = [
    Route("/worklist", show),
    Route("/worklist.csv", export),
    Route("/learners/{learner}/actions", act, methods=["POST"]),
    Route("/learners/{learner}/actions/undo", take_back, methods=["POST"]),
]


# What the templates show.


@contextmanager
def _reading(request: Request) -> Iterator[tuple[Session, Worklist]]:
    now: datetime = request.app.state.now()
    week = week_start(now, request.app.state.settings.board.time_zone)
    with Session(request.app.state.engine) as session:
        holds_out = request.app.state.settings.effect.hold_out > 0
        yield session, Worklist(session, request.state.visible, now, week, holds_out=holds_out)


def _common(request: Request) -> dict[str, Any]:
    """Returns what a row needs, besides the row."""
    viewer, now = request.state.viewer, request.app.state.now()
    zone = ZoneInfo(request.app.state.settings.board.time_zone)
    today = now.astimezone(zone).date()
    return {
        "class_name": class_name,
        "percentage": percentage,
        "learner_link": learner_link,
        "show_answer": show_answer,
        "sure_in_words": sure_in_words,
        "unlike_in_words": unlike_in_words,
        "decisions_in_words": decisions_in_words,
        "new_form": lambda: token_urlsafe(12),
        "can_undo": lambda action: can_undo(action, viewer.user, now),
        "longest_note": LONGEST_NOTE,
        "tomorrow": today + timedelta(days=1),
        "snooze_day": today + timedelta(days=SNOOZE_DAYS),
    }


def _of_list(
    request: Request, session: Session, worklist: Worklist, filters: Filters, found: Rows
) -> dict[str, Any]:
    visible, viewer = request.state.visible, request.state.viewer
    called = worklist.called()
    left = max(0, viewer.capacity - called)
    limited = filters.show == "open" and filters.sort == "need"
    version = found.rows[0].version if found.rows else None
    precision: dict[int, PrecisionInUse] = {}
    if version is not None and viewer.groups is not None:  # of all actions, `/versions` shows it
        precision = precision_in_use(session, visible.actions, version_ids=[version.id])
    return {
        "filters": filters,
        "found": found,
        "exported": EXPORTED,
        "called": called,
        "left": left,
        "last_place": left if limited else None,
        "version": version,
        "precision": precision.get(version.id) if version is not None else None,
        "acted": _acted(request, session),
        "hold_out": request.app.state.settings.effect.hold_out,
        "focus_list": request.headers.get("hx-trigger") in ("previous", "next"),
    }


def _acted(request: Request, session: Session) -> tuple[Any, str] | None:
    """Returns the action that the viewer has just sent, and the learner's name."""
    number = request.query_params.get("acted", "")
    if not number.isdecimal() or len(number) > 18:
        return None
    actions, learners = request.state.visible.actions, request.state.visible.learners
    found = select(actions, learners).join(learners, learners.learner_id == actions.learner_id)
    mine = (actions.id == int(number)) & (actions.user == request.state.viewer.user)
    row = session.execute(found.where(mine)).first()
    return row and (row[0], row[1].name or row[1].learner_id)


def _choices(request: Request, session: Session) -> dict[str, Any]:
    visible = request.state.visible
    groups = select(visible.groups.group_id, visible.groups.name).order_by(visible.groups.name)
    units = select(visible.units.unit_id, visible.units.title).order_by(visible.units.title)
    versions = visible.model_versions
    newest = select(versions.classes, versions.trust).order_by(versions.id.desc()).limit(1)
    classes, trust = session.execute(newest).one_or_none() or ([], None)
    return {
        "groups": session.execute(groups.limit(CHOICES)).all(),
        "units": session.execute(units.limit(CHOICES)).all(),
        "classes": classes,
        "decisions": [item["name"] for item in (trust or {}).get("decisions", ())],
    }


# What people send.


def _act(request: Request, form: FormData) -> Response:
    now: datetime = request.app.state.now()
    with Session(request.app.state.engine) as session, session.begin():
        learner_id = _visible_learner(request, session)
        feedback = _feedback(request, learner_id, form)
        try:
            action = record(session, feedback, now)
        except FeedbackError as error:
            session.rollback()
            return _refused(request, learner_id, form, error)
        number = action.id
    return _after(request, learner_id, form, acted=number)


def _take_back(request: Request, form: FormData) -> Response:
    number = _number(form, "action")
    with Session(request.app.state.engine) as session, session.begin():
        learner_id = _visible_learner(request, session)
        done = undo(session, number, learner_id, request.state.viewer.user, request.app.state.now())
    return _after(request, learner_id, form, undone=done)


def _visible_learner(request: Request, session: Session) -> str:
    """Returns the learner whom an address names.

    Raises:
        HTTPException: 404, there is none whom the viewer may see.
    """
    learner_id = from_segment(request.path_params["learner"])
    learners = request.state.visible.learners
    found = select(learners.learner_id).where(learners.learner_id == learner_id)
    if learner_id is None or session.scalar(found) is None:
        raise HTTPException(404)
    return learner_id


def _feedback(request: Request, learner_id: str, form: FormData) -> Feedback:
    """Returns what a form says.

    Raises:
        HTTPException: no page of ours sent it.
    """
    try:
        as_of = datetime.fromisoformat(_text(form, "as_of"))
        kind = _text(form, "kind")
        until = _midnight(request, _text(form, "until")) if kind == SNOOZE else None
    except (ValueError, OverflowError):
        raise HTTPException(400) from None
    if as_of.tzinfo is None:
        raise HTTPException(400)
    return Feedback(
        user=request.state.viewer.user, learner_id=learner_id, unit_id=_text(form, "unit"),
        as_of=as_of, version_id=_number(form, "version"), kind=kind,
        note=_text(form, "note").replace("\r\n", "\n").strip(), label=_text(form, "label") or None,
        snooze_until=until, form=_text(form, "form"),
    )  # fmt: skip


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise HTTPException(400)
    return value


def _number(form: FormData, name: str) -> int:
    value = _text(form, name)
    if not value.isascii() or not value.isdecimal() or len(value) > 18:
        raise HTTPException(400)
    return int(value)


def _midnight(request: Request, day: str) -> datetime:
    """Returns when a day begins in the board's time zone."""
    zone = ZoneInfo(request.app.state.settings.board.time_zone)
    begin = datetime.combine(datetime.strptime(day, "%Y-%m-%d").date(), time(), zone)  # noqa: DTZ007
    return begin.astimezone(UTC)


# What comes back.


def _back(form: FormData) -> Filters:
    """Returns the filters of the list that a form was sent from."""
    return Filters.of(dict(parse_qsl(_text(form, "back"))))


def _after(
    request: Request,
    learner_id: str,
    form: FormData,
    *,
    acted: int | None = None,
    undone: bool | None = None,
) -> Response:
    """Returns the changed row to htmx; otherwise leads back to the list."""
    filters = _back(form)
    if not is_partial(request):
        said = f"acted={acted}" if undone is None else f"undone={'yes' if undone else 'no'}"
        address = filters.path()
        return RedirectResponse(f"{address}{'&' if '?' in address else '?'}{said}", 303)
    return _row(request, learner_id, filters, acted=acted is not None, undone=undone)


def _refused(request: Request, learner_id: str, form: FormData, error: FeedbackError) -> Response:
    if is_partial(request):
        draft = {name: _text(form, name) for name in ("note", "label", "until")}
        return _row(request, learner_id, _back(form), error=str(error), draft=draft)
    values = {"error": str(error), "back": _back(form).path()}
    return render(request, "worklist_refused.html.j2", status_code=422, **values)


def _row(request: Request, learner_id: str, filters: Filters, **said: Any) -> Response:
    with _reading(request) as (_, worklist):
        row = worklist.one(learner_id, filters)
        if row is None:
            raise HTTPException(404)
        called = worklist.called()
        values = {
            "row": row, "filters": filters, "called": called, "acted": False, "undone": None,
            "left": max(0, request.state.viewer.capacity - called), "error": None,
            "draft": {},
        }  # fmt: skip
        return render(request, "worklist_row.html.j2", **_common(request), **values | said)


# The file.

_COLUMNS = {
    "place": pl.Int64,
    "learner_id": pl.String,
    "name": pl.String,
    "group": pl.String,
    "unit_id": pl.String,
    "unit": pl.String,
    "class": pl.String,
    "probability": pl.Float64,
    "prediction": pl.Float64,
    "prediction_set": pl.String,
    "interval_low": pl.Float64,
    "interval_high": pl.Float64,
    "basis": pl.String,
    "unfamiliar": pl.String,
    "decisions": pl.String,
    "need": pl.Float64,
    "since": pl.String,
    "previous_class": pl.String,
    "reasons": pl.String,
    "last_event": pl.String,
    "as_of": pl.String,
    "model": pl.String,
    "version": pl.Int64,
    "action": pl.String,
    "by": pl.String,
    "at": pl.String,
    "note": pl.String,
}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _exported_rows(request: Request, filters: Filters) -> Iterator[dict[str, object]]:
    language = language_of(request)
    with _reading(request) as (_, worklist):
        for batch in worklist.batches(filters):
            for row in batch:
                yield _exported(row, language)


def _listed(names: list[str] | None) -> str | None:
    return None if names is None else "|".join(names)


def _exported(row: Row, language: str) -> dict[str, object]:
    answer, action = row.answer, row.action
    return {
        "place": row.place,
        "learner_id": row.learner.learner_id,
        "name": row.name,
        "group": row.group,
        "unit_id": answer.unit_id,
        "unit": row.unit,
        "class": answer.predicted_class,
        "probability": max(answer.probabilities, default=None),
        "prediction": answer.prediction,
        "prediction_set": _listed(answer.prediction_set),
        "interval_low": answer.prediction_interval and answer.prediction_interval[0],
        "interval_high": answer.prediction_interval and answer.prediction_interval[1],
        "basis": answer.basis,
        "unfamiliar": answer.unfamiliar,
        "decisions": _listed(answer.decisions),
        "need": answer.need,
        "since": _iso(answer.since),
        "previous_class": answer.previous_class,
        "reasons": "; ".join(row.reasons(language)),
        "last_event": _iso(answer.last_event_at),
        "as_of": _iso(answer.as_of),
        "model": row.version.model,
        "version": row.version.version,
        "action": action and action.kind,
        "by": row.by or None,
        "at": _iso(action and action.at),
        "note": action and action.note,
    }
