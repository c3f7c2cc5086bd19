"""What stands between gRPC's library and its clients: connections, tokens, and how much is read.

grpcio cannot limit connections, so its own socket is a file that only this user can reach, and each client's
connection is handed through to it, byte by byte. That costs about 0.15 ms a call. The library limits the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from serving.server.bounds import RELOAD_HEADER, ByteBudget, Share, check_reload_token, check_token
from serving.server.connections import MOST_DESCRIPTORS, Connections, Phase, client_of
from serving.server.request_error import RequestError, invalid
from serving.server.server_settings import Limits

GREETING = (
    256  # bytes: HTTP/2's preface and settings are shorter; who has sent more has asked something
)
LATE_SECONDS = 1.0  # after which a message that is not whole counts as a large one
PING_SECONDS = 60
METADATA_BYTES = 16 * 2**10
HEALTH = "/grpc.health.v1.Health/"
OPEN_METHODS = {f"/inference.GRPCInferenceService/{name}" for name in ("ServerLive", "ServerReady")}
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


def channel_options(limits: Limits) -> list[tuple[str, int]]:
    """Returns the options of a bounded server."""
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
        (
            "grpc.keepalive_time_ms",
            PING_SECONDS * 1000,
        ),  # ends those whose client has gone without a word
        ("grpc.keepalive_timeout_ms", round(limits.header_timeout * 1000)),
        (
            "grpc.http2.lookahead_bytes",
            64 * 2**10,
        ),  # of a message that nobody has asked to read yet
    ]


class TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Asks for the token before any byte of a message is read, for whatever service but health.

    Probes have no token. They learn whether the server answers, and nothing else.
    """

    def __init__(self, token: str | None, reload_token: str | None) -> None:
        self._token, self._reload_token = token, reload_token

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], call: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Lets the call go on to its handler, or answers UNAUTHENTICATED."""
        try:
            if not call.method.startswith(HEALTH) and call.method not in OPEN_METHODS:
                check_token(self._token, metadata_value(call.invocation_metadata, "authorization"))
            if call.method == RELOAD and self._reload_token is not None:
                check_reload_token(
                    self._reload_token, metadata_value(call.invocation_metadata, RELOAD_HEADER)
                )
        except RequestError as error:
            return _refusal(error)
        return await continuation(call)


@asynccontextmanager
async def receive_message(context: Any, limits: Limits, budget: ByteBudget) -> AsyncIterator[bytes]:
    """Reads a call's message, and holds its share of the bytes under way for the length of the block.

    How large a message will be is known only when it is whole; one that is long in coming counts as a large one.

    Raises:
        RequestError: there is none, it is too slow, or there is no room for it.
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


def metadata_value(metadata: Any, name: str) -> str | None:
    """Returns a value in a call's metadata; None where there is none of this name."""
    value = next((value for key, value in metadata or () if key == name), None)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _refusal(error: RequestError) -> grpc.RpcMethodHandler:
    """Returns a handler of streams: of them, the library reads nothing that is not asked for."""

    async def refuse(_: Any, context: Any) -> None:
        await context.abort(error.code, error.reason)

    return grpc.stream_stream_rpc_method_handler(refuse)


class GrpcFront(asyncio.Protocol):
    """One client's connection, handed through to the library's socket."""

    address, descriptors = "", 1

    def __init__(self, connections: Connections, path: str) -> None:
        """Makes one.

        Args:
            connections: the table of all of them.
            path: the library's socket.
        """
        self._table, self._path = connections, path
        self._opening: asyncio.Task[None] | None = None
        self._sent = 0  # bytes that the client has sent, counted up to GREETING
        self._is_unread = False  # whether the client leaves what it was sent
        self.client: asyncio.Transport | None = None
        self.library: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection."""
        self.client = transport
        self.address = client_of(transport.get_extra_info("peername"))
        if not self._table.add(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Ends the other end."""
        self._table.remove(self)
        if self.library is not None:
            self.library.close()

    def data_received(self, data: bytes) -> None:
        """Hands on what the client sends, the first of it when the other end is open."""
        if self._sent < GREETING:
            self._sent += len(data)
        if self.library is None:
            assert self.client is not None
            self.client.pause_reading()
            self._opening = asyncio.get_running_loop().create_task(self._open(self.client, data))
        else:
            self.library.write(data)
            self.tell()

    def pause_writing(self) -> None:
        """Lets the library wait for a client that does not read."""
        assert self.library is not None
        self.library.pause_reading()
        self._is_unread = True
        self.tell()

    def resume_writing(self) -> None:
        """Goes on."""
        assert self.library is not None
        self.library.resume_reading()
        self._is_unread = False
        self.tell()

    def end(self, phase: Phase | None) -> None:  # noqa: ARG002
        """Ends the connection, see `connections.Connection`."""
        assert self.client is not None
        self.client.abort()

    def tell(self) -> None:
        """Tells the table what is waited for, after every byte in either direction."""
        if self._is_unread:
            self._table.wait(self, Phase.ANSWER)
        elif self._sent >= GREETING:
            self._table.wait(self, Phase.QUIET, anew=True)

    async def _open(self, client: asyncio.Transport, data: bytes) -> None:
        """Opens the other end, which takes two files, one at each side, and hands on the first bytes."""
        try:
            if not self._table.enlarge(self, MOST_DESCRIPTORS):
                raise OSError
            loop = asyncio.get_running_loop()
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
        self.tell()
        client.resume_reading()


class _LibraryEnd(asyncio.Protocol):
    """The other end of a client's connection."""

    def __init__(self, front: GrpcFront) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        assert self._front.client is not None
        self._front.client.write(data)
        self._front.tell()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        assert self._front.client is not None
        self._front.client.close()

    def pause_writing(self) -> None:
        assert self._front.client is not None
        self._front.client.pause_reading()

    def resume_writing(self) -> None:
        assert self._front.client is not None
        self._front.client.resume_reading()
