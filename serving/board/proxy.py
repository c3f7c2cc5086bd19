"""Readers whom a proxy in front of the board has logged in, by a header that only it may send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.board.access import Visitor
from serving.board.errors import Refused
from serving.board.rendering import render
from serving.board.viewer import find_viewer

if TYPE_CHECKING:
    from serving.board.sessions import Sessions
    from serving.board.settings import ProxySettings


class ProxyAccess:
    """Readers as a proxy names them; the login and its end are the proxy's."""

    def __init__(
        self, engine: Engine, sessions: Sessions, settings: ProxySettings, *, capacity: int
    ) -> None:
        """Trusts a header from some addresses.

        Args:
            engine: the answers' database.
            sessions: keeps what forms carry.
            settings: the header and the addresses.
            capacity: for users whose row has none.
        """
        self._engine = engine
        self._sessions = sessions
        self._settings = settings
        self._trusted = [ip_network(network) for network in settings.trusted]
        self._capacity = capacity

    def visitor(self, connection: HTTPConnection) -> Visitor:
        """Returns who sends a request; nobody without the header, or from another address."""
        user = self._user(connection)
        if user is None:
            return Visitor()

        viewer = find_viewer(self._engine, user, csrf="", capacity=self._capacity)
        if viewer is None:
            raise Refused("unknown user", user)
        csrf = self._sessions.of_user(user).csrf
        return Visitor(replace(viewer, csrf=csrf), csrf)

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the pages for one whom the proxy has not named, and for logging out."""
        return [Route("/login", self.show), Route("/logout", self.log_out, methods=["POST"])]

    def show(self, request: Request) -> Response:
        """Says that the login is the proxy's."""
        return render(request, "proxy_login.html.j2", status_code=401)

    def log_out(self, request: Request) -> Response:
        """Says where the login ends.

        It is a page, not a redirection: a form of the board may lead nowhere else.
        """
        return render(request, "logged_out.html.j2", elsewhere=self._settings.logout_url)

    def _user(self, connection: HTTPConnection) -> str | None:
        # Two of them: one may be the client's own, which the proxy has let pass.
        sent = connection.headers.getlist(self._settings.header)
        if len(sent) != 1 or not sent[0] or not self._is_trusted(connection):
            return None
        return sent[0]

    def _is_trusted(self, connection: HTTPConnection) -> bool:
        """Returns whether the other end of the connection is the proxy."""
        if connection.client is None:
            return False
        try:
            address = ip_address(connection.client.host)
        except ValueError:  # such as a name in a test
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:10.0.0.1 is 10.0.0.1
        return any((mapped or address) in network for network in self._trusted)
