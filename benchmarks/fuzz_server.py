"""Fuzzes the embedded server: sends it broken requests for some minutes, beside valid ones.

.venv/bin/python -m benchmarks.fuzz_server --models runs/sample/serving [--minutes 3] [--seed 1]

Real requests are mutated at three levels: bytes of HTTP, JSON values, and bytes and fields of a
PredictRequest. It ends with an error if the server ends, answers with a 5xx or an internal status,
stops answering, or answers valid requests differently than at the beginning.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from benchmarks.serving import newest_version, serving
from benchmarks.serving_clients import as_json, requests_of

OWN_FAULT = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"}
ODD = [
    None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "\ud800", "x" * 5000,
    [], {}, [[]], {"b64": "?"}, [1],
]  # fmt: skip


class ServerFuzzer:
    """Draws requests and checks the answers."""

    def __init__(
        self, asked: list[PredictRequest], name: str, ports: tuple[int, int], seed: int
    ) -> None:
        self._draw = random.Random(seed)
        self._asked = asked
        self._name = name
        self._rest = ports[0]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{ports[1]}")
        self._bodies = [as_json(request) for request in asked]
        self.seen: collections.Counter[str] = collections.Counter()

    def http(self) -> None:
        """Mutates the bytes of an HTTP request."""
        body = self._draw.choice(self._bodies)
        raw = self._head(":predict", body) + body
        self._send(self._mutate(raw, self._draw.randint(1, 8)))

    def json(self) -> None:
        """Replaces values somewhere in a JSON request."""
        document = json.loads(self._draw.choice(self._bodies))
        if self._draw.random() < 0.3:
            document["instances"] = copy.deepcopy(self._draw.choice([*ODD, document.pop("inputs")]))
        for _ in range(self._draw.randint(1, 4)):
            document = self._replace(document)
        body = json.dumps(document).encode()
        odd_paths = ["/versions/1:predict", "/labels/\u00e9:predict", "/metadata", ""]
        path = self._draw.choice([":predict"] * 8 + odd_paths)
        self._send(self._head(path, body) + body)

    def protobuf(self) -> None:
        """Mutates the bytes or the fields of a PredictRequest."""
        request = PredictRequest()
        request.CopyFrom(self._draw.choice(self._asked))
        for _ in range(self._draw.randint(0, 3)):
            self._spoil(request)
        raw = request.SerializeToString()
        if self._draw.random() < 0.5:
            raw = self._mutate(raw, self._draw.randint(1, 5))

        call = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        try:
            call(raw, timeout=20)
            self.seen["gRPC OK"] += 1
        except grpc.RpcError as error:
            self.seen[f"gRPC {error.code().name}"] += 1
            if error.code().name in OWN_FAULT:
                raise SystemExit(f"{error.code().name}: {error.details()} for {raw!r}") from error

    def behave(self) -> list[Any]:
        """Sends valid requests, and returns the answers."""
        stub = PredictionServiceStub(self._channel)
        answers = [stub.Predict(request, timeout=20).outputs for request in self._asked]
        return [
            {name: tf.make_ndarray(value).tolist() for name, value in outputs.items()}
            for outputs in answers
        ]

    def _head(self, path: str, body: bytes) -> bytes:
        return (
            f"POST /v1/models/{self._name}{path} HTTP/1.1\r\nHost: a\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()

    def _send(self, raw: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._rest), timeout=20) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while part := connection.recv(65536):
                    answer += part
            except ConnectionError:  # the server hung up on nonsense
                answer = b""
        status = answer[9:12].decode(errors="replace") or "no answer"
        self.seen[f"HTTP {status}"] += 1
        if status.startswith("5"):
            raise SystemExit(f"{answer!r} for {raw!r}")

    def _mutate(self, raw: bytes, times: int) -> bytes:
        changed = bytearray(raw)
        for _ in range(times):
            at = self._draw.randrange(len(changed) + 1)
            size = self._draw.choice([0, 1, 1, 4, 50])
            changed[at : at + size] = self._draw.randbytes(self._draw.choice([0, 1, 1, 4, 50]))
        return bytes(changed)

    def _replace(self, value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or self._draw.random() < 0.15:
            return copy.deepcopy(self._draw.choice(ODD))
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = self._draw.choice(keys)
        if self._draw.random() < 0.1:
            del value[key]
        else:
            value[key] = self._replace(value[key])
        return value

    def _spoil(self, request: PredictRequest) -> None:
        name = self._draw.choice(list(request.inputs) or ["new"])
        tensor = request.inputs[name]
        kind = self._draw.randrange(7)
        if kind == 0:
            tensor.dtype = self._draw.randrange(40)
        elif kind == 1:
            tensor.tensor_shape.dim.add(size=self._draw.choice([-1, 0, 1, 2**40, 2**62]))
        elif kind == 2 and tensor.tensor_shape.dim:
            tensor.tensor_shape.dim[0].size = self._draw.choice([-5, 0, 2, 10**9, 2**63 - 1])
        elif kind == 3:
            tensor.tensor_content = self._draw.randbytes(self._draw.randrange(30))
        elif kind == 4:
            del request.inputs[name]
        elif kind == 5:
            shape = [self._draw.randrange(6) for _ in range(self._draw.randrange(4))]
            values = np.full(shape, self._draw.choice([-(2**40), 0, 2**40]))
            tensor.CopyFrom(tf.make_tensor_proto(values))
        else:
            names = ["", "predict_steps", "serving_default", "\0"]
            request.model_spec.signature_name = self._draw.choice(names)


def main(models: Path, name: str, minutes: float, seed: int) -> None:
    """Fuzzes, and prints how often each kind of answer occurred."""
    version = newest_version(models)
    asked = requests_of(version)
    for request in asked:
        request.model_spec.name = name
        request.model_spec.ClearField("version_choice")

    with serving(models, name) as server:
        fuzzer = ServerFuzzer(asked, name, server.ports, seed)
        first = fuzzer.behave()
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            for _ in range(100):
                random.choice([fuzzer.http, fuzzer.json, fuzzer.protobuf])()
            if fuzzer.behave() != first:
                raise SystemExit("valid requests got other answers than at the beginning")

        for kind, count in sorted(fuzzer.seen.items()):
            print(f"{count:8} {kind}")
        print("None was 5xx or internal; valid requests always got the same answers.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--name", default="sample")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    main(given.models, given.name, given.minutes, given.seed)
