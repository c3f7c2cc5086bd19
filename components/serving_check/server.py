"""Stands in for a server: answers questions from a SavedModel in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

import components
from components.errors import MasteryError
from components.serving_check.questions import Question

PROCESS = "components.serving_check.replay"
Answers = dict[
    str, np.ndarray[Any, Any]
]  # an output's values by its name, [n] or [n, classes]; text as str


class ServingError(MasteryError):
    """The model cannot be served as it was evaluated; nothing is pushed."""


def ask(model: Path, questions: Sequence[Question]) -> list[Answers]:
    """Returns the answers to each question, in the order of its rows.

    Raises:
        ServingError: the model cannot be loaded in a fresh process, or fails on a request there.
    """
    responses = iter(
        _replay(model, [request for question in questions for request in question.requests])
    )
    return [_joined([next(responses) for _ in question.requests]) for question in questions]


def write_requests(path: Path, requests: Sequence[PredictRequest]) -> None:
    """Writes requests as TensorFlow Serving logs them, and takes them for a warm-up."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString(deterministic=True))


def _replay(model: Path, requests: Sequence[PredictRequest]) -> list[PredictResponse]:
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests"), Path(folder, "answers")
        write_requests(asked, requests)
        command = [sys.executable, "-m", PROCESS, str(model), str(asked), str(answered)]
        finished = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, check=False
        )
        if finished.returncode:
            lines = [line for line in finished.stderr.splitlines() if line.strip()]
            raise ServingError(
                f"{model}: expected a model that answers in a fresh process without a GPU, found (exit code "
                f"{finished.returncode}):\n" + "\n".join(f"  {line}" for line in lines[-5:])
            )
        records = tf.data.TFRecordDataset(str(answered)).as_numpy_iterator()
        return [PredictionLog.FromString(record).predict_log.response for record in records]


def _environment() -> dict[str, str]:
    """Returns this process's environment, with our packages to be found and GPUs not."""
    root = Path(components.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _joined(responses: Sequence[PredictResponse]) -> Answers:
    outputs = [
        {name: tf.make_ndarray(tensor) for name, tensor in item.outputs.items()}
        for item in responses
    ]
    return {name: _as_text(np.concatenate([item[name] for item in outputs])) for name in outputs[0]}


def _as_text(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Decodes text, which comes as bytes; leaves numbers as they are."""
    if values.dtype != object:
        return values
    return np.array([item.decode() for item in values.ravel()], dtype=object).reshape(values.shape)
