"""HTTP/1.1 by uvicorn, with the bounds that it leaves to a proxy: on heads, on time, on what is read and not used.

uvicorn's parser (llhttp) is fast and strict, but holds a header of any length for any time. Here each connection is
in the table of `connections`, and says after every event what it waits for.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.server.bounds import ByteBudget, Share
from serving.server.connections import Connections, Phase, client_of
from serving.server.json_tensors import encode_error
from serving.server.request_error import RequestError
from serving.server.server_settings import Limits

MAX_URL = 8 * 2**10  # bytes
MAX_PIPELINED = 16  # requests that wait on a connection while the one before them is answered
MANY_CHUNKS = 1000  # after so many, chunks have to be of a sensible size
SMALLEST_CHUNK = 64  # bytes, on average
TLS_BUFFER = 256 * 2**10  # bytes that can arrive together with the end of a handshake


class _Stop(Exception):
    """Raised in a callback to leave the parser."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a client."""

    address, descriptors = "", 1

    def __init__(
        self,
        *args: Any,
        connections: Connections,
        budget: ByteBudget,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
        **named: Any,
    ) -> None:
        """Makes one; what is not named here is uvicorn's.

        Args:
            *args: uvicorn's.
            connections: the table of all of them.
            budget: of bytes; answers that their clients leave unread count, too.
            limits: sizes and times.
            tls: the server's certificate and key. The handshake is made here, so that it counts as waiting, too.
            **named: uvicorn's.
        """
        super().__init__(*args, **named)
        self._table, self._limits, self._tls = connections, limits, tls
        self._raw: asyncio.Transport | None = None
        self._early = (
            b""  # what comes in between the end of TLS's handshake and our being told of it
        )
        self._handshake: asyncio.Task[None] | None = None
        self._is_ready = (
            False  # whether bytes can be parsed: where there is TLS, after its handshake
        )
        self._expects = Phase.HEAD
        self._head_bytes = (
            0  # of the head that is arriving: roughly what was handed to the parser since it began
        )
        self._field_bytes = 0  # of the same head: names and values of the headers that are complete
        self._chunks = self._body_bytes = 0
        self._unsent = 0  # bytes that the client had not read when it was last looked at
        self._share = Share(budget)
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._running: asyncio.Task[Any] | None = None
        self._is_gone = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection and, where there is TLS, begins the handshake."""
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
        """Forgets the connection, and ends the work for a client that has gone."""
        self._is_gone = True
        self._table.remove(self)
        self._share.resize(0)
        if self._is_ready:
            super().connection_lost(exc)
        if self._running is not None:
            self._running.cancel()

    def data_received(self, data: bytes) -> None:
        """Hands bytes to the parser, as far as the limits go."""
        if not self._is_ready:
            self._early += data
            if len(self._early) > TLS_BUFFER:
                self.end(None)
        elif self._refusal is None:  # what a client sends after its refusal is read and dropped
            self._feed(data)
            self._tell()

    def end(self, phase: Phase | None) -> None:
        """Ends the connection, see `connections.Connection`."""
        if phase is Phase.HEAD and self._head_bytes:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT, "expected the whole head of a request in time."
            )
        elif phase is Phase.ANSWER and self._has_read():
            self._table.wait(self, Phase.ANSWER)
        elif (
            phase in (Phase.HEAD, Phase.IDLE)
            and self._is_ready
            and not self.transport.get_write_buffer_size()
        ):
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
            return  # nothing that could be upgraded to is spoken here; see _without_upgrade
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"expected at most {MAX_PIPELINED} requests that wait.",
            )
        self._expects = Phase.BODY
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """Counts the chunks: a body of single bytes takes the parser a thousand times as long."""
        self._chunks += 1
        if self._chunks > MANY_CHUNKS and self._body_bytes < self._chunks * SMALLEST_CHUNK:
            self._stop(
                HTTPStatus.BAD_REQUEST, f"expected chunks of {SMALLEST_CHUNK} bytes or more."
            )

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body; of one that was answered before its end, no more than two may have.

        The application is woken for large parts and for the end, not for each byte of a body that trickles.
        """
        self._body_bytes += len(body)
        if not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
                self.cycle.message_event.set()
        elif self._body_bytes > 2 * self._limits.max_request_bytes:
            self._stop(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body goes on long after its answer."
            )

    def on_message_complete(self) -> None:
        """Ends a request."""
        if not self.parser.should_upgrade():
            self._expects, self._head_bytes = Phase.IDLE, 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request; for how long, the table says."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self._tell()

    def pause_writing(self) -> None:
        """Waits for the client to read; where there is no room for what it leaves, another's answer gives way."""
        super().pause_writing()
        self._tell()
        while True:
            try:
                self._share.resize(self.transport.get_write_buffer_size())
                return
            except RequestError:
                if not self._table.end_oldest(Phase.ANSWER) or self.transport.is_closing():
                    return

    def resume_writing(self) -> None:
        """Goes on."""
        super().resume_writing()
        self._share.resize(0)
        self._tell()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Starts to answer a request, in a task that ends with the connection."""

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
        """Makes the handshake, and begins as uvicorn does."""
        seconds = self._limits.header_timeout
        try:
            upgraded = await self.loop.start_tls(
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:  # it took too long, was no client's hello, or the client has gone
            transport.abort()
            self._table.remove(self)
            return

        if upgraded is None or self._is_gone:
            return
        self._begin(upgraded)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def _begin(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._is_ready = True

    def _feed(self, data: bytes) -> None:
        """Parses, and refuses what cannot be parsed."""
        was_in_head = self._expects is Phase.HEAD
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(
                *(self._refusal or (HTTPStatus.BAD_REQUEST, "expected a request of HTTP/1.1."))
            )
        else:
            # A header that goes on and on is in the parser, and in no callback.
            if was_in_head and self._expects is Phase.HEAD:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_URL + self._limits.max_header_bytes:
                    self._refuse(*self._large_head())

    def _without_upgrade(self, rest: bytes) -> None:
        """Parses a request again, without its wish for another protocol: for that, the parser drops its body."""
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
        """Answers what is not handed to the application, and ends the connection when the client has read that."""
        self._refusal = status, reason
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
            cycle.disconnected = True  # the application answers nobody now
            cycle.message_event.set()

        body = encode_error(reason)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
            % (status, status.phrase.encode(), len(body), body)
        )
        # To close at once would reset the connection, and the client could lose what it was told.
        if self.transport.can_write_eof() and self._table.wait(self, Phase.CLOSING):
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _has_read(self) -> bool:
        """Says whether the client has read some of its answer since it was last looked at."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return 0 < self._unsent < before

    def _tell(self) -> None:
        """Tells the table what is waited for."""
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
