from __future__ import annotations

import threading

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from serving.answers.current_sums import refresh_current_sums
from tests.serving.answers import classroom


def sums_of(database: Engine) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    with Session(database) as session:
        units = session.execute(
            text("SELECT * FROM unit_sums ORDER BY group_id, unit_id, predicted_class")
        )
        components = session.execute(
            text("SELECT * FROM component_sums ORDER BY group_id, unit_id, component")
        )
        return [tuple(row) for row in units], [tuple(row) for row in components]


def test_sums_follow_changes_and_the_same_rows_give_the_same_sums(database: Engine) -> None:
    classroom.fill(database, learners=6)
    before = sums_of(database)
    with database.begin() as connection:
        refresh_current_sums(connection)
    assert sums_of(database) == before

    with Session(database) as session, session.begin():
        session.execute(text("DELETE FROM current_answers WHERE unit_id <> 'unit-1'"))
        session.execute(
            text("UPDATE current_answers SET group_id = NULL, predicted_class = NULL, need = 0.5")
        )
        session.execute(text("DELETE FROM component_results"))
        refresh_current_sums(session.connection())

    assert sums_of(database) == ([("", "unit-1", "", 6, 3.0)], [])


def test_a_rollback_leaves_the_old_sums(database: Engine) -> None:
    classroom.fill(database, learners=3)
    before = sums_of(database)

    with Session(database) as session:
        session.execute(text("DELETE FROM current_answers"))
        refresh_current_sums(session.connection())
        session.rollback()

    assert sums_of(database) == before


def test_two_refreshes_at_once_wait_for_one_another(database: Engine) -> None:
    classroom.fill(database, learners=6)
    before = sums_of(database)
    errors: list[Exception] = []

    def refresh() -> None:
        try:
            for _ in range(5):
                with database.begin() as connection:
                    refresh_current_sums(connection)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert sums_of(database) == before
