"""Overload is answered at once; large requests and those without the token are refused."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

import grpc
import httpx
import pytest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest

from tests.serving.server.running import Running, running
from tests.serving.server.test_batching import busy
from tests.serving.server.tiny import steps, steps_request

ONE = {"instances": [""]}


def test_requests_in_progress_are_limited(folder: Path) -> None:
    with running(folder, max_requests=1) as server:
        first = busy(server, 2.0)
        started = time.perf_counter()
        refused = server.predict(ONE)
        assert (refused.status_code, refused.json()["error"]) == (
            429,
            "1 requests are in progress; try again later.",
        )
        with pytest.raises(grpc.RpcError, match="in progress") as caught:
            server.prediction.Predict(steps_request(steps([1])))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not first.done()
        assert time.perf_counter() - started < 2.0
        first.result()
        assert server.predict(ONE).status_code == 200


def test_rows_that_wait_are_limited(folder: Path) -> None:
    with running(folder, max_queue_rows=3) as server:
        first = busy(server, 0.5)
        request = steps_request(steps([1, 1]))
        waiting = [server.prediction.Predict.future(request) for _ in range(6)]
        codes = [future.code() for future in waiting]
        first.result()
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
    assert grpc.StatusCode.OK in codes
    assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK}


def test_a_request_is_given_up_after_its_time(folder: Path) -> None:
    with running(folder, request_timeout=0.2) as server:
        slow = {"signature_name": "slow", "instances": [1.0]}
        late = server.predict(slow)
        assert (late.status_code, late.json()["error"]) == (504, "the request took too long.")
        with pytest.raises(grpc.RpcError) as caught:
            busy(server, 1.0).result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_caller_that_goes_frees_its_place(folder: Path) -> None:
    with running(folder, max_requests=1) as server:
        busy(server, 0.5).cancel()
        while server.server.requests_in_progress:
            time.sleep(0.01)
        assert server.predict(ONE).status_code == 200


def test_a_large_body_is_refused(server: Running) -> None:
    body = b" " * 100_001
    assert server.rest.post("/v1/models/tiny:predict", content=body).status_code == 413
    assert server.rest.post("/v1/models/tiny:predict", content=iter([body])).status_code == 413, (
        "in chunks"
    )
    with pytest.raises(grpc.RpcError) as caught:
        server.prediction.Predict(steps_request(steps([1] * 20_000)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_body_that_never_ends_is_given_up(folder: Path) -> None:
    def body():
        yield b"{"
        time.sleep(0.5)
        yield b"}"

    with running(folder, request_timeout=0.2) as server:
        response = server.rest.post("/v1/models/tiny:predict", content=body())
        assert (response.status_code, response.json()["error"]) == (
            408,
            "the whole body did not arrive within 0.2 s.",
        )


def test_the_token(folder: Path) -> None:
    with running(folder, token="sesame") as server:
        paths = [
            "/v1/models/tiny",
            "/v1/models/tiny/metadata",
            "/monitoring/prometheus/metrics",
            "/",
        ]
        for header in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "sesame"},
            {"Authorization": b"\xff"},
        ):
            for path in paths:
                refused = server.rest.get(path, headers=header)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        right = {"Authorization": "Bearer sesame"}
        assert server.predict(ONE, headers=right).status_code == 200
        request = GetModelStatusRequest(model_spec={"name": "tiny"})
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as caught:
                server.models.GetModelStatus(request, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert server.models.GetModelStatus(request, metadata=(("authorization", "Bearer sesame"),))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    files = {"tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"}
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "keyUsage=digitalSignature,keyCertSign",
            "-keyout", files["tls_key"], "-out", files["tls_cert"],
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return files


def test_tls(folder: Path, certificate: dict[str, Path]) -> None:
    with running(folder, **certificate) as server:
        assert server.predict(ONE).status_code == 200
        assert server.prediction.Predict(steps_request(steps([1]))).model_spec.version.value == 1
        port = server.server.rest_port
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/v1/models/tiny", trust_env=False)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(
                f"https://127.0.0.1:{port}/v1/models/tiny",
                trust_env=False,
                verify=ssl.create_default_context(),
            )
