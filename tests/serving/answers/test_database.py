"""Opening the answers' database: its address, its tables, and what else may be found there."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from serving.answers.database import DatabaseError, describe, open_database
from serving.answers.tables import Table
from tests.postgresql import PostgreSQL
from tests.serving.answers.conftest import new_database


def test_the_revisions_make_the_tables(database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Table.metadata) == []


def test_opening_twice_changes_nothing(database: Engine, database_url: str) -> None:
    tables = inspect(database).get_table_names()
    again = open_database(database_url, upgrade=False)
    assert inspect(again).get_table_names() == tables
    again.dispose()


def test_several_processes_may_make_the_tables(postgresql: PostgreSQL) -> None:
    database_url = new_database(postgresql)
    errors: list[BaseException] = []

    def make() -> None:
        try:
            open_database(database_url).dispose()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_tables_of_another_age_are_named(database: Engine, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"newer version of Mastery .*9999.*update this one"):
        open_database(database_url)


def test_missing_tables_are_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"found none; run `mastery answers upgrade` first"):
        open_database(str(tmp_path / "answers.db"), upgrade=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, r"expected the address of the answers' database.*found none"),
        ("mysql://user@host/db", r"expected sqlite:// or postgresql://, found mysql://"),
        ("sqlite://", r"expected a file"),
        ("sqlite:////nowhere/at/all/answers.db", r"expected a file in a folder that exists"),
        ("postgresql://user:secret@127.0.0.1:1/db", r"expected no password in an address"),
        ("postgresql://user@127.0.0.1:1/db", r"could not be opened .*Is the address right"),
    ],
)
def test_an_address_that_cannot_be_used_is_explained(url: str | None, expected: str) -> None:
    with pytest.raises(DatabaseError) as error:
        open_database(url, environment={})
    assert re.search(expected, str(error.value), re.DOTALL)
    assert "secret" not in str(error.value)


def test_the_password_comes_from_the_environment_and_is_not_shown(tmp_path: Path) -> None:
    environment = {
        "MASTERY_ANSWERS_URL": "postgresql://user@127.0.0.1:1/db",
        "MASTERY_ANSWERS_PASSWORD": "secret",
    }
    with pytest.raises(DatabaseError) as error:
        open_database(None, environment=environment)
    assert "secret" not in str(error.value)
    engine = create_engine("postgresql+psycopg://user:secret@127.0.0.1/db")
    assert "secret" not in describe(engine)

    bare = open_database(None, environment={"MASTERY_ANSWERS_URL": str(tmp_path / "a.db")})
    assert bare.dialect.name == "sqlite"
    bare.dispose()
