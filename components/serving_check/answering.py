"""The process that answers requests from a SavedModel as TensorFlow Serving would.

`python -m components.serving_check.answering` imports what it needs and reads lines of JSON from
its standard input: a list of one path is a model to get ready; a list of three paths, a model,
requests and answers, is the request, after which it ends. It ends at once when its standard input
is closed.

The model is loaded as TensorFlow Serving loads it, from its graph and signatures alone, without
Python code of the model, and without the operations that TensorFlow Transform and other libraries
register in a process that imports them.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from components.contracts.names import SERVE
from components.serving_check.lean_tensorflow import Runtime, import_runtime, make_function

READY = 1  # paths in a line that asks to get a model ready; a request has more


class LoadedModel:
    """A SavedModel in a session, with the graph of every signature optimized.

    TensorFlow optimizes a graph before it is first run, which takes longer than to run it.
    """

    def __init__(self, runtime: Runtime, model: str) -> None:
        # After the runtime: this imports `tensorflow`.
        from components.model_version.safe_graph import require_safe

        require_safe(Path(model))
        self._runtime = runtime
        graph = runtime.graph()
        session = runtime.session(graph=graph)
        with graph.as_default():
            signatures = runtime.load(session, [SERVE], model).signature_def

        self._signatures = signatures
        self._run = {
            name: make_function(
                session,
                [tensor.name for tensor in signature.inputs.values()],
                [tensor.name for tensor in signature.outputs.values()],
            )
            for name, signature in signatures.items()
            if signature.inputs
        }

    def answer(self, log: Any) -> None:
        """Fills the response of a `PredictLog` that holds a request."""
        request, response = log.request, log.response
        name = request.model_spec.signature_name
        signature = self._signatures[name]
        values = [self._runtime.make_ndarray(request.inputs[key]) for key in signature.inputs]

        response.model_spec.CopyFrom(request.model_spec)
        for key, value in zip(signature.outputs, self._run[name](*values), strict=True):
            response.outputs[key].CopyFrom(self._runtime.make_tensor_proto(value))


def answer_all(runtime: Runtime, model: LoadedModel, requests: str, answers: str) -> None:
    """Answers every request of the file `requests`, in order, into the file `answers`.

    Both are TFRecords of `PredictionLog`; the second has requests and responses.
    """
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    with runtime.record_writer(answers) as writer:
        for record in runtime.read_records(requests):
            log = PredictionLog.FromString(record)
            model.answer(log.predict_log)
            writer.write(log.SerializeToString())


def answer_request(lines: SimpleQueue[list[str]]) -> None:
    """Gets models ready as long as lines name some, then answers the request."""
    runtime = import_runtime()
    ready: dict[str, LoadedModel] = {}
    while len(paths := lines.get()) == READY:
        if paths[0] not in ready:
            with suppress(Exception):  # the request finds the same error
                ready = {paths[0]: LoadedModel(runtime, paths[0])}

    path, requests, answers = paths
    model = ready.get(path) or LoadedModel(runtime, path)
    answer_all(runtime, model, requests, answers)


def _read_lines(lines: SimpleQueue[list[str]]) -> None:
    """Passes lines on; ends this process when its standard input is closed."""
    # Not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts.
    rest = b""
    while part := os.read(0, 4096):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            lines.put(json.loads(line))
    os._exit(1)


def _keep_output_open() -> None:
    """Drops what is printed, but keeps the pipe open: its end shows that this process has ended."""
    os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main() -> None:
    """Answers one request."""
    gc.disable()  # this process ends before there is much to collect
    _keep_output_open()
    lines: SimpleQueue[list[str]] = SimpleQueue()
    Thread(target=_read_lines, args=(lines,), daemon=True, name="lines").start()
    try:
        answer_request(lines)
    except Exception as error:  # ServingCheck shows it to the user
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
