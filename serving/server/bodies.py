"""How a REST request's body comes in: no longer, no larger and no later than it may.

A body takes none of the places for requests under way before it is whole. Compressed ones are unpacked as they
arrive, in steps, so that what a few bytes unpack to is never in memory.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from grpc import StatusCode
from starlette.requests import Request

from serving.server.errors import RequestError, invalid
from serving.server.limits import ByteBudget
from serving.server.settings import Limits

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
