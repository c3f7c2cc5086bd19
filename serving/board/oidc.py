"""Logins at a provider of OpenID Connect: authorization code with PKCE, state and nonce."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from joserfc.errors import JoseError
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from components.command.escape import shorten
from serving.board.access import local_path
from serving.board.errors import Refused
from serving.board.login import CookieAccess
from serving.board.rendering import render
from serving.board.viewer import find_viewer

if TYPE_CHECKING:
    from serving.board.sessions import Sessions
    from serving.board.settings import OidcSettings

with warnings.catch_warnings(record=True):  # it will use another client of HTTP one day
    from authlib.common.errors import AuthlibBaseError
    from authlib.integrations.starlette_client import OAuth

log = logging.getLogger("mastery.board")

SCOPE = "openid profile email"
DISCOVERY = "/.well-known/openid-configuration"
SECONDS = 10.0  # for an answer of the provider
NEXT = "next"  # in the data of a login in progress; Authlib keeps its own keys there
# What a provider, or somebody between, can get wrong: a login then fails, and the log says why.
# Authlib's client is made of httpx2 where that is installed, otherwise of httpx.
FAILURES = (
    AuthlibBaseError, JoseError, ValueError, KeyError, RuntimeError,
    *(import_module(name).HTTPError for name in ("httpx2", "httpx") if find_spec(name)),
)  # fmt: skip


class OidcLogin(CookieAccess):
    """Readers whom a provider knows; the board then has a login of its own."""

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        settings: OidcSettings,
        *,
        secret: str | None,
        public_url: str | None,
        capacity: int,
    ) -> None:
        """Makes a client of the provider.

        Args:
            engine: the answers' database.
            sessions: the logins.
            settings: the provider.
            secret: the client's, if it has one.
            public_url: the address to come back to; None for whatever the reader typed.
            capacity: for users whose row has none.
        """
        super().__init__(engine, sessions, capacity=capacity)
        self._settings = settings
        self._public_url = public_url
        self._provider = OAuth().register(
            "provider",
            client_id=settings.client_id,
            client_secret=secret,
            server_metadata_url=settings.issuer + DISCOVERY,
            client_kwargs={
                "scope": SCOPE,
                "code_challenge_method": "S256",
                "timeout": SECONDS,
                # A public client proves itself by PKCE alone.
                "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
            },
        )

    def routes(self) -> Sequence[BaseRoute]:
        """Returns the pages on the way to the provider and back."""
        return [
            Route("/login", self.show),
            Route("/login/start", self.start),
            Route("/login/callback", self.finish),
            *super().routes(),
        ]

    def show(self, request: Request) -> Response:
        """Returns the page with a link to the provider."""
        wanted = local_path(request.query_params.get("next"))
        return render(request, "oidc_login.html.j2", next=wanted)

    async def start(self, request: Request) -> Response:
        """Sends the reader to the provider, and remembers what has to come back."""
        data: dict[str, Any] = {NEXT: local_path(request.query_params.get("next"))}
        request.scope["session"] = data  # where Authlib puts state, nonce and PKCE's verifier
        address = f"{self._own_url(request)}/login/callback"
        try:
            await self._check_issuer()
            response: Response = await self._provider.authorize_redirect(request, address)
        except FAILURES as error:
            raise self._failed("did not begin", error, HTTPException(502)) from None

        login = await run_in_threadpool(self.sessions.begin, None, data)
        self.sessions.set_cookie(response, login)
        return response

    async def finish(self, request: Request) -> Response:
        """Takes the provider's answer, once, and begins a login for the user in it."""
        login = await run_in_threadpool(self.sessions.find, request)
        if login is None or login.user is not None:
            raise Refused("login", status_code=400)
        await run_in_threadpool(self.sessions.end, login)  # the answer counts once

        request.scope["session"] = data = dict(login.data)
        wanted = local_path(data.pop(NEXT, None))
        try:
            user = await self._user(request)
        except FAILURES as error:
            raise self._failed("failed", error, Refused("login", status_code=400)) from None
        return await run_in_threadpool(self._admit, user, wanted)

    async def after_logout(self, request: Request) -> Response:
        """Returns a page with a link that ends the login at the provider, too.

        It is a page, not a redirection: a form of the board may lead nowhere else.
        """
        elsewhere = None
        try:
            metadata = await self._provider.load_server_metadata()
            if metadata.get("end_session_endpoint"):
                back = f"{self._own_url(request)}/login"
                ended = await self._provider.create_logout_url(
                    post_logout_redirect_uri=back, client_id=self._settings.client_id
                )
                elsewhere = ended["url"]
        except FAILURES as error:
            log.warning("The provider of logins gives no address for logging out (%s).", error)
        request.state.viewer = request.state.csrf = None
        return render(request, "logged_out.html.j2", elsewhere=elsewhere)

    async def _check_issuer(self) -> None:
        """Checks that the provider is the one in the settings.

        Raises:
            ValueError: it calls itself otherwise.
        """
        metadata = await self._provider.load_server_metadata()
        found = str(metadata.get("issuer", ""))
        if found.rstrip("/") != self._settings.issuer:
            raise ValueError(f"expected the issuer {self._settings.issuer}, found {found}")

    async def _user(self, request: Request) -> str:
        """Returns the name in the claim that the settings name.

        Raises:
            ValueError: it is missing, or an address of mail that nobody has verified.
        """
        await self._check_issuer()
        issuer = self._provider.server_metadata["issuer"]
        token = await self._provider.authorize_access_token(
            request,
            claims_options={
                "iss": {"essential": True, "values": [issuer]},
                "aud": {"essential": True, "values": [self._settings.client_id]},
                "exp": {"essential": True},
            },
        )
        claims = token.get("userinfo")  # those of the checked ID token
        if claims is None:
            raise ValueError("expected an ID token in the provider's answer, found none")

        claim = self._settings.user_claim
        if claim not in claims and "userinfo_endpoint" in self._provider.server_metadata:
            more = await self._provider.userinfo(token=token)
            if more.get("sub") == claims["sub"]:
                claims = {**more, **claims}
        if claim == "email" and claims.get("email_verified") is not True:
            raise ValueError("expected an address of mail that the provider has verified")
        user = claims.get(claim)
        if not isinstance(user, str) or not user:
            raise ValueError(f"expected a text in the claim {claim}, found {type(user).__name__}")
        return user

    def _admit(self, user: str, wanted: str) -> Response:
        if find_viewer(self.engine, user, csrf="", capacity=1) is None:
            raise Refused("unknown user", user)
        response = RedirectResponse(wanted, 303)
        self.log_in(response, None, user)
        return response

    def _own_url(self, request: Request) -> str:
        return self._public_url or f"{request.url.scheme}://{request.url.netloc}"

    def _failed(self, what: str, error: Exception, page: HTTPException) -> HTTPException:
        """Writes why a login failed into the log; the reader sees only that it did."""
        reason = shorten(str(error) or type(error).__name__, 300)
        log.warning("A login at %s %s: %s", self._settings.issuer, what, reason)
        return page
