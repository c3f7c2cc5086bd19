"""A client of gRPC that costs little: frames of HTTP/2, written and read by hand.

grpcio's client takes about as long for a call as the server; on two cores, it would be measured
instead of the server. This one sends the same headers and the same messages.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import hpack

PREDICT = "/tensorflow.serving.PredictionService/Predict"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1

Frame = tuple[int, int, int, bytes]  # kind, flags, stream, payload


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Returns the bytes of a frame."""
    return (
        struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload
    )


def greeting() -> bytes:
    """Returns a client's first bytes, with a window that lasts."""
    settings = struct.pack(">HI", 4, 2**30)
    window = struct.pack(">I", 2**30)
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, settings)
        + frame(WINDOW_UPDATE, 0, 0, window)
    )


def headers(authority: str) -> tuple[bytes, bytes]:
    """Returns the headers of a connection's first call, and of all others, as grpcio sends them."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": PREDICT, ":authority": authority,
        "te": "trailers", "content-type": "application/grpc", "user-agent": "by hand",
        "grpc-accept-encoding": "identity, deflate, gzip", "grpc-timeout": "30S",
    }  # fmt: skip
    encoder = hpack.Encoder()
    return encoder.encode(fields.items()), encoder.encode(fields.items())


class Frames:
    """One side of a connection: what to send for a call, and which calls have been answered."""

    def __init__(self, port: int) -> None:
        self._first, self._others = headers(f"127.0.0.1:{port}")
        self._buffer = b""
        self._next = 1
        self._has_answer: set[int] = set()
        self._decoder = hpack.Decoder()
        self.replies = b""  # to the server's settings and pings

    def call(self, message: bytes) -> tuple[int, bytes]:
        """Returns the stream of a new call, and the bytes to send."""
        stream = self._next
        self._next += 2
        body = struct.pack(">BI", 0, len(message)) + message
        sent = [frame(HEADERS, END_HEADERS, stream, self._first if stream == 1 else self._others)]
        for at in range(0, len(body), 2**14):
            is_last = at + 2**14 >= len(body)
            sent.append(frame(DATA, END_STREAM if is_last else 0, stream, body[at : at + 2**14]))
        return stream, b"".join(sent)

    def answered(self, data: bytes) -> Iterator[int]:
        """Yields the streams whose answers are complete.

        Raises:
            RuntimeError: the server refuses a call, or ends the connection.
        """
        for kind, flags, stream, payload in self._frames(data):
            if kind == DATA and payload:
                self._has_answer.add(stream)
            elif kind == HEADERS:
                found = dict(self._decoder.decode(payload))
                if flags & END_STREAM:
                    self._check(stream, found)
                    yield stream
            elif kind == SETTINGS and not flags & ACK:
                self.replies += frame(SETTINGS, ACK, 0, b"")
            elif kind == PING and not flags & ACK:
                self.replies += frame(PING, ACK, 0, payload)
            elif kind == GOAWAY:
                raise RuntimeError(f"the server ended the connection: {payload!r}")

    def _frames(self, data: bytes) -> Iterator[Frame]:
        buffer = self._buffer + data
        at = 0
        while len(buffer) >= at + 9:
            high, low, kind, flags, stream = struct.unpack_from(">HBBBI", buffer, at)
            end = at + 9 + (high << 8 | low)
            if len(buffer) < end:
                break
            yield kind, flags, stream, buffer[at + 9 : end]
            at = end
        self._buffer = buffer[at:]

    def _check(self, stream: int, trailers: dict[str, str]) -> None:
        if trailers.get("grpc-status") != "0":
            raise RuntimeError(str(trailers))
        if stream not in self._has_answer:
            raise RuntimeError("expected an answer, found a status only")
        self._has_answer.discard(stream)


class BlockingClient:
    """One client that makes one call after another."""

    def __init__(self, port: int) -> None:
        self._frames = Frames(port)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(greeting())

    def predict(self, message: bytes) -> None:
        """Makes a call, and waits for its answer."""
        stream, sent = self._frames.call(message)
        self._socket.sendall(self._frames.replies + sent)
        self._frames.replies = b""
        while stream not in list(self._frames.answered(self._socket.recv(2**16))):
            pass

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()


class ConcurrentClient(asyncio.Protocol):
    """A connection on which several clients make calls."""

    def __init__(self, port: int) -> None:
        self._frames = Frames(port)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Greets the server."""
        self._transport = transport
        transport.write(greeting())

    def data_received(self, data: bytes) -> None:
        """Passes answers on."""
        assert self._transport is not None
        try:
            for stream in self._frames.answered(data):
                self._waiting.pop(stream).set_result(None)
        except RuntimeError as error:
            for waiting in self._waiting.values():
                waiting.set_exception(error)
        if self._frames.replies:
            self._transport.write(self._frames.replies)
            self._frames.replies = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the calls in progress."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(exc or ConnectionError("the server closed the connection"))

    async def predict(self, message: bytes) -> None:
        """Makes a call, and waits for its answer."""
        assert self._transport is not None
        stream, sent = self._frames.call(message)
        self._waiting[stream] = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        await self._waiting[stream]

    def close(self) -> None:
        """Closes the connection."""
        assert self._transport is not None
        self._transport.close()
