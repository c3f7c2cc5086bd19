"""A prediction log in the answers' database: the table `served_answers`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from components.command.escape import hide_userinfo, shorten
from components.database import describe
from serving.answers.tables import ServedAnswer
from serving.prediction_log.frames import Row
from serving.prediction_log.log_store import Query, StoreAwayError

AT_ONCE = 1000  # rows or hashes of a statement
PURGED_AT_ONCE = 10_000  # so that a purge never locks the table for long

_COLUMNS = tuple(getattr(ServedAnswer, name) for name in Row._fields)
T = TypeVar("T")


class DatabaseLog:
    """A log in a table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._insert = insert(ServedAnswer).on_conflict_do_nothing()

    def add(self, segment: str, rows: Iterable[Row]) -> None:  # noqa: ARG002
        """Adds the rows of a file of the spool; those that are there stay as they are.

        Raises:
            StoreAwayError: the database cannot be reached, or takes nothing now.
        """
        try:
            with self._engine.begin() as connection:
                for part in _chunks(rows):
                    connection.execute(self._insert, [row._asdict() for row in part])
        except (DataError, IntegrityError):  # because of these rows; others may be taken
            raise
        except DBAPIError as error:
            raise self._away(error) from None

    def read(self, query: Query) -> Iterator[Row]:
        """Yields rows in the order of time."""
        chosen = _select(query).order_by(ServedAnswer.at, ServedAnswer.id)
        with self._engine.connect() as connection:
            streamed = connection.execution_options(yield_per=AT_ONCE).execute(chosen)
            for record in streamed:
                yield Row._make(record)

    def last(self, query: Query, count: int) -> list[Row]:
        """Returns the last rows, in the order of time."""
        chosen = _select(query).order_by(ServedAnswer.at.desc(), ServedAnswer.id.desc())
        with self._engine.connect() as connection:
            found = connection.execute(chosen.limit(count)).all()
        return [Row._make(record) for record in reversed(found)]

    def count_before(self, moment: datetime) -> int:
        """Returns how many rows are older than a moment."""
        chosen = select(func.count()).where(ServedAnswer.at < moment)
        with self._engine.connect() as connection:
            return connection.execute(chosen).scalar_one()

    def purge(self, before: datetime) -> int:
        """Removes the rows that are older than a moment, and returns their number.

        Raises:
            StoreAwayError: the database cannot be reached.
        """
        oldest = select(ServedAnswer.id).where(ServedAnswer.at < before).limit(PURGED_AT_ONCE)
        removed = 0
        while (count := self._delete(ServedAnswer.id.in_(oldest))) > 0:
            removed += count
        return removed

    def erase(self, hashes: Collection[str]) -> int:
        """Removes the rows of some inputs, and returns their number."""
        return sum(self._delete(ServedAnswer.input_hash.in_(part)) for part in _chunks(hashes))

    def close(self) -> None:
        """Closes connections."""
        self._engine.dispose()

    def _delete(self, which: ColumnElement[bool]) -> int:
        try:
            with self._engine.begin() as connection:
                return connection.execute(delete(ServedAnswer).where(which)).rowcount
        except DBAPIError as error:
            raise self._away(error) from None

    def _away(self, error: DBAPIError) -> StoreAwayError:
        reason = shorten(hide_userinfo(str(error.orig).strip().partition("\n")[0]), 300)
        return StoreAwayError(f"{describe(self._engine)}: {reason}")


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, AT_ONCE)):
        yield part


def _select(query: Query) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if query.since is not None:
        conditions.append(ServedAnswer.at >= query.since)
    if query.until is not None:
        conditions.append(ServedAnswer.at < query.until)
    if query.version is not None:
        conditions.append(ServedAnswer.version == query.version)
    if query.label is not None:
        conditions.append(ServedAnswer.label == query.label)
    if query.input_hash is not None:
        conditions.append(ServedAnswer.input_hash.startswith(query.input_hash, autoescape=True))
    if query.shadow is not None:
        conditions.append(ServedAnswer.shadow.is_(query.shadow))
    return select(*_COLUMNS).where(*conditions)
