"""What is missing for a run on Flink is said before any node starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from components.config.beam import Beam
from components.node.flink.check import check_flink
from components.node.flink.cluster import Cluster, FlinkError
from components.node.flink.job_server import running_job_server
from tests.ports import free_port


@pytest.fixture
def jobmanager() -> Iterator[str]:
    """A server that answers as the REST interface of a JobManager with two slots, one of them free.

    The real one is in tests/end_to_end/test_flink.py.
    """
    answers: dict[str, Any] = {
        "/overview": {
            "taskmanagers": 1, "slots-total": 2, "slots-available": 1, "flink-version": "1.19.3",
        },
        "/jobmanager/config": [{"key": "restart-strategy.type", "value": "exponential-delay"}],
    }  # fmt: skip
    with serving(answers) as master:
        yield master


@contextmanager
def serving(answers: dict[str, Any]) -> Iterator[str]:
    """Serves JSON by path; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def on(master: str, **keys: Any) -> Beam:
    return Beam(runner="flink", flink_master=master, **keys)


def test_nothing_is_looked_for_where_beam_runs_in_the_process() -> None:
    assert check_flink(Beam()) is None


def test_a_cluster_with_all_that_is_needed_is_described(jobmanager: str) -> None:
    assert check_flink(on(jobmanager, flink_job_server=jobmanager)) == (
        f"Flink 1.19.3 at http://{jobmanager}, 1 of 2 task slots free on 1 TaskManagers"
    )


def test_a_master_that_does_not_answer_is_an_error_with_what_was_tried() -> None:
    master = f"127.0.0.1:{free_port()}"
    with pytest.raises(FlinkError) as caught:
        check_flink(on(master))
    assert f"no Flink cluster answers at http://{master} (Connection refused)" in str(caught.value)
    assert "beam.flink_master" in str(caught.value)


@pytest.mark.parametrize("said", [{"status": "fine"}, ["fine"], None])
def test_json_of_another_service_is_an_error(said: object) -> None:
    answers = {"/overview": said, "/jobmanager/config": []}
    with serving(answers) as master, pytest.raises(FlinkError, match="there is no JobManager"):
        check_flink(on(master))


def test_a_server_that_is_no_jobmanager_is_an_error(jobmanager: str) -> None:
    with pytest.raises(FlinkError, match="it answered 404 to /jobs/overview"):
        Cluster(jobmanager).jobs("x")


@pytest.mark.parametrize(
    ("parallelism", "says"),
    [
        (3, "expected at most the cluster's 2 task slots, found 3"),
        (2, "expected at most the free task slots, found 2 and 1 of 2 task slots free"),
    ],
)
def test_too_few_slots_are_an_error_at_once(jobmanager: str, parallelism: int, says: str) -> None:
    with pytest.raises(FlinkError, match=r"beam\.parallelism: ") as caught:
        check_flink(on(jobmanager, parallelism=parallelism, flink_job_server=jobmanager))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"sdk_workers": "{dead}"}, "beam.sdk_workers: nothing listens at {dead}"),
        ({"flink_job_server": "{dead}"}, "beam.flink_job_server: nothing listens at {dead}"),
        ({"flink_job_server": "/no/such.jar"}, "beam.flink_job_server: there is no file /no/such"),
    ],
)
def test_what_is_not_there_is_named_with_its_key(
    jobmanager: str, keys: dict[str, str], says: str
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    given = {key: value.format(dead=dead) for key, value in keys.items()}
    with pytest.raises(FlinkError) as caught:
        check_flink(on(jobmanager, **given))
    assert says.format(dead=dead) in str(caught.value)


def test_without_java_no_job_server_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with (
        pytest.raises(FlinkError, match="there is no java on PATH"),
        running_job_server(on("a:1", flink_job_server="s.jar"), tmp_path),
    ):
        pass
