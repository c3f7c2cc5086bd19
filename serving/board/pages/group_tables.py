"""The tables of the groups' pages to download: all rows, and the shares of all classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from serving.board.links import as_segment
from serving.board.pages.group_figures import GroupFigures, Moments, Sums
from serving.board.table_export import Row, Schema

if TYPE_CHECKING:
    from serving.board.pages.group_detail import GroupDetail
    from serving.board.pages.group_filters import Filters
    from serving.board.viewer import Visible

_TIME = pl.Datetime("us", "UTC")
Export = tuple[str, Iterator[Row], Schema]  # the file's name, its rows, its columns


def groups_table(engine: Engine, visible: Visible, moments: Moments, filters: Filters) -> Export:
    """Returns the rows of all pages of the groups, regions or courses."""
    schema: dict[str, Any] = {
        "id": pl.String, "name": pl.String, "region": pl.String, "learners": pl.Int64,
        "need_attention": pl.Int64, "actions": pl.Int64, **_figure_columns(moments),
    }  # fmt: skip

    def read(session: Session) -> Iterator[Row]:
        for row in GroupFigures(session, visible, moments).all_rows(filters):
            yield {
                "id": row.key,
                "name": row.name,
                "region": row.region,
                "learners": row.learners,
                "need_attention": row.attention,
                "actions": row.actions,
                **_figures(moments, row.now),
                **_figures(moments, row.before, "_before"),
            }

    return f"{filters.by}s", _streamed(engine, read), schema


def tables_of_group(engine: Engine, detail: GroupDetail) -> dict[str, Export]:
    """Returns the tables of a group's page by their names; nothing is read yet."""
    moments, name = detail.moments, f"group-{as_segment(detail.group_id)}"

    def days(session: Session) -> Iterator[Row]:
        for moment, sums in detail.within(session).over_time():
            yield {"as_of": moment.as_of} | _figures(moments, sums)

    def units(session: Session) -> Iterator[Row]:
        for row in detail.within(session).by_unit():
            names = {"unit": row.unit_id, "title": row.title, "course": row.course}
            yield names | _figures(moments, row.now) | _figures(moments, row.before, "_before")

    def learners(session: Session) -> Iterator[Row]:
        for learner in detail.within(session).all_learners():
            yield vars(learner)

    unit_columns = {"unit": pl.String, "title": pl.String, "course": pl.String}
    learner_columns: dict[str, Any] = {
        "learner_id": pl.String, "name": pl.String, "unit_id": pl.String, "unit": pl.String,
        "need": pl.Float64, "predicted_class": pl.String, "probability": pl.Float64,
        "prediction": pl.Float64, "last_event_at": _TIME,
    }  # fmt: skip
    tables: dict[str, tuple[Callable[[Session], Iterator[Row]], dict[str, Any]]] = {
        "days": (days, {"as_of": _TIME, **_figure_columns(moments, before=False)}),
        "units": (units, {**unit_columns, **_figure_columns(moments)}),
        "learners": (learners, learner_columns),
    }
    return {
        table: (f"{name}-{table}", _streamed(engine, read), schema)
        for table, (read, schema) in tables.items()
    }


def _streamed(engine: Engine, read: Callable[[Session], Iterator[Row]]) -> Iterator[Row]:
    """Yields rows in a session of their own, which lives as long as the answer is sent."""
    with Session(engine) as session:
        yield from read(session)


def _figures(moments: Moments, sums: Sums, ending: str = "") -> dict[str, Any]:
    mean = sums.need / sums.answers if sums.answers else None
    shares = zip(moments.classes, sums.shares, strict=False)  # no shares without answers
    return {
        f"answers{ending}": sums.answers,
        f"mean_need{ending}": mean,
        **{f"share_{name}{ending}": share for name, share in shares},
    }


def _figure_columns(moments: Moments, *, before: bool = True) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for ending in ("", "_before") if before else ("",):
        columns |= {f"answers{ending}": pl.Int64, f"mean_need{ending}": pl.Float64}
        columns |= {f"share_{name}{ending}": pl.Float64 for name in moments.classes}
    return columns
