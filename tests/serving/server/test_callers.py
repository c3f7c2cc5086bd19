"""Unusual but valid requests: `Upgrade: h2c`, compressed bodies, wrapped base64, capitals."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import shutil
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2

from components.errors import MasteryError
from serving.server.json_tensors import decode_json
from serving.server.model_signatures import TensorSpec
from serving.server.request_error import RequestError
from serving.server.serve import serve_model
from serving.server.server_settings import ServerSettings
from tests.serving.server.running import Running, running
from tests.serving.server.test_batching import busy
from tests.serving.server.tiny import example

ONE = {"instances": [{"b64": base64.b64encode(example([1.0])).decode()}]}
ANSWER = {"predictions": [{"basis": "sequence", "score": 2.0}]}
TEXTS = TensorSpec("a", "a:0", types_pb2.DT_STRING, (None,))

JAVA = """
import java.net.URI;
import java.net.http.*;

class Ask {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();  // asks to go on in HTTP/2
        for (int time = 0; time < 2; time++) {
            var request = HttpRequest.newBuilder(URI.create(given[0]))
                .POST(HttpRequest.BodyPublishers.ofString(given[1])).build();
            var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
"""


def test_java(server: Running, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("no Java (11 or newer, with its compiler) is installed")
    (tmp_path / "Ask.java").write_text(JAVA)
    address = str(server.rest.base_url.join("/v1/models/tiny:predict"))
    command = [java, "-Xshare:auto", str(tmp_path / "Ask.java"), address, json.dumps(ONE)]
    lines = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()
    assert [line.split(" ", 2)[:2] for line in lines] == [["200", "HTTP_1_1"]] * 2
    assert [json.loads(line.split(" ", 2)[2]) for line in lines] == [ANSWER] * 2


def talk(server: Running, *parts: bytes) -> bytes:
    """Sends bytes in parts, and returns all answers until the server closes or is silent."""
    with socket.create_connection(("127.0.0.1", server.server.rest_port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
        connection.settimeout(2)
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
        except TimeoutError:
            pass
        return answer


def upgrade(body: bytes, extra: bytes = b"") -> bytes:
    return (
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
        + extra
        + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


@pytest.mark.parametrize("cut", [10, 150, 250, 300])
def test_upgrades_to_http_2_may_arrive_in_parts(server: Running, cut: int) -> None:
    two = upgrade(json.dumps(ONE).encode()) * 2
    answer = talk(server, two[:cut], two[cut:])
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(json.dumps(ANSWER).encode()) == 2


def test_other_protocols(server: Running) -> None:
    websocket = (
        b"GET /v1/models/tiny HTTP/1.1\r\nHost: a\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert talk(server, websocket).startswith(b"HTTP/1.1 200 OK")
    assert talk(server, b"CONNECT tiny:80 HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def packed(body: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(body) + packer.flush()


def test_compressed_bodies(server: Running) -> None:
    body = json.dumps(ONE).encode()
    whole = gzip.compress(body, mtime=0)
    for coding, content in {
        "gzip": whole,
        "GZip": whole,
        "x-gzip": gzip.compress(body[:10], mtime=0) + gzip.compress(body[10:], mtime=0),
        "deflate": packed(body, zlib.MAX_WBITS),
        "identity": body,
        "identity, gzip": whole,
    }.items():
        headers = {"Content-Encoding": coding}
        response = server.rest.post("/v1/models/tiny:predict", content=content, headers=headers)
        assert (response.status_code, response.json()) == (200, ANSWER), coding


@pytest.mark.parametrize(
    ("coding", "content", "status", "reason"),
    [
        ("br", b"x", 415, "expected gzip, deflate or none, found 'br'"),
        ("gzip, gzip", b"x", 415, "found 'gzip, gzip'"),
        ("gzip", b'{"instances": [""]}', 400, "expected a body in gzip, found"),
        (
            "gzip",
            gzip.compress(b'{"instances": [""]}', mtime=0)[:-5],
            400,
            "found only its beginning",
        ),
        (
            "gzip",
            gzip.compress(b'{"instances": [""]}', mtime=0) + b"more",
            400,
            "expected a body in gzip",
        ),
        ("gzip", gzip.compress(b"", mtime=0) * 100, 400, "more than 64 members"),
        ("gzip", gzip.compress(b" " * 100_001, mtime=0), 413, "at most 100000 bytes"),
        ("gzip", gzip.compress(b" " * 50_000_000, mtime=0), 413, "at most 100000 bytes"),
        ("deflate", packed(b" " * 50_000_000, zlib.MAX_WBITS), 413, "at most 100000 bytes"),
    ],
)
def test_compressed_bodies_that_are_refused(
    server: Running, coding: str, content: bytes, status: int, reason: str
) -> None:
    response = server.rest.post(
        "/v1/models/tiny:predict", content=content, headers={"Content-Encoding": coding}
    )
    assert response.status_code == status
    assert reason in response.json()["error"]


@given(st.binary(max_size=40), st.data())
def test_base64_as_it_is_wrapped_by_mail_and_stripped_by_urls(
    raw: bytes, data: st.DataObject
) -> None:
    text = base64.b64encode(raw).decode()
    if data.draw(st.booleans()):
        text = text.rstrip("=")
    at = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
    for where in at:
        text = text[:where] + data.draw(st.sampled_from(["\n", "\r\n", " ", "\t"])) + text[where:]
    assert decode_json([{"b64": text}], TEXTS).tolist() == [raw]


@pytest.mark.parametrize("text", ["a", "YQ=", "YQ===", "YW=E", "YQ-_", "Y\u00a0Q=="])
def test_invalid_base64_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        decode_json([{"b64": text}], TEXTS)


def test_capitals_in_a_path(server: Running) -> None:
    assert server.rest.get("/V1/MODELS/tiny/Versions/1").status_code == 200
    assert server.rest.get("/v1/Models/tiny/METADATA").status_code == 200
    assert server.rest.post("/V1/models/tiny/VERSIONS/1:predict", json=ONE).json() == ANSWER
    assert server.rest.post("/v1/models/tiny:PREDICT", json=ONE).status_code == 400, (
        "as TensorFlow Serving has it"
    )
    assert server.rest.post("/v1/models/TINY:predict", json=ONE).status_code == 404, (
        "names are as they are"
    )


@pytest.mark.parametrize("number", ["1e400", "-1E+400", "1" + "0" * 400 + ".0"])
def test_a_number_beyond_every_double(server: Running, number: str) -> None:
    for content in (number, f'{number}, "note": Infinity'):
        body = f'{{"signature_name": "single", "inputs": {content}}}'
        response = server.rest.post("/v1/models/tiny:predict", content=body)
        assert (response.status_code, "found " + number[:79] in response.json()["error"]) == (
            400,
            True,
        )
    body = '{"signature_name": "single", "inputs": Infinity}'
    assert server.rest.post("/v1/models/tiny:predict", content=body).json() == {"outputs": np.inf}


@pytest.mark.parametrize("name", ["a/b", "a:b", ""])
def test_a_name_that_no_path_can_contain_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(MasteryError, match="--name: expected a name without '/' and ':', found"):
        serve_model(ServerSettings(models=folder, name=name), "embedded")


def metric(server: Running, status: str) -> float:
    page = server.rest.get("/monitoring/prometheus/metrics").text
    line = f'request_count{{model_name="tiny",status="{status}"}} '
    return next((float(text.split()[-1]) for text in page.splitlines() if line in text), 0.0)


def test_a_client_that_hangs_up_has_cancelled(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = json.dumps({"signature_name": "slow", "instances": [5.0]}).encode()
    head = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Length: "
    with caplog.at_level(logging.WARNING), running(folder) as server:
        caplog.clear()  # messages about the versions
        first = busy(server, 0.7)
        for sent in (b"%d\r\n\r\n%b" % (len(slow), slow), b"100\r\n\r\n{"):
            with socket.create_connection(("127.0.0.1", server.server.rest_port)) as connection:
                connection.sendall(head + sent)
                time.sleep(0.2)
        while metric(server, "CANCELLED") < 2:
            time.sleep(0.01)
        first.cancel()
        while metric(server, "CANCELLED") < 3:
            time.sleep(0.01)
        assert metric(server, "INTERNAL") == 0
    assert not [record for record in caplog.records if record.name != "tensorflow"]


def test_a_caller_by_grpc_that_hangs_up_in_the_middle(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    def no_message() -> Iterator[bytes]:
        ended.wait(20)
        yield from ()

    with caplog.at_level(logging.WARNING), running(folder) as server:
        caplog.clear()  # messages about the versions
        call = server.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        waiting = call.future(no_message())
        time.sleep(0.2)
        waiting.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            waiting.result()
        ended.set()
        assert (
            httpx.get(server.rest.base_url.join("/v1/models/tiny"), trust_env=False).status_code
            == 200
        )
    assert not [record for record in caplog.records if record.name != "tensorflow"]
