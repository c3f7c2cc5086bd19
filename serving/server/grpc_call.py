"""One gRPC call: its messages, deadline and status.

A call is the context of its handler, with the few methods of `grpc.aio.ServicerContext` that the
handlers here use.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from urllib.parse import quote, unquote_to_bytes

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode
from h2.exceptions import ProtocolError
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from serving.server.bounds import SMALL_BODY, Share, Unpacker
from serving.server.request_error import RequestError, invalid, quoted

if TYPE_CHECKING:
    from serving.server.grpc_connection import GrpcConnection
    from serving.server.server_settings import Limits

log = logging.getLogger("mastery.serving")

PREFIX = struct.Struct(">BI")  # of a message: whether it is compressed, and its size
AT_ONCE = 16 * 2**10  # bytes: a message as small fits into one frame of every client
MAX_QUEUED = 64  # messages of a streaming call that its handler has not taken yet
MAX_REASON = 4000  # bytes of a status' text, encoded; clients limit the size of trailers
ENCODINGS = ("gzip", "deflate")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

Header: TypeAlias = tuple[str, str] | HeaderTuple


class GrpcCall:
    """A call from its headers to its status; belongs to one connection.

    Attributes:
        headers: of the request, by lower-case names.
        is_waiting: whether the server waits for a message of the client.
        is_stream: whether a handler may answer more than once; such a call can last for hours.
    """

    def __init__(
        self,
        connection: GrpcConnection,
        stream: int,
        headers: Mapping[str, str],
        limits: Limits,
        share: Share,
    ) -> None:
        """Takes a stream whose headers have arrived.

        Args:
            connection: the client's.
            stream: its number.
            headers: of the request.
            limits: of messages and time.
            share: of the budget of bytes.
        """
        self._connection = connection
        self._stream = stream
        self.headers = headers
        self._limits = limits
        self._share = share

        self._handler: grpc.RpcMethodHandler | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer = bytearray()  # the beginning of an incomplete message
        self._messages: deque[tuple[bool, bytes]] = deque()
        self._arrival: asyncio.Future[None] | None = None  # of a message that a handler waits for
        self._failure: RequestError | None = None
        self._stopped: RequestError | None = None
        self._has_request = False  # whether the only message has been taken
        self.has_ended = False  # whether the client has sent its last byte
        self._has_begun = False  # whether the answer's headers have been sent
        self._trailers: list[Header] = []  # in addition to the status
        self.is_waiting = True
        self.is_stream = False

    def start(self, handler: grpc.RpcMethodHandler) -> None:
        """Begins to answer."""
        self._handler = handler
        self.is_stream = handler.response_streaming
        self._task = asyncio.get_running_loop().create_task(self._run())

    def receive(self, data: bytes) -> None:
        """Takes bytes from the client; drops those of a message too large or one too many."""
        if self._failure is not None or self._has_request:
            return
        self._buffer += data
        try:
            self._split()
            self._share.resize(len(self._buffer) + sum(len(raw) for _, raw in self._messages))
        except RequestError as error:
            self._failure = error
            self._buffer.clear()
        self._notify()

    def receive_end(self) -> None:
        """Notes that the client sends nothing more."""
        self.has_ended = True
        self._notify()

    def cancel(self) -> None:
        """Ends a call whose client has gone or has lost interest."""
        if self._task is not None:
            self._task.cancel()
        self._share.resize(0)

    def refuse(self, error: RequestError) -> None:
        """Answers in place of a handler."""
        self._share.resize(0)
        self._end(error.code, error.reason)

    def stop(self, error: RequestError) -> None:
        """Ends a call that is being answered."""
        assert self._task is not None
        self._stopped = error
        self._task.cancel()

    # What a handler calls, under the names of `grpc.aio.ServicerContext`.

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Returns the request's headers."""
        return list(self.headers.items())

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str]]) -> None:
        """Sends metadata with the status; those set before are replaced."""
        self._trailers = list(metadata)

    async def abort(self, code: StatusCode, details: str = "") -> NoReturn:
        """Ends the call with a status.

        Raises:
            RequestError: always.
        """
        raise RequestError(code, details)

    async def write(self, message: Any) -> None:
        """Sends one of several answers."""
        assert self._handler is not None
        await self._send(self._handler.response_serializer(message))

    async def _run(self) -> None:
        """Answers, and sends the status."""
        try:
            async with asyncio.timeout(_seconds(self.headers.get("grpc-timeout"))):
                await self._answer()
                return
        except RequestError as error:
            code, reason = error.code, error.reason
        except TimeoutError:
            code, reason = StatusCode.DEADLINE_EXCEEDED, "the call's deadline has passed."
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            code, reason = self._stopped.code, self._stopped.reason
        except ProtocolError:  # the stream has ended meanwhile
            self._connection.forget(self._stream)
            return
        except Exception as error:
            log.exception("gRPC: %s", quoted(self.headers.get(":path", "")))
            code, reason = StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        finally:
            self._share.resize(0)

        self._end(code, reason)

    async def _answer(self) -> None:
        handler: Any = self._handler
        if not handler.response_streaming:
            answer = handler.unary_unary(await self._request(), self)
            raw = (handler.response_serializer or bytes)(await answer)
            whole = PREFIX.pack(False, len(raw)) + raw
            if not self._connection.send_whole(self._stream, whole, self._trailers):
                await self._send(raw)
                self._end(StatusCode.OK, "")
            return

        if handler.request_streaming:
            answers = handler.stream_stream(self._requests(), self)
        else:
            answers = handler.unary_stream(await self._request(), self)
        if hasattr(answers, "__aiter__"):
            async for answer in answers:
                await self.write(answer)
        else:
            await answers
        self._end(StatusCode.OK, "")

    async def _request(self) -> Any:
        """Returns the only message.

        Raises:
            RequestError: there is none, it is too slow, or it does not fit into the budget.
        """
        if self._messages:
            raw = await self._next()
        else:
            async with self._share.arriving(self._limits.request_timeout):
                raw = await self._next()
        if raw is None:
            raise invalid("expected a message, found none.")
        self.is_waiting = False
        self._connection.update_phase()
        return self._parsed(raw)

    async def _requests(self) -> AsyncIterator[Any]:
        while (raw := await self._next()) is not None:
            yield self._parsed(raw)

    def _parsed(self, raw: bytes) -> Any:
        assert self._handler is not None
        parse = self._handler.request_deserializer
        if parse is None:
            return raw
        try:
            return parse(raw)
        except DecodeError as error:
            raise invalid("expected a message, found bytes that cannot be decoded.") from error

    async def _next(self) -> bytes | None:
        """Returns the next message, unpacked; None after the last one.

        Raises:
            RequestError: it is too large, incomplete, or compressed in an unknown way.
        """
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self.has_ended:
                if self._buffer:
                    raise invalid("expected a message, found only its beginning.")
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival

        is_compressed, raw = self._messages.popleft()
        if self._handler is not None and not self._handler.request_streaming:
            self._has_request = True
            self._messages.clear()
            self._buffer.clear()
        return await self._unpacked(raw) if is_compressed else raw

    async def _unpacked(self, raw: bytes) -> bytes:
        encoding = self.headers.get("grpc-encoding", "identity")
        if encoding not in ENCODINGS:
            raise RequestError(
                StatusCode.UNIMPLEMENTED,
                f"grpc-encoding: expected {' or '.join(ENCODINGS)}, found {quoted(encoding, 100)}.",
            )

        unpacker = Unpacker(encoding, "grpc-encoding")
        parts: list[bytes] = []
        size = 0
        async for part in unpacker.unpack(raw):
            size += len(part)
            self._check_size(size)
            self._share.resize(len(raw) + size)
            parts.append(part)
        unpacker.finish()
        return b"".join(parts)

    def _split(self) -> None:
        """Moves complete messages out of the buffer."""
        buffer = self._buffer
        while len(buffer) >= PREFIX.size:
            is_compressed, size = PREFIX.unpack_from(buffer)
            self._check_size(size)
            end = PREFIX.size + size
            if len(buffer) < end:
                return
            self._messages.append(
                (bool(is_compressed), bytes(memoryview(buffer)[PREFIX.size : end]))
            )
            del buffer[:end]
            if len(self._messages) > MAX_QUEUED:
                raise RequestError(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"{MAX_QUEUED} messages of this call are waiting.",
                )

    def _check_size(self, size: int) -> None:
        most = self._limits.max_request_bytes
        if self._handler is not None and self._handler.request_streaming:
            most = min(most, SMALL_BODY)  # it may stay incomplete for hours
        if size > most:
            raise RequestError(
                StatusCode.RESOURCE_EXHAUSTED, f"expected a message of at most {most} bytes."
            )

    def _notify(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def _send(self, raw: bytes) -> None:
        """Sends a message as fast as the client reads it.

        Raises:
            RequestError: the client reads too slowly, or unread answers take too much memory.
        """
        connection = self._connection
        if not self._has_begun:
            self._has_begun = True
            connection.send_headers(self._stream)
        self._share.resize(len(raw))

        left = memoryview(PREFIX.pack(False, len(raw)) + raw)
        seconds = self._limits.request_timeout
        try:
            async with asyncio.timeout(seconds):
                while left:
                    room = await connection.room(self._stream)
                    connection.send_data(self._stream, bytes(left[:room]))
                    left = left[room:]
        except TimeoutError as error:
            raise RequestError(
                StatusCode.DEADLINE_EXCEEDED, f"the answer was not read within {seconds:g} s."
            ) from error

    def _end(self, code: StatusCode, reason: str) -> None:
        trailers: list[Header] = [("grpc-status", str(code.value[0])), *self._trailers]
        if reason:
            # Not kept in the table of headers, whose size the client chooses.
            trailers.append(NeverIndexedHeaderTuple("grpc-message", _encoded(reason)))
        self._connection.send_status(self._stream, trailers, has_begun=self._has_begun)


def _encoded(reason: str) -> str:
    """Returns a text as `grpc-message` has it, cut to `MAX_REASON`, but not inside a character.

    >>> _encoded("Größe: 5%")
    'Gr%C3%B6%C3%9Fe: 5%25'
    """
    text = quote(reason[:MAX_REASON], safe=_PRINTABLE, errors="replace")
    if len(text) <= MAX_REASON:
        return text
    whole = unquote_to_bytes(_CUT_ESCAPE.sub("", text[:MAX_REASON])).decode(errors="ignore")
    return quote(whole, safe=_PRINTABLE)


def _seconds(timeout: str | None) -> float | None:
    """Returns the seconds of a header `grpc-timeout`; None without one.

    Raises:
        RequestError: it is malformed.

    >>> _seconds("1500m")
    1.5
    """
    if timeout is None:
        return None
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise invalid(f"grpc-timeout: expected a number and a unit, found {quoted(timeout, 100)}.")
    return int(match[1]) * _UNITS[match[2]]
