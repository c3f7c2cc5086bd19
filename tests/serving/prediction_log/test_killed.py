"""Killed at any moment: what was acknowledged is in the log, exactly once."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.prediction_log.log_store import Query, open_store
from serving.prediction_log.mover import Mover
from tests.serving.server.tiny import example

ROOT = Path(__file__).parents[3]
START_SECONDS = 120


@dataclass
class Server:
    """`mastery serve` in a process group of its own."""

    process: subprocess.Popen[str]
    rest_port: int
    grpc_port: int

    def kill(self, *, with_mover: bool) -> None:
        if with_mover:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0


def command(models: Path, target: str, spool: Path | None) -> list[str]:
    return [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded",
        "--models", str(models), "--name", "tiny", "--rest-port", "0", "--grpc-port", "0",
        "--prediction-log", target, *(["--prediction-log-spool", str(spool)] if spool else []),
    ]  # fmt: skip


@contextmanager
def serving(models: Path, target: str, spool: Path | None, log: Path) -> Iterator[Server]:
    """Starts a server; whatever is left of it at the end is killed."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command(models, target, spool), cwd=ROOT, stderr=output, text=True,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Serving tiny" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        line = log.read_text().partition("Serving tiny")[2].splitlines()[0]
        rest, grpc_ = line.split("REST http://127.0.0.1:")[1].split(", gRPC 127.0.0.1:")
        yield Server(process, int(rest.split("/")[0]), int(grpc_.rstrip(".")))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Load:
    """Clients that send inputs that nobody sends again, and note which were acknowledged."""

    numbers: Iterator[int] = field(default_factory=count)
    acknowledged: list[str] = field(default_factory=list)
    asked: int = 0

    @contextmanager
    def on(self, *servers: Server) -> Iterator[None]:
        stop = threading.Event()
        clients = [
            threading.Thread(target=client, args=(server, stop))
            for server in servers
            for client in (self.by_rest, self.by_rest, self.by_grpc, self.by_grpc)
        ]
        for thread in clients:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in clients:
                thread.join()

    def by_rest(self, server: Server, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)

        def ask(item: bytes) -> bool:
            row = {"b64": base64.b64encode(item).decode()}
            body = json.dumps({"instances": [row]})
            connection.request("POST", "/v1/models/tiny:predict", body)
            response = connection.getresponse()
            response.read()
            return response.headers["x-prediction-log"] == "logged"

        with closing(connection), suppress(OSError, http.client.HTTPException):
            self._ask_until(stop, ask)

    def by_grpc(self, server: Server, stop: threading.Event) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
            stub = PredictionServiceStub(channel)

            def ask(item: bytes) -> bool:
                request = PredictRequest()
                request.model_spec.name = "tiny"
                request.inputs["examples"].dtype = 7
                request.inputs["examples"].tensor_shape.dim.add(size=1)
                request.inputs["examples"].string_val.append(item)
                _, call = stub.Predict.with_call(request, timeout=30)
                return ("x-prediction-log", "logged") in call.trailing_metadata()

            with suppress(grpc.RpcError):
                self._ask_until(stop, ask)

    def _ask_until(self, stop: threading.Event, ask: Callable[[bytes], bool]) -> None:
        while not stop.is_set():
            item = example([float(next(self.numbers))])
            self.asked += 1
            if ask(item):
                self.acknowledged.append(sha256(item).hexdigest())

    def wait_for(self, more: int) -> None:
        """Waits until as many more requests were acknowledged."""
        wanted = len(self.acknowledged) + more
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def logged(target: str) -> Counter[str]:
    with closing(open_store(target)) as store:
        return Counter(row.input_hash for row in store.read(Query()))


def check(load: Load, target: str) -> None:
    """Every acknowledged row is there, and no row twice; the last ones may be unacknowledged."""
    rows = logged(target)
    assert not set(load.acknowledged) - rows.keys()
    assert set(rows.values()) == {1}
    assert len(rows) <= load.asked
    assert len(load.acknowledged) > 50


# These take as long as TensorFlow takes to be imported by each of the servers.


def test_servers_of_one_folder_are_killed_under_load(folder: Path, tmp_path: Path) -> None:
    draw = random.Random(20261127)
    log = tmp_path / "log"
    given = (folder, str(log), None)
    load = Load()
    with (
        serving(*given, tmp_path / "1.txt") as first,
        serving(*given, tmp_path / "2.txt") as second,
        load.on(first, second),
    ):
        load.wait_for(50)
        time.sleep(draw.uniform(0, 0.5))
        first.kill(with_mover=True)
        load.wait_for(20)
        time.sleep(draw.uniform(0, 0.5))
        second.kill(with_mover=True)
    assert list(log.glob(".spool/*.spool"))
    check(load, str(log))  # out of the spool

    with serving(*given, tmp_path / "3.txt") as third, load.on(third):
        load.wait_for(50)
        third.kill(with_mover=False)
        deadline = time.monotonic() + 60
        while list(log.glob(".spool/*.spool")):  # the mover has survived
            assert time.monotonic() < deadline
            time.sleep(0.05)
    check(load, str(log))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_that_logs_to_a_database_is_killed_under_load(
    folder: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    sqlite = f"sqlite:///{tmp_path}/answers.db"
    target = sqlite if kind == "sqlite" else request.getfixturevalue("database")
    given = (folder, target, tmp_path / "spool")
    load = Load()
    with serving(*given, tmp_path / "1.txt") as first, load.on(first):
        load.wait_for(100)
        deadline = time.monotonic() + 60
        while not logged(target):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        first.kill(with_mover=True)
    assert list(tmp_path.glob("spool/*.spool"))

    with serving(*given, tmp_path / "2.txt") as second:
        with load.on(second):
            load.wait_for(50)
        second.stop()
    check(load, target)
    assert not list(tmp_path.glob("spool/*.spool"))


APPENDING = """
import itertools, os, sys
from pathlib import Path
from serving.prediction_log.spool import Spool
from tests.serving.prediction_log.frames_of import frame_of

spool = Spool(Path(sys.argv[1]))
spool.open()
for number in itertools.count(int(sys.argv[2])):
    layout, frame = frame_of([float(number), number + 0.5])
    if spool.append(layout, frame, 2):
        os.write(1, b"%d\\n" % number)
    if number % 50 == 0:
        spool.renew(seconds=0)
"""


def test_what_a_process_acknowledged_is_there_whenever_it_was_killed(tmp_path: Path) -> None:
    draw = random.Random(7)
    acknowledged = []
    for turn in range(5):
        arguments = [sys.executable, "-c", APPENDING, str(tmp_path / ".spool"), str(turn * 10**6)]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            killing = threading.Timer(draw.uniform(0, 0.1), process.kill)
            killing.start()
            lines = [first, *process.stdout.readlines()]
            killing.join()
        acknowledged += [int(line) for line in lines if line.endswith(b"\n")]
        if turn % 2:
            Mover(tmp_path / ".spool", lambda: open_store(str(tmp_path)), 10_000).step()

    with closing(open_store(str(tmp_path))) as store:
        rows = Counter(row.answer["score"] for row in store.read(Query()))
    assert set(rows.values()) == {1}
    assert len(acknowledged) > 50
    assert all(rows[number] and rows[number + 0.5] for number in acknowledged)
    assert len(rows) <= 2 * (len(acknowledged) + 5)
