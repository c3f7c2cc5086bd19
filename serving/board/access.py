"""Who may come in: what stands between the network and the pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.board import forms
from serving.board.errors import Refused, show_error
from serving.board.rendering import address_of
from serving.board.viewer import ROLES, Role, Viewer, Visible

OPEN = ("/static/", "/health", "/ready")  # says nothing about anybody
LOGIN = ("/login", "/language/")  # what somebody needs who is not logged in yet


@dataclass(frozen=True)
class Visitor:
    """Who sends a request.

    Attributes:
        viewer: None for nobody that is known.
        csrf: what forms carry; None where there is no form for this visitor.
    """

    viewer: Viewer | None = None
    csrf: str | None = None


class Access(Protocol):
    """A way to find out who sends a request: a proxy's header, OpenID Connect, a demonstration."""

    def visitor(self, connection: HTTPConnection) -> Visitor:
        """Returns who sends a request; reads the database.

        Raises:
            Refused: somebody who is no user of the board.
        """

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the pages of logging in and out."""


class DemoAccess:
    """Everybody is the same viewer, without a login; for tests of pages."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer

    def visitor(self, connection: HTTPConnection) -> Visitor:  # noqa: ARG002
        """Returns the viewer."""
        return Visitor(self._viewer, self._viewer.csrf)

    def routes(self) -> Sequence[BaseRoute]:
        """Returns no pages."""
        return []


class Guard:
    """Lets requests pass that a user sends from the board's own pages."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        hosts: Collection[str] | None,
        public_url: str | None,
    ) -> None:
        """Stands in front of the pages.

        Args:
            app: the pages.
            access: who sends a request.
            hosts: the names under which the board answers; None for any.
            public_url: the address that readers type.
        """
        self._app = app
        self._access = access
        self._hosts = hosts
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        request = Request(scope, receive)
        request.state.viewer = request.state.csrf = None
        try:
            refusal, receive = await self._check(request, receive)
        except HTTPException as error:
            refusal = show_error(request, error)
        await (refusal or self._app)(scope, receive, send)

    async def _check(self, request: Request, receive: Receive) -> tuple[Response | None, Receive]:
        """Returns the answer to one who may not pass, and how to read the body from now on."""
        path: str = request.scope["path"]
        if path.startswith(OPEN):
            return None, receive
        self._check_host(request)

        visitor = await run_in_threadpool(self._access.visitor, request)
        request.state.viewer, request.state.csrf = visitor.viewer, visitor.csrf
        if visitor.viewer is not None:
            request.state.visible = Visible(visitor.viewer)
        elif not path.startswith(LOGIN):
            return _to_login(request), receive

        if request.method in forms.SAFE_METHODS:
            return None, receive
        if not forms.is_same_origin(request, self._public_url):
            raise Refused("origin")
        body = await forms.read_body(request)
        again = forms.replay(body, receive)
        if not await forms.has_token(Request(request.scope, again), visitor.csrf):
            raise Refused("token")
        return None, forms.replay(body, receive)

    def _check_host(self, request: Request) -> None:
        if self._hosts is None:
            return
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname
        except ValueError:
            name = None
        if name not in self._hosts:
            raise HTTPException(400)


def _to_login(request: Request) -> Response:
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"HX-Refresh": "true"})  # the page then comes here
    if request.method not in forms.SAFE_METHODS:
        raise HTTPException(401)
    return RedirectResponse(f"/login?next={quote(address_of(request)[:1000], safe='')}", 303)


def local_path(wanted: str | None) -> str:
    """Returns a path to go to after a login; the first page instead of one of another site.

    >>> local_path("/learners/7?unit=2"), local_path("//example.org"), local_path(None)
    ('/learners/7?unit=2', '/', '/')
    """
    # Browsers take a backslash for a slash, and leave out tabs and line breaks.
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\")):
        return "/"
    return wanted if wanted.isprintable() else "/"


class RequireRole:
    """A page that is there from some role on."""

    def __init__(self, app: ASGIApp, least: Role) -> None:
        """Wraps a page."""
        self._app = app
        self._roles = ROLES[ROLES.index(least) :]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["state"]["viewer"].role not in self._roles:
            raise Refused("role")
        await self._app(scope, receive, send)
