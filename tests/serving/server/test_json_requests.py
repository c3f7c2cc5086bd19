"""The process that reads large JSON: its results, its limit of memory and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tensorflow.core.framework import types_pb2

from serving.server.json_requests import JsonProcess, Read, read_request
from serving.server.model_signatures import Signature
from serving.server.open_inference import read_question
from serving.server.request_error import RequestError
from tests.serving.server.test_json_tensors import anything, spec

SIGNATURES = {
    "serving_default": Signature(
        "serving_default",
        {"a": spec(types_pb2.DT_FLOAT, (None,)), "b": spec(types_pb2.DT_STRING, (None, None), "b")},
        {"c": spec(types_pb2.DT_FLOAT, (None,), "c")},
    )
}
RIGHT = json.dumps({"inputs": {"a": [1, 2.5], "b": [["x", {"b64": "/w=="}], ["", "é"]]}}).encode()


@pytest.fixture(scope="module")
def reader() -> Iterator[JsonProcess]:
    started = JsonProcess(max_request_bytes=2**20)
    yield started
    started.close()


def read(reader: JsonProcess, body: bytes) -> Read | str:
    """Returns what the process has read, or its error."""
    try:
        return asyncio.run(reader.read(body, SIGNATURES, read_request))
    except RequestError as error:
        return f"{error.http_status} {error.reason}"


def test_valid_requests_are_read(reader: JsonProcess) -> None:
    name, in_rows, arrays = read(reader, RIGHT)
    assert (name, in_rows) == ("", False)
    assert arrays["a"].dtype == np.float32
    assert arrays["a"].tolist() == [1, 2.5]
    assert arrays["b"].tolist() == [[b"x", b"\xff"], [b"", "é".encode()]]
    assert read(reader, b'{"signature_name": "x", "instances": [1]}') == ("x", True, None)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_invalid_requests_are_refused_as_in_this_process(
    reader: JsonProcess, content: object
) -> None:
    body = json.dumps({"instances": content}).encode()
    try:
        here: object = read_request(body, SIGNATURES)[2].keys()
    except RequestError as error:
        here = f"{error.http_status} {error.reason}"
    there = read(reader, body)
    assert here == (there if isinstance(there, str) else there[2].keys())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "400 JSON Parse error"),
        ("[" + "[]," * 300_000 + "[]]", "413 the request takes too much memory"),
        ("[" + '"x",' * 250_000 + '"x"]', "413 the request takes too much memory"),
    ],
)
def test_large_invalid_requests_are_refused(reader: JsonProcess, content: str, reason: str) -> None:
    assert str(read(reader, f'{{"inputs": {{"b": [{content}]}}}}'.encode())).startswith(reason)
    assert read(reader, RIGHT)[0] == ""


def test_the_reader_restarts_after_it_was_killed(reader: JsonProcess) -> None:
    read(reader, RIGHT)
    os.kill(reader.pid, signal.SIGKILL)
    assert (
        read(reader, RIGHT)
        == "503 the process that reads large requests has ended; try again, or with less."
    )
    assert read(reader, RIGHT)[0] == ""


def test_a_request_that_is_given_up_leaves_nothing_behind() -> None:
    async def main() -> None:
        reader, is_read = JsonProcess(max_request_bytes=2**20), threading.Event()
        reader._ask = lambda body, *_: is_read.wait(30) and len(body)
        waiting = bytes(2**20)
        before = sys.getrefcount(waiting)
        first = asyncio.create_task(reader.read(b"first", {}, read_request))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(waiting, {}, read_request), 0.01)
        assert sys.getrefcount(waiting) == before, "its body is not kept until the first is read"

        first.cancel()
        third = asyncio.create_task(reader.read(b"third", {}, read_request))
        is_read.set()
        assert await third == 5, "the turn ends with the reading"
        reader.close()

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such limit")
def test_the_reader_keeps_an_earlier_limit_of_memory() -> None:
    script = (
        "import asyncio, resource; "
        "from serving.server.json_requests import JsonProcess, read_request; "
        "reader = JsonProcess(2**20); "
        "asyncio.run(reader.read(b'{\"inputs\": 1}', {}, read_request)); "
        "print(resource.prlimit(reader.pid, resource.RLIMIT_DATA)[1])"
    )
    command = ["bash", "-c", f'ulimit -d {2**23} && exec "$@"', "-", sys.executable, "-c", script]
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert ran.stdout == f"{2**33}\n", ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_reader_imports_no_tensorflow(reader: JsonProcess) -> None:
    read(reader, RIGHT)
    item = {"name": "a", "datatype": "FP32", "shape": [1], "data": [1.5]}
    signatures = {"only": Signature("only", {"a": SIGNATURES["serving_default"].inputs["a"]}, {})}
    question = asyncio.run(
        reader.read(json.dumps({"inputs": [item]}).encode(), signatures, read_question)
    )
    assert (question.signature_name, question.inputs["a"].tolist()) == ("only", [1.5])
    assert "tensorflow" not in Path(f"/proc/{reader.pid}/maps").read_text()


def test_the_reader_ends_with_the_server() -> None:
    script = (
        "import asyncio, os; from serving.server.json_requests import JsonProcess, read_request; "
        "reader = JsonProcess(2**20); "
        "asyncio.run(reader.read(b'{\"inputs\": 1}', {}, read_request)); "
        "print(reader.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script]
    number = int(
        subprocess.run(
            command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, check=False
        ).stdout
    )
    for _ in range(500):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{number}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("it goes on")
