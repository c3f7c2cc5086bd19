"""For managers: groups, regions and courses over time, and one group in detail."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answers.words import class_name, in_words
from serving.board.links import as_segment, from_segment, learner_link
from serving.board.pages.group_detail import GroupDetail
from serving.board.pages.group_figures import ATTENTION, GroupFigures, Moments
from serving.board.pages.group_filters import PAGE_ROWS, Filters
from serving.board.pages.group_tables import groups_table, tables_of_group
from serving.board.rendering import language_of, render
from serving.board.table_export import csv_response


def show(request: Request) -> Response:
    """Returns the groups, regions or courses; with `?export=table`, as CSV."""
    filters = Filters.of(request.query_params)
    with Session(request.app.state.engine) as session:
        moments = Moments.read(session, request.state.visible)
        if moments is None:
            return render(request, "groups.html.j2", filters=filters, moments=None)
        if request.query_params.get("export") == "table":
            table = groups_table(request.app.state.engine, request.state.visible, moments, filters)
            return csv_response(*table)

        figures = GroupFigures(session, request.state.visible, moments)
        rows, total = figures.page(filters)
        return render(
            request, "groups.html.j2", filters=filters, moments=moments, rows=rows, total=total,
            pages=max(1, -(-total // PAGE_ROWS)), regions=figures.regions(),
            attention=ATTENTION, **_helpers(request),
        )  # fmt: skip


def show_group(request: Request) -> Response:
    """Returns one group; with `?export=units`, `days` or `learners`, that table as CSV."""
    group_id = from_segment(request.path_params["group_id"])
    groups = request.state.visible.groups
    with Session(request.app.state.engine) as session:
        group = session.scalar(select(groups).where(groups.group_id == group_id))
        if group is None:
            raise HTTPException(404)
        moments = Moments.read(session, request.state.visible)
        if moments is None:
            return render(request, "group.html.j2", group=group, moments=None)
        holds_out = request.app.state.settings.effect.hold_out > 0
        detail = GroupDetail(
            session, request.state.visible, moments, group.group_id,
            held_out_at=request.app.state.now() if holds_out else None,
        )  # fmt: skip
        if export := request.query_params.get("export"):
            tables = tables_of_group(request.app.state.engine, detail)
            if export not in tables:
                raise HTTPException(404)
            return csv_response(*tables[export])

        return render(
            request, "group.html.j2", group=group, moments=moments, people=detail.people(),
            days=detail.over_time(), units=detail.by_unit(), learners=detail.neediest(),
            **_helpers(request),
        )  # fmt: skip


ROUTES = [Route("/groups", show), Route("/groups/{group_id}", show_group)]


def _helpers(request: Request) -> dict[str, Any]:
    language = language_of(request)
    return {
        "class_name": partial(class_name, language=language),
        "in_words": partial(in_words, language=language),
        "group_link": group_link,
        "learner_link": learner_link,
        "worklist_link": _worklist_link,
        "polyline": polyline,
    }


def _worklist_link(group_id: str, unit_id: str = "") -> str:
    query = {"group": group_id, "unit": unit_id} if unit_id else {"group": group_id}
    return f"/worklist?{urlencode(query)}"


def group_link(group_id: str) -> str:
    """Returns the address of a group's page."""
    return f"/groups/{as_segment(group_id)}"


def polyline(values: list[float | None], width: float, height: float, *, top: float = 1.0) -> str:
    """Returns the points of an SVG line through values at even distances; 0 is at the bottom.

    >>> polyline([0.0, None, 1.0], 100, 20)
    '0.0,20.0 100.0,0.0'
    """
    step = width / max(len(values) - 1, 1)
    return " ".join(
        f"{place * step:.1f},{height - min(value / top, 1.0) * height:.1f}"
        for place, value in enumerate(values)
        if value is not None
    )
