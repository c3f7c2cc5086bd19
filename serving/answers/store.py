"""Writes tables of the answers' database in bulk: COPY on PostgreSQL, large batches on SQLite.

What is derived from them (the current answers, the sums by day) is in `serving.answers.derived`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import polars as pl
from sqlalchemy import JSON, Column, Connection, Date, Engine, Float, Integer, Text
from sqlalchemy import Table as SqlTable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from components.errors import MasteryError
from serving.answers.tables import Table, UtcTime

OnConflict = Literal["fail", "keep", "replace"]

ROWS_PER_BATCH = 50_000
_LOCK = 0x73746F72  # of PostgreSQL: one transaction at a time derives
_NULL = "\\N"  # unquoted in CSV; the same text in a value is quoted


class RowsError(MasteryError):
    """Rows do not fit the table that they are meant for."""


def copy_rows(
    connection: Connection,
    table: type[Table] | SqlTable,
    rows: pl.DataFrame,
    *,
    on_conflict: OnConflict = "fail",
) -> int:
    """Writes rows into a table, within the connection's transaction.

    Args:
        connection: of SQLite or PostgreSQL.
        table: where the rows go.
        rows: columns by the names of the table's. Times carry a zone; JSON is a list or structs
            of Polars, or text that already is JSON. A column that the database numbers or that has
            a default may be missing.
        on_conflict: for a row whose primary key the table has: an error, or the old row stays, or
            the new one replaces what differs in the columns of `rows`.

    Returns:
        How many rows were inserted or replaced.

    Raises:
        RowsError: a column is missing, unknown or of another type.
        sqlalchemy.exc.DBAPIError: the database refuses them.

    >>> from serving.answers.database import open_database
    >>> from serving.answers.tables import Group
    >>> engine = open_database(f"sqlite:///{FOLDER}/groups.db")
    >>> groups = pl.DataFrame({"group_id": ["a", "b"], "name": ["A", "B"], "region": None})
    >>> with engine.begin() as connection:
    ...     copy_rows(connection, Group, groups), copy_rows(
    ...         connection, Group, groups, on_conflict="keep")
    (2, 0)
    """
    target = table if isinstance(table, SqlTable) else _table_of(table)
    prepared = _prepare(target, rows)
    if prepared.is_empty():
        return 0
    conflict = _conflict_clause(target, rows.columns, on_conflict)
    if connection.dialect.name == "sqlite":
        return _insert_many(connection, target, prepared, conflict)

    if on_conflict == "fail":
        _copy(connection, target.name, prepared)
        return prepared.height
    beside = f"new_{target.name}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {beside} (LIKE {target.name} INCLUDING DEFAULTS) ON COMMIT DROP"
    )
    _copy(connection, beside, prepared)
    names = ", ".join(map(_quoted, prepared.columns))
    moved = connection.exec_driver_sql(
        f"INSERT INTO {target.name} ({names}) SELECT {names} FROM {beside} " + conflict
    )
    connection.exec_driver_sql(f"DROP TABLE {beside}")
    return moved.rowcount


def _table_of(table: type[Table]) -> SqlTable:
    found = table.__table__
    assert isinstance(found, SqlTable)
    return found


def _prepare(table: SqlTable, rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the rows with defaults filled in, in the form in which both databases take them."""
    if unknown := set(rows.columns) - set(table.columns.keys()):
        raise RowsError(f"table {table.name}: has no column {', '.join(sorted(unknown))}.")

    columns = []
    for column in table.columns:
        if column.name in rows.columns:
            columns.append(_in_text_form(table, column, rows[column.name]))
        elif column.default is not None and column.default.is_scalar:
            default = column.default.arg  # type: ignore[attr-defined]
            columns.append(pl.Series(column.name, [default]).new_from_index(0, rows.height))
        elif not column.nullable and column is not table.autoincrement_column:
            raise RowsError(f"table {table.name}: expected a column {column.name}, found none.")
    return pl.DataFrame(columns)


def _in_text_form(table: SqlTable, column: Column[Any], values: pl.Series) -> pl.Series:
    """Returns values as text where databases differ: JSON, times and days."""
    kind = column.type
    if not _fits(kind, values.dtype) and values.dtype != pl.Null:
        raise RowsError(
            f"table {table.name}, column {column.name}: expected {_expected(kind)}, "
            f"found {values.dtype}."
        )
    if values.dtype == pl.Null:
        return values.cast(pl.String)
    if isinstance(kind, JSON) and values.dtype != pl.String:
        return _as_json(values)
    if isinstance(kind, UtcTime):
        return values.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    if isinstance(kind, Date):
        return values.dt.strftime("%Y-%m-%d")
    return values


def _fits(kind: TypeEngine[Any], dtype: pl.DataType) -> bool:
    if isinstance(kind, UtcTime):
        return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    if isinstance(kind, Date):
        return dtype == pl.Date
    if isinstance(kind, JSON):
        return dtype == pl.String or dtype.is_nested() or dtype == pl.Object
    if isinstance(kind, Text):
        return dtype == pl.String
    if isinstance(kind, Integer):
        return dtype.is_integer()
    if isinstance(kind, Float):
        return dtype.is_numeric()
    return True


def _expected(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, UtcTime):
        return "times with a zone"
    return "whole numbers" if isinstance(kind, Integer) else f"{type(kind).__name__.lower()} values"


def _as_json(values: pl.Series) -> pl.Series:
    """Returns each value as JSON text; lists of numbers without a step through Python."""
    dtype = values.dtype
    if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_numeric():
        lists = values.cast(pl.List(dtype.inner)).to_frame("lists")
        text = pl.col("lists").cast(pl.List(pl.String)).list.join(",")
        return lists.select(("[" + text + "]").alias(values.name)).to_series()
    texts = [
        None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)
        for value in values.to_list()
    ]
    return pl.Series(values.name, texts, pl.String)


# SQLite


def _insert_many(connection: Connection, table: SqlTable, rows: pl.DataFrame, conflict: str) -> int:
    names = ", ".join(map(_quoted, rows.columns))
    marks = ", ".join("?" for _ in rows.columns)
    statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) {conflict}"
    written = 0
    for batch in rows.iter_slices(ROWS_PER_BATCH):
        written += connection.exec_driver_sql(statement, batch.rows()).rowcount
    return written


# PostgreSQL


def _copy(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    names = ", ".join(map(_quoted, rows.columns))
    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT csv, NULL '{_NULL}')"
    driver: Any = connection.connection.driver_connection
    failure = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for text in _as_csv(rows):
                copy.write(text)
    except failure as error:
        raise DBAPIError.instance(
            statement, None, error, failure, dialect=connection.dialect
        ) from None


def _as_csv(rows: pl.DataFrame) -> Iterator[bytes]:
    for batch in rows.iter_slices(ROWS_PER_BATCH):
        text = batch.write_csv(include_header=False, null_value=_NULL, quote_style="non_numeric")
        yield text.encode()


# Both


@contextmanager
def sole_writer(engine: Engine) -> Iterator[Connection]:
    """Yields a connection in a transaction that alone changes what is derived from answers.

    Another one waits for its end, so that none works with sums or groups of before.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # or what it reads may be overtaken
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield connection


def _conflict_clause(table: SqlTable, written: Sequence[str], on_conflict: OnConflict) -> str:
    if on_conflict == "fail":
        return ""
    keys = [column.name for column in table.primary_key]
    target = ", ".join(map(_quoted, keys))
    changed = [name for name in written if name not in keys]
    if on_conflict == "keep" or not changed:
        return f"ON CONFLICT ({target}) DO NOTHING"
    values = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in changed)
    differs = " OR ".join(
        f"{table.name}.{_quoted(name)} IS DISTINCT FROM excluded.{_quoted(name)}"
        for name in changed
    )
    return f"ON CONFLICT ({target}) DO UPDATE SET {values} WHERE {differs}"


def _quoted(name: str) -> str:
    return f'"{name}"'  # `user` is a word of SQL's own
