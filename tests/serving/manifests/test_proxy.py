"""The proxy in front of gRPC: a real nginx with the manifests' file before a real gRPC server."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from pipeline.environment import apt
from tests.debian import unpacked
from tests.ports import free_port
from tests.serving.manifests.conftest import SERVING

WHY = "the proxy's configuration is tried with nginx 1.25.1 or newer"
PACKAGES = ["nginx", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3t64", "libzstd1", "zlib1g"]
PREDICT = "/tensorflow.serving.PredictionService/Predict"
START = 30  # seconds until nginx must listen


class Recorder(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC handler that accepts every method and records calls and the bytes of requests."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.bytes: list[int] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.called.append(details.method)
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.bytes.append(len(request))
        return b"answer to " + request[:20]


@pytest.fixture(scope="session")
def nginx(request: pytest.FixtureRequest) -> list[str | Path]:
    """The command for nginx, of the release in the image, with the libraries of that release."""
    if platform.freedesktop_os_release().get("ID") != "debian" or apt.newer_release() is None:
        pytest.skip(f"{WHY}, and there is no apt of Debian's to fetch it with")
    root = unpacked(request.config.cache.mkdir("nginx"), "trixie", PACKAGES, why=WHY)
    [libraries] = root.glob("usr/lib/*-linux-gnu*")
    [loader] = libraries.glob("ld-linux-*.so.*")
    return [loader, "--library-path", libraries, root / "usr" / "sbin" / "nginx"]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Recorder]:
    """A gRPC server on a socket file, as TensorFlow Serving's is."""
    recorder = Recorder()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[recorder])
    server.add_insecure_port(f"unix:{tmp_path / 'grpc.sock'}")
    server.start()
    yield recorder
    server.stop(None).wait()


@pytest.fixture
def call(nginx: list[str | Path], tmp_path: Path) -> Iterator[Callable[..., bytes]]:
    """Calls a method through the proxy, which has a port and a folder for /tmp of its own."""
    port = free_port()
    text = (SERVING / "base" / "nginx.conf").read_text(encoding="utf-8")
    for old, new, times in (
        ("listen 8500;", f"listen 127.0.0.1:{port};", 1),
        ("/tmp/", f"{tmp_path}/", 6),
        ("/run/serving/grpc.sock", str(tmp_path / "grpc.sock"), 1),
    ):
        assert text.count(old) == times
        text = text.replace(old, new)
    (tmp_path / "nginx.conf").write_text(text, encoding="utf-8")
    user = [
        "-g",
        "daemon off;" + (" user root;" if os.geteuid() == 0 else ""),
    ]  # else it would not open our folders
    log = (tmp_path / "error.log").open("wb")
    proxy = subprocess.Popen(
        [*nginx, "-p", tmp_path, "-c", tmp_path / "nginx.conf", *user], stdout=log, stderr=log
    )
    try:
        _wait_for(port, proxy, tmp_path / "error.log")
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield lambda method, request=b"question": channel.unary_unary(method)(
                request, timeout=20
            )
    finally:
        proxy.terminate()
        proxy.wait()
        log.close()


def _wait_for(port: int, proxy: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert proxy.poll() is None, log.read_text(errors="replace")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nginx did not start within {START} s: {log.read_text(errors='replace')}")


@pytest.mark.parametrize(
    "method", ["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"]
)
def test_questions_to_models_are_passed(
    behind: Recorder, call: Callable[..., bytes], method: str
) -> None:
    path = f"/tensorflow.serving.PredictionService/{method}"
    assert call(path) == b"answer to question"
    assert behind.called == [path]


@pytest.mark.parametrize(
    "path",
    [
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/tensorflow.ProfilerService/Profile",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/tensorflow.serving.PredictionService/../tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/tensorflow.serving.PredictionService%2f..%2ftensorflow.serving.ModelService/HandleReloadConfigRequest",
        "//tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/TENSORFLOW.SERVING.PREDICTIONSERVICE/Predict",
        "/",
    ],
)
def test_nothing_else_reaches_the_server(
    behind: Recorder, call: Callable[..., bytes], path: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(path)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert behind.called == []


def test_the_proxy_passes_the_path_as_it_was_sent(
    behind: Recorder, call: Callable[..., bytes]
) -> None:
    """nginx decides by the normalised path and passes the original; gRPC servers compare that."""
    path = "/tensorflow.serving.ModelService/%2e%2e/tensorflow.serving.PredictionService/Predict"
    call(path)
    assert behind.called == [path]


def test_a_large_question_is_passed_and_a_huge_one_is_not(
    behind: Recorder, call: Callable[..., bytes]
) -> None:
    assert call(PREDICT, bytes(3 << 20)) == b"answer to " + bytes(20)
    with pytest.raises(grpc.RpcError):
        call(PREDICT, bytes(17 << 20))
    assert behind.bytes == [3 << 20]


def test_without_a_server_behind_it_the_proxy_asks_to_try_again(
    call: Callable[..., bytes],
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        call(PREDICT)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
