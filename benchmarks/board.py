"""Measures the server time of every page of the board, for every role, on a real PostgreSQL.

.venv/bin/python -m benchmarks.board [--learners N] [--units N] [--groups N]

Prints, per page, how many statements it needs, and the least, the 50th and the 95th percentile of
the milliseconds from a request to its whole answer; then the plans of slow statements. A page that
is not in `ADDRESSES` is an error, so that none is forgotten.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, event
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from benchmarks.large_school import NOW, School, fill, rows_of
from benchmarks.machine import describe_machine, warn_if_busy
from serving.answers.database import open_database
from serving.answers.settings import AnswersSettings
from serving.board.app import create_app
from serving.board.demo import DemoLogin
from serving.board.sessions import Sessions
from tests.postgresql import find_programs, serve

LIMIT = 300  # milliseconds that a page may take at the 95th percentile
SLOW = 50  # of a statement, to print its plan
ROLES = ("teacher", "manager", "admin")
DOWNLOADS = ("/worklist.csv", "export=")  # files, which are sent while they are read

# Typical and deep requests of each page, by its path in the application.
ADDRESSES: dict[str, tuple[str, ...]] = {
    "/worklist": (
        "/worklist", "/worklist?page=2", "/worklist?page=200", "/worklist?sort=name",
        "/worklist?sort=visit&page=20", "/worklist?show=all", "/worklist?show=done",
        "/worklist?show=snoozed", "/worklist?group=group-001", "/worklist?unit=unit-03",
        "/worklist?group=group-001&unit=unit-03", "/worklist?class=partial",
        "/worklist?search=Learner+0123", "/worklist?search=nobody",
    ),
    "/worklist.csv": ("/worklist.csv?group=group-001",),
    "/map": (
        "/map", "/map?page=2", "/map?page=200", "/map?sort=name", "/map?sort=name&page=100",
        "/map?sort=column&column=unit-03", "/map?sort=column&column=unit-03&reverse=1&page=50",
        "/map?group=group-001", "/map?course=course+1", "/map?search=Learner+0123",
        "/map?by=component", "/map?by=component&unit=unit-03",
        "/map?by=component&unit=unit-03&sort=column&column=unit-03-a",
        "/map?group=group-001&by=component",
    ),
    "/learners/{learner_id}": ("/learners/learner-000001", "/learners/nobody"),
    "/learners/{learner_id}/units/{unit_id}": ("/learners/learner-000001/units/unit-03",),
    "/groups": (
        "/groups", "/groups?page=4", "/groups?sort=share", "/groups?sort=change",
        "/groups?sort=learners", "/groups?sort=actions", "/groups?sort=name&page=2",
        "/groups?region=region+3", "/groups?search=Class+1", "/groups?by=region",
        "/groups?by=region&sort=change", "/groups?by=course", "/groups?by=course&sort=share",
        "/groups?export=table",
    ),
    "/groups/{group_id}": (
        "/groups/group-001", "/groups/group-001?export=learners",
        "/groups/group-001?export=units", "/groups/group-001?export=days", "/groups/nobody",
    ),
    "/versions": ("/versions",),
    "/versions/{version_id:int}": ("/versions/1", "/versions/1?export=months"),
    "/versions/{version_id:int}/{document}": ("/versions/1/report",),
    "/people": ("/people", "/people?page=2"),
    "/": ("/",),
    "/health": ("/health",),
    "/ready": ("/ready",),
    "/language/{language}": ("/language/de",),
    "/login": ("/login",),
}  # fmt: skip


@dataclass
class Watch:
    """The statements since the last page began, with the milliseconds of each.

    Attributes:
        slow: the slowest plan of each kind of statement, by its text.
    """

    engine: Engine
    statements: list[tuple[str, Any, float]] = field(default_factory=list)
    slow: dict[str, tuple[float, str, Any]] = field(default_factory=dict)

    def begin(self) -> None:
        """Forgets the statements so far."""
        self.statements.clear()

    def note(self, address: str) -> None:
        """Keeps the slow ones of a page."""
        for statement, parameters, spent in self.statements:
            if spent >= SLOW and spent > self.slow.get(statement, (0.0, "", None))[0]:
                self.slow[statement] = (spent, address, parameters)

    def before(self, *arguments: Any) -> None:
        """Is called by SQLAlchemy before a statement."""
        arguments[4].started = time.perf_counter()

    def after(self, *arguments: Any) -> None:
        """Is called by SQLAlchemy after a statement."""
        _, _, statement, parameters, context, _ = arguments
        spent = (time.perf_counter() - context.started) * 1000
        self.statements.append((statement, parameters, spent))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learners", type=int, default=School.learners)
    parser.add_argument("--units", type=int, default=School.units)
    parser.add_argument("--groups", type=int, default=School.groups)
    parser.add_argument("--answer-days", type=int, default=School.answer_days)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--only", default="", help="only addresses that begin so")
    parser.add_argument("--url", help="a database that is filled already, to measure again")
    parser.add_argument("--keep", action="store_true", help="serve the database until Ctrl+C")
    options = parser.parse_args()
    school = School(
        learners=options.learners, units=options.units, groups=options.groups,
        answer_days=options.answer_days,
    )  # fmt: skip

    with _database(options.url, school) as engine:
        print(warn_if_busy() + describe_machine())
        print(", ".join(f"{count:,} {name}" for name, count in rows_of(engine).items()))
        measure(engine, options.repeat, options.only)
        if options.keep:
            print(engine.url.render_as_string(), flush=True)
            input("Enter ends")


@contextmanager
def _database(url: str | None, school: School) -> Iterator[Engine]:
    if url is not None:
        yield open_database(url)
        return
    cache = Path(__file__).parents[1] / ".pytest_cache" / "d" / "postgresql"
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(find_programs(cache), Path(folder)) as server,
    ):
        engine = open_database(server.url)
        try:
            started, before = time.perf_counter(), os.times().user
            fill(engine, school)
            seconds, own = time.perf_counter() - started, os.times().user - before
            print(f"filled in {seconds:.0f} s ({own:.0f} s of this process)", flush=True)
            yield engine
        finally:
            engine.dispose()  # the server waits for its clients before it ends


def measure(engine: Engine, repeat: int, only: str) -> None:
    """Prints a row per address and role, and the plans of slow statements."""
    settings = AnswersSettings()
    sessions = Sessions(engine, settings.board.sessions, secure=False)
    access = DemoLogin(engine, sessions, capacity=settings.board.capacity)
    app = create_app(engine, settings, access, now=lambda: NOW)
    gc.collect()
    gc.freeze()  # as `mastery board` does
    watch = Watch(engine)
    event.listen(engine, "before_cursor_execute", watch.before)
    event.listen(engine, "after_cursor_execute", watch.after)

    print("\n| page | role | status | statements | least, ms | p50, ms | p95, ms |")
    print("|---|---|--:|--:|--:|--:|--:|")
    worst: list[float] = []
    for role in ROLES:
        with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
            client.cookies.set(sessions.cookie, sessions.begin(role).token)
            for address in _addresses(app):
                if address.startswith(only):
                    spent = _measure(client, watch, address, role, repeat)
                    is_page = not any(part in address for part in DOWNLOADS)
                    worst += [spent] if is_page else []
    late = sum(spent > LIMIT for spent in worst)
    print(f"\n{len(worst)} pages; {late} over {LIMIT} ms at p95; slowest {max(worst):.0f} ms")
    event.remove(engine, "before_cursor_execute", watch.before)
    event.remove(engine, "after_cursor_execute", watch.after)
    _print_plans(engine, watch)


def _measure(client: TestClient, watch: Watch, address: str, role: str, repeat: int) -> float:
    """Prints the row of an address; returns its 95th percentile in milliseconds."""
    times = []
    for _ in range(repeat + 1):
        watch.begin()
        started = time.perf_counter()
        response = client.get(address)
        times.append((time.perf_counter() - started) * 1000)
    watch.note(f"{address} as {role}")
    assert response.status_code < 500, (address, response.text)
    least, middle, late = np.percentile(times[1:], [0, 50, 95])
    figures = f"{len(watch.statements)} | {least:.0f} | {middle:.0f} | {late:.0f}"
    print(f"| `{address}` | {role} | {response.status_code} | {figures} |", flush=True)
    return float(late)


def _addresses(app: Starlette) -> list[str]:
    """Returns all addresses; fails for a page that has none."""
    paths = list(dict.fromkeys(_paths(app.routes)))
    if missing := [path for path in paths if path not in ADDRESSES]:
        raise SystemExit(f"benchmarks/board.py: expected addresses of {', '.join(missing)}")
    return [address for path in paths for address in ADDRESSES[path]]


def _paths(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Route) and "GET" in (route.methods or ()):
            yield route.path


def _print_plans(engine: Engine, watch: Watch) -> None:
    ordered = sorted(watch.slow.items(), key=lambda item: -item[1][0])
    for statement, (spent, address, parameters) in ordered[:8]:
        print(f"\n{spent:.0f} ms, {address}\n{statement}")
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            with engine.connect() as connection:
                plan = connection.exec_driver_sql(
                    f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters
                )
                print("\n".join(f"    {line}" for (line,) in plan))


if __name__ == "__main__":
    main()
