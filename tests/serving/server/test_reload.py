"""Versions come and go without a request being lost."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest

from tests.serving.server.running import Running, running
from tests.serving.server.test_batching import busy
from tests.serving.server.tiny import expected_scores, push, steps, steps_request

INPUTS = steps([3, 1])


def answering(server: Running, **spec: object) -> int:
    """Returns the version that answers."""
    response = server.prediction.Predict(steps_request(INPUTS, **spec))
    version = response.model_spec.version.value
    weight = 3.0 if version == 2 else 2.0
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["score"]), expected_scores(INPUTS, weight), rtol=1e-5
    )
    return int(version)


def state(server: Running, version: int) -> int:
    request = GetModelStatusRequest(model_spec={"name": "tiny"})
    statuses = {
        item.version: item for item in server.models.GetModelStatus(request).model_version_status
    }
    return int(statuses[version].state)


def config(specific: list[int], **labels: int) -> dict[str, object]:
    policy = {"specific": {"versions": specific}} if specific else {}
    return {
        "name": "tiny",
        "model_platform": "tensorflow",
        "model_version_policy": policy,
        "version_labels": labels,
    }


def write_config(folder: Path, specific: list[int], **labels: int) -> None:
    request = ReloadConfigRequest(
        config={"model_config_list": {"config": [config(specific, **labels)]}}
    )
    (folder / "models.config").write_text(str(request.config))


def test_a_new_version_takes_over_and_the_old_one_finishes(folder: Path, thrice: Path) -> None:
    with running(folder) as server:
        assert answering(server) == 1
        slow = busy(server, 1.0)
        push(thrice, folder, 2)
        server.poll()
        assert state(server, 1) == ModelVersionStatus.UNLOADING
        assert slow.result().model_spec.version.value == 1
        assert answering(server) == 2
        while state(server, 1) != ModelVersionStatus.END:
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError, match="Specific version 1"):
            server.prediction.Predict(versioned(1))


def versioned(version: int) -> object:
    request = steps_request(INPUTS)
    request.model_spec.version.value = version
    return request


def test_reloading_under_load_loses_nothing(folder: Path, thrice: Path, twice: Path) -> None:
    seen: dict[int, int] = {}
    failures: list[str] = []
    done = threading.Event()

    def ask(server: Running, by_rest: bool) -> None:
        while not done.is_set():
            try:
                if by_rest:
                    server.rest.get("/v1/models/tiny/metadata").raise_for_status()
                    server.predict({"instances": [""]}).raise_for_status()
                else:
                    version = answering(server)
                    seen[version] = seen.get(version, 0) + 1
            except Exception as error:
                failures.append(repr(error))

    def wait_for(version: int) -> None:
        while version not in seen and not failures:
            time.sleep(0.02)

    with running(folder, poll_seconds=0.05) as server:
        clients = [
            threading.Thread(target=ask, args=(server, number % 2 == 0)) for number in range(8)
        ]
        for client in clients:
            client.start()
        wait_for(1)
        for version, source in ((2, thrice), (3, twice), (4, twice)):
            push(source, folder, version)
            while state_or_none(server, version) != ModelVersionStatus.AVAILABLE:
                time.sleep(0.02)
            shutil.rmtree(folder / str(version - 1))
            wait_for(version)
        done.set()
        for client in clients:
            client.join()
        assert answering(server) == 4
    assert failures == []
    assert {1, 2, 3, 4} == set(seen)


def state_or_none(server: Running, version: int) -> int | None:
    try:
        return state(server, version)
    except KeyError:
        return None


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(folder: Path, thrice: Path) -> None:
    broken = push(thrice, folder, 2)
    (broken / "saved_model.pb").write_bytes(b"nonsense")
    with running(folder) as server:
        assert answering(server) == 1
        status = server.rest.get("/v1/models/tiny/versions/2").json()["model_version_status"][0]
        assert status["state"] == "END"
        assert status["status"]["error_code"] == "UNKNOWN"
        assert "nonsense" not in status["status"]["error_message"]
        shutil.rmtree(broken)
        push(thrice, folder, 3)
        server.poll()
        assert state(server, 3) == ModelVersionStatus.AVAILABLE


def test_a_version_counts_only_when_it_has_answered_its_warm_up(folder: Path, thrice: Path) -> None:
    version = push(thrice, folder, 2)
    request = steps_request({**INPUTS, "level": np.array([100, 100])})
    with tf.io.TFRecordWriter(
        str(version / "assets.extra" / "tf_serving_warmup_requests")
    ) as writer:
        log = b"\x32" + _length_prefixed(
            b"\x0a" + _length_prefixed(request.SerializeToString())
        )  # PredictionLog
        writer.write(log)
    with running(folder) as server:
        assert answering(server) == 1
        assert "level too high" in server.rest.get("/v1/models/tiny/versions/2").text


def _length_prefixed(raw: bytes) -> bytes:
    size, prefix = len(raw), b""
    while size > 127:
        prefix += bytes([size % 128 + 128])
        size //= 128
    return prefix + bytes([size]) + raw


def test_a_server_may_start_before_the_first_push(tmp_path: Path, twice: Path) -> None:
    with running(tmp_path) as server:
        assert server.predict({"instances": [""]}).status_code == 404
        (tmp_path / "2").mkdir()  # not there yet: no saved_model.pb
        push(twice, tmp_path, 1)
        server.poll()
        assert answering(server) == 1


def test_versions_and_labels_of_models_config(folder: Path, thrice: Path) -> None:
    push(thrice, folder, 2)
    write_config(folder, [1, 2], stable=1, canary=2)
    with running(folder) as server:
        assert answering(server, version_label="stable") == 1
        assert answering(server, version_label="canary") == 2
        assert server.predict({"instances": [""]}, "/labels/canary").status_code == 200
        write_config(folder, [2], stable=2)
        server.poll()
        assert answering(server, version_label="stable") == 2
        assert state(server, 1) != ModelVersionStatus.AVAILABLE
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: canary"):
            answering(server, version_label="canary")


def test_a_label_stays_where_it_was_until_its_new_version_answers(
    folder: Path, thrice: Path
) -> None:
    write_config(folder, [1], stable=1)
    with running(folder) as server:
        broken = push(thrice, folder, 2)
        (broken / "saved_model.pb").write_bytes(b"nonsense")
        write_config(folder, [2], stable=2)
        server.poll()
        assert answering(server, version_label="stable") == 1


def test_a_broken_models_config_changes_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_config(folder, [1], stable=1)
    with running(folder) as server:
        (folder / "models.config").write_text("model_config_list {")
        server.poll()
        server.poll()
        assert answering(server, version_label="stable") == 1
    warnings = [
        record.getMessage()
        for record in caplog.records
        if "ModelServerConfig" in record.getMessage()
    ]
    assert len(warnings) == 1


RELOAD_TOKEN = "open"


def reload(
    server: Running, *models: dict[str, object], token: str | None = RELOAD_TOKEN, **more: str
) -> None:
    request = ReloadConfigRequest(config={"model_config_list": {"config": models}})
    metadata = {"x-mastery-reload-token": token, **more} if token else more
    server.models.HandleReloadConfigRequest(request, metadata=tuple(metadata.items()))


def test_reloading_is_off_unless_there_is_a_token_for_it(server: Running) -> None:
    for token in (None, RELOAD_TOKEN, ""):
        with pytest.raises(grpc.RpcError, match=r"reloading by gRPC is off") as caught:
            reload(server, config([1]), token=token)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_reloading_needs_both_tokens(folder: Path) -> None:
    with running(folder, token="sesame", reload_token=RELOAD_TOKEN) as server:
        right = {"authorization": "Bearer sesame"}
        for token, more, code in (
            (RELOAD_TOKEN, {}, "UNAUTHENTICATED"),
            (None, right, "PERMISSION_DENIED"),
            ("sesame", right, "PERMISSION_DENIED"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                reload(server, config([1]), token=token, **more)
            assert caught.value.code().name == code
        reload(server, config([1], stable=1), **right)
        request = steps_request(INPUTS, version_label="stable")
        assert (
            server.prediction.Predict(
                request, metadata=tuple(right.items())
            ).model_spec.version.value
            == 1
        )


def test_a_reload_request_sets_versions_and_labels(folder: Path, thrice: Path) -> None:
    push(thrice, folder, 2)
    with running(folder, reload_token=RELOAD_TOKEN) as server:
        assert answering(server) == 2
        reload(server, config([1, 2], stable=1, canary=2))
        assert answering(server, version_label="stable") == 1
        assert answering(server, version_label="canary") == 2
        server.poll()
        assert answering(server, version_label="stable") == 1


@pytest.mark.parametrize(
    ("models", "code", "reason"),
    [
        ([config([1, 7])], "FAILED_PRECONDITION", "7: it is not among the versions"),
        ([config([], stable=7)], "FAILED_PRECONDITION", "7: it is not among the versions"),
        ([], "INVALID_ARGUMENT", "found none"),
        ([{**config([1]), "name": "other"}], "INVALID_ARGUMENT", "expected the one model tiny"),
        ([{**config([1]), "base_path": "/etc"}], "INVALID_ARGUMENT", "base_path"),
        ([{**config([1]), "base_path": "FOLDER/../elsewhere"}], "INVALID_ARGUMENT", "base_path"),
        ([{**config([1]), "base_path": "FOLDER/1"}], "INVALID_ARGUMENT", "base_path"),
        (
            [config(list(range(10, 100_000)))],
            "FAILED_PRECONDITION",
            "19: not among .*; and 99980 more",
        ),
        (
            [{**config([1]), "model_version_policy": {"specific": {}}}],
            "INVALID_ARGUMENT",
            "one or more specific",
        ),
    ],
)
def test_a_reload_request_that_cannot_be_followed(
    reloadable: tuple[Path, Running], models: list, code: str, reason: str
) -> None:
    folder, server = reloadable
    for model in models:
        model["base_path"] = str(model.get("base_path", "")).replace("FOLDER", str(folder))
    with pytest.raises(grpc.RpcError, match=reason) as caught:
        reload(server, *models)
    assert caught.value.code().name == code
    assert len(caught.value.details()) < 2000
    assert server.predict({"instances": [""]}).status_code == 200


@pytest.fixture(scope="module")
def reloadable(
    twice: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Running]]:
    """A server of version 1 that may be reloaded, and its folder."""
    folder = tmp_path_factory.mktemp("reloadable")
    push(twice, folder, 1)
    with running(folder, reload_token=RELOAD_TOKEN) as started:
        yield folder, started
