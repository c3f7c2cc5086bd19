"""Answers requests from a SavedModel in a separate process, as TensorFlow Serving would.

`python -m components.serving_check.replay MODEL REQUESTS ANSWERS` reads a TFRecord of
`PredictionLog` with requests and writes one with requests and responses. The model is loaded as
TensorFlow Serving loads it, from its graph and signatures alone, without Python code of the model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

import components
from components.errors import MasteryError

PROCESS = "components.serving_check.replay"


class ServingError(MasteryError):
    """The model cannot be served as it was evaluated; nothing is pushed."""


def replay(model: Path, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
    """Returns the responses to requests, in order, from a fresh process without a GPU.

    Raises:
        ServingError: the model cannot be loaded there, or fails on a request.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests"), Path(folder, "answers")
        write_requests(asked, requests)
        command = [sys.executable, "-m", PROCESS, str(model), str(asked), str(answered)]
        finished = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, check=False
        )
        if finished.returncode:
            lines = [line for line in finished.stderr.splitlines() if line.strip()]
            output = "\n".join(f"  {line}" for line in lines[-5:])
            raise ServingError(
                f"{model}: the model failed in a fresh process without a GPU (exit code "
                f"{finished.returncode}), and nothing is pushed. Its last output:\n{output}"
            )

        records = tf.data.TFRecordDataset(str(answered)).as_numpy_iterator()
        return [PredictionLog.FromString(record).predict_log.response for record in records]


def write_requests(path: Path, requests: Sequence[PredictRequest]) -> None:
    """Writes requests in the format of TensorFlow Serving's logs, which its warm-up reads."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString(deterministic=True))


def answer_all(model: str, requests: str, answers: str) -> None:
    """Answers every request of the file `requests`, in order, into the file `answers`."""
    records = list(tf.data.TFRecordDataset(requests).as_numpy_iterator())

    with (
        tf.Graph().as_default(),
        tf.compat.v1.Session() as session,
        tf.io.TFRecordWriter(answers) as writer,
    ):
        loaded = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], model)
        for record in records:
            log = PredictionLog.FromString(record)
            request = log.predict_log.request
            log.predict_log.response.CopyFrom(_answer(session, loaded.signature_def, request))
            writer.write(log.SerializeToString())


def _answer(
    session: tf.compat.v1.Session, signatures: Any, request: PredictRequest
) -> PredictResponse:
    signature = signatures[request.model_spec.signature_name]
    inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    feed = {signature.inputs[name].name: value for name, value in inputs.items()}
    outputs = {name: tensor.name for name, tensor in signature.outputs.items()}

    response = PredictResponse()
    response.model_spec.CopyFrom(request.model_spec)
    for name, value in session.run(outputs, feed).items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return response


def _environment() -> dict[str, str]:
    """Returns this process's environment, extended to find our packages and to hide GPUs."""
    root = Path(components.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


if __name__ == "__main__":
    try:
        answer_all(*sys.argv[1:])
    except Exception as error:  # the parent process shows it to the user
        sys.exit(f"{type(error).__name__}: {error}")
