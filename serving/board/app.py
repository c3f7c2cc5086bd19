"""The board as an ASGI application: routes of all pages, and what happens around each request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.board.access import Access, AccessMiddleware
from serving.board.pages import groups, heat_map, learner, learner_path, versions, worklist
from serving.board.rendering import FOLDER

if TYPE_CHECKING:
    from serving.answers.settings import AnswersSettings

PAGES = (worklist, heat_map, learner, learner_path, groups, versions)


def create_app(
    engine: Engine,
    settings: AnswersSettings,
    access: Access,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """Returns the application.

    Pages find in `request.app.state` the `engine`, the `settings` and `now`; in `request.state` the
    `viewer` and what is `visible` to them.

    Args:
        engine: the answers' database.
        settings: `answers.yaml`.
        access: how readers prove who they are.
        now: the time; another one for a demonstration on an old log.
    """
    routes = [
        Route("/", _to_first_page),
        Route("/health", _health),
        Mount("/static", StaticFiles(directory=FOLDER / "static"), name="static"),
        *access.routes(),
        *(route for page in PAGES for route in page.ROUTES),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(AccessMiddleware, access=access)
    app.state.engine = engine
    app.state.settings = settings
    app.state.now = now
    return app


def _to_first_page(request: Request) -> Response:
    role = request.state.viewer.role
    return RedirectResponse("/worklist" if role == "teacher" else "/groups", 303)


def _health(request: Request) -> Response:  # noqa: ARG001
    return PlainTextResponse("ok")
