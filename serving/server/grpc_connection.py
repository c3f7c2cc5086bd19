"""gRPC's HTTP/2 by the library h2, with limits on connections, time, frames, and unread bytes.

h2 keeps the protocol's states and windows and refuses what breaks its rules. It knows no network
and no time. Here, bytes go in and out; each connection is in the table of `connections`, like those
of REST, and updates its phase after every event.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from grpc import StatusCode
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from serving.server.bounds import SMALL_BODY, Share
from serving.server.connections import Connections, Phase, client_of, start_tls
from serving.server.grpc_call import AT_ONCE, GrpcCall, Header
from serving.server.http2 import RESET, SMALL_FRAME, IdleFrames, ServerConnection, goodbye
from serving.server.request_error import RequestError

if TYPE_CHECKING:
    from serving.server.grpc_server import GrpcServer

STEP = 16 * 2**10  # bytes that are parsed before the limit on frames is checked
TLS_BUFFER = 256 * 2**10  # bytes that can arrive together with the end of a handshake
PING_SECONDS = 60
ALIVE, GOODBYE = b"alive?..", b"goodbye."  # contents of pings: eight bytes
SMALL_MESSAGE = 4 * 2**10  # bytes that are not counted of a message beside other calls

_HEADERS = [
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
]
_OK = [("grpc-status", "0")]


class GrpcConnection(asyncio.Protocol):
    """One connection of a client."""

    address = ""

    def __init__(
        self, server: GrpcServer, connections: Connections, tls: ssl.SSLContext | None
    ) -> None:
        """Takes what all connections share.

        Args:
            server: handlers and limits.
            connections: table of all connections.
            tls: the server's certificate and key. The handshake is made here, so that its time is
                limited, too.
        """
        self._server = server
        self._table = connections
        self._limits = server.limits
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._raw: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None  # with TLS, after its handshake
        self._handshake: asyncio.Task[None] | None = None
        self._early = b""  # bytes after the end of the handshake, before `_upgrade` continues

        self._h2 = ServerConnection(server.limits.max_streams)
        self._calls: dict[int, GrpcCall] = {}
        self._new: list[GrpcCall] = []
        self._has_called = False
        self._is_paused = False  # whether the client leaves its answers unread
        self._is_flushing = False
        self._change: asyncio.Future[None] | None = None  # of windows, or of `_is_paused`
        self._idle_frames = IdleFrames()
        self._is_pinged = False  # whether an answer to a ping is missing
        self._is_draining = self._is_closed = False
        self._has_read_goodbye = False  # whether the client makes no further calls
        self._aging: asyncio.TimerHandle | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            RequestReceived: self._on_request,
            DataReceived: self._on_data,
            StreamEnded: self._on_end,
            StreamReset: self._on_reset,
            WindowUpdated: self._on_window,
            RemoteSettingsChanged: self._on_window,
            PingAckReceived: self._on_ping_ack,
            ConnectionTerminated: self._on_goodbye,
        }

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the connection to the table; with TLS, begins the handshake."""
        self._raw = transport
        self.address = client_of(transport.get_extra_info("peername"))
        if not self._table.add(self):
            transport.abort()
        elif self._tls is None:
            self._begin(transport)
        else:
            self._handshake = self._loop.create_task(self._upgrade(transport, self._tls))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Ends the calls of a client that has gone."""
        self._is_closed = True
        self._table.remove(self)
        self._server.connections.discard(self)
        if self._aging is not None:
            self._aging.cancel()
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def data_received(self, data: bytes) -> None:
        """Parses bytes, within the limits."""
        if self._transport is None:
            self._early += data
            if len(self._early) > TLS_BUFFER:
                self.end(None)
            return

        for at in range(0, len(data), STEP):
            if self._is_closed:
                return
            self._feed(data[at : at + STEP] if len(data) > STEP else data)
        self.update_phase()

    def pause_writing(self) -> None:
        """Waits for a client that does not read; meanwhile, nothing is read from it."""
        assert self._transport is not None
        self._is_paused = True
        self._transport.pause_reading()
        self.update_phase()

    def resume_writing(self) -> None:
        """Continues."""
        assert self._transport is not None
        self._is_paused = False
        self._transport.resume_reading()
        self._on_window(None)
        self.update_phase()

    def end(self, phase: Phase | None) -> None:
        """Ends the connection, see `connections.Connection`."""
        if phase is Phase.IDLE and not self._is_draining:
            self.drain()
            self.update_phase()
        elif phase is Phase.QUIET and not self._is_pinged:
            self._is_pinged = True
            self._ping(ALIVE)
            self._table.wait(self, Phase.QUIET, anew=True)
        elif self._raw is not None:
            self._raw.abort()

    def drain(self, *, streams: bool = False) -> None:
        """Asks the client to reconnect; closes the connection after its last call.

        A client may begin a call before it reads this. Its answer to a ping shows that it has.

        Args:
            streams: whether to end the calls that would last for hours, too.
        """
        if self._transport is None:
            self.end(None)
            return
        if streams:
            stopping = RequestError(StatusCode.UNAVAILABLE, "the server is stopping.")
            for call in [call for call in self._calls.values() if call.is_stream]:
                call.stop(stopping)
        if not self._is_draining and not self._is_closed:
            self._is_draining = True
            self._flush()
            self._transport.write(goodbye())
            self._ping(GOODBYE)

    def update_phase(self) -> None:
        """Notes in the table what the server waits for."""
        if self._is_closed:
            self._table.wait(self, Phase.CLOSING)
        elif self._has_read_goodbye and not self._calls and not self._is_paused:
            self._close()
        elif self._is_paused:
            self._table.wait(self, Phase.ANSWER)
        elif not self._calls and self._is_draining:
            self._table.wait(self, Phase.CLOSING)
        elif not self._calls:
            self._table.wait(self, Phase.IDLE if self._has_called else Phase.HEAD)
        elif any(not (call.is_waiting or call.is_stream) for call in self._calls.values()):
            self._table.busy(self)
        elif any(call.is_stream for call in self._calls.values()):
            self._table.wait(self, Phase.QUIET)
        else:
            self._table.wait(self, Phase.BODY)

    def forget(self, stream: int) -> None:
        """Removes a call that is over."""
        self._calls.pop(stream, None)
        self._idle_frames.excuse()
        self.update_phase()

    # What a call sends.

    def send_whole(self, stream: int, data: bytes, trailers: Sequence[Header]) -> bool:
        """Sends a small answer and the status OK; False, and nothing, if there is no room now."""
        h2 = self._h2
        if self._is_paused or len(data) > min(AT_ONCE, h2.local_flow_control_window(stream)):
            return False
        h2.send_headers(stream, _HEADERS)
        h2.send_data(stream, data)
        self._finish(stream, [*_OK, *trailers])
        return True

    def send_headers(self, stream: int) -> None:
        """Begins an answer."""
        self._h2.send_headers(stream, _HEADERS)
        self._flush_soon()

    async def room(self, stream: int) -> int:
        """Returns how many bytes of an answer can be sent, once there are any."""
        while self._is_paused or self._h2.local_flow_control_window(stream) <= 0:
            if self._change is None or self._change.done():
                self._change = self._loop.create_future()
            await asyncio.shield(self._change)
        return min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)

    def send_data(self, stream: int, data: bytes) -> None:
        """Sends a part of an answer, for which there is room."""
        self._h2.send_data(stream, data)
        self._idle_frames.excuse()
        self._flush()

    def send_status(self, stream: int, trailers: Sequence[Header], *, has_begun: bool) -> None:
        """Ends an answer, or answers with a status only."""
        try:
            self._finish(stream, [*([] if has_begun else _HEADERS[:2]), *trailers])
        except ProtocolError:  # the stream has ended meanwhile
            self.forget(stream)

    def _finish(self, stream: int, trailers: Sequence[Header]) -> None:
        self._h2.send_headers(stream, trailers, end_stream=True)
        call = self._calls.get(stream)
        if call is not None and not call.has_ended:  # what it still sends is not needed
            self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)
        self._flush_soon()
        self.forget(stream)

    # What h2 reports.

    def _feed(self, data: bytes) -> None:
        self._flush()  # h2 drops unsent bytes when the client says goodbye
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._close()
            return

        self._idle_frames.add(self._h2.ignored)
        for event in events:
            handler = self._handlers.get(type(event), self._on_other)
            handler(event)
        new, self._new = self._new, []
        for call in new:
            self._server.open(call)

        if self._idle_frames.are_too_many() or self._h2.is_overfull():
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._close()
        else:
            self._flush_soon()

    def _on_request(self, event: RequestReceived) -> None:
        headers: dict[str, str] = {}
        for name, value in event.headers or ():
            headers.setdefault(name.decode(errors="replace"), value.decode(errors="replace"))
        # A client with many calls may not keep 64 KiB of each without being counted.
        share = Share(self._server.budget, SMALL_MESSAGE if self._calls else SMALL_BODY)
        call = GrpcCall(self, event.stream_id, headers, self._limits, share)
        self._calls[event.stream_id] = call
        self._new.append(call)
        self._has_called = True

    def _on_data(self, event: DataReceived) -> None:
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if event.flow_controlled_length < SMALL_FRAME and event.stream_ended is None:
            self._idle_frames.add()
        call = self._calls.get(event.stream_id)
        if call is not None:
            call.receive(event.data)

    def _on_end(self, event: StreamEnded) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            call.receive_end()

    def _on_reset(self, event: StreamReset) -> None:
        self._idle_frames.add(RESET)
        call = self._calls.pop(event.stream_id, None)
        if call is not None:
            call.cancel()
            self._new = [other for other in self._new if other is not call]

    def _on_window(self, event: object) -> None:
        if event is not None:
            self._idle_frames.add()
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _on_ping_ack(self, event: PingAckReceived) -> None:
        self._is_pinged = False
        if event.ping_data == GOODBYE:
            self._has_read_goodbye = True
        self._idle_frames.add()

    def _on_goodbye(self, _: ConnectionTerminated) -> None:
        """Closes the connection after the calls in progress."""
        self._is_draining = self._has_read_goodbye = True
        self._idle_frames.add()

    def _on_other(self, _: object) -> None:
        self._idle_frames.add()

    # The connection itself.

    async def _upgrade(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        upgraded = await start_tls(transport, self, tls, self._limits.header_timeout)
        if upgraded is None or self._is_closed:
            self._table.remove(self)
            return
        self._begin(upgraded)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def _begin(self, transport: asyncio.Transport) -> None:
        """Sends the server's greeting."""
        self._transport = transport
        self._server.connections.add(self)
        self._flush()

        # Not all clients that have come at once shall come again at once.
        age = self._limits.max_connection_age * random.uniform(0.9, 1.1)
        self._aging = self._loop.call_later(age, self._retire)

    def _retire(self) -> None:
        self.drain()
        self._aging = self._loop.call_later(2 * self._limits.request_timeout, self.end, None)

    def _ping(self, content: bytes) -> None:
        self._h2.ping(content)
        self._flush()

    def _flush_soon(self) -> None:
        """Sends all that is written in this turn of the loop together."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._is_closed:
            self._transport.write(data)

    def _close(self) -> None:
        """Sends what is left, and closes the connection."""
        self._flush()
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()
        self._table.wait(self, Phase.CLOSING)
