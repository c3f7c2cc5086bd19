"""The board as an ASGI application: routes of all pages, and what happens around each request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from serving.board.access import Access, Guard, RequireRole, local_path
from serving.board.errors import refuse_permission, show_error
from serving.board.headers import SecurityHeaders
from serving.board.pages import (
    approvals,
    effect,
    groups,
    heat_map,
    learner,
    learner_path,
    people,
    versions,
    watch,
    worklist,
)
from serving.board.rendering import FOLDER, LANGUAGE_COOKIE, LANGUAGE_NAMES
from serving.board.stopped import StoppedModels

if TYPE_CHECKING:
    from serving.answers.settings import AnswersSettings
    from serving.board.viewer import Role

# Each module of pages, and the least role that has them.
PAGES: tuple[tuple[Sequence[Route], Role], ...] = (
    (worklist.ROUTES, "teacher"),
    (heat_map.ROUTES, "teacher"),
    (learner.ROUTES, "teacher"),
    (learner_path.ROUTES, "teacher"),
    (groups.ROUTES, "manager"),
    (versions.ROUTES, "manager"),
    (effect.ROUTES, "manager"),
    (watch.ROUTES, "manager"),
    (approvals.ROUTES, "manager"),
    (people.ROUTES, "admin"),
)
YEAR = 365 * 24 * 3600


class _Application(Starlette):
    """Starlette with security headers around everything, also around its own errors."""

    secure = False

    def build_middleware_stack(self) -> ASGIApp:
        """Returns the application as it is called."""
        return SecurityHeaders(super().build_middleware_stack(), secure=self.secure)


def create_app(
    engine: Engine,
    settings: AnswersSettings,
    access: Access,
    *,
    hosts: Collection[str] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """Returns the application.

    Pages find in `request.app.state` the `engine`, the `settings` and `now`; in `request.state` the
    `viewer` and what is `visible` to them.

    Args:
        engine: the answers' database.
        settings: `answers.yaml`.
        access: how readers prove who they are.
        hosts: the names under which the board answers; None for any, which is for tests.
        now: the time on pages; another one for a demonstration on an old log.
    """
    public_url = settings.board.public_url
    routes: list[BaseRoute] = [
        Route("/", _to_first_page),
        Route("/health", _health),
        Route("/ready", _ready),
        Route("/language/{language}", _choose_language),
        Mount("/static", StaticFiles(directory=FOLDER / "static"), name="static"),
        *access.routes(),
        *(_for_role(route, least) for routes, least in PAGES for route in routes),
    ]
    app = _Application(
        routes=routes,
        middleware=[Middleware(Guard, access=access, hosts=hosts, public_url=public_url)],
        exception_handlers={
            HTTPException: show_error,
            PermissionError: refuse_permission,
            Exception: show_error,  # uvicorn logs it
        },
    )
    app.secure = is_secure(public_url)
    app.state.engine = engine
    app.state.settings = settings
    app.state.now = now
    app.state.stopped = StoppedModels(engine)
    return app


def is_secure(public_url: str | None) -> bool:
    """Returns whether readers come by https."""
    return public_url is not None and public_url.startswith("https:")


def _for_role(route: Route, least: Role) -> Route:
    """Returns a page that is there from some role on."""
    return Route(
        route.path,
        route.endpoint,
        methods=route.methods,
        name=route.name,
        middleware=[Middleware(RequireRole, least=least)],
    )


def _to_first_page(request: Request) -> Response:
    role = request.state.viewer.role
    return RedirectResponse("/worklist" if role == "teacher" else "/groups", 303)


def _choose_language(request: Request) -> Response:
    language = request.path_params["language"]
    if language not in LANGUAGE_NAMES:
        raise HTTPException(404)
    response = RedirectResponse(local_path(request.query_params.get("next")), 303)
    response.set_cookie(
        LANGUAGE_COOKIE, language, max_age=YEAR, httponly=True, samesite="lax",
        secure=is_secure(request.app.state.settings.board.public_url),
    )  # fmt: skip
    return response


def _health(request: Request) -> Response:  # noqa: ARG001
    """Says that the process answers."""
    return PlainTextResponse("ok")


def _ready(request: Request) -> Response:
    """Says whether the database answers."""
    with request.app.state.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return PlainTextResponse("ok")
