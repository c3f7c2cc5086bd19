"""HTTP/1.1 by uvicorn, with limits that it leaves to a proxy: on headers, time, and unread bytes.

uvicorn's parser (llhttp) is fast and strict, but keeps a header of any length for any time. Here,
each connection is in the table of `connections` and updates its phase after every event.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.server.bounds import ByteBudget, Share
from serving.server.connections import Connections, Phase, client_of, start_tls
from serving.server.json_tensors import encode_error
from serving.server.request_error import RequestError

if TYPE_CHECKING:
    from serving.server.server_settings import Limits

MAX_URL = 8 * 2**10  # bytes
MAX_PIPELINED = 16  # requests that wait on a connection while an earlier one is answered
MANY_CHUNKS = 1000  # further chunks must have a sensible size
SMALLEST_CHUNK = 64  # bytes, on average
TLS_BUFFER = 256 * 2**10  # bytes that can arrive together with the end of a handshake


class _Stop(Exception):
    """Leaves the parser from within a callback."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client."""

    address = ""

    def __init__(
        self,
        *args: Any,
        connections: Connections,
        budget: ByteBudget,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        **named: Any,
    ) -> None:
        """Takes uvicorn's arguments and those below.

        Args:
            *args: uvicorn's.
            connections: table of all connections.
            budget: of bytes, including answers that their clients leave unread.
            limits: sizes and times.
            tls: the server's certificate and key. The handshake is made here, so that its time is
                limited, too.
            **named: uvicorn's.
        """
        super().__init__(*args, **named)
        self._table = connections
        self._limits = limits
        self._share = Share(budget)

        self._tls = tls
        self._raw: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early = b""  # bytes after the end of the handshake, before `_start_tls` continues
        self._is_ready = False  # whether bytes can be parsed; with TLS, after its handshake

        self._expects = Phase.HEAD
        self._head_bytes = 0  # roughly: bytes given to the parser since the head began
        self._field_bytes = 0  # names and values of the complete headers of this head
        self._chunks = self._body_bytes = 0
        self._unsent = 0  # bytes that the client had not read when last checked
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._running: asyncio.Task[Any] | None = None
        self._is_gone = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the connection to the table; with TLS, begins the handshake."""
        self._raw = transport
        self.address = client_of(transport.get_extra_info("peername"))
        has_place = self._table.add(self)

        if self._tls is None:
            self._begin(transport)
            if not has_place:
                self._refuse(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "too many connections are open; try again later.",
                )
        elif has_place:
            self._handshake = self.loop.create_task(self._start_tls(transport, self._tls))
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Removes the connection from the table, and ends the work for a client that has gone."""
        self._is_gone = True
        self._table.remove(self)
        self._share.resize(0)

        if self._is_ready:
            super().connection_lost(exc)
        if self._running is not None:
            self._running.cancel()

    def data_received(self, data: bytes) -> None:
        """Gives bytes to the parser, within the limits."""
        if not self._is_ready:
            self._early += data
            if len(self._early) > TLS_BUFFER:
                self.end(None)
        elif self._refusal is None:  # what a client sends after its refusal is dropped
            self._feed(data)
            self._update_phase()

    def end(self, phase: Phase | None) -> None:
        """Ends the connection, see `connections.Connection`."""
        if phase is Phase.HEAD and self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request's head did not arrive in time.")
            return
        if phase is Phase.ANSWER and self._has_read():
            self._table.wait(self, Phase.ANSWER)
            return

        is_between_requests = phase in (Phase.HEAD, Phase.IDLE) and self._is_ready
        if is_between_requests and not self.transport.get_write_buffer_size():
            self.transport.close()
            self._table.wait(self, Phase.CLOSING)
        elif self._raw is not None:
            self._raw.abort()

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self._expects = Phase.HEAD
        self._head_bytes = 1
        self._field_bytes = self._chunks = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Takes a part of the URL."""
        super().on_url(url)
        if len(self.url) > MAX_URL:
            self._stop(*self._large_head())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or a trailer."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > self._limits.max_header_bytes:
            self._stop(*self._large_head())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begins to answer."""
        if self.parser.should_upgrade():
            return  # this server has no other protocol, see `_without_upgrade`
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"expected at most {MAX_PIPELINED} waiting requests on one connection.",
            )
        self._expects = Phase.BODY
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Counts chunks: parsing a body of single bytes takes a thousand times as long."""
        self._chunks += 1
        if self._chunks > MANY_CHUNKS and self._body_bytes < self._chunks * SMALLEST_CHUNK:
            self._stop(
                HTTPStatus.BAD_REQUEST, f"expected chunks of {SMALLEST_CHUNK} bytes or more."
            )

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body.

        The application is woken for large parts and at the end, not for each byte of a slow body.
        If a body was answered before its end, up to twice the allowed size is read and dropped.
        """
        self._body_bytes += len(body)
        if not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
                self.cycle.message_event.set()
        elif self._body_bytes > 2 * self._limits.max_request_bytes:
            reason = "the body continued long after its answer."
            self._stop(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)

    def on_message_complete(self) -> None:
        """Ends a request."""
        if not self.parser.should_upgrade():
            self._expects = Phase.IDLE
            self._head_bytes = 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request; the table limits the time."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self._update_phase()

    def pause_writing(self) -> None:
        """Waits for the client to read; another answer may have to give way to its bytes."""
        super().pause_writing()
        self._update_phase()
        while True:
            try:
                self._share.resize(self.transport.get_write_buffer_size())
                return
            except RequestError:
                if not self._table.end_oldest(Phase.ANSWER) or self.transport.is_closing():
                    return

    def resume_writing(self) -> None:
        """Continues to write."""
        super().resume_writing()
        self._share.resize(0)
        self._update_phase()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Answers a request in a task that ends with the connection."""

        async def run(scope: Any, receive: Any, send: Any) -> None:
            self._running = asyncio.current_task()
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                if not self._is_gone:
                    raise  # the server is stopping
            finally:
                self._running = None

        super()._start_asgi_task(cycle, run)

    async def _start_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Makes the handshake, then begins as uvicorn does."""
        upgraded = await start_tls(transport, self, tls, self._limits.header_timeout)
        if upgraded is None or self._is_gone:
            self._table.remove(self)
            return
        self._begin(upgraded)
        early = self._early
        self._early = b""
        if early:
            self.data_received(early)

    def _begin(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._is_ready = True

    def _feed(self, data: bytes) -> None:
        """Parses bytes, and refuses what cannot be parsed."""
        was_in_head = self._expects is Phase.HEAD
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            no_http = (HTTPStatus.BAD_REQUEST, "expected a request of HTTP/1.1.")
            self._refuse(*(self._refusal or no_http))
            return

        # An endless header stays in the parser and reaches no callback.
        if was_in_head and self._expects is Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_URL + self._limits.max_header_bytes:
                self._refuse(*self._large_head())

    def _without_upgrade(self, rest: bytes) -> None:
        """Parses a request again without its header `Upgrade`; with it, its body would be lost."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(
                HTTPStatus.METHOD_NOT_ALLOWED, "expected a request for this server, found CONNECT."
            )
            return

        head = [b"%s %s HTTP/1.1" % (method, self.url)]
        head += [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join(head) + b"\r\n\r\n" + rest)

    def _large_head(self) -> tuple[HTTPStatus, str]:
        if len(self.url) > MAX_URL or not self._field_bytes:
            return HTTPStatus.REQUEST_URI_TOO_LONG, f"expected a URL of at most {MAX_URL} bytes."
        most = self._limits.max_header_bytes
        return (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"expected headers of at most {most} bytes in all.",
        )

    def _stop(self, status: HTTPStatus, reason: str) -> None:
        self._refusal = status, reason
        raise _Stop

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answers in place of the application, then ends the connection."""
        self._refusal = status, reason
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
            cycle.disconnected = True  # the application's answer is dropped
            cycle.message_event.set()

        body = encode_error(reason)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, status.phrase.encode(), len(body), body)
        )

        # Closing at once would reset the connection, and the client could lose the refusal.
        if self.transport.can_write_eof() and self._table.wait(self, Phase.CLOSING):
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _has_read(self) -> bool:
        """Returns whether the client has read some of its answer since the last check."""
        before = self._unsent
        self._unsent = self.transport.get_write_buffer_size()
        return 0 < self._unsent < before

    def _update_phase(self) -> None:
        """Notes in the table what this connection waits for."""
        cycle: Any = self.cycle  # None before the first request
        if self._refusal is not None:
            return

        if self.flow.write_paused or self.transport.is_closing():
            self._unsent = self.transport.get_write_buffer_size()
            self._table.wait(self, Phase.ANSWER)
        elif self._expects is Phase.BODY:
            self._table.wait(self, Phase.BODY)
        elif cycle is not None and not cycle.response_complete:
            self._table.busy(self)
        else:
            self._table.wait(self, self._expects)
