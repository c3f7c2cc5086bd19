"""Adds up current answers and results by group, so that a page need not read every learner."""

from __future__ import annotations

from sqlalchemy import Connection, SelectBase, delete, func, insert, select, text

from serving.answers.tables import (
    ComponentResult,
    ComponentSum,
    CurrentAnswer,
    Table,
    UnitSum,
)


def refresh_current_sums(connection: Connection) -> None:
    """Writes `unit_sums` and `component_sums` anew, in the connection's transaction.

    Of 2,000,000 answers they are a few thousand rows. Two processes that refresh at the same time
    wait for one another.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE unit_sums, component_sums IN EXCLUSIVE MODE"))

    group = func.coalesce(CurrentAnswer.group_id, "")
    class_ = func.coalesce(CurrentAnswer.predicted_class, "")
    need = func.sum(CurrentAnswer.need)
    answers = select(group, CurrentAnswer.unit_id, class_, func.count(), need)
    _replace(connection, UnitSum, answers.group_by(group, CurrentAnswer.unit_id, class_))

    group = func.coalesce(ComponentResult.group_id, "")
    component = (ComponentResult.unit_id, ComponentResult.component)
    results = select(group, *component, func.count(), func.sum(ComponentResult.mastery))
    _replace(connection, ComponentSum, results.group_by(group, *component))


def _replace(connection: Connection, table: type[Table], rows: SelectBase) -> None:
    connection.execute(delete(table))
    connection.execute(insert(table).from_select(table.__table__.columns.keys(), rows))
