"""Rows written in bulk are what SQLAlchemy reads back, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from serving.answers.database import open_database
from serving.answers.store import RowsError, copy_rows
from serving.answers.tables import DailyActivity, Group, Message, ModelVersion, ServedAnswer, Unit

AT = datetime(2026, 3, 1, 23, 30, 0, 123456, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def _served(**changed: Any) -> pl.DataFrame:
    row = {
        "id": "a", "at": AT, "model": "m", "version": 7, "label": None,
        "input_hash": "", "answer": {"p": [0.25, 0.75], "text": 'say "hi"'}, "latency": 0.5,
    }  # fmt: skip
    return pl.DataFrame([row | changed])


def test_every_type_comes_back_as_it_was(database: Engine) -> None:
    with database.begin() as connection:
        assert copy_rows(connection, ServedAnswer, _served()) == 1
        days = {"day": [date(2026, 3, 1)], "seconds": [1.5], "event_type": ["video"]}
        keys = {"learner_id": ["ann"], "unit_id": ["é\n\t,"]}
        counts = {name: [3] for name in ("events", "answered", "correct")}
        copy_rows(connection, DailyActivity, pl.DataFrame(days | keys | counts))

    with Session(database) as session:
        served = session.scalars(select(ServedAnswer)).one()
        assert (served.at, served.label, served.input_hash) == (AT, None, "")
        assert served.answer == {"p": [0.25, 0.75], "text": 'say "hi"'}
        activity = session.scalars(select(DailyActivity)).one()
        assert (activity.day, activity.unit_id) == (date(2026, 3, 1), "é\n\t,")


def test_times_of_another_zone_are_the_same_moments(database: Engine) -> None:
    rows = _served().with_columns(pl.col("at").dt.convert_time_zone("Asia/Shanghai"))
    with database.begin() as connection:
        copy_rows(connection, ServedAnswer, rows)
        zone = timezone(timedelta(hours=8))
        wanted = select(func.count()).where(ServedAnswer.at == AT.astimezone(zone))
        assert connection.scalar(wanted.select_from(ServedAnswer)) == 1


def test_columns_that_the_database_fills_may_be_missing(database: Engine) -> None:
    rows = pl.DataFrame({
        "key": ["a", "b"], "channel": "mail", "payload": [{"x": 1}, {"x": 2}],
        "learner_ids": [["ann"], []], "created_at": AT, "not_before": AT,
    })  # fmt: skip
    with database.begin() as connection:
        copy_rows(connection, Message, rows)
    with Session(database) as session:
        first, second = session.scalars(select(Message).order_by(Message.key))
    assert (first.attempts, first.learner_ids, second.learner_ids) == (0, ["ann"], [])
    assert first.id != second.id


def test_a_conflict_fails_keeps_or_replaces(database: Engine) -> None:
    old = pl.DataFrame({"group_id": ["a", "b"], "name": ["A", "B"], "region": ["north", "south"]})
    new = pl.DataFrame({"group_id": ["b", "c"], "name": ["new", "C"]})
    with database.begin() as connection:
        copy_rows(connection, Group, old)
    with pytest.raises(IntegrityError), database.begin() as connection:
        copy_rows(connection, Group, new)

    names = select(Group.group_id, Group.name, Group.region).order_by(Group.group_id)
    with database.begin() as connection:
        assert copy_rows(connection, Group, new, on_conflict="keep") == 1
        rows = [tuple(row) for row in connection.execute(names)]
        assert rows == [("a", "A", "north"), ("b", "B", "south"), ("c", "C", None)]

        assert copy_rows(connection, Group, new, on_conflict="replace") == 1  # c is the same
        assert tuple(connection.execute(names).all()[1]) == ("b", "new", "south")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(values=st.lists(st.tuples(TEXT, st.none() | TEXT), max_size=5))
def test_any_text_survives(database: Engine, values: list[tuple[str, str | None]]) -> None:
    rows = pl.DataFrame({
        "group_id": [str(place) for place in range(len(values))],
        "name": [name for name, _ in values],
        "region": [region for _, region in values],
    }, schema={"group_id": pl.String, "name": pl.String, "region": pl.String})  # fmt: skip
    with database.begin() as connection:
        connection.execute(delete(Group))
        copy_rows(connection, Group, rows)
        found = connection.execute(select(Group.name, Group.region).order_by(Group.group_id))
        assert [tuple(row) for row in found] == values


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_served().drop("model"), "expected a column model, found none"),
        (_served(nonsense=1), "has no column nonsense"),
        (_served(at=datetime(2026, 3, 1)), "column at: expected times with a zone"),  # noqa: DTZ001
        (_served(version="7"), "column version: expected whole numbers, found String"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: pl.DataFrame, message: str, tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    with engine.begin() as connection, pytest.raises(RowsError, match="served_answers") as raised:
        copy_rows(connection, ServedAnswer, rows)
    assert message in str(raised.value)
    engine.dispose()


def test_lists_of_text_are_json(database: Engine) -> None:
    units = pl.DataFrame({
        "unit_id": ["a", "b"], "title": ["A", "B"], "prerequisites": [[], ['quote"', "é"]],
    })  # fmt: skip
    versions = pl.DataFrame({
        "model": ["m"], "version": [1], "classes": [["low", "high"]], "metrics": ['{"f1": 0.5}'],
    })  # fmt: skip
    with database.begin() as connection:
        copy_rows(connection, Unit, units)
        copy_rows(connection, ModelVersion, versions)
        found = connection.execute(select(Unit.prerequisites).order_by(Unit.unit_id))
        assert [row[0] for row in found] == [[], ['quote"', "é"]]
        version = connection.execute(select(ModelVersion.classes, ModelVersion.metrics)).one()
        assert tuple(version) == (["low", "high"], {"f1": 0.5})
