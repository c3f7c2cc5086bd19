"""All that the answers' database holds of one learner: to show, to hand over, to erase.

Tables are found by their columns, so a table that is added later is not forgotten.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, select, update
from sqlalchemy import Table as SqlTable

from serving.answers.current_sums import refresh_current_sums
from serving.answers.tables import Learner, Message, Table

_ERASED = "(erased)"
_LEARNER = "learner_id"


def count_rows(engine: Engine, learner: str) -> dict[str, int]:
    """Returns the number of rows about a learner, by table; tables without any are left out."""
    with engine.connect() as connection:
        counts = {
            table.name: connection.scalar(_rows_of(table, learner, func.count())) or 0
            for table in _tables()
        }
        counts[Message.__tablename__] = len(_messages(connection, learner))
    return {name: count for name, count in counts.items() if count}


def export_rows(engine: Engine, learner: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows about a learner, by table, each as a mapping of columns.

    Messages that are about several learners show only this one.
    """
    with engine.connect() as connection:
        rows = {
            table.name: [
                dict(row)
                for row in connection.execute(
                    _rows_of(table, learner, *table.c).order_by(*table.primary_key)
                ).mappings()
            ]
            for table in _tables()
        }
        rows[Message.__tablename__] = [
            {
                "channel": message.channel,
                "created_at": message.created_at,
                "about": _about(message.payload, learner),
            }
            for message in _messages(connection, learner)
        ]
    return {name: found for name, found in rows.items() if found}


def erase_rows(engine: Engine, learner: str) -> dict[str, int]:
    """Removes a learner from all tables, in one transaction, and returns the rows by table.

    A message that still waits and is about other learners, too, stays without this one. Sums over
    groups stay: they name nobody.
    """
    erased: dict[str, int] = {}
    with engine.begin() as connection:
        name = connection.scalar(select(Learner.name).where(Learner.learner_id == learner))
        erased[Message.__tablename__] = _erase_messages(connection, learner, name)
        # Tables that refer to others come first.
        for table in reversed(_tables()):
            done = connection.execute(delete(table).where(table.c.learner_id == learner))
            erased[table.name] = done.rowcount
        refresh_current_sums(connection)
    return {table: count for table, count in erased.items() if count}


def _tables() -> list[SqlTable]:
    return [table for table in Table.metadata.sorted_tables if _LEARNER in table.c]


def _rows_of(table: SqlTable, learner: str, *columns: Any) -> Select[Any]:
    return select(*columns).select_from(table).where(table.c.learner_id == learner)


def _messages(connection: Connection, learner: str) -> list[Any]:
    """Returns the messages that are about a learner; sent ones are empty, so they are few."""
    columns = (
        Message.id,
        Message.channel,
        Message.created_at,
        Message.payload,
        Message.learner_ids,
    )
    waiting = select(*columns).where(Message.sent_at.is_(None))
    return [row for row in connection.execute(waiting) if learner in row.learner_ids]


def _erase_messages(connection: Connection, learner: str, name: str | None) -> int:
    messages = _messages(connection, learner)
    for message in messages:
        others = [other for other in message.learner_ids if other != learner]
        if not others:
            connection.execute(delete(Message).where(Message.id == message.id))
            continue
        names = [text for text in (learner, name) if text]
        payload = _without(message.payload, learner, names)
        connection.execute(
            update(Message)
            .where(Message.id == message.id)
            .values(payload=payload, learner_ids=others)
        )
    return len(messages)


def _about(value: Any, learner: str) -> list[dict[str, Any]]:
    """Returns the parts of a payload that are about a learner."""
    if isinstance(value, dict):
        if value.get(_LEARNER) == learner:
            return [value]
        return [part for item in value.values() for part in _about(item, learner)]
    if isinstance(value, list):
        return [part for item in value for part in _about(item, learner)]
    return []


def _without(value: Any, learner: str, names: list[str]) -> Any:
    """Returns a payload without the rows of a learner, and without the names in its texts."""
    if isinstance(value, dict):
        return {key: _without(item, learner, names) for key, item in value.items()}
    if isinstance(value, list):
        return [
            _without(item, learner, names)
            for item in value
            if not (isinstance(item, dict) and item.get(_LEARNER) == learner)
        ]
    if isinstance(value, str):
        for name in names:
            value = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", _ERASED, value)
    return value
