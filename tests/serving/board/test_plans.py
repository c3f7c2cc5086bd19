"""Which indexes PostgreSQL uses for the pages: none of them reads a whole large table.

`benchmarks/board.py` measures the same pages on 100,000 learners by 20 units. Here the tables are
small, so sequential scans are ruled out, and what is left shows which indexes can serve a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from benchmarks.large_school import NOW, School, fill
from serving.answers.database import open_database
from serving.answers.settings import AnswersSettings
from serving.board.access import DemoAccess
from serving.board.app import create_app
from serving.board.viewer import Viewer
from tests.postgresql import PostgreSQL
from tests.serving.answers.conftest import new_database

# Tables that grow with learners, units and days.
LARGE = (
    "answers", "current_answers", "component_results", "daily_activity", "daily_counts", "learners",
    "outcomes",
)  # fmt: skip
GROUPS = frozenset({"group-000", "group-001"})
VIEWERS = {
    "teacher": Viewer("teacher", "Teacher", "teacher", GROUPS, 20, "token"),
    "manager": Viewer("manager", "Manager", "manager", GROUPS, 20, "token"),
    "admin": Viewer("admin", "Admin", "admin", None, 20, "token"),
}


@pytest.fixture(scope="module")
def school(postgresql: PostgreSQL) -> Iterator[Engine]:
    """A small school in PostgreSQL, which avoids sequential scans where it can."""
    address = new_database(postgresql)
    engine = open_database(address)
    fill(engine, School(learners=2000, units=5, groups=20, days=8, answer_days=2))
    engine.dispose()
    engine = open_database(f"{address}?options=-cenable_seqscan%3Doff")
    yield engine
    engine.dispose()


def plan_of(engine: Engine, user: str, address: str) -> str:
    """Returns the plans of all statements of a page."""
    statements: list[tuple[str, Any]] = []

    def note(*arguments: Any) -> None:
        statements.append((arguments[2], arguments[3]))

    app = create_app(engine, AnswersSettings(), DemoAccess(VIEWERS[user]), now=lambda: NOW)
    event.listen(engine, "before_cursor_execute", note)
    with TestClient(app) as client:
        assert client.get(address).status_code == 200
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plans = [
            line
            for statement, parameters in statements
            for (line,) in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        ]
    return "\n".join(plans)


@pytest.mark.parametrize(
    ("user", "address", "indexes"),
    [
        ("teacher", "/worklist", ["ix_learners_group_id_need", "pk_answers"]),
        ("admin", "/worklist", ["ix_learners_need", "pk_current_answers", "pk_answers"]),
        ("teacher", "/map", ["pk_current_answers", "pk_unit_sums"]),
        ("admin", "/map", ["ix_learners_need", "pk_current_answers"]),
        ("admin", "/map?sort=column&column=unit-01", ["ix_current_answers_unit_id_need"]),
        ("teacher", "/learners/learner-000000", ["pk_learners", "pk_current_answers"]),
        ("teacher", "/learners/learner-000000/units/unit-00", ["pk_answers", "pk_daily_activity"]),
        ("manager", "/groups", ["pk_daily_counts", "ix_learners_group_id_need"]),
        ("admin", "/groups", ["pk_daily_counts", "ix_learners_group_id_need"]),
        ("admin", "/groups?by=course", ["pk_daily_counts"]),
        ("manager", "/groups/group-000", ["pk_daily_counts", "ix_learners_group_id_need"]),
        ("manager", "/versions", ["pk_outcome_sums"]),
        ("manager", "/versions/1", ["pk_outcome_sums"]),
    ],
)
def test_page_is_served_by_indexes(
    school: Engine, user: str, address: str, indexes: list[str]
) -> None:
    plan = plan_of(school, user, address)
    used = set(re.findall(r"(?:using|on) ((?:ix|pk|uq)_\w+)", plan))
    assert set(indexes) <= used, plan
    scanned = set(re.findall(r"Seq Scan on (\w+)", plan))
    if address.endswith("by=course"):
        scanned.remove("learners")  # every learner's neediest unit counts for one of the courses
    assert not scanned.intersection(LARGE), plan


@pytest.mark.parametrize("address", ["/versions", "/versions/1"])
def test_pages_of_versions_read_sums_instead_of_outcomes(school: Engine, address: str) -> None:
    assert not re.search(r"\boutcomes\b", plan_of(school, "admin", address))
