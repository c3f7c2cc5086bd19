"""Opens the answers' database: SQLite in a file, or PostgreSQL, at the newest revision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from components.command.escape import hide_userinfo, shorten
from components.database import describe, reason_of
from components.errors import MasteryError
from serving.answers.tables import Table

URL_VARIABLE = "MASTERY_ANSWERS_URL"
PASSWORD_VARIABLE = "MASTERY_ANSWERS_PASSWORD"
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6D617374  # of PostgreSQL: one process migrates, the others wait


class DatabaseError(MasteryError):
    """The answers' database cannot be reached, or holds something else."""


def open_database(
    url: str | None,
    *,
    environment: Mapping[str, str] | None = None,
    upgrade: bool = True,
    existing: bool = False,
) -> Engine:
    """Returns the database of an address, with the newest tables.

    Args:
        url: `sqlite:///answers.db` (a bare path works, too) or
            `postgresql://user@host:5432/database`; None for `$MASTERY_ANSWERS_URL`. A password
            comes from `$MASTERY_ANSWERS_PASSWORD`, or from wherever PostgreSQL's own library
            looks for it.
        environment: variables; by default the process's.
        upgrade: whether to make or change tables. Without it, older tables are an error.
        existing: whether SQLite's file has to be there, as it does without `upgrade`: a mistyped
            name is then an error instead of an empty database.

    Raises:
        DatabaseError: the address cannot be used, nobody answers, or the tables are newer than
            this version of Mastery, or older and `upgrade` is false; some of them are missing, or
            somebody else made tables of the same names.

    >>> engine = open_database(f"sqlite:///{FOLDER}/answers.db")
    >>> engine.dialect.name
    'sqlite'
    """
    environment = os.environ if environment is None else environment
    address = database_address(url, environment)
    if (existing or not upgrade) and address.get_backend_name() == "sqlite":
        _expect_file(Path(address.database or ""))
    engine = create_engine(address, pool_pre_ping=address.get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)

    try:
        _bring_up_to_date(engine, upgrade=upgrade)
    except DBAPIError as error:
        engine.dispose()
        raise DatabaseError(
            f"{describe(engine)}: the database could not be opened ({reason_of(error)}). "
            "Is the address right, and does the server run?"
        ) from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def database_address(url: str | None, environment: Mapping[str, str] | None = None) -> URL:
    """Returns the address of the answers' database, without asking whether anybody answers.

    Args:
        url: see `open_database`.
        environment: variables; by default the process's.

    Raises:
        DatabaseError: the address cannot be used.
    """
    environment = os.environ if environment is None else environment
    given = url or environment.get(URL_VARIABLE)
    if not given:
        raise DatabaseError(
            "expected the address of the answers' database, such as sqlite:///answers.db or "
            f"postgresql://user@host/database, as an option or in ${URL_VARIABLE}; found none."
        )
    if "://" not in given:
        given = f"sqlite:///{given}"

    shown = hide_userinfo(given)
    try:
        address = make_url(given)
    except (ArgumentError, ValueError):
        raise DatabaseError(
            f"{shown}: expected an address such as sqlite:///answers.db or "
            "postgresql://user@host:5432/database."
        ) from None

    if url and address.password:
        raise DatabaseError(
            f"{shown}: expected no password in an address that others can see; set it in "
            f"${PASSWORD_VARIABLE}."
        )
    backend = address.get_backend_name()
    if backend == "sqlite":
        return _sqlite(address, shown)
    if backend != "postgresql":
        raise DatabaseError(f"{shown}: expected sqlite:// or postgresql://, found {backend}://.")

    password = environment.get(PASSWORD_VARIABLE)
    address = address.set(drivername="postgresql+psycopg")
    return address.set(password=password) if password else address


def _sqlite(address: URL, shown: str) -> URL:
    path = Path(address.database or "")
    if not address.database or address.database == ":memory:":
        raise DatabaseError(f"{shown}: expected a file, such as sqlite:///answers.db.")
    if address.query:
        raise DatabaseError(f"{shown}: expected a path without `?`, such as sqlite:///answers.db.")
    if path.is_dir() or not path.parent.is_dir():
        raise DatabaseError(f"{path}: expected a file in a folder that exists.")
    return address.set(drivername="sqlite")


def _expect_file(path: Path) -> None:
    # SQLite would make an empty file of a mistyped name.
    if not path.exists():
        raise DatabaseError(
            f"{path}: expected the answers' database, found no such file; `mastery score` or "
            "`mastery answers upgrade` makes it."
        )


def _prepare_sqlite(connection: object, record: object) -> None:  # noqa: ARG001
    """Lets readers and a writer work at the same time, and checks references."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _bring_up_to_date(engine: Engine, *, upgrade: bool) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    newest = script.get_current_head()

    with engine.begin() as connection:
        if upgrade:
            _wait_for_others(connection, newest)
        found = _revision(connection)
        present = set(inspect(connection).get_table_names())
        if found == newest:
            _expect_tables(engine, present)
            return
        if found is not None and found not in {item.revision for item in script.walk_revisions()}:
            raise DatabaseError(
                f"{describe(engine)}: a newer version of Mastery made its tables (revision "
                f"{shorten(found, 40)}); update this one."
            )
        if not upgrade:
            raise DatabaseError(
                f"{describe(engine)}: expected tables of revision {newest}, found "
                f"{found or 'none'}; run `mastery answers upgrade` first."
            )
        if found is None:
            _expect_no_tables(engine, present)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _wait_for_others(connection: Connection, newest: str | None) -> None:
    """Lets one process migrate at a time, and makes a migration whole or not at all."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    elif _revision(connection) != newest:
        # Python's driver begins no transaction before CREATE TABLE; each would stay by itself.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _expect_tables(engine: Engine, present: set[str]) -> None:
    missing = sorted(set(Table.metadata.tables) - present)
    if missing:
        raise DatabaseError(
            f"{describe(engine)}: expected all tables of Mastery, found none called "
            f"{shorten(', '.join(missing), 200)}; restore the database from a backup, or score "
            "into a new one."
        )


def _expect_no_tables(engine: Engine, present: set[str]) -> None:
    taken = sorted(set(Table.metadata.tables) & present)
    if taken:
        raise DatabaseError(
            f"{describe(engine)}: expected a database of Mastery or an empty one, found tables "
            f"of something else called {shorten(', '.join(taken), 200)}; name another database."
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
