"""Who may come in: how a request shows who sent it, and what every answer carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from serving.board.viewer import Viewer, Visible

OPEN = ("/static/", "/health")


class Access(Protocol):
    """A way to find out who sends a request: a proxy's header, OpenID Connect, a demonstration."""

    def viewer(self, connection: HTTPConnection) -> Viewer | None:
        """Returns who sent a request; None for nobody that is known."""

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the pages of logging in and out."""


class DemoAccess:
    """Everybody is the same viewer; for a board that only this machine can reach."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def viewer(self, connection: HTTPConnection) -> Viewer | None:  # noqa: ARG002
        """Returns the viewer."""
        return self._viewer

    def routes(self) -> Sequence[BaseRoute]:
        """Returns no pages."""
        return []


class AccessMiddleware(BaseHTTPMiddleware):
    """Refuses requests of nobody, and of forms that another site sent."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        super().__init__(app)
        self._access = access

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Answers a request."""
        request.state.viewer = self._access.viewer(request)
        if request.state.viewer is None and not request.url.path.startswith(OPEN):
            return PlainTextResponse("authentication required", 401)
        if request.state.viewer is not None:
            request.state.visible = Visible(request.state.viewer)
        return await call_next(request)
