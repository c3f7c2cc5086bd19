"""Logins: a random token in a cookie, its SHA-256 in the database, and when each one ends."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, delete, or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession
from starlette.requests import HTTPConnection
from starlette.responses import Response

from serving.answers.tables import Session

if TYPE_CHECKING:
    from serving.board.settings import SessionSettings

UNFINISHED = timedelta(minutes=10)  # a login in progress ends then
SEEN_EVERY = timedelta(seconds=30)  # a busy reader costs one write in that time
TOKEN_BYTES = 32


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Login:
    """Somebody who logged in, or is about to.

    Attributes:
        token: what the cookie holds.
        user: None for a login in progress.
        csrf: what the forms of this login carry.
        data: what a login in progress has to remember.
    """

    token: str
    user: str | None
    csrf: str
    data: dict[str, Any] = field(default_factory=dict)


class Sessions:
    """The logins of a board."""

    def __init__(
        self,
        engine: Engine,
        settings: SessionSettings,
        *,
        secure: bool,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Keeps logins in a database.

        Args:
            engine: the answers' database.
            settings: how long they last.
            secure: whether readers come by https; without it, only this machine may reach the
                board.
            clock: the real time, also where pages show another one.
        """
        self._engine = engine
        self._idle = timedelta(minutes=settings.idle_minutes)
        self._longest = timedelta(hours=settings.hours)
        self._clock = clock
        self._secure = secure
        # Browsers take a cookie with this prefix only from the host itself, over https.
        self.cookie = "__Host-mastery" if secure else "mastery"

    def begin(self, user: str | None, data: dict[str, Any] | None = None) -> Login:
        """Writes a new login with a token of its own, and removes those that have ended."""
        login = Login(_random(), user, _random(), data or {})
        now = self._clock()
        with DatabaseSession(self._engine) as session, session.begin():
            session.execute(
                delete(Session).where(
                    or_(Session.expires_at <= now, Session.seen_at <= now - self._idle)
                )
            )
            session.add(
                Session(
                    token_hash=_digest(login.token), user=user, csrf=login.csrf, created_at=now,
                    seen_at=now, expires_at=now + (self._longest if user else UNFINISHED),
                    data=login.data,
                )
            )  # fmt: skip
        return login

    def find(self, connection: HTTPConnection) -> Login | None:
        """Returns the login of a request's cookie; None if there is none, or it has ended."""
        token = connection.cookies.get(self.cookie, "")
        if not token or len(token) > 2 * TOKEN_BYTES:
            return None

        now = self._clock()
        with DatabaseSession(self._engine) as session, session.begin():
            row = session.get(Session, _digest(token))
            if row is None or row.expires_at <= now or row.seen_at <= now - self._idle:
                return None
            if now - row.seen_at >= SEEN_EVERY:
                seen = update(Session).where(Session.token_hash == row.token_hash)
                session.execute(seen.values(seen_at=now))
            return Login(token, row.user, row.csrf, dict(row.data))

    def of_user(self, user: str) -> Login:
        """Returns what a user's forms carry where a proxy says who sends each request.

        There is no cookie; the row's key is no SHA-256, so no cookie can name it either.
        """
        key = f"proxy {_digest(user)}"
        while True:
            now = self._clock()
            with DatabaseSession(self._engine) as session:
                row = session.get(Session, key)
                if row is not None and row.expires_at > now:
                    return Login("", user, row.csrf)
                ended = Session.token_hash == key, Session.expires_at <= now
                session.execute(delete(Session).where(*ended))
                session.add(
                    Session(
                        token_hash=key, user=user, csrf=_random(), created_at=now, seen_at=now,
                        expires_at=now + self._longest, data={},
                    )
                )  # fmt: skip
                with contextlib.suppress(IntegrityError):  # another request was first
                    session.commit()

    def remember(self, login: Login, data: dict[str, Any]) -> None:
        """Replaces what a login in progress has to remember."""
        with DatabaseSession(self._engine) as session, session.begin():
            row = update(Session).where(Session.token_hash == _digest(login.token))
            session.execute(row.values(data=data))

    def end(self, login: Login) -> None:
        """Removes a login; its cookie is worth nothing afterwards."""
        with DatabaseSession(self._engine) as session, session.begin():
            session.execute(delete(Session).where(Session.token_hash == _digest(login.token)))

    def end_all(self, user: str) -> None:
        """Removes all logins of a user, on every device."""
        with DatabaseSession(self._engine) as session, session.begin():
            session.execute(delete(Session).where(Session.user == user))

    def set_cookie(self, response: Response, login: Login) -> None:
        """Lets a response give the browser a login's token, until the browser is closed."""
        response.set_cookie(
            self.cookie, login.token, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def drop_cookie(self, response: Response) -> None:
        """Lets a response take the token away."""
        response.delete_cookie(
            self.cookie, path="/", secure=self._secure, httponly=True, samesite="lax"
        )


def _random() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
