"""A board that runs for a test: a real server on a copy of the classroom's database."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvicorn
from sqlalchemy import Engine
from starlette.applications import Starlette

from serving.answers.database import open_database
from serving.answers.settings import AnswersSettings
from serving.board.app import create_app
from serving.board.demo import DemoLogin
from serving.board.sessions import Login, Sessions
from tests.ports import free_port
from tests.serving.answers import classroom

USERS = {"ada": "teacher", "max": "manager", "root": "admin"}  # of the classroom


@dataclass(frozen=True)
class RunningBoard:
    """A board that answers at `url`, and its database."""

    url: str
    engine: Engine
    sessions: Sessions
    app: Starlette

    def log_in(self, user: str) -> Login:
        """Returns a new login of a user, without the pages for it."""
        return self.sessions.begin(user)

    def client(self, user: str | None = None) -> httpx.Client:
        """Returns a client of the board's pages, logged in as a user; as nobody without one.

        It follows no redirections. Its headers carry the token that forms need.
        """
        client = httpx.Client(base_url=self.url, timeout=60)
        if user is not None:
            login = self.log_in(user)
            client.cookies.set(self.sessions.cookie, login.token)
            client.headers["X-CSRF-Token"] = login.csrf
        return client

    def cookie(self, user: str) -> dict[str, str]:
        """Returns a new login of a user as a cookie for a browser."""
        token = self.log_in(user).token
        return {"name": self.sessions.cookie, "value": token, "url": self.url}


def template(folder: Path) -> Path:
    """Returns a database with the classroom in it, to copy."""
    path = folder / "classroom.db"
    engine = open_database(f"sqlite:///{path}")
    classroom.fill(engine)
    engine.dispose()  # the last connection writes its log into the file
    return path


@contextmanager
def running_board(
    database: Path,
    folder: Path,
    *,
    settings: AnswersSettings | None = None,
    now: datetime = classroom.NOW,
    clock: Callable[[], datetime] | None = None,
) -> Iterator[RunningBoard]:
    """Runs a board until the block ends.

    Args:
        database: what to copy.
        folder: where to.
        settings: `answers.yaml`; by default, nothing is set.
        now: the time on the pages.
        clock: the time of logins; by default, the real one.
    """
    settings = settings or AnswersSettings()
    more = {} if clock is None else {"clock": clock}
    with opened_copy(database, folder) as engine:
        sessions = Sessions(engine, settings.board.sessions, secure=False, **more)
        access = DemoLogin(engine, sessions, capacity=settings.board.capacity)
        app = create_app(engine, settings, access, hosts=("127.0.0.1",), now=lambda: now)
        with serving(app) as url:
            yield RunningBoard(url, engine, sessions, app)


@contextmanager
def opened_copy(database: Path, folder: Path) -> Iterator[Engine]:
    """Opens a copy of a database for the length of the block."""
    copy = folder / "answers.db"
    shutil.copy(database, copy)
    engine = open_database(f"sqlite:///{copy}")
    yield engine
    engine.dispose()


@contextmanager
def serving(app: Starlette, *, port: int | None = None) -> Iterator[str]:
    """Runs an application on a port of this machine until the block ends; gives its address."""
    port = port or free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, proxy_headers=False, lifespan="off",
        server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the board did not start"
            thread.join(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def path_of(address: str) -> str:
    """Returns an address without its scheme and host."""
    parts = urlsplit(address)
    return parts.path + (f"?{parts.query}" if parts.query else "")
