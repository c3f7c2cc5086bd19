"""`mastery serve` as a process: REST and gRPC, and a stop by SIGTERM that loses no request."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import httpx
import pytest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.server.embedded_server import EmbeddedServer, ServerError
from serving.server.server_settings import ServerSettings
from tests.serving.server.tiny import steps, steps_request

ROOT = Path(__file__).parents[3]


def test_from_start_to_sigterm(folder: Path) -> None:
    command = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded",
        "--models", str(folder),
        "--rest-port", "0", "--grpc-port", "0", "--poll-seconds", "0.1",
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        ready = next(
            line for line in lines if line.startswith("Serving tiny: REST http://127.0.0.1:")
        )
        rest, _, grpc_address = ready.partition("REST ")[2].strip().rstrip(".").partition(", gRPC ")
        with grpc.insecure_channel(grpc_address) as channel:
            assert (
                PredictionServiceStub(channel)
                .Predict(steps_request(steps([2])))
                .model_spec.version.value
                == 1
            )
        slow = {"signature_name": "slow", "instances": [1.0]}
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{rest}:predict", json=slow, timeout=30, trust_env=False)
            )
        )
        asking.start()
        page = rest.replace("/v1/models/tiny", "/monitoring/prometheus/metrics")
        while (
            ":mastery:serving:requests_under_way 1.0" not in httpx.get(page, trust_env=False).text
        ):
            pass
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert [answer.status_code for answer in answers] == [200], (
            "the request in progress was answered"
        )
        assert process.wait(10) == 0
        rest_of_it = "".join(lines)
    assert "Stopping" in rest_of_it
    assert "Traceback" not in rest_of_it


async def start(settings: ServerSettings) -> None:
    await EmbeddedServer(settings).start()


def test_a_port_that_is_taken(folder: Path, server: object) -> None:
    taken = server.server
    for option, port in (("rest_port", taken.rest_port), ("grpc_port", taken.grpc_port)):
        settings = ServerSettings(
            **{"models": folder, "name": "tiny", "rest_port": 0, "grpc_port": 0, option: port}
        )
        with pytest.raises(ServerError, match=f"127.0.0.1:{port} cannot be used for"):
            asyncio.run(start(settings))


def test_an_unknown_host_is_refused(folder: Path) -> None:
    settings = ServerSettings(
        models=folder, name="tiny", host="nowhere.invalid", rest_port=0, grpc_port=0
    )
    with pytest.raises(
        ServerError, match=r"nowhere.invalid:0 cannot be used for REST: (?!Unknown error)"
    ):
        asyncio.run(start(settings))


@pytest.mark.parametrize("port", ["rest_port", "grpc_port"])
def test_a_port_that_is_taken_while_the_model_is_loaded(folder: Path, port: str) -> None:
    async def main() -> None:
        server = EmbeddedServer(
            ServerSettings(models=folder, name="tiny", rest_port=0, grpc_port=0)
        )
        load = server.versions.poll

        async def load_slowly() -> None:
            await load()
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", getattr(server, port)))
            other.listen()

        server.versions.poll = load_slowly
        await server.start()

    with (
        socket.socket() as other,
        pytest.raises(ServerError, match=r"cannot be used for .*: Address already in use"),
    ):
        asyncio.run(main())
