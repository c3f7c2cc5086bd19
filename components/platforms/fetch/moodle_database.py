"""Moodle's database, opened so that nothing in it can change: short queries, no lock kept.

Each query reads one range of ids in a read-only transaction of its own, which the database enforces
whatever the rights of the user. So no lock outlives a query: an upgrade of the platform never waits
for a fetch, and the database keeps no old versions of rows for it. Nothing is set for a whole
session, which a connection pooler might hand on to the platform itself; the one exception is the
time that MySQL may take for a query.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    TableClause,
    and_,
    case,
    column,
    create_engine,
    event,
    func,
    inspect,
    literal,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError

from components.command.escape import shorten
from components.database import read_address, reason_of
from components.platforms.fetch.progress import FetchError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from components.config.fetch import Fetch
    from components.platforms.fetch.moodle_tables import FetchedTable

DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgresql": "postgresql+psycopg",
}
_CONNECT = 20  # seconds
_GRACE = 10  # seconds that we wait longer for an answer than the database may work on it
_NOW = {
    "postgresql": "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS bigint)",
    "mysql": "SELECT UNIX_TIMESTAMP()",
}


@dataclass(frozen=True)
class Present:
    """What a site has of a table.

    Attributes:
        columns: of the table itself.
        joined: by joined table, its columns.
    """

    columns: frozenset[str]
    joined: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Which rows of a table are wanted; those without a time never are.

    Attributes:
        since: rows before it are not, None for no such limit. Times are seconds since 1970.
        changed_since: nor are rows that have not changed since, None for all.
        last_id: rows with larger ids count as changed: a restored course brings rows of old times.
    """

    since: int | None = None
    changed_since: int | None = None
    last_id: int = 0

    def conditions(self, rows: TableClause, time: str) -> Iterator[ColumnElement[bool]]:
        """Yields what rows have to meet."""
        yield rows.c[time] > 0 if self.since is None else rows.c[time] >= self.since
        if self.changed_since is not None:
            yield or_(rows.c[time] >= self.changed_since, rows.c.id > self.last_id)


@contextmanager
def open_moodle(
    fetch: Fetch, environment: Mapping[str, str] = os.environ
) -> Iterator[MoodleDatabase]:
    """Yields Moodle's database; nobody is asked before the first query.

    Raises:
        FetchError: the variable with the address is missing, or holds no address that can be used.
    """
    variable = fetch.database_env
    assert variable is not None, "the configuration names a database"
    given = environment.get(variable, "").strip()
    expected = "mysql://reader:password@host/moodle or postgresql://reader:password@host/moodle"
    if not given:
        raise FetchError(
            f"data.fetch.database_env: expected {expected} in the environment variable "
            f"{variable}, found none."
        )
    try:
        address = read_address(given, DRIVERS)
    except ValueError as error:
        raise FetchError(f"${variable}: {error}; write {expected}.") from None
    engine = _engine(address, fetch.timeout_seconds)
    try:
        yield MoodleDatabase(engine, fetch)
    finally:
        engine.dispose()


def _engine(address: URL, timeout: float) -> Engine:
    options: dict[str, Any] = {"connect_timeout": _CONNECT}
    if address.get_backend_name() != "postgresql":
        options["read_timeout"] = timeout + _GRACE
    # Transactions are begun by hand: those of a driver may write.
    engine = create_engine(
        address, connect_args=options, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0
    )
    if engine.dialect.name != "postgresql":

        @event.listens_for(engine, "connect")
        def limit_time(connection: Any, record: object) -> None:  # noqa: ARG001
            is_mariadb = "mariadb" in str(connection.get_server_info()).lower()
            limit = (
                f"max_statement_time = {timeout}"
                if is_mariadb
                else f"max_execution_time = {int(timeout * 1000)}"
            )
            with connection.cursor() as cursor:
                cursor.execute(f"SET SESSION {limit}")

    return engine


class MoodleDatabase:
    """Moodle's tables, for reading only."""

    def __init__(self, engine: Engine, fetch: Fetch) -> None:
        """Takes an engine that begins no transactions by itself; see `open_moodle`."""
        self._engine = engine
        self._fetch = fetch
        self._prefix = fetch.prefix

    @property
    def origin(self) -> str:
        """Which tables these are: host, database and prefix, without user and password."""
        url = self._engine.url
        port = f":{url.port}" if url.port else ""
        return f"{url.host or 'localhost'}{port}/{url.database or ''} {self._prefix}".rstrip()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yields a connection in a transaction that cannot write.

        Raises:
            FetchError: the database cannot be reached, or refuses to answer.
        """
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql("START TRANSACTION READ ONLY")
                if connection.dialect.name == "postgresql":
                    limit = int(self._fetch.timeout_seconds * 1000)
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
                yield connection
                connection.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            reason = reason_of(error, self._engine.url.password)
            raise FetchError(
                f"{self.origin}: Moodle's database did not answer ({reason}). "
                f"Is the address in ${self._fetch.database_env} "
                "right, may its user read Moodle's tables (docs/fetch.md has the rights), and is "
                f"data.fetch.timeout_seconds ({self._fetch.timeout_seconds:g}) enough?"
            ) from None

    def now(self) -> int:
        """Returns the database's own time, in seconds since 1970."""
        kind = "postgresql" if self._engine.dialect.name == "postgresql" else "mysql"
        with self.reading() as connection:
            return int(connection.execute(text(_NOW[kind])).scalar_one())

    def find(self, wanted: FetchedTable) -> Present | None:
        """Returns which columns a site has, None without the table.

        Raises:
            FetchError: the table has no column for a row's id, user or time.
        """
        with self.reading() as connection:
            tables = inspect(connection)

            def columns(name: str) -> frozenset[str]:
                return frozenset(item["name"] for item in tables.get_columns(self._prefix + name))

            if not tables.has_table(self._prefix + wanted.name):
                return None
            own = columns(wanted.name)
            joined = {
                join.table: columns(join.table)
                for join in wanted.joins
                if tables.has_table(self._prefix + join.table)
            }
        needed = ["id", "userid", wanted.time, *(["courseid"] if wanted.only_in_courses else [])]
        if missing := [name for name in needed if name not in own]:
            raise FetchError(
                f"{self.origin}: expected the table {self._prefix}{wanted.name} with "
                f"{' and '.join(missing)}, found {shorten(', '.join(sorted(own)), 200)}. "
                "Is data.fetch.prefix right?"
            )
        return Present(own, joined)

    def explain_missing(self, wanted: FetchedTable) -> FetchError:
        """Returns the error about a table that every Moodle has."""
        with self.reading() as connection:
            names = sorted(inspect(connection).get_table_names())
        alike = [name for name in names if name.endswith(wanted.name)] or names
        found = shorten(", ".join(alike), 200) or "no table that this user may read"
        return FetchError(
            f"{self.origin}: expected the table {self._prefix}{wanted.name}, found {found}. "
            "Set data.fetch.prefix to what the tables' names begin with, and let the user read "
            "them (docs/fetch.md)."
        )

    def first_id_since(self, wanted: FetchedTable, moment: int) -> int | None:
        """Returns the smallest id among rows from a moment on, None without such rows."""
        rows = self._clause(wanted.name, {"id", wanted.time})
        # Without + 0, PostgreSQL may walk along all ids instead of the index of times.
        asked = select(func.min(rows.c.id + 0)).where(rows.c[wanted.time] >= moment)
        with self.reading() as connection:
            found: int | None = connection.execute(asked).scalar_one()
        return found

    def first_id(self, wanted: FetchedTable, start: int) -> int | None:
        """Returns the smallest id that is at least `start`, None if there is none."""
        ids = self._clause(wanted.name, {"id"}).c.id
        with self.reading() as connection:
            found: int | None = connection.execute(
                select(ids).where(ids >= start).order_by(ids).limit(1)
            ).scalar_one_or_none()
        return found

    def read(
        self, wanted: FetchedTable, present: Present, ids: range, which: Wanted
    ) -> pl.DataFrame:
        """Returns the rows in a range of ids, in their order; missing columns have no values."""
        asked, rows = self._select(wanted, present)
        in_range = (rows.c.id >= ids.start, rows.c.id < ids.stop)
        asked = asked.where(*in_range, *which.conditions(rows, wanted.time)).order_by(rows.c.id)
        with self.reading() as connection:
            result = connection.execute(asked)
            names = [*result.keys()]
            columns = [*zip(*result.fetchall(), strict=True)] or [()] * len(names)

        values = dict(zip(names, columns, strict=True))
        nothing = (None,) * len(columns[0])
        return pl.DataFrame(
            [
                pl.Series(name, values.get(name, nothing), strict=False).cast(dtype)
                for name, dtype in wanted.types.items()
            ]
        )

    def _select(self, wanted: FetchedTable, present: Present) -> tuple[Select[Any], TableClause]:
        """Returns the query for a table with what is joined to it, and the table itself."""
        rows = self._clause(wanted.name, present.columns)
        chosen = [
            (_in_courses(rows, name) if name in wanted.only_in_courses else rows.c[name]).label(
                name
            )
            for name in wanted.columns
            if name in present.columns
        ]
        tables: dict[str, TableClause] = {wanted.name: rows}
        source: FromClause = rows
        for join in wanted.joins:
            if join.table not in present.joined:
                continue
            other = self._clause(join.table, present.joined[join.table])
            try:
                equal = [other.c[key] == _value(tables, given) for key, given in join.on.items()]
            except KeyError:
                continue  # a table or column that this version of Moodle does not have
            tables[join.table] = other
            source = source.outerjoin(other, and_(*equal))
            chosen += [
                other.c[own].label(name)
                for name, (own, _) in join.columns.items()
                if own in other.c
            ]
        return select(*chosen).select_from(source), rows

    def _clause(self, name: str, columns: frozenset[str] | set[str]) -> TableClause:
        return table(self._prefix + name, *(column(item) for item in sorted(columns)))


def _value(tables: Mapping[str, TableClause], given: str) -> ColumnElement[Any]:
    """Returns what a joined column is equal to: a column of a table, or a text."""
    if given.startswith("'"):
        return literal(given.strip("'"))
    name, _, key = given.partition(".")
    return tables[name].c[key]


def _in_courses(rows: TableClause, name: str) -> ColumnElement[Any]:
    return case((rows.c.courseid != 0, rows.c[name]))
