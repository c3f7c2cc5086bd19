"""Reads statements from a record store by its API: xAPI 1.0.3, part 3, 2.1.3; xAPI 2.0, 4.1.6.1.

Every request goes to the host of the configured address and no other, because the password goes
with it: redirections are not followed, and a link to more statements elsewhere is an error.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.command.escape import shorten
from components.config.fetch import check_endpoint
from components.platforms.fetch.progress import FetchError
from components.sending import TEMPORARY, describe_status, retry_after

if TYPE_CHECKING:
    import httpx

    from components.config.fetch import Fetch

PAGE_BYTES = 64 << 20  # of one answer
TRIES = 6
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before another try, if the store names none
_LONGEST_PAUSE = 300.0  # seconds that a store may ask us to wait

Statement = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Some statements.

    Attributes:
        statements: in the order of the answer.
        consistent_through: what was stored up to here is visible; None if the store does not say.
    """

    statements: list[Statement]
    consistent_through: datetime | None


@contextmanager
def open_store(fetch: Fetch, environment: Mapping[str, str] = os.environ) -> Iterator[RecordStore]:
    """Yields a record store; nobody is asked before the first request.

    Raises:
        FetchError: a variable is missing, or holds no address.
    """
    import httpx

    for name in ("httpx", "httpcore"):  # below warnings they log addresses
        logging.getLogger(name).setLevel(logging.WARNING)
    address = fetch.statements
    if fetch.statements_env is not None:
        given = _variable("statements_env", fetch.statements_env, environment)
        try:
            address = check_endpoint(given)
        except ValueError as error:
            raise FetchError(f"${fetch.statements_env}: {error}.") from None
    assert address is not None, "the configuration names a record store"

    login = None
    if fetch.user_env is not None and fetch.password_env is not None:
        login = httpx.BasicAuth(
            _variable("user_env", fetch.user_env, environment),
            _variable("password_env", fetch.password_env, environment),
        )
    headers = {"X-Experience-API-Version": fetch.version, "Accept": "application/json"}
    with httpx.Client(auth=login, headers=headers, timeout=fetch.timeout_seconds) as client:
        yield RecordStore(address, client, fetch)


def _variable(key: str, name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise FetchError(
            f"data.fetch.{key}: expected a value in the environment variable {name}, found none."
        )
    return value


@dataclass
class RecordStore:
    """A record store's statements.

    Attributes:
        address: of its API; `/statements` follows.
        client: with the login.
        fetch: how it is asked.
    """

    address: str
    client: httpx.Client
    fetch: Fetch
    _links: set[int] = field(default_factory=set)

    @property
    def origin(self) -> str:
        """The address without its scheme."""
        return self.address.partition("://")[2]

    def pages(self, since: datetime | None) -> Iterator[Page]:
        """Yields statements page by page, from the one that was stored first.

        Args:
            since: those that were stored up to here are left out; None for all.

        Raises:
            FetchError: the store cannot be reached, refuses, or does not answer as xAPI says.
        """
        import httpx

        query = {"ascending": "true", "attachments": "false", "limit": str(self.fetch.limit)}
        if since is not None:
            query["since"] = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
        url = httpx.URL(f"{self.address}/statements", params=query)
        self._links.clear()
        while True:
            content, headers = self._get(url)
            statements, more = self._parse(content)
            yield Page(statements, read_moment(headers.get("X-Experience-API-Consistent-Through")))
            if not more:
                return
            url = self._next(url, more)

    def _next(self, url: httpx.URL, more: str) -> httpx.URL:
        """Returns the address of the next page: a full one, or one without scheme and host."""
        import httpx

        try:
            following = url.join(more)
        except (httpx.InvalidURL, ValueError):
            raise self._odd(f"an address as `more`, found {shorten(more)!r}") from None
        if (following.scheme, following.host, following.port) != (url.scheme, url.host, url.port):
            raise self._odd(
                f"more statements at the same host, found a link to {following.scheme}://"
                f"{following.host}; nothing was asked there, because the password would go with "
                "it. If the store is behind a proxy, let it know its public address"
            )
        link = hash(str(following))
        if link in self._links:
            raise self._odd("another link with each page, found one for the second time")
        self._links.add(link)
        return following

    def _parse(self, content: bytes) -> tuple[list[Statement], str]:
        """Returns the statements of an answer and the link to more, empty at the end."""
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            start = shorten(content[:80].decode(errors="replace"), 60)
            raise self._odd(f"JSON, found {start!r}") from None
        statements = answer.get("statements") if isinstance(answer, dict) else None
        if not isinstance(statements, list) or not all(isinstance(x, dict) for x in statements):
            raise self._odd("an object with a list of `statements`, found another one")
        more = answer.get("more") or ""
        if not isinstance(more, str):
            raise self._odd("an address as `more`, found another value")
        return statements, more

    def _get(self, url: httpx.URL) -> tuple[bytes, httpx.Headers]:
        """Asks for a page, again after errors that may pass."""
        import httpx

        for tried in range(1, TRIES + 1):
            asked: float | None = None
            try:
                with self.client.stream("GET", url) as answer:
                    if answer.status_code == httpx.codes.OK:
                        return self._read(answer), answer.headers
                    reason = f"it answered {describe_status(answer.status_code)}"
                    asked = retry_after(answer.headers)
                    passes = answer.is_server_error or answer.status_code in TEMPORARY
            except httpx.TransportError as error:
                reason, passes = f"it could not be reached ({type(error).__name__})", True
            except httpx.DecodingError:
                reason, passes = "its answer is compressed and damaged", True
            if not passes:
                raise self._failed(f"{reason}; {_ADVICE.get(answer.status_code, _ADVICE[404])}")
            if tried == TRIES or (asked or 0) > _LONGEST_PAUSE:
                waits = f" and asks to wait {asked:,.0f} s" if asked else ""
                raise self._failed(f"{reason}{waits}; {tried} tries. Try again later")
            time.sleep(asked if asked is not None else _PAUSES[tried - 1])
        raise AssertionError("the last try returns or raises")

    def _read(self, answer: httpx.Response) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > PAGE_BYTES:
                raise self._failed(
                    f"its answer has more than {PAGE_BYTES >> 20} MiB; ask for fewer statements at "
                    "a time with data.fetch.limit"
                )
        return b"".join(parts)

    def _failed(self, reason: str) -> FetchError:
        return FetchError(f"{self.origin}: no statements could be fetched: {reason}.")

    def _odd(self, expected: str) -> FetchError:
        return FetchError(
            f"{self.origin}: expected {expected}. Is it the address of a record store's xAPI?"
        )


_ADVICE = {
    301: "set data.fetch.statements to its new address: redirections are not followed",
    302: "set data.fetch.statements to its new address: redirections are not followed",
    307: "set data.fetch.statements to its new address: redirections are not followed",
    308: "set data.fetch.statements to its new address: redirections are not followed",
    400: "does it know data.fetch.version?",
    401: "are user and password in data.fetch.user_env and password_env right?",
    403: "may this user read statements (scope statements/read, or all/read)?",
    404: "is the address right, up to the part before /statements?",
}


def read_moment(text: object) -> datetime | None:
    """Returns a moment as ISO 8601 writes it, in UTC; None for anything else.

    >>> read_moment("2026-11-27T13:00:00.123456789+01:00")
    datetime.datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    """
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
