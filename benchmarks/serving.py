"""The embedded server beside a direct call of the SavedModel in a process of its own, on the same machine, in one run.

.venv/bin/python benchmarks/serving.py --models runs/sample/serving [--seconds 5] [--clients 1 16 64]

Every request is one learner, as `predict_steps` or a serialized example, taken from the model's warm-up requests. The
clients are a process of their own: one connection a client for REST, one channel for eight clients of gRPC, each
asking, waiting for the answer, and asking again. Everything is in turn and repeated, so that other work on the machine
hits all alike; the machine's load stands beside the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

WARMUP = "assets.extra/tf_serving_warmup_requests"
Times = list[float]


def requests_of(version: Path) -> list[Any]:
    """Returns the model's warm-up requests."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator()
    return [PredictionLog.FromString(record).predict_log.request for record in records]


def _arrays(request: Any) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}


def direct(version: Path, seconds: float) -> Times:
    """Seconds of calls as a program would make them that loads the model itself."""
    import tensorflow as tf

    model = tf.saved_model.load(str(version))
    asked = [
        (
            model.signatures[request.model_spec.signature_name],
            {k: tf.make_ndarray(v) for k, v in request.inputs.items()},
        )
        for request in requests_of(version)
    ]
    times: Times = []
    for at in range(10**9):
        function, arrays = asked[at % len(asked)]
        started = time.perf_counter()
        answer = function(**{name: tf.constant(value) for name, value in arrays.items()})
        for value in answer.values():
            value.numpy()
        times.append(time.perf_counter() - started)
        if sum(times) > seconds + 1 and len(times) > 50:
            return times[30:]
    return times


def in_turn(version: Path, seconds: float, rest_port: int, grpc_port: int, name: str) -> dict[str, Times]:
    """Seconds of a direct call, a call by gRPC and one by REST, of the same request, one after the other."""
    import http.client

    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    model = tf.saved_model.load(str(version))
    channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
    stub, connection = PredictionServiceStub(channel), http.client.HTTPConnection("127.0.0.1", rest_port)

    def directly(function: Any, arrays: dict[str, Any]) -> None:
        for value in function(**{key: tf.constant(array) for key, array in arrays.items()}).values():
            value.numpy()

    def by_rest(body: bytes) -> None:
        connection.request("POST", f"/v1/models/{name}:predict", body)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(str(response.status))

    asked = []
    for request in requests_of(version):
        function, arrays = model.signatures[request.model_spec.signature_name], _arrays(request)
        request.model_spec.name = name
        request.model_spec.ClearField("version_choice")
        asked.append(
            {
                "direct": partial(directly, function, arrays),
                "gRPC": partial(stub.Predict, request),
                "REST": partial(by_rest, _as_json(request)),
            }
        )
    times: dict[str, Times] = {kind: [] for kind in asked[0]}
    begun, at = time.perf_counter(), 0
    while at < 50 or time.perf_counter() < begun + seconds:
        for kind, call in asked[at % len(asked)].items():
            started = time.perf_counter()
            call()
            times[kind].append(time.perf_counter() - started)
        at += 1
    channel.close()
    connection.close()
    return {kind: found[20:] for kind, found in times.items()}


async def grpc_clients(port: int, name: str, version: Path, clients: int, seconds: float) -> Times:
    """Seconds of calls by the official stubs."""
    import grpc
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    asked = requests_of(version)
    for request in asked:
        request.model_spec.name = name
        request.model_spec.ClearField("version_choice")
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(-(-clients // 8))]
    stubs = [PredictionServiceStub(channel) for channel in channels]

    async def ask(client: int, at: int) -> None:
        await stubs[client % len(stubs)].Predict(asked[(client + at) % len(asked)], timeout=30)

    times = await _closed_loop(ask, clients, seconds)
    await asyncio.gather(*(channel.close() for channel in channels))
    return times


async def rest_clients(port: int, name: str, version: Path, clients: int, seconds: float) -> Times:
    """Seconds of calls over connections that stay open, written by hand so that the client is not what is measured."""
    bodies = [_as_json(request) for request in requests_of(version)]
    head = f"POST /v1/models/{name}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    asked = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]

    async def ask(client: int, at: int) -> None:
        reader, writer = connections[client]
        writer.write(asked[(client + at) % len(asked)])
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))

    times = await _closed_loop(ask, clients, seconds)
    for _, writer in connections:
        writer.close()
    return times


async def _closed_loop(ask: Callable[[int, int], Awaitable[None]], clients: int, seconds: float) -> Times:
    times: Times = []
    begun = time.perf_counter() + 1.0  # of which the first second is not counted

    async def client(number: int) -> None:
        at = 0
        while (started := time.perf_counter()) < begun + seconds:
            await ask(number, at)
            at += 1
            if started > begun:
                times.append(time.perf_counter() - started)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return times


def _as_json(request: Any) -> bytes:
    """Returns the body of the same request in columns; bytes that are no text as base64."""
    import base64

    import numpy as np
    import tensorflow as tf

    def column(name: str, tensor: Any) -> Any:
        values = tf.make_ndarray(tensor)
        if name == "examples":
            return [{"b64": base64.b64encode(value).decode()} for value in values]
        if values.dtype != object:
            return values.tolist()
        return np.array([value.decode() for value in values.ravel()], object).reshape(values.shape).tolist()

    inputs = {name: column(name, tensor) for name, tensor in request.inputs.items()}
    return json.dumps({"signature_name": request.model_spec.signature_name, "inputs": inputs}).encode()


@contextlib.contextmanager
def serving(models: Path, name: str) -> Iterator[tuple[int, int]]:
    """Yields the ports of REST and gRPC of an embedded server in a process of its own."""
    command = [
        sys.executable, "-m", "pipeline.cli.main", "serve", "--engine", "embedded", "--models", str(models),
        "--name", name, "--rest-port", "0", "--grpc-port", "0",
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            yield _ports(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def _ports(process: subprocess.Popen[bytes], log: Any) -> tuple[int, int]:
    for _ in range(600):
        log.seek(0)
        text = log.read()
        line = next((line for line in text.splitlines() if line.startswith("Serving ")), None)
        if line:
            rest, grpc_ = line.split("REST ")[1].split(", gRPC ")
            return int(rest.split(":")[2].split("/")[0]), int(grpc_.rstrip(".").split(":")[-1])
        if process.poll() is not None:
            raise RuntimeError(text)
        time.sleep(0.2)
    raise RuntimeError("the server did not start")


def measure(*arguments: str) -> Times:
    """Runs one part of this file in a process of its own, and returns its seconds."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})
    return [float(item) for item in json.loads(done.stdout)]


def percentile(times: Times, share: float) -> float:
    """Returns it in milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e3


def main(models: Path, name: str, seconds: float, clients: Sequence[int], repeat: int) -> None:
    """Prints milliseconds and ratios."""
    version = max((item for item in models.iterdir() if item.name.isdecimal()), key=lambda item: int(item.name))
    found: dict[tuple[str, int], list[Times]] = {}
    with serving(models, name) as (rest_port, grpc_port):
        for _ in range(repeat):
            found.setdefault(("direct", 1), []).append(measure("direct", str(version), str(seconds)))
            for count in clients:
                for kind, port in (("gRPC", grpc_port), ("REST", rest_port)):
                    part = measure(kind, str(version), str(seconds), str(port), name, str(count))
                    found.setdefault((kind, count), []).append(part)
            found.setdefault(("direct", 1), []).append(measure("direct", str(version), str(seconds)))
            print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    base = statistics.median(percentile(part, 0.5) for part in found["direct", 1])
    rates = {key: statistics.median(len(part) / seconds for part in parts) for key, parts in found.items()}
    print(f"{'':7} clients  p50 ms  p99 ms  p50/direct  predictions/s  of one client")
    for (kind, count), parts in found.items():
        p50, p99 = (statistics.median(percentile(part, share) for part in parts) for share in (0.5, 0.99))
        rate = 1e3 / p50 if kind == "direct" else rates[kind, count]
        of_one = rate / rates[kind, clients[0]] if kind != "direct" else 1.0
        print(f"{kind:7} {count:7} {p50:7.2f} {p99:7.2f} {p50 / base:11.2f} {rate:14.0f} {of_one:14.1f}")


def part(kind: str, version: str, seconds: str, *rest: str) -> None:
    """Measures in this process, and prints the seconds as JSON."""
    if kind == "direct":
        times = direct(Path(version), float(seconds))
    else:
        port, name, count = rest
        clients = grpc_clients if kind == "gRPC" else rest_clients
        times = asyncio.run(clients(int(port), name, Path(version), int(count), float(seconds)))
    print(json.dumps(times))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if len(sys.argv) > 1 and sys.argv[1] in ("direct", "gRPC", "REST"):
        part(*sys.argv[1:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--models", type=Path, required=True)
        parser.add_argument("--name", default="sample")
        parser.add_argument("--seconds", type=float, default=5)
        parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
        parser.add_argument("--repeat", type=int, default=3)
        given = parser.parse_args()
        main(given.models, given.name, given.seconds, given.clients, given.repeat)
