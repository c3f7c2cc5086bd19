"""A server of one SavedModel for the tests of the client: TensorFlow Serving's two interfaces.

It uses the official stubs and answers from TensorFlow itself, so it shares no code with the client.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


@dataclass
class Server:
    """A running server.

    Attributes:
        rest: the address of REST, as `connect` expects it.
        grpc: the address of gRPC, as `connect` expects it.
        refuse: how the next requests are refused: a status of REST, or a name of gRPC's codes.
        tokens: the header Authorization of each request, None for none.
        learners: the header X-Learner of each request, None for none.
        asked: the requests, oldest first: the path of REST, or the ModelSpec of gRPC.
    """

    rest: str = ""
    grpc: str = ""
    refuse: deque[Any] = field(default_factory=deque)
    asked: list[Any] = field(default_factory=list)
    tokens: list[Any] = field(default_factory=list)
    learners: list[Any] = field(default_factory=list)


@contextmanager
def serve(model: Path) -> Iterator[Server]:
    """Serves a SavedModel until the block ends."""
    loaded = tf.saved_model.load(str(model))
    server = Server()

    def run(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
        signature = loaded.signatures[name]
        specs = signature.structured_input_signature[1]
        found: dict[str, Any] = signature(
            **{name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        )
        return found

    rest = ThreadingHTTPServer(("127.0.0.1", 0), _handler(run, server))
    thread = threading.Thread(target=rest.serve_forever, args=(0.01,))
    thread.start()
    rpc = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_servicer(run, server), rpc)
    server.rest = f"http://127.0.0.1:{rest.server_port}"
    server.grpc = f"grpc://127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
    rpc.start()
    try:
        yield server
    finally:
        rest.shutdown()
        rest.server_close()
        thread.join()
        rpc.stop(None).wait()


def _handler(run: Any, server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append(self.path)
            server.tokens.append(self.headers["Authorization"])
            server.learners.append(self.headers["X-Learner"])
            if server.refuse:
                refusal = server.refuse.popleft()
                if refusal == "break off":
                    self.close_connection = True
                    return
                self._send(refusal, {"error": "not now"})
                return
            answers = run(body["signature_name"], _decoded(body["inputs"]))
            self._send(
                200,
                {
                    "outputs": {
                        name: _plain(value.numpy().tolist()) for name, value in answers.items()
                    }
                },
            )

        def _send(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _decoded(value: Any) -> Any:
    """Returns a value of a request with bytes in place of their encoding."""
    if isinstance(value, dict) and "b64" in value:
        return base64.b64decode(value["b64"])
    if isinstance(value, dict):
        return {name: _decoded(item) for name, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _servicer(run: Any, server: Server) -> prediction_service_pb2_grpc.PredictionServiceServicer:
    class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
        def Predict(
            self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
        ) -> Any:
            server.asked.append(request.model_spec)
            metadata = dict(context.invocation_metadata())
            server.tokens.append(metadata.get("authorization"))
            server.learners.append(metadata.get("x-learner"))
            if server.refuse:
                context.abort(grpc.StatusCode[server.refuse.popleft()], "not now")
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            for name, value in run(request.model_spec.signature_name, inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    return Servicer()
