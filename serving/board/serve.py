"""Runs the board until it is stopped, and refuses to show anything to those who may not see it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread
import uvicorn
from sqlalchemy import Engine
from starlette.applications import Starlette

from components.errors import MasteryError
from serving.board.app import create_app, is_secure
from serving.board.demo import DemoLogin
from serving.board.forms import MOST_BYTES
from serving.board.proxy import ProxyAccess
from serving.board.sessions import Sessions
from serving.board.settings import LOOPBACK, is_loopback
from serving.server.bounds import ByteBudget
from serving.server.connections import Connections, Phase
from serving.server.http_protocol import BoundedHttp
from serving.server.server_settings import Limits

if TYPE_CHECKING:
    from serving.answers.settings import AnswersSettings
    from serving.board.access import Access

log = logging.getLogger("mastery.board")

# As many pages at once as the database has connections (SQLAlchemy's pool); the others wait.
PAGES_AT_ONCE = 12
LIMITS = Limits(
    max_request_bytes=MOST_BYTES, max_header_bytes=16 * 2**10, max_connections=512,
    max_connections_per_address=512, request_timeout=60.0, drain_timeout=10.0,
)  # fmt: skip
LINGER = 5.0  # seconds in which a browser can read a refusal
SWEEP = 1.0  # seconds between two looks for connections that wait for too long


class BoardError(MasteryError):
    """The board cannot start as asked."""


@dataclass(frozen=True)
class Place:
    """Where the board listens, and for whom.

    Attributes:
        host: the address to listen on.
        port: 0 for any free one.
        demo: whether everybody may choose which user to be.
        now: the time on pages; None for the real one.
    """

    host: str
    port: int
    demo: bool = False
    now: datetime | None = None


def serve_board(
    engine: Engine, settings: AnswersSettings, place: Place, environment: Mapping[str, str]
) -> None:
    """Serves until SIGTERM or Ctrl-C, and then answers what has begun.

    Args:
        engine: the answers' database.
        settings: `answers.yaml`.
        place: where to listen.
        environment: variables, for the secrets that the settings name.

    Raises:
        BoardError: readers would not have to log in, or what they send would not be secret; or the
            port is in use.
    """
    app = make_board(engine, settings, place, environment)
    # What was imported stays: a full collection would look at it again, about every twentieth page.
    gc.collect()
    gc.freeze()
    with _bound(place) as listening:
        asyncio.run(_serve(app, listening, place))


def make_board(
    engine: Engine, settings: AnswersSettings, place: Place, environment: Mapping[str, str]
) -> Starlette:
    """Returns the application for a place; see `serve_board`."""
    board = settings.board
    if place.demo:
        _check_demo(place)
        # Nobody approves a version as somebody else.
        unproven = board.model_copy(update={"public_url": None, "models": None})
        settings = settings.model_copy(update={"board": unproven})
    else:
        _check_transport(board.public_url, place)

    public_url = settings.board.public_url
    sessions = Sessions(engine, board.sessions, secure=is_secure(public_url))
    access = _access(engine, settings, sessions, place, environment)
    names = {*LOOPBACK, *(host.lower() for host in board.hosts)}
    if public_url is not None:
        names.add(urlsplit(public_url).hostname or "")
    if is_loopback(place.host):
        names.add(place.host)
    shown = place.now
    now = (lambda: datetime.now(UTC)) if shown is None else (lambda: shown)
    return create_app(engine, settings, access, hosts=frozenset(names), now=now)


def _check_demo(place: Place) -> None:
    if not is_loopback(place.host):
        raise BoardError(
            f"--demo lets everybody be every user, so it only listens on this machine; expected "
            f"--host 127.0.0.1, found {place.host}."
        )


def _check_transport(public_url: str | None, place: Place) -> None:
    if not is_loopback(place.host) and not is_secure(public_url):
        raise BoardError(
            f"--host {place.host}: other machines can reach the board, so what it sends has to be "
            "encrypted: put TLS in front of it, and set board.public_url to the address that "
            f"readers type, such as https://board.example.org; found {public_url or 'none'}."
        )


def _access(
    engine: Engine,
    settings: AnswersSettings,
    sessions: Sessions,
    place: Place,
    environment: Mapping[str, str],
) -> Access:
    capacity, access = settings.board.capacity, settings.board.access
    if place.demo:
        return DemoLogin(engine, sessions, capacity=capacity)
    if access.proxy is not None:
        return ProxyAccess(engine, sessions, access.proxy, capacity=capacity)
    if access.oidc is None:
        raise BoardError(
            "expected board.access.proxy or board.access.oidc in the settings (--answers), which "
            "say how readers log in, found neither; --demo shows the board without a login, to "
            "this machine only."
        )

    from serving.board.oidc import OidcLogin  # imports Authlib

    variable = access.oidc.client_secret_env
    secret = environment.get(variable) if variable else None
    if variable and not secret:
        raise BoardError(
            f"board.access.oidc.client_secret_env: expected the client's secret in ${variable}, "
            "found none."
        )
    return OidcLogin(
        engine,
        sessions,
        access.oidc,
        secret=secret,
        public_url=settings.board.public_url,
        capacity=capacity,
    )


@contextlib.contextmanager
def _bound(place: Place) -> Iterator[socket.socket]:
    """Takes the port for the length of the block."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((place.host, place.port))
        except OSError as error:
            raise BoardError(
                f"{place.host}:{place.port} cannot be listened on ({error.strerror or error}); "
                "give another --host or --port."
            ) from None
        listening.setblocking(False)
        yield listening


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: Starlette, listening: socket.socket, place: Place) -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = PAGES_AT_ONCE
    connections = Connections(
        LIMITS.max_connections,
        LIMITS.max_connections_per_address,
        {
            Phase.CLOSING: LINGER,
            Phase.HEAD: LIMITS.header_timeout,
            Phase.BODY: LIMITS.request_timeout,
            Phase.IDLE: LIMITS.idle_timeout,
            Phase.ANSWER: LIMITS.request_timeout,
        },
    )
    protocol: Any = functools.partial(
        BoundedHttp,
        connections=connections,
        budget=ByteBudget(LIMITS.max_inflight_bytes),
        limits=LIMITS,
    )
    server = _Uvicorn(
        uvicorn.Config(
            app, http=protocol, lifespan="off", ws="none", log_config=None, log_level="warning",
            access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=round(LIMITS.drain_timeout),
        )
    )  # fmt: skip

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, server)
    sweeping = loop.create_task(_sweep(connections))
    running = loop.create_task(server.serve([listening]))
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if server.started:
        host = f"[{place.host}]" if ":" in place.host else place.host
        log.info("Board: http://%s:%d; Ctrl-C ends it.", host, listening.getsockname()[1])
    await running
    sweeping.cancel()
    connections.end_all()


def _stop(server: uvicorn.Server) -> None:
    log.info("Stopping: answering the requests in progress.")
    server.should_exit = True


async def _sweep(connections: Connections) -> None:
    """Keeps ending the connections that wait for too long."""
    while True:
        await asyncio.sleep(SWEEP)
        connections.end_late()
