"""Who may call, and how many at once."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from grpc import StatusCode

from serving.server.errors import RequestError

SMALL_BODY = (
    64 * 2**10
)  # bytes: up to here, a body is not counted; as many as there may be at once fit anywhere
RELOAD_HEADER = "x-mastery-reload-token"  # metadata of a call that wants to reload


class Admission:
    """Counts the requests under way; belongs to one event loop."""

    def __init__(self, max_requests: int) -> None:
        self._max, self.count = max_requests, 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Lets one request in for the length of the block.

        Raises:
            RequestError: there are too many already.
        """
        if self.count >= self._max:
            raise RequestError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{self.count} requests are under way; try again later.",
            )
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Share:
    """What one request takes of a `ByteBudget`.

    Attributes:
        size: bytes.
        counted: the same, if they are so many that they count.
    """

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = self.counted = 0
        self._arriving: asyncio.Timeout | None = None
        self._has_given_way = False

    @asynccontextmanager
    async def arriving(self, seconds: float) -> AsyncIterator[None]:
        """Limits the time in which a body arrives. Until then, it can be told to give way to another.

        Raises:
            RequestError: it took too long, or had to give way.
        """
        try:
            async with asyncio.timeout(seconds) as self._arriving:
                yield
        except TimeoutError as error:
            if self._has_given_way:
                raise self._budget.full() from error
            reason = f"expected the whole body within {seconds:g} s."
            raise RequestError(
                StatusCode.DEADLINE_EXCEEDED, reason, HTTPStatus.REQUEST_TIMEOUT
            ) from error
        finally:
            self._arriving = None
            self._budget.arriving.pop(self, None)

    def resize(self, size: int) -> None:
        """Takes so many bytes.

        Raises:
            RequestError: there are not as many, and no other body that is still arriving has them.
        """
        counted = size if size > SMALL_BODY else 0
        if counted > self.counted:
            self._budget.make_room(counted - self.counted, self)
        self._budget.used += counted - self.counted
        self.size, self.counted = size, counted
        if counted and self._arriving is not None:
            self._budget.arriving.setdefault(self)

    def give_way(self) -> None:
        """Gives back the bytes of a body that is still arriving, and ends its request."""
        self._has_given_way = True
        self.resize(0)
        if self._arriving is not None and not self._arriving.expired():
            self._arriving.reschedule(asyncio.get_running_loop().time())


class ByteBudget:
    """Bytes of the bodies under way; belongs to one event loop.

    Attributes:
        used: bytes, but for those of small bodies.
        arriving: shares of the large bodies that are still arriving, oldest first.
    """

    def __init__(self, most: int) -> None:
        self._most, self.used = most, 0
        self.arriving: dict[Share, None] = {}

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yields a request's share, empty at first, and takes it back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.resize(0)

    def make_room(self, more: int, asking: Share) -> None:
        """Sees to it that there are so many more bytes: the body that has been arriving for longest gives way.

        Raises:
            RequestError: there are not.
        """
        while self.used + more > self._most:
            oldest = next((share for share in self.arriving if share is not asking), None)
            if oldest is None:
                raise self.full()
            del self.arriving[oldest]
            oldest.give_way()

    def full(self) -> RequestError:
        """Returns the refusal of a body."""
        return RequestError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"the bodies of the requests under way take all of {self._most} bytes; try again later, or with less.",
        )


def check_reload_token(token: str, presented: str | None) -> None:
    """Lets a caller reload who presents the second token.

    Args:
        token: the server's.
        presented: what the caller has in the metadata `RELOAD_HEADER`.

    Raises:
        RequestError: it is another token, or none.
    """
    if not hmac.compare_digest((presented or "").encode(), token.encode()):
        raise RequestError(
            StatusCode.PERMISSION_DENIED,
            f"expected the metadata '{RELOAD_HEADER}: <token for reloading>'.",
        )


def check_token(token: str | None, authorization: str | None) -> None:
    """Lets a caller pass who presents the token, or everybody where there is none.

    Args:
        token: the server's.
        authorization: value of the header `Authorization`.

    Raises:
        RequestError: no token, or another one.
    """
    if token is None:
        return
    scheme, _, presented = (authorization or "").partition(" ")
    # Compared in a time that does not tell how much of it was right.
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        presented.strip().encode(), token.encode()
    ):
        raise RequestError(
            StatusCode.UNAUTHENTICATED, "expected the header 'Authorization: Bearer <token>'."
        )
