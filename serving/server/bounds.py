"""Who may call, how many requests are in progress, and how much memory their bodies take.

A body takes none of the places for requests in progress before it is complete. Compressed bodies
are unpacked in steps as they arrive, so that a small body never unpacks to a large one in memory.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from grpc import StatusCode
from starlette.requests import Request

from serving.server.request_error import RequestError, invalid, quoted

if TYPE_CHECKING:
    from serving.server.server_settings import Limits

RELOAD_HEADER = "x-mastery-reload-token"  # metadata of a call to reload
# Bytes: smaller bodies are not counted; as many as there may be connections fit into memory.
SMALL_BODY = 64 * 2**10
UNPACKED_STEP = 256 * 2**10  # bytes that are unpacked at a time
MAX_MEMBERS = 64  # of a gzip body; each takes a step, however small

_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def check_token(token: str | None, authorization: str | None) -> None:
    """Admits callers who send the token; everybody if there is none.

    Args:
        token: the server's.
        authorization: value of the header `Authorization`.

    Raises:
        RequestError: no token, or another one.
    """
    if token is None:
        return

    scheme, _, sent = (authorization or "").partition(" ")
    # The comparison takes the same time however many characters are right.
    is_same = hmac.compare_digest(sent.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_same:
        raise RequestError(
            StatusCode.UNAUTHENTICATED, "expected the header 'Authorization: Bearer <token>'."
        )


def check_reload_token(token: str, sent: str | None) -> None:
    """Admits callers who send the second token, which reloading requires.

    Args:
        token: the server's.
        sent: the caller's, from the metadata `RELOAD_HEADER`.

    Raises:
        RequestError: no token, or another one.
    """
    if not hmac.compare_digest((sent or "").encode(), token.encode()):
        raise RequestError(
            StatusCode.PERMISSION_DENIED,
            f"expected the metadata '{RELOAD_HEADER}: <token for reloading>'.",
        )


class Admission:
    """Counts the requests in progress; belongs to one event loop."""

    def __init__(self, max_requests: int) -> None:
        self._max = max_requests
        self.count = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Admits one request for the length of the block.

        Raises:
            RequestError: too many requests are in progress.
        """
        if self.count >= self._max:
            raise RequestError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{self.count} requests are in progress; try again later.",
            )

        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class Share:
    """The part of a `ByteBudget` that one request takes.

    Attributes:
        size: bytes.
        counted: the same; 0 if so few that they are not counted.
    """

    def __init__(self, budget: ByteBudget, small: int = SMALL_BODY) -> None:
        """Takes nothing yet.

        Args:
            budget: of all requests.
            small: bytes; as few are not counted.
        """
        self._budget = budget
        self._small = small
        self.size = self.counted = 0
        self._arriving: asyncio.Timeout | None = None
        self._has_given_way = False

    @asynccontextmanager
    async def arriving(self, seconds: float) -> AsyncIterator[None]:
        """Limits the time in which a body arrives; meanwhile, it may have to give way to another.

        Raises:
            RequestError: it took too long, or had to give way.
        """
        try:
            async with asyncio.timeout(seconds) as self._arriving:
                if self.counted:  # a part that came before
                    self._budget.arriving.setdefault(self)
                yield
        except TimeoutError as error:
            if self._has_given_way:
                raise self._budget.full() from error
            raise RequestError(
                StatusCode.DEADLINE_EXCEEDED,
                f"the whole body did not arrive within {seconds:g} s.",
                HTTPStatus.REQUEST_TIMEOUT,
            ) from error
        finally:
            self._arriving = None
            self._budget.arriving.pop(self, None)

    def resize(self, size: int) -> None:
        """Takes a number of bytes, more or fewer than before.

        Raises:
            RequestError: there are not enough, and no other arriving body can give way.
        """
        counted = size if size > self._small else 0
        if counted > self.counted:
            self._budget.make_room(counted - self.counted, self)

        self._budget.used += counted - self.counted
        self.size, self.counted = size, counted
        if counted and self._arriving is not None:
            self._budget.arriving.setdefault(self)

    def give_way(self) -> None:
        """Returns the bytes of a body that is still arriving, and ends its request."""
        self._has_given_way = True
        self.resize(0)
        if self._arriving is not None and not self._arriving.expired():
            self._arriving.reschedule(asyncio.get_running_loop().time())


class ByteBudget:
    """Bytes of the bodies in progress; belongs to one event loop.

    Attributes:
        used: bytes, without those of small bodies.
        arriving: shares of the large bodies that are still arriving, oldest first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0
        self.arriving: dict[Share, None] = {}

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yields a request's share, empty at first, and takes it back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.resize(0)

    def make_room(self, more: int, requester: Share) -> None:
        """Frees a number of bytes: the bodies that have been arriving longest give way.

        Raises:
            RequestError: no other body is arriving.
        """
        while self.used + more > self._most:
            oldest = next((share for share in self.arriving if share is not requester), None)
            if oldest is None:
                raise self.full()
            del self.arriving[oldest]
            oldest.give_way()

    def full(self) -> RequestError:
        """Returns the refusal of a body."""
        return RequestError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"the bodies of the requests in progress take all of {self._most} bytes; "
            "try again later or with a smaller request.",
        )


@asynccontextmanager
async def body_of(request: Request, limits: Limits, budget: ByteBudget) -> AsyncIterator[bytes]:
    """Reads a request's body, and holds its share of the budget for the length of the block.

    Raises:
        RequestError: the body is too large or too slow, is compressed in an unknown way, or does
            not fit into the budget.
        ClientDisconnect: the client has gone.
    """
    unpacker = _unpacker(request.headers.get("content-encoding", ""))
    _check_declared_length(request.headers.get("content-length", ""), limits)

    with budget.share() as share:
        parts: list[bytes] = []

        def take(part: bytes) -> None:
            share.resize(_checked(share.size + len(part), limits))
            parts.append(part)

        async with share.arriving(limits.request_timeout):
            sent = 0  # bytes before unpacking
            async for part in request.stream():
                sent = _checked(sent + len(part), limits)
                if unpacker is None:
                    take(part)
                else:
                    async for unpacked in unpacker.unpack(part):
                        take(unpacked)
            if unpacker is not None:
                unpacker.finish()

        body = b"".join(parts)
        parts.clear()
        yield body


def _check_declared_length(declared: str, limits: Limits) -> None:
    if not declared.isdecimal():
        return
    if len(declared) > 18 or int(declared) > limits.max_request_bytes:
        raise _too_large(limits)


def _checked(size: int, limits: Limits) -> int:
    if size > limits.max_request_bytes:
        raise _too_large(limits)
    return size


def _too_large(limits: Limits) -> RequestError:
    return RequestError(
        StatusCode.OUT_OF_RANGE, f"expected a request of at most {limits.max_request_bytes} bytes."
    )


class Unpacker:
    """Unpacks a compressed body part by part."""

    def __init__(self, coding: str, header: str) -> None:
        """Begins a body.

        Args:
            coding: how it is compressed.
            header: where the caller says so.
        """
        self._coding = coding
        self._header = header
        self._members = 1
        self._stream = zlib.decompressobj(_CODINGS[coding])
        self._has_begun = False

    async def unpack(self, part: bytes) -> AsyncIterator[bytes]:
        """Unpacks a part in steps, each in a thread.

        Raises:
            RequestError: it is not compressed as declared.
        """
        self._has_begun = self._has_begun or bool(part)
        unpacked = b""
        while part or len(unpacked) == UNPACKED_STEP:  # after a full step, zlib may hold more
            if self._stream.eof:  # gzip may continue with another member
                self._members += 1
                self._stream = zlib.decompressobj(_CODINGS[self._coding])

            stream = self._stream
            try:
                unpacked = await asyncio.to_thread(stream.decompress, part, UNPACKED_STEP)
            except zlib.error as error:
                raise self._invalid(str(error)) from error
            if self._members > MAX_MEMBERS:
                raise self._invalid(f"more than {MAX_MEMBERS} members")

            part = stream.unused_data if stream.eof else stream.unconsumed_tail
            yield unpacked

    def finish(self) -> None:
        """Checks that the body is complete.

        Raises:
            RequestError: its end is missing.
        """
        if self._has_begun and not self._stream.eof:
            raise self._invalid("only its beginning")

    def _invalid(self, found: str) -> RequestError:
        return invalid(f"{self._header}: expected a body in {self._coding}, found {found}.")


def _unpacker(codings: str) -> Unpacker | None:
    names = [name.strip().lower() for name in codings.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) == 1 and names[0] in _CODINGS:
        return Unpacker(names[0], "Content-Encoding")
    raise RequestError(
        StatusCode.INVALID_ARGUMENT,
        f"Content-Encoding: expected gzip, deflate or none, found {quoted(codings, 100)}.",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )
