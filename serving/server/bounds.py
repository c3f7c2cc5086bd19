"""How a REST request's body comes in: no longer, no larger and no later than it may.

A body takes none of the places for requests under way before it is whole. Compressed ones are unpacked as they
arrive, in steps, so that what a few bytes unpack to is never in memory.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from grpc import StatusCode
from starlette.requests import Request

from serving.server.request_error import RequestError, invalid
from serving.server.server_settings import Limits

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


STEP = 256 * 2**10  # bytes that are unpacked at a time


MAX_MEMBERS = 64  # of a gzip body; each takes a step, however small


_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@asynccontextmanager
async def body_of(request: Request, limits: Limits, budget: ByteBudget) -> AsyncIterator[bytes]:
    """Reads a request's body, and holds its share of the bytes under way for the length of the block.

    Raises:
        RequestError: it is too large or too slow, is compressed in an unknown way, or there is no room for it.
        ClientDisconnect: the client has gone.
    """
    unpacker = _unpacker(request.headers.get("content-encoding", ""))
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limits.max_request_bytes):
        raise too_large(limits)

    with budget.share() as share:
        parts: list[bytes] = []

        def take(piece: bytes) -> None:
            share.resize(_checked(share.size + len(piece), limits))
            parts.append(piece)

        async with share.arriving(limits.request_timeout):
            arrived = 0  # bytes as they were sent
            async for part in request.stream():
                arrived = _checked(arrived + len(part), limits)
                if unpacker is None:
                    take(part)
                else:
                    async for piece in unpacker.unpack(part):
                        take(piece)
            if unpacker is not None:
                unpacker.finish()

        body = b"".join(parts)
        parts.clear()
        yield body


def too_large(limits: Limits) -> RequestError:
    """Returns the refusal of a body that is larger than a request may be."""
    return RequestError(
        StatusCode.OUT_OF_RANGE, f"expected a request of at most {limits.max_request_bytes} bytes."
    )


def _checked(size: int, limits: Limits) -> int:
    if size > limits.max_request_bytes:
        raise too_large(limits)
    return size


class _Unpacker:
    """Unpacks a compressed body part by part."""

    def __init__(self, coding: str) -> None:
        self._coding, self._members = coding, 1
        self._stream = zlib.decompressobj(_CODINGS[coding])
        self._has_begun = False

    async def unpack(self, part: bytes) -> AsyncIterator[bytes]:
        """Yields what a part unpacks to, in steps, each in a thread.

        Raises:
            RequestError: it is not compressed as was said.
        """
        self._has_begun = self._has_begun or bool(part)
        piece = b""
        while part or len(piece) == STEP:  # a full step may have left some in the library
            if self._stream.eof:  # gzip may go on with a further member
                self._members += 1
                self._stream = zlib.decompressobj(_CODINGS[self._coding])
            try:
                piece = await asyncio.to_thread(self._stream.decompress, part, STEP)
            except zlib.error as error:
                raise self._wrong(str(error)) from error
            if self._members > MAX_MEMBERS:
                raise self._wrong(f"more than {MAX_MEMBERS} members")
            part = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            yield piece

    def finish(self) -> None:
        """Checks that the body is whole.

        Raises:
            RequestError: its end is missing.
        """
        if self._has_begun and not self._stream.eof:
            raise self._wrong("only its beginning")

    def _wrong(self, found: str) -> RequestError:
        return invalid(f"Content-Encoding: expected a body in {self._coding}, found {found}.")


def _unpacker(codings: str) -> _Unpacker | None:
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _CODINGS:
        raise RequestError(
            StatusCode.INVALID_ARGUMENT,
            f"Content-Encoding: expected gzip, deflate or none, found {codings[:100]}.",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    return _Unpacker(names[0])
