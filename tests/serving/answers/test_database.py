"""Opening the answers' database: what it refuses, and that a migration is whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, inspect, select, text
from sqlalchemy.orm import Session

from serving.answers.database import DatabaseError, open_database
from serving.answers.tables import Answer, ModelVersion, Table


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


def test_answers_of_an_older_database_stay(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    upgrade = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0001"))
        older = open_database(database_url)
    moment = "'2026-03-02 06:00:00'"
    with older.begin() as connection:
        for statement in (
            "INSERT INTO model_versions (id, model, version, classes, metrics) "
            "VALUES (1, 'm', 7, '[\"low\"]', '{}')",
            "INSERT INTO scorings (id, version_id, as_of, started_at, answers) "
            f"VALUES (1, 1, {moment}, {moment}, 1)",
            "INSERT INTO answers (learner_id, unit_id, as_of, version_id, scoring_id, "
            "predicted_class, probabilities, need, basis, reasons, scored_at) VALUES "
            f"('ann', 'a', {moment}, 1, 1, 'low', '[1.0]', 0.5, 'sequence', '[]', {moment})",
        ):
            connection.exec_driver_sql(statement)
    older.dispose()

    engine = open_database(database_url)
    with Session(engine) as session:
        answer = session.scalars(select(Answer)).one()
        assert (answer.learner_id, answer.probabilities, answer.reasons) == ("ann", [1.0], [])
        assert (answer.prediction_set, answer.decisions, answer.unfamiliar) == (None, None, None)
        assert session.scalars(select(ModelVersion.trust)).one() is None
    engine.dispose()
