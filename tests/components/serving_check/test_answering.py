"""The process that answers has nothing but TensorFlow's core, and answers as the whole of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.serving_check.lean_tensorflow import make_function
from components.serving_check.questions import Interview, ModelInputs
from components.serving_check.replay import write_requests
from tests.components.serving_check.conftest import CONFIG

DTYPES = {
    "num_steps": "int64", "event_type": "string", "correct": "float32", "level": "int64",
    "unit_id": "string",
}  # fmt: skip
CODE = """
import sys
from components.serving_check import lean_tensorflow
from components.serving_check.answering import LoadedModel, answer_all

version, model, *paths = sys.argv[1:]
lean_tensorflow.WRITTEN_FOR = version or lean_tensorflow.WRITTEN_FOR
runtime = lean_tensorflow.import_runtime()
answer_all(runtime, LoadedModel(runtime, model), *paths)
print(*sorted({"keras", "scipy", "tfx_bsl", "tensorflow_transform"} & {*sys.modules}))
"""


def _answers(version: str, model: Path, requests: Path) -> tuple[list[PredictionLog], list[str]]:
    answers = requests.with_name("answers")
    command = [sys.executable, "-c", CODE, version, str(model), str(requests), str(answers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = tf.data.TFRecordDataset(str(answers)).as_numpy_iterator()
    return [PredictionLog.FromString(record) for record in records], done.stdout.split()


def test_a_session_that_cannot_optimize_in_advance_answers_the_same() -> None:
    class Session(tf.compat.v1.Session):
        _make_callable_from_options = None

    for kind in (tf.compat.v1.Session, Session):
        with tf.Graph().as_default(), kind() as session:
            number = tf.compat.v1.placeholder(tf.float32, [], "number")
            twice = tf.multiply(number, 2.0, "twice")
            square = tf.square(number, "square")
            function = make_function(session, [number.name], [twice.name, square.name])

            assert function(np.float32(3)) == [6.0, 9.0]


def test_a_part_of_tensorflow_answers_as_the_whole(
    tmp_path: Path, model: Path, examples: list[bytes]
) -> None:
    inputs = ModelInputs(tuple(CONFIG["steps"]["features"]), ("level", "unit_id"))
    questions = Interview("small", inputs, DTYPES).together(examples)
    requests = [request for question in questions for request in question.requests]
    write_requests(tmp_path / "requests", requests)

    lean, imported = _answers("", model, tmp_path / "requests")
    whole, _ = _answers("no such version", model, tmp_path / "requests")

    assert imported == []
    assert len(lean) == len(requests) == 2
    assert lean == whole
