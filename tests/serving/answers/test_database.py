"""Opening the answers' database: what it refuses, and that a migration is whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, inspect, text

from serving.answers.database import DatabaseError, open_database
from serving.answers.tables import Table


def tables(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return inspect(connection).get_table_names()


def opened_plainly(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_a_database_of_something_else_stays_as_it_is(database_url: str) -> None:
    other = opened_plainly(database_url)
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE answers (x INTEGER)"))
    with pytest.raises(DatabaseError, match="found tables of something else called answers"):
        open_database(database_url)
    assert tables(other) == ["answers"]
    other.dispose()


def test_a_migration_that_is_stopped_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    upgrade = command.upgrade

    def upgrade_and_stop(*arguments: object) -> None:
        upgrade(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", upgrade_and_stop)
        with pytest.raises(KeyboardInterrupt):
            open_database(database_url)
    plain = opened_plainly(database_url)
    assert tables(plain) == []
    plain.dispose()
    engine = open_database(database_url)
    assert set(tables(engine)) > set(Table.metadata.tables)
    engine.dispose()


def test_a_database_is_made_once_by_processes_that_open_it_at_once(database_url: str) -> None:
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            open_database(database_url).dispose()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_tables_that_are_gone_are_named(database: Engine, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(text("DROP TABLE current_answers"))
    with pytest.raises(DatabaseError, match=r"found none called current_answers; restore"):
        open_database(database_url)


def test_who_only_reads_makes_no_file_of_a_mistyped_name(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="found no such file"):
        open_database(str(tmp_path / "anwsers.db"), upgrade=False)
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_a_file_has_no_query(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="expected a path without `\\?`"):
        open_database(f"sqlite:///{tmp_path}/answers.db?mode=ro")


def test_a_mistyped_name_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"anwsers\.db"):
        open_database(str(tmp_path / "anwsers.db"), existing=True)
    assert list(tmp_path.iterdir()) == []
