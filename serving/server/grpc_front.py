"""The limits between the gRPC library and its clients: connections, tokens, and message sizes.

grpcio cannot limit connections. So it listens on a local socket that only this user can reach, and
each client's connection is forwarded to it, byte by byte, which costs about 0.15 ms per call. The
library limits the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from serving.server.bounds import RELOAD_HEADER, ByteBudget, Share, check_reload_token, check_token
from serving.server.connections import MOST_DESCRIPTORS, Connections, Phase, client_of
from serving.server.request_error import RequestError, invalid

if TYPE_CHECKING:
    from serving.server.server_settings import Limits

GREETING = 256  # bytes: longer than HTTP/2's preface and settings, so a request has begun
LATE_SECONDS = 1.0  # after which an incomplete message counts as a large one
PING_SECONDS = 60
METADATA_BYTES = 16 * 2**10
LOOKAHEAD_BYTES = 64 * 2**10  # of a message that the library takes before a handler reads it
HEALTH = "/grpc.health.v1.Health/"
OPEN_METHODS = {f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady")}
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


def channel_options(limits: Limits) -> list[tuple[str, int]]:
    """Returns the options of a server with limits."""
    return [
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", limits.max_streams),
        ("grpc.server_handshake_timeout_ms", round(limits.header_timeout * 1000)),
        ("grpc.max_connection_idle_ms", round(limits.idle_timeout * 1000)),
        ("grpc.max_connection_age_ms", round(limits.max_connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", round(limits.request_timeout * 2000)),
        # Pings end connections whose client has vanished.
        ("grpc.keepalive_time_ms", PING_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", round(limits.header_timeout * 1000)),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
    ]


class TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Checks the token of every call before any byte of its message is read.

    Probes of health have no token. They learn whether the server answers, and nothing else.
    """

    def __init__(self, token: str | None, reload_token: str | None) -> None:
        self._token = token
        self._reload_token = reload_token

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Passes the call to its handler, or refuses it."""
        metadata = call.invocation_metadata
        try:
            if not call.method.startswith(HEALTH) and call.method not in OPEN_METHODS:
                check_token(self._token, metadata_value(metadata, "authorization"))
            if call.method == RELOAD and self._reload_token is not None:
                check_reload_token(self._reload_token, metadata_value(metadata, RELOAD_HEADER))
        except RequestError as error:
            return _refusal(error)
        return await continuation(call)


def metadata_value(metadata: Any, name: str) -> str | None:
    """Returns a value of a call's metadata; None if there is none of this name."""
    value = next((value for key, value in metadata or () if key == name), None)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _refusal(error: RequestError) -> grpc.RpcMethodHandler:
    """Returns a handler that refuses; for streams, the library reads no message by itself."""

    async def refuse(_: Any, context: Any) -> None:
        await context.abort(error.code, error.reason)

    return grpc.stream_stream_rpc_method_handler(refuse)


@asynccontextmanager
async def receive_message(context: Any, limits: Limits, budget: ByteBudget) -> AsyncIterator[bytes]:
    """Reads a call's message, and holds its share of the budget for the length of the block.

    The size of a message is known only when it is complete. One that takes long counts as large.

    Raises:
        RequestError: there is no message, it is too slow, or it does not fit into the budget.
    """
    with budget.share() as share:
        async with share.arriving(limits.request_timeout):
            loop = asyncio.get_running_loop()
            late = loop.call_later(LATE_SECONDS, _take_most, share, limits.max_request_bytes)
            try:
                raw = await context.read()
            finally:
                late.cancel()

        if raw is grpc.aio.EOF:
            raise invalid("expected a message, found none.")
        share.resize(len(raw))
        yield raw


def _take_most(share: Share, size: int) -> None:
    try:
        share.resize(size)
    except RequestError:
        share.give_way()


class GrpcFront(asyncio.Protocol):
    """One client's connection, forwarded to the library's socket."""

    address, descriptors = "", 1

    def __init__(self, connections: Connections, path: str) -> None:
        """Takes the table and the socket.

        Args:
            connections: table of all connections.
            path: the library's socket.
        """
        self._table = connections
        self._path = path
        self._opening: asyncio.Task[None] | None = None
        self._sent = 0  # bytes from the client, counted up to GREETING
        self._is_unread = False  # whether the client leaves its answers unread
        self.client: asyncio.Transport | None = None
        self.library: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Adds the connection to the table."""
        self.client = transport
        self.address = client_of(transport.get_extra_info("peername"))
        if not self._table.add(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Closes the library's end."""
        self._table.remove(self)
        if self.library is not None:
            self.library.close()

    def data_received(self, data: bytes) -> None:
        """Forwards bytes from the client; opens the library's end for the first ones."""
        if self._sent < GREETING:
            self._sent += len(data)
        if self.library is not None:
            self.library.write(data)
            self.update_phase()
            return

        assert self.client is not None
        self.client.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open(self.client, data))

    def pause_writing(self) -> None:
        """Makes the library wait for a client that does not read."""
        assert self.library is not None
        self.library.pause_reading()
        self._is_unread = True
        self.update_phase()

    def resume_writing(self) -> None:
        """Lets the library continue."""
        assert self.library is not None
        self.library.resume_reading()
        self._is_unread = False
        self.update_phase()

    def end(self, phase: Phase | None) -> None:  # noqa: ARG002
        """Ends the connection, see `connections.Connection`."""
        assert self.client is not None
        self.client.abort()

    def update_phase(self) -> None:
        """Notes in the table what the server waits for; called for all bytes in both directions."""
        if self._is_unread:
            self._table.wait(self, Phase.ANSWER)
        elif self._sent >= GREETING:
            self._table.wait(self, Phase.QUIET, anew=True)

    async def _open(self, client: asyncio.Transport, data: bytes) -> None:
        """Opens the library's end, with a descriptor on each side, and forwards the first bytes."""
        loop = asyncio.get_running_loop()
        try:
            if not self._table.enlarge(self, MOST_DESCRIPTORS):
                raise OSError
            self.library, _ = await loop.create_unix_connection(
                lambda: _LibraryEnd(self), self._path
            )
        except OSError:
            client.abort()
            return

        if client.is_closing():
            self.library.close()
            return
        self.library.write(data)
        self.update_phase()
        client.resume_reading()


class _LibraryEnd(asyncio.Protocol):
    """The library's end of a client's connection."""

    def __init__(self, front: GrpcFront) -> None:
        assert front.client is not None
        self._front = front
        self._client = front.client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)
        self._front.update_phase()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._client.close()

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()
