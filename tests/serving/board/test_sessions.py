"""Logins in both kinds of databases: what is kept, and when each one ends."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session as DatabaseSession
from starlette.requests import Request

from serving.answers.database import open_database
from serving.answers.tables import Session
from serving.board.sessions import SEEN_EVERY, UNFINISHED, Login, Sessions
from serving.board.settings import SessionSettings
from tests.serving.answers.conftest import new_database

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/answers.db"
    else:
        url = new_database(request.getfixturevalue("postgresql"))
    opened = open_database(url)
    yield opened
    opened.dispose()


class Board:
    """Sessions, and a time that a test moves on."""

    def __init__(self, engine: Engine) -> None:
        self.now = START
        settings = SessionSettings(idle_minutes=30, hours=2)
        self.sessions = Sessions(engine, settings, secure=True, clock=lambda: self.now)

    def find(self, token: str) -> Login | None:
        cookie = f"{self.sessions.cookie}={token}".encode()
        return self.sessions.find(Request({"type": "http", "headers": [(b"cookie", cookie)]}))


def test_a_login_is_found_by_its_token_alone(engine: Engine) -> None:
    board = Board(engine)
    login = board.sessions.begin("ada", {"next": "/map"})

    assert board.find(login.token) == login
    with DatabaseSession(engine) as session:
        (row,) = session.scalars(select(Session))
    assert login.token not in str(vars(row))
    assert board.find(row.token_hash) is None
    assert board.find("") is None
    assert board.find("x" * 5000) is None


def test_a_login_ends_when_idle_and_at_last(engine: Engine) -> None:
    board = Board(engine)
    token = board.sessions.begin("ada").token
    for _ in range(4):
        board.now += timedelta(minutes=29)
        assert board.find(token) is not None
    board.now += timedelta(minutes=4)  # two hours
    assert board.find(token) is None

    token = board.sessions.begin("ada").token
    board.now += timedelta(minutes=30)
    assert board.find(token) is None
    unfinished = board.sessions.begin(None).token
    board.now += UNFINISHED
    assert board.find(unfinished) is None

    board.sessions.begin("max")  # removes what has ended
    with DatabaseSession(engine) as session:
        assert session.scalars(select(Session.user)).all() == ["max"]


def test_a_busy_reader_costs_few_writes(engine: Engine) -> None:
    board = Board(engine)
    token = board.sessions.begin("ada").token

    def seen_at() -> datetime | None:
        with DatabaseSession(engine) as session:
            return session.scalar(select(Session.seen_at))

    board.now += SEEN_EVERY - timedelta(seconds=1)
    board.find(token)
    assert seen_at() == START
    board.now += timedelta(seconds=1)
    board.find(token)
    assert seen_at() == START + SEEN_EVERY


def test_many_first_requests_at_once_get_one_token(engine: Engine) -> None:
    board = Board(engine)
    for _ in range(2):  # the second time, all of them find one that has ended
        with ThreadPoolExecutor(8) as pool:
            tokens = set(pool.map(lambda _: board.sessions.of_user("ada").csrf, range(24)))
        assert len(tokens) == 1
        board.now += timedelta(hours=2)
    with DatabaseSession(engine) as session:
        assert session.scalar(select(func.count()).select_from(Session)) == 1
