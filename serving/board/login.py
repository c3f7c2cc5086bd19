"""Logins that a cookie carries from page to page: what the ways to log in have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from serving.board.access import Visitor
from serving.board.errors import Refused
from serving.board.viewer import find_viewer

if TYPE_CHECKING:
    from serving.board.sessions import Login, Sessions


class CookieAccess:
    """Readers whose login is in `sessions`; subclasses add the way to get there."""

    def __init__(self, engine: Engine, sessions: Sessions, *, capacity: int) -> None:
        """Keeps where logins and users are.

        Args:
            engine: the answers' database.
            sessions: the logins.
            capacity: for users whose row has none.
        """
        self.engine = engine
        self.sessions = sessions
        self._capacity = capacity

    def visitor(self, connection: HTTPConnection) -> Visitor:
        """Returns who sends a request; no viewer for a login in progress."""
        login = self.sessions.find(connection)
        if login is None:
            return Visitor()
        if login.user is None:
            return Visitor(csrf=login.csrf)

        viewer = find_viewer(self.engine, login.user, csrf=login.csrf, capacity=self._capacity)
        if viewer is None:  # no longer a user
            self.sessions.end(login)
            raise Refused("unknown user", login.user)
        return Visitor(viewer, login.csrf)

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the page for logging out."""
        return [Route("/logout", self.log_out, methods=["POST"])]

    async def log_out(self, request: Request) -> Response:
        """Ends this login, or with the field `everywhere` all logins of its user."""
        async with request.form() as form:
            everywhere = bool(form.get("everywhere"))
        await run_in_threadpool(self._end, request, everywhere)

        response = await self.after_logout(request)
        self.sessions.drop_cookie(response)
        return response

    def _end(self, request: Request, everywhere: bool) -> None:
        login = self.sessions.find(request)
        if login is not None:
            self.sessions.end(login)
            if everywhere and login.user is not None:
                self.sessions.end_all(login.user)

    async def after_logout(self, request: Request) -> Response:  # noqa: ARG002
        """Returns what is shown to one who has logged out."""
        return RedirectResponse("/login", 303)

    def log_in(self, response: Response, before: Login | None, user: str) -> None:
        """Begins a login with a new token, and ends the one in progress."""
        if before is not None:
            self.sessions.end(before)
        self.sessions.set_cookie(response, self.sessions.begin(user))
