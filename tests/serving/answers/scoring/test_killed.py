"""A scoring that is killed anywhere, and then run again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from serving.answers.database import open_database
from serving.answers.scoring.versions import PushedVersion
from serving.answers.tables import Table

VARYING = {"scored_at", "updated_at", "scoring_id", "id", "started_at", "finished_at"}
UNCOUNTED = {"scorings"}  # one row per call, also of those that were killed


def run(version: PushedVersion, log: Path, url: str, *numbers: int) -> list[str]:
    """Scores in one process per number; returns what each said."""
    script = [sys.executable, "-m", "tests.serving.answers.scoring.killed_scoring"]
    arguments = [str(version.folder), str(log), url, *map(str, numbers)]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def content(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Returns all rows of all tables, without what differs from one scoring to the next."""
    found = {}
    with engine.connect() as connection:
        for table in Table.metadata.sorted_tables:
            if table.name not in UNCOUNTED:
                columns = [column for column in table.columns if column.name not in VARYING]
                rows = connection.execute(select(*columns)).all()
                found[table.name] = sorted(tuple(map(_canonical, row)) for row in rows)
    return found


def _canonical(value: Any) -> str:
    """Returns a value as text; the keys of JSON in an order of their own, as databases differ."""
    is_json = isinstance(value, dict | list)
    return json.dumps(value, sort_keys=True) if is_json else str(value)


@pytest.mark.slow  # starts Beam and TensorFlow in a process of its own, twice
def test_a_killed_scoring_is_completed_by_the_next(
    database_url: str,
    database: Engine,
    explaining_version: PushedVersion,
    log: Path,
    tmp_path: Path,
) -> None:
    undisturbed = f"sqlite:///{tmp_path}/undisturbed.db"
    expected = open_database(undisturbed)  # with its tables, as the other one
    [count] = run(explaining_version, log, undisturbed, 0)
    points = sorted({max(1, int(count) * share // 10) for share in (2, 4, 5, 7, 8, 9)})
    said = run(explaining_version, log, database_url, *points, 0)
    assert said[:-1] == ["killed"] * len(points)
    assert int(said[-1]) > 0

    assert content(database) == content(expected)
    expected.dispose()
