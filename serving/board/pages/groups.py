"""For managers: groups, regions and courses over time, and one group in detail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.board.links import as_segment, from_segment, learner_link
from serving.board.pages.group_detail import GroupDetail
from serving.board.pages.group_figures import GroupFigures, Moments, Sums
from serving.board.pages.group_filters import PAGE_ROWS, Filters
from serving.board.rendering import render
from serving.board.roles import for_managers
from serving.board.table_export import Row, Schema, csv_response


@for_managers
def show(request: Request) -> Response:
    """Returns the groups, regions or courses; with `?export=table`, as CSV."""
    filters = Filters.of(request.query_params)
    with Session(request.app.state.engine) as session:
        moments = Moments.read(session, request.state.visible)
        if moments is None:
            return render(request, "groups.html.j2", filters=filters, moments=None)
        if request.query_params.get("export") == "table":
            return _export_groups(request, filters, moments)

        figures = GroupFigures(session, request.state.visible, moments)
        rows, total = figures.page(filters)
        return render(
            request, "groups.html.j2", filters=filters, moments=moments, rows=rows, total=total,
            pages=max(1, -(-total // PAGE_ROWS)), regions=figures.regions(),
            group_link=group_link, polyline=polyline,
        )  # fmt: skip


@for_managers
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
        if table := request.query_params.get("export"):
            return _export_group(request, table, moments, group.group_id)

        detail = GroupDetail(session, request.state.visible, moments, group.group_id)
        return render(
            request, "group.html.j2", group=group, moments=moments, people=detail.people(),
            days=detail.over_time(), units=detail.by_unit(), learners=detail.neediest(),
            group_link=group_link, learner_link=learner_link, polyline=polyline,
        )  # fmt: skip


ROUTES = [Route("/groups", show), Route("/groups/{group_id}", show_group)]


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


# Tables to download


def _export_groups(request: Request, filters: Filters, moments: Moments) -> Response:
    def read(session: Session) -> Iterator[Row]:
        for row in GroupFigures(session, request.state.visible, moments).all_rows(filters):
            yield {
                filters.by: row.key,
                "name": row.name,
                "region": row.region,
                "learners": row.learners,
                "need_attention": row.attention,
                "actions": row.actions,
                **_figures(moments, row.now, row.before),
            }

    schema: Schema = {
        filters.by: pl.String, "name": pl.String, "region": pl.String, "learners": pl.Int64,
        "need_attention": pl.Int64, "actions": pl.Int64, **_figure_columns(moments),
    }  # fmt: skip
    return csv_response(f"by-{filters.by}", _streamed(request, read), schema)


def _export_group(request: Request, table: str, moments: Moments, group_id: str) -> Response:
    def detail(session: Session) -> GroupDetail:
        return GroupDetail(session, request.state.visible, moments, group_id)

    def units(session: Session) -> Iterator[Row]:
        for row in detail(session).by_unit():
            names = {"unit": row.unit_id, "title": row.title, "course": row.course}
            yield names | _figures(moments, row.now, row.before)

    def days(session: Session) -> Iterator[Row]:
        for moment, sums in detail(session).over_time():
            yield {"as_of": moment.as_of} | _figures(moments, sums, None)

    def learners(session: Session) -> Iterator[Row]:
        for learner in detail(session).all_learners():
            yield vars(learner)

    tables: dict[str, tuple[Callable[[Session], Iterator[Row]], Schema]] = {
        "units": (
            units,
            {
                "unit": pl.String,
                "title": pl.String,
                "course": pl.String,
                **_figure_columns(moments),
            },
        ),
        "days": (
            days,
            {
                "as_of": pl.Datetime("us", "UTC"),  # type: ignore[dict-item]
                **_figure_columns(moments, before=False),
            },
        ),
        "learners": (
            learners,
            {
                "learner_id": pl.String,
                "name": pl.String,
                "unit_id": pl.String,
                "unit": pl.String,
                "need": pl.Float64,
                "predicted_class": pl.String,
                "probability": pl.Float64,
                "prediction": pl.Float64,
                "last_event_at": pl.Datetime("us", "UTC"),  # type: ignore[dict-item]
            },
        ),
    }
    if table not in tables:
        raise HTTPException(404)
    read, schema = tables[table]
    return csv_response(f"group-{as_segment(group_id)}-{table}", _streamed(request, read), schema)


def _streamed(request: Request, read: Callable[[Session], Iterator[Row]]) -> Iterator[Row]:
    """Yields rows in a session of their own, which lives as long as the answer is sent."""
    with Session(request.app.state.engine) as session:
        yield from read(session)


def _figures(moments: Moments, now: Sums, before: Sums | None) -> dict[str, Any]:
    values: dict[str, Any] = {"answers": now.answers, "mean_need": _mean(now)}
    values |= {f"share_{name}": share for name, share in zip(moments.classes, now.shares)}
    if before is not None:
        values |= {"answers_before": before.answers, "mean_need_before": _mean(before)}
        values |= {
            f"share_{name}_before": share for name, share in zip(moments.classes, before.shares)
        }
    return values


def _figure_columns(moments: Moments, *, before: bool = True) -> Schema:
    columns: dict[str, type[pl.DataType]] = {}
    for ending in ("", "_before") if before else ("",):
        columns |= {f"answers{ending}": pl.Int64, f"mean_need{ending}": pl.Float64}
        columns |= {f"share_{name}{ending}": pl.Float64 for name in moments.classes}
    return columns


def _mean(sums: Sums) -> float | None:
    return sums.need / sums.answers if sums.answers else None
