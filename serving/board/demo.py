"""A demonstration on this machine: whoever opens the board chooses which user to be."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from serving.answers.tables import Membership, User
from serving.board.access import local_path
from serving.board.login import CookieAccess
from serving.board.rendering import render

MOST_USERS = 100  # on the page


class DemoLogin(CookieAccess):
    """A login without any proof; only for a board that no other machine reaches."""

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the page with the users."""
        return [
            Route("/login", self.show, methods=["GET"]),
            Route("/login", self.choose, methods=["POST"]),
            *super().routes(),
        ]

    def show(self, request: Request) -> Response:
        """Returns the page; its forms carry the token of a login in progress."""
        login = self.sessions.find(request)
        fresh = self.sessions.begin(None) if login is None else None
        if fresh is not None:
            request.state.csrf = fresh.csrf

        with Session(self.engine) as session:
            groups = func.count(Membership.group_id)
            users = session.execute(
                select(User.user, User.name, User.role, groups.label("groups"))
                .outerjoin(Membership, Membership.user == User.user)
                .group_by(User.user, User.name, User.role)
                .order_by(User.name, User.user)
                .limit(MOST_USERS)
            ).all()
        wanted = local_path(request.query_params.get("next"))
        response = render(request, "demo_login.html.j2", users=users, next=wanted)
        if fresh is not None:
            self.sessions.set_cookie(response, fresh)
        return response

    async def choose(self, request: Request) -> Response:
        """Logs in as the chosen user."""
        async with request.form() as form:
            user, wanted = str(form.get("user", "")), str(form.get("next", ""))
        return await run_in_threadpool(self._choose, request, user, wanted)

    def _choose(self, request: Request, user: str, wanted: str) -> Response:
        with Session(self.engine) as session:
            if session.get(User, user) is None:
                raise HTTPException(400)
        response = RedirectResponse(local_path(wanted), 303)
        self.log_in(response, self.sessions.find(request), user)
        return response
