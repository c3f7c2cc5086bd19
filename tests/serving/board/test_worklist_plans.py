"""How PostgreSQL finds the worklist's rows among a hundred thousand learners.

The database takes some seconds to fill: with fewer learners, reading all of them would be right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from serving.answers.database import open_database
from tests.postgresql import PostgreSQL
from tests.serving.answers.conftest import new_database
from tests.serving.board import crowd
from tests.serving.board.test_worklist import ADA, ROOT, client

TEACHER = replace(ADA, groups=frozenset({"group-3"}))
BIG = {"learners", "current_answers", "answers", "component_results"}


@pytest.fixture(scope="module")
def crowded(postgresql: PostgreSQL) -> Iterator[Engine]:
    """The database, filled."""
    engine = open_database(new_database(postgresql))
    crowd.fill(engine)
    yield engine
    engine.dispose()


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from steps(part)


@pytest.mark.parametrize(
    ("viewer", "address", "index"),
    [
        (TEACHER, "/worklist", "ix_learners_group_id_need"),
        (TEACHER, "/worklist?unit=unit-1", "ix_current_answers_group_id_unit_id_need"),
        (ROOT, "/worklist", "ix_learners_need"),
        (ROOT, "/worklist?page=20", "ix_learners_need"),
        (ROOT, "/worklist?unit=unit-1", "ix_current_answers_unit_id_need"),
        (ROOT, "/worklist?class=proficient", "ix_learners_predicted_class_need"),
    ],
)
def test_rows_are_found_by_an_index_in_the_order_of_the_list(
    crowded: Engine, viewer: Any, address: str, index: str
) -> None:
    queries: list[tuple[str, Any]] = []

    def note(*given: Any) -> None:
        queries.append((given[2], given[3]))

    event.listen(crowded, "before_cursor_execute", note)
    page = client(crowded, viewer).get(address)
    event.remove(crowded, "before_cursor_execute", note)
    assert page.text.count('<li class="learner') == 50

    plans = []
    with crowded.connect() as connection:
        for query, values in queries:
            if query.startswith("SELECT"):
                found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {query}", values)
                plans.append([*steps(found.scalar_one()[0]["Plan"])])
    listed = next(plan for plan in plans if plan[0]["Node Type"] == "Limit")
    assert index in {step.get("Index Name") for step in listed}
    for plan in plans:
        counts = plan[0]["Node Type"] == "Aggregate"  # up to a bound: it may read in any order
        whole = {step["Relation Name"] for step in plan if step["Node Type"] == "Seq Scan"}
        assert counts or not whole & BIG, plan
