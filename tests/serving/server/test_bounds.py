"""Attacks on a server are bounded in size and time, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.server.bounds import ByteBudget, Share
from serving.server.request_error import RequestError
from tests.serving.server.running import Running, running
from tests.serving.server.test_limits import certificate  # noqa: F401 (a fixture)
from tests.serving.server.tiny import steps, steps_request

ROOT = Path(__file__).parents[3]
ONE = {"instances": [""]}
PATH = "/v1/models/tiny:predict"
HEAD = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@contextlib.contextmanager
def connected(port: int, count: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Opens connections and sends the same bytes on each."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            with contextlib.suppress(ConnectionError):
                line.sendall(sent)
            opened.append(line)
        yield opened


def received(line: socket.socket) -> bytes:
    """Returns what the server sends until it closes; raises TimeoutError if it does not."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65536):
            answer += part
    return answer


def is_answered(server: Running) -> bool:
    """Returns whether a client is answered on a new connection and on its open ones."""
    base = server.rest.base_url
    new = httpx.post(base.join(PATH), json=ONE, timeout=20, trust_env=False)
    kept = server.rest.post(PATH, json=ONE)
    by_grpc = server.prediction.Predict(steps_request(steps([1])), timeout=20)
    return new.status_code == kept.status_code == 200 and by_grpc.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"x" * 900_000, 414),
        (HEAD + b"X: " + b"x" * 17_000 + b"\r\n\r\n", 431),
        (HEAD + b"X: " + b"x" * 900_000, 431),
        (HEAD + b"X: y\r\n" * 100_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"Trailer: y\r\n" * 5000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\0" * 100_000, 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Content-Length: 100001\r\n\r\n", 413),
    ],
)
def test_malformed_requests_get_an_answer(server: Running, sent: bytes, status: int) -> None:
    with connected(server.server.rest_port, 1) as (line,):
        threading.Thread(target=_send, args=(line, sent)).start()
        answer = line.recv(65536)
        while not answer.endswith(b"}"):
            answer += line.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert set(json.loads(body)) == {"error"}
    assert is_answered(server)


def _send(line: socket.socket, sent: bytes) -> None:
    with contextlib.suppress(OSError):
        line.sendall(sent)


def test_connections_that_send_too_slowly_are_ended(folder: Path) -> None:
    """A missing head, an endless head, an endless body, and an idle client."""
    with running(folder, header_timeout=0.4, idle_timeout=0.4, request_timeout=2.0) as server:
        rest, by_grpc = server.server.rest_port, server.server.grpc_port
        with (
            connected(rest, 1) as (silent,),
            connected(rest, 1, HEAD) as (slow,),
            connected(rest, 1, HEAD + b"Content-Length: 9\r\n\r\n{") as (trickling,),
            connected(rest, 1, b"GET /v1/models/tiny HTTP/1.1\r\nHost: a\r\n\r\n") as (idle,),
            connected(by_grpc, 1) as (silent_by_grpc,),
            connected(by_grpc, 1, PREFACE) as (idle_by_grpc,),
        ):
            assert received(silent) == b""
            assert received(slow).startswith(b"HTTP/1.1 408 ")
            assert received(trickling).startswith(b"HTTP/1.1 408 ")
            assert received(idle).startswith(b"HTTP/1.1 200 ")
            assert received(silent_by_grpc)[3] == 4, "only the server's settings"
            received(idle_by_grpc)
        assert is_answered(server)


@pytest.mark.parametrize(
    "sent",
    [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", PREFACE, PREFACE + b"\0\0\4\1\4\0\0\0\1"],
)
@pytest.mark.parametrize("per_address", [20, 8])
def test_idle_connections_give_way(folder: Path, sent: bytes, per_address: int) -> None:
    bounds = {"max_connections": 20, "max_connections_per_address": per_address}
    with running(folder, **bounds) as server:
        assert is_answered(server)
        ports = (server.server.rest_port, server.server.grpc_port)
        with connected(ports[0], 50, sent), connected(ports[1], 50, sent):
            assert is_answered(server)
            assert server.server.open_connections <= per_address


def test_a_connection_that_is_being_answered_does_not_give_way(folder: Path) -> None:
    with running(folder, max_connections=3) as server:
        answers = []
        asking = [
            threading.Thread(
                target=lambda: answers.append(
                    httpx.post(
                        server.rest.base_url.join(PATH),
                        json={"signature_name": "slow", "instances": [0.5]},
                        timeout=20,
                        trust_env=False,
                    ).status_code
                )
            )
            for _ in range(3)
        ]
        for thread in asking:
            thread.start()
        while server.server.requests_in_progress < 3:
            time.sleep(0.01)
        refused = httpx.get(server.rest.base_url, timeout=20, trust_env=False)
        assert (refused.status_code, "too many connections" in refused.json()["error"]) == (
            503,
            True,
        )
        for thread in asking:
            thread.join()
        assert answers == [200] * 3
        assert is_answered(server)


def test_a_body_takes_a_place_when_it_has_arrived(folder: Path) -> None:
    with (
        running(folder, max_requests=1) as server,
        connected(server.server.rest_port, 10, HEAD + b"Content-Length: 20\r\n\r\n{"),
    ):
        assert is_answered(server)


def test_large_bodies_share_one_limit_of_memory(folder: Path) -> None:
    part = b" " * 300_000
    head = HEAD + b"Content-Length: 400000\r\n\r\n"
    with (
        running(folder, max_inflight_bytes=1_000_000) as server,
        connected(server.server.rest_port, 4, head + part) as lines,
    ):
        assert received_status(lines[0]) == b"429"
        assert is_answered(server)
        body = json.dumps(ONE).encode().ljust(200_000)
        assert server.rest.post(PATH, content=body).status_code == 200
        assert received_status(lines[1]) == b"429"


def received_status(line: socket.socket) -> bytes:
    return line.recv(65536)[9:12]


def test_many_requests_at_once_on_a_connection(server: Running) -> None:
    one = b"GET /v1/models/tiny HTTP/1.1\r\nHost: a\r\n\r\n"
    with connected(server.server.rest_port, 1, one * 16) as (line,):
        answer = b""
        while answer.count(b"HTTP/1.1 200 OK") < 16:
            answer += line.recv(65536)
    with connected(server.server.rest_port, 1, one * 5000) as (line,):
        assert received(line).count(b"HTTP/1.1 200 OK") <= 20
    assert is_answered(server)


def test_a_client_that_reads_no_answer_is_disconnected(folder: Path) -> None:
    rows = json.dumps({"signature_name": "wide", "inputs": 1_200_000}).encode()  # 12 MB
    ask = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(rows), rows)
    with (
        running(folder, request_timeout=3.0) as server,
        connected(server.server.rest_port, 2, ask) as lines,
    ):
        lines[0].recv(1)
        assert is_answered(server)
        deadline = time.monotonic() + 30
        while server.server.open_connections > 2:  # those of the client that behaves
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert is_answered(server)


def test_unread_answers_share_one_limit_of_memory(folder: Path) -> None:
    rows = json.dumps(
        {"signature_name": "wide", "inputs": 1_200_000}
    ).encode()  # 12 MB, of which the system takes half
    ask = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(rows), rows)
    with (
        running(folder, max_inflight_bytes=20_000_000) as server,
        connected(server.server.rest_port, 8, ask),
    ):
        deadline = time.monotonic() + 30
        while server.server.requests_in_progress or server.server.open_connections > 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert is_answered(server)


def test_the_token_comes_before_the_message(folder: Path) -> None:
    ended = threading.Event()

    def never() -> Iterator[bytes]:
        ended.wait(20)
        yield b""

    with running(folder, token="sesame") as server:
        for service in ("tensorflow.serving.PredictionService/Predict", "any.Service/Method"):
            call = server.channel.stream_unary(f"/{service}")
            with pytest.raises(grpc.RpcError) as caught:
                call(never(), metadata=(("authorization", "Bearer wrong"),), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        ended.set()


def test_grpc_announces_its_limits_per_connection(server: Running) -> None:
    with connected(server.server.grpc_port, 1, PREFACE) as (line,):
        frame = line.recv(9, socket.MSG_WAITALL)
        length, kind = int.from_bytes(frame[:3], "big"), frame[3]
        assert kind == 4, "settings"
        pairs = line.recv(length, socket.MSG_WAITALL)
    settings = dict(struct.unpack_from(">HI", pairs, at) for at in range(0, length, 6))
    assert settings[3] == 100, "max_concurrent_streams"
    assert settings[6] <= 16 * 2**10, "max_header_list_size"


def test_a_call_without_a_message(server: Running) -> None:
    call = server.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError, match="expected a message, found none") as caught:
        call(iter(()))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_compressed_message_is_limited_as_it_is_unpacked(server: Running) -> None:
    request = PredictRequest()
    request.inputs["examples"].string_val.append(b"\0" * 20_000_000)
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(request, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.prediction.Predict(steps_request(steps([1])), compression=grpc.Compression.Gzip)


def test_large_json_is_a_request_like_any(folder: Path) -> None:
    with running(folder, max_request_bytes=2_000_000) as server:
        body = json.dumps(ONE).encode().ljust(1_000_000)
        assert server.rest.post(PATH, content=body).json() == server.predict(ONE).json()
        unknown = json.dumps({"signature_name": "x", "inputs": 1}).encode().ljust(100_000)
        refused = server.rest.post(PATH, content=unknown)
        assert (refused.status_code, "found 'x'" in refused.json()["error"]) == (400, True)
        lists = b'{"inputs": [' + b"[]," * 600_000 + b"[]]}"
        refused = server.rest.post(PATH, content=lists)
        assert (refused.status_code, "too much memory" in refused.json()["error"]) == (413, True)
        assert server.rest.post(PATH, content=body).status_code == 200


def test_an_unfinished_tls_handshake_is_ended(folder: Path, certificate: dict[str, Path]) -> None:  # noqa: F811
    with running(folder, header_timeout=1.5, max_connections=10, **certificate) as server:
        for port in (server.server.rest_port, server.server.grpc_port):
            with connected(port, 30), connected(port, 1, b"GET / HTTP/1.1\r\n\r\n") as (plain,):
                received(plain)
                assert server.predict(ONE).status_code == 200
                assert server.prediction.Predict(steps_request(steps([1])), timeout=20)
            with connected(port, 1) as (silent,):
                assert received(silent) == b""


def test_a_thousand_connections_and_few_descriptors(folder: Path) -> None:
    """The number that stopped both ports, and filled the disk with lines of the log."""
    serve = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded",
        "--models", str(folder),
        "--rest-port", "0", "--grpc-port", "0",
    ]  # fmt: skip
    limited = ["bash", "-c", 'ulimit -n 1024 && exec "$@"', "-", *serve]
    with subprocess.Popen(
        limited, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        ready = next(
            line for line in lines if line.startswith("Serving tiny: REST http://127.0.0.1:")
        )
        rest, _, by_grpc = ready.partition("REST ")[2].strip().rstrip(".").partition(", gRPC ")
        ports = (int(rest.split(":")[2].split("/")[0]), int(by_grpc.split(":")[1]))
        with (
            grpc.insecure_channel(by_grpc) as channel,
            connected(ports[0], 1100),
            connected(ports[1], 1100),
        ):
            assert PredictionServiceStub(channel).Predict(steps_request(steps([2])), timeout=30)
            assert (
                httpx.post(f"{rest}:predict", json=ONE, timeout=30, trust_env=False).status_code
                == 200
            )
        process.send_signal(signal.SIGTERM)
        logged = "".join(lines)
        assert process.wait(20) == 0
    assert len(logged) < 2000
    assert "Traceback" not in logged


def test_a_body_whose_first_part_came_early_can_give_way() -> None:
    async def refused() -> None:
        budget = ByteBudget(200_000)
        early, late = Share(budget), Share(budget)
        early.resize(150_000)
        async with early.arriving(20):
            late.resize(100_000)
            await asyncio.sleep(20)

    with pytest.raises(RequestError, match="try again later"):
        asyncio.run(refused())
