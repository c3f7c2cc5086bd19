"""A model that was stopped: what callers are told, and when it answers again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from components.contracts.serving_state import whoami
from serving.models import promotion, stopping
from serving.models.incidents import record_incident
from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.ports import free_port
from tests.serving.server.running import Running, running
from tests.serving.server.test_batching import busy
from tests.serving.server.test_served_versions import answering, config, versioned
from tests.serving.server.tiny import push, steps, steps_request

ROOT = Path(__file__).parents[3]
INPUTS = steps([3, 1])


@pytest.fixture
def storage(folder: Path, thrice: Path) -> Storage:
    """Version 1 was stable, 2 is."""
    push(thrice, folder, 2)
    storage = open_storage(str(folder))
    for version in (1, 2):
        promotion.promote(storage, version, force=True, reason="a test's model")
    return storage


def refused(server: Running, **spec: object) -> str:
    """Returns why gRPC and REST refuse a request, after checking that both say the same."""
    with pytest.raises(grpc.RpcError) as error:
        server.prediction.Predict(steps_request(INPUTS, **spec))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    where = f"/labels/{spec['version_label']}" if spec else ""
    answer = server.predict({"instances": [""]}, where)
    assert answer.status_code == 503
    assert answer.json()["error"] == error.value.details()
    return str(error.value.details())


def health(server: Running) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service="tiny")).status)


def test_callers_are_told_who_stopped_it_when_and_why(folder: Path, storage: Storage) -> None:
    with running(folder) as server:
        assert answering(server) == 2
        slow = busy(server, 1.0)
        stopping.stop(storage, 2, "wrong answers in Geneva")
        server.poll()

        text = f"version 2 of tiny was stopped by {whoami()} at "
        for spec in ({}, {"version_label": "stable"}):
            assert refused(server, **spec).startswith(text)
            assert refused(server, **spec).endswith(" UTC: wrong answers in Geneva.")
        with pytest.raises(grpc.RpcError, match="was stopped by"):
            server.prediction.Predict(versioned(1))  # no other version takes over
        for path in ("/v1/models/tiny/metadata", "/v2/models/tiny", "/v2/health/ready"):
            assert server.rest.get(path).status_code == 503
        assert health(server) == health_pb2.HealthCheckResponse.NOT_SERVING

        assert slow.result().model_spec.version.value == 2  # it was in progress
        page = server.rest.get("/v1/models/tiny").json()["model_version_status"]
        assert [item["status"]["error_code"] for item in page] == ["UNAVAILABLE"] * 2
        assert all("was stopped by" in item["status"]["error_message"] for item in page)

        stopping.resume(storage, 2)
        server.poll()
        assert answering(server) == 2
        assert answering(server, version_label="stable") == 2
        assert health(server) == health_pb2.HealthCheckResponse.SERVING


def test_another_version_answers_once_it_is_promoted(folder: Path, storage: Storage) -> None:
    with running(folder) as server:
        stopping.stop(storage, 2, "wrong answers")
        server.poll()
        promotion.roll_back(storage)
        server.poll()
        assert answering(server) == 1
        assert answering(server, version_label="stable") == 1
        with pytest.raises(grpc.RpcError, match="version 2 of tiny was stopped by"):
            server.prediction.Predict(versioned(2))
        record_incident(storage, 2, "a pupil was told to repeat a course", "serious")
        server.poll()
        assert answering(server) == 1


def test_a_stopped_canary_leaves_the_stable_version(
    folder: Path, storage: Storage, twice: Path
) -> None:
    push(twice, folder, 3)
    promotion.start_canary(storage, 3, 10, force=True, reason="a test's model")
    with running(folder) as server:
        assert answering(server, version_label="canary") == 3
        stopping.stop(storage, 3, "odd")
        server.poll()
        assert refused(server, version_label="canary").startswith("version 3 of tiny was stopped")
        assert answering(server, version_label="stable") == 2
        assert answering(server) == 2


def test_a_server_that_starts_or_is_told_to_reload_stays_stopped(
    folder: Path, storage: Storage
) -> None:
    from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

    stopping.stop(storage, None, "the board asked for it")
    with running(folder, reload_token="sesame") as server:
        assert "all of tiny was stopped by" in refused(server)
        request = ReloadConfigRequest(config={"model_config_list": {"config": [config([1])]}})
        metadata = [("x-mastery-reload-token", "sesame")]
        with pytest.raises(grpc.RpcError, match="was stopped by"):
            server.models.HandleReloadConfigRequest(request, metadata=metadata)
        (folder / "routing.json").write_text("{")  # as long as it cannot be read, nothing changes
        server.poll()
        assert "all of tiny was stopped by" in refused(server)


def test_the_newest_version_is_stopped_where_nothing_was_promoted(
    folder: Path, thrice: Path
) -> None:
    push(thrice, folder, 2)
    storage = open_storage(str(folder))
    with running(folder) as server:
        stopping.stop(storage, 1, "old")
        server.poll()
        assert answering(server) == 2
        stopping.stop(storage, 2, "wrong")
        server.poll()
        assert "version 2 of tiny was stopped by" in refused(server)


def test_servers_of_the_folder_for_gpus_stop_too(folder: Path, storage: Storage) -> None:
    (folder / "gpu").mkdir()
    for version in (1, 2):
        (folder / "gpu" / str(version)).symlink_to(f"../{version}")
    with running(folder / "gpu") as server:
        assert answering(server) == 2
        stopping.stop(storage, 2, "wrong answers")
        server.poll()
        assert "version 2 of tiny was stopped by" in refused(server)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yields the address of `mastery serve` in a process of its own, which polls by itself."""
    port, grpc_port = free_port(), free_port()
    command = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--models", folder, "--name", "tiny",
        "--engine", "embedded", "--rest-port", port, "--grpc-port", grpc_port,
        "--poll-seconds", 0.1,
    ]  # fmt: skip
    with subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}/v1/models/tiny:predict"
        finally:
            process.send_signal(signal.SIGTERM)


def ask(address: str) -> tuple[int, str]:
    """Returns status and text of an answer; 0 while there is no server yet."""
    try:
        answer = httpx.post(address, json={"instances": [""]}, timeout=30, trust_env=False)
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.text


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("storage")
def test_real_servers_that_poll_stop_and_resume(folder: Path) -> None:
    models = ["--models", str(folder)]

    def run(*arguments: str) -> None:
        command = [sys.executable, "-m", "pipeline.cli.main", "models", *arguments, *models]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    with serving(folder) as first, serving(folder) as second:
        for address in (first, second):
            wait_until(lambda address=address: ask(address)[0] == 200)
        run("stop", "stable", "--reason", "wrong answers in Geneva")
        for address in (first, second):
            wait_until(lambda address=address: ask(address)[0] == 503)
            assert "wrong answers in Geneva" in ask(address)[1]
        run("resume", "--all")
        for address in (first, second):
            wait_until(lambda address=address: ask(address)[0] == 200)
