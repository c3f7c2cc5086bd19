"""The process that answers requests from a SavedModel as TensorFlow Serving would.

`python -m components.serving_check.answering` imports what it needs, waits for one line on its
standard input, a JSON list of the paths MODEL, REQUESTS and ANSWERS, and ends when it has answered.
It ends at once when its standard input is closed.

The model is loaded as TensorFlow Serving loads it, from its graph and signatures alone, without
Python code of the model, and without the operations that TensorFlow Transform and other libraries
register in a process that imports them.
"""

from __future__ import annotations

import json
import os
import sys
from queue import SimpleQueue
from threading import Thread
from typing import Any

from components.serving_check.lean_tensorflow import Runtime, import_runtime

SERVE = "serve"  # the tag that TensorFlow Serving loads


def answer_all(runtime: Runtime, model: str, requests: str, answers: str) -> None:
    """Answers every request of the file `requests`, in order, into the file `answers`.

    Both are TFRecords of `PredictionLog`; the second has requests and responses.
    """
    # After the runtime: these import `tensorflow`.
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = list(runtime.read_records(requests))

    with (
        runtime.graph().as_default(),
        runtime.session() as session,
        runtime.record_writer(answers) as writer,
    ):
        loaded = runtime.load(session, [SERVE], model)
        for record in records:
            log = PredictionLog.FromString(record)
            _answer(runtime, session, loaded.signature_def, log.predict_log)
            writer.write(log.SerializeToString())


def _answer(runtime: Runtime, session: Any, signatures: Any, log: Any) -> None:
    """Fills the response of a log that holds a request."""
    request, response = log.request, log.response
    signature = signatures[request.model_spec.signature_name]
    feed = {
        signature.inputs[name].name: runtime.make_ndarray(tensor)
        for name, tensor in request.inputs.items()
    }
    outputs = {name: tensor.name for name, tensor in signature.outputs.items()}

    response.model_spec.CopyFrom(request.model_spec)
    for name, value in session.run(outputs, feed).items():
        response.outputs[name].CopyFrom(runtime.make_tensor_proto(value))


def _read_request(requests: SimpleQueue[list[str]]) -> None:
    """Passes on the line with the request; ends this process when nobody can send more."""
    # Not by `sys.stdin`: its lock would be held while the interpreter ends, which aborts.
    line = b""
    while part := os.read(0, 4096):
        line += part
        if line.endswith(b"\n"):
            requests.put(json.loads(line))
            line = b""
    os._exit(1)


def _keep_output_open() -> None:
    """Drops what is printed, but keeps the pipe open: its end shows that this process has ended."""
    os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main() -> None:
    """Answers one request."""
    _keep_output_open()
    requests: SimpleQueue[list[str]] = SimpleQueue()
    Thread(target=_read_request, args=(requests,), daemon=True, name="request").start()
    try:
        runtime = import_runtime()
        answer_all(runtime, *requests.get())
    except Exception as error:  # who started this process shows it to the user
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
