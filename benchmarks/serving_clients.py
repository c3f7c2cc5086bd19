"""Clients of `benchmarks.serving`, in a process of their own; prints what they measured as JSON.

Every request is one learner, as `predict_steps` or as a serialized example, from the warm-up
requests. Each client sends a request, waits for the answer, and sends the next.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.grpc_by_hand import BlockingClient, ConcurrentClient

WARMUP = "assets.extra/tf_serving_warmup_requests"
CLIENTS_OF_A_CHANNEL = 8
GRPC, REST = "grpc.pickle", "rest.pickle"  # files of requests
WARM = 20  # calls in turn that are not counted
Times = list[float]


class Measure:
    """Seconds of calls, and the CPU seconds that this process took meanwhile."""

    def __init__(self) -> None:
        self.times: Times = []
        self.calls = 0
        self.cpu = 0.0

    def document(self) -> dict[str, Any]:
        """Returns the figures."""
        return {"times": self.times, "calls": self.calls, "cpu": self.cpu}


def requests_of(version: Path) -> list[Any]:
    """Returns the model's warm-up requests."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator()
    return [PredictionLog.FromString(record).predict_log.request for record in records]


def in_turn(
    version: Path, seconds: float, rest_port: int, grpc_port: int, name: str
) -> dict[str, Measure]:
    """Measures the same request made directly, by gRPC and by REST, in turn."""
    import http.client

    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

    model = tf.saved_model.load(str(version))
    channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
    stub = PredictionServiceStub(channel)
    connection = http.client.HTTPConnection("127.0.0.1", rest_port)
    by_hand = BlockingClient(grpc_port)

    def directly(function: Any, arrays: dict[str, Any]) -> None:
        tensors = {key: tf.constant(array) for key, array in arrays.items()}
        for value in function(**tensors).values():
            value.numpy()

    def by_rest(body: bytes) -> None:
        connection.request("POST", f"/v1/models/{name}:predict", body)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(str(response.status))

    asked = []
    for request in requests_of(version):
        function = model.signatures[request.model_spec.signature_name]
        arrays = _arrays(request)
        request.model_spec.name = name
        request.model_spec.ClearField("version_choice")
        asked.append(
            {
                "direct": partial(directly, function, arrays),
                "gRPC": partial(stub.Predict, request, timeout=30),
                "gRPC by hand": partial(by_hand.predict, request.SerializeToString()),
                "REST": partial(by_rest, as_json(request)),
            }
        )

    found = {kind: Measure() for kind in asked[0]}
    begun = time.perf_counter()
    at = 0
    while at < 50 or time.perf_counter() < begun + seconds:
        for kind, call in asked[at % len(asked)].items():
            cpu, started = time.process_time(), time.perf_counter()
            call()
            if at >= WARM:
                found[kind].times.append(time.perf_counter() - started)
                found[kind].cpu += time.process_time() - cpu
            found[kind].calls += at >= WARM
        at += 1
    channel.close()
    connection.close()
    by_hand.close()
    return found


async def grpc_clients(port: int, asked: Sequence[bytes], clients: int, seconds: float) -> Measure:
    """Measures calls by grpcio, the official library."""
    import grpc

    from benchmarks.grpc_by_hand import PREDICT

    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
        for _ in range(-(-clients // CLIENTS_OF_A_CHANNEL))
    ]
    calls = [channel.unary_unary(PREDICT) for channel in channels]

    async def ask(client: int, at: int) -> None:
        await calls[client % len(calls)](asked[(client + at) % len(asked)], timeout=30)

    found = await _closed_loop(ask, clients, seconds)
    await asyncio.gather(*(channel.close() for channel in channels))
    return found


async def clients_by_hand(
    port: int, asked: Sequence[bytes], clients: int, seconds: float
) -> Measure:
    """Measures calls by gRPC, over frames by hand."""
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(-(-clients // CLIENTS_OF_A_CHANNEL)):
        opened = await loop.create_connection(lambda: ConcurrentClient(port), "127.0.0.1", port)
        connections.append(opened[1])

    async def ask(client: int, at: int) -> None:
        await connections[client % len(connections)].predict(asked[(client + at) % len(asked)])

    found = await _closed_loop(ask, clients, seconds)
    for connection in connections:
        connection.close()
    return found


async def rest_clients(port: int, asked: Sequence[bytes], clients: int, seconds: float) -> Measure:
    """Measures calls by REST, over open connections, by hand: an HTTP library costs more."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]

    async def ask(client: int, at: int) -> None:
        reader, writer = connections[client]
        writer.write(asked[(client + at) % len(asked)])
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        lines = answer.lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))

    found = await _closed_loop(ask, clients, seconds)
    for _, writer in connections:
        writer.close()
    return found


async def _closed_loop(
    ask: Callable[[int, int], Awaitable[None]], clients: int, seconds: float
) -> Measure:
    found = Measure()
    cpu = time.process_time()
    begun = time.perf_counter() + 1.0  # calls of the first second are not counted

    async def client(number: int) -> None:
        at = 0
        while (started := time.perf_counter()) < begun + seconds:
            await ask(number, at)
            at += 1
            found.calls += 1
            if started > begun:
                found.times.append(time.perf_counter() - started)

    await asyncio.gather(*(client(number) for number in range(clients)))
    found.cpu = time.process_time() - cpu
    return found


def as_json(request: Any) -> bytes:
    """Returns the body of the same request in columns; serialized examples as base64."""
    import base64

    import numpy as np
    import tensorflow as tf

    def column(name: str, tensor: Any) -> Any:
        values = tf.make_ndarray(tensor)
        if name == "examples":
            return [{"b64": base64.b64encode(value).decode()} for value in values]
        if values.dtype != object:
            return values.tolist()
        texts = np.array([value.decode() for value in values.ravel()], object)
        return texts.reshape(values.shape).tolist()

    inputs = {name: column(name, tensor) for name, tensor in request.inputs.items()}
    document = {"signature_name": request.model_spec.signature_name, "inputs": inputs}
    return json.dumps(document).encode()


def _arrays(request: Any) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}


def prepare(version: Path, name: str, folder: Path) -> None:
    """Writes the bytes of all requests, so that the processes of clients need no TensorFlow."""
    messages, bodies = [], []
    for request in requests_of(version):
        request.model_spec.name = name
        request.model_spec.ClearField("version_choice")
        messages.append(request.SerializeToString())
        body = as_json(request)
        head = f"POST /v1/models/{name}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        bodies.append(f"{head}{len(body)}\r\n\r\n".encode() + body)
    (folder / GRPC).write_bytes(pickle.dumps(messages))
    (folder / REST).write_bytes(pickle.dumps(bodies))


def main(kind: str, seconds: float, port: int, folder: Path, count: int) -> None:
    """Measures one kind of client and prints the figures."""
    clients, file = {
        "gRPC by grpcio": (grpc_clients, GRPC),
        "gRPC by hand": (clients_by_hand, GRPC),
        "REST by hand": (rest_clients, REST),
    }[kind]
    asked = pickle.loads((folder / file).read_bytes())
    _print({kind: asyncio.run(clients(port, asked, count, seconds))})


def _print(found: dict[str, Measure]) -> None:
    print(json.dumps({kind: measure.document() for kind, measure in found.items()}))


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what == "prepare":
        prepare(Path(given[0]), given[1], Path(given[2]))
    elif what == "in turn":
        _print(in_turn(Path(given[0]), float(given[1]), int(given[2]), int(given[3]), given[4]))
    else:
        main(what, float(given[0]), int(given[1]), Path(given[2]), int(given[3]))
