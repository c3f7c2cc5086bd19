"""Alembic's entry: applies revisions on the connection that `serving.answers.database` opened.

To write the next revision, after a change of `serving.answers.tables`:
`python -m serving.answers.revise "Add ..."`.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from serving.answers.tables import Id, Json, MaybeJson, Table, UtcTime


def _named(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Returns the name of a type of ours, for the text of a revision."""
    if kind != "type":
        return False
    name = {
        repr(Json): "Json",
        repr(MaybeJson): "MaybeJson",
        repr(Id): "Id",
        repr(UtcTime()): "UtcTime()",
    }.get(repr(item))
    if name is None:
        return False
    autogen.imports.add(f"from serving.answers.tables import {name.removesuffix('()')}")
    return name


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_item=_named,
    render_as_batch=True,  # SQLite changes a table by making a new one
)
with context.begin_transaction():
    context.run_migrations()
