"""Replays requests against a SavedModel in a separate process, as TensorFlow Serving would."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

from components.errors import MasteryError

if TYPE_CHECKING:
    from components.serving_check.standby import AnsweringProcess, FreshProcess


class ServingError(MasteryError):
    """The model cannot be served as it was evaluated; nothing is pushed."""


def replay(
    process: AnsweringProcess | FreshProcess,
    model: Path,
    requests: Sequence[PredictRequest],
    device: str = "without a GPU",
) -> list[PredictResponse]:
    """Returns the responses to requests, in order, from a fresh process.

    Args:
        process: answers; it has answered nothing before.
        model: a SavedModel.
        requests: what it is asked.
        device: of the process, for messages.

    Raises:
        ServingError: the model cannot be loaded there, or fails on a request.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "requests"), Path(folder, "answers")
        write_requests(asked, requests)
        ending = process.answer(model, asked, answered)
        if ending.code:
            output = "\n".join(f"  {line}" for line in ending.lines)
            raise ServingError(
                f"{model}: the model failed in a fresh process {device} (exit code "
                f"{ending.code}), and nothing is pushed. Its last output:\n{output}"
            )

        records = tf.data.TFRecordDataset(str(answered)).as_numpy_iterator()
        return [PredictionLog.FromString(record).predict_log.response for record in records]


def write_requests(path: Path, requests: Sequence[PredictRequest]) -> None:
    """Writes requests in the format of TensorFlow Serving's logs, which its warm-up reads."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = PredictionLog(predict_log=PredictLog(request=request))
            writer.write(log.SerializeToString(deterministic=True))
