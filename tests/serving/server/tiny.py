"""A tiny served model: both signatures, answers that padding would change, a slow signature."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

Steps = dict[str, np.ndarray]


class TinyModel(tf.Module):
    """Answers `weight` times the mean of the steps that count."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = tf.Variable(weight)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        spec = {
            "correct": tf.io.RaggedFeature(tf.float32),
            "level": tf.io.FixedLenFeature([], tf.int64, 0),
        }
        parsed = tf.io.parse_example(examples, spec)
        lengths = tf.cast(parsed["correct"].row_lengths(), tf.int64)
        return self._answer(parsed["correct"].to_tensor(), lengths, parsed["level"])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, name="correct"),
            tf.TensorSpec([None, None], tf.string, name="event_type"),
            tf.TensorSpec([None], tf.int64, name="level"),
            tf.TensorSpec([None], tf.int64, name="num_steps"),
        ]
    )
    def predict_steps(self, correct, event_type, level, num_steps):
        quizzes = tf.where(event_type == b"quiz", 1.0, 0.0)
        return self._answer(correct + quizzes, num_steps, level)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="seconds")])
    def slow(self, seconds):
        end = tf.timestamp() + tf.cast(tf.reduce_max(seconds), tf.float64)
        spun = tf.while_loop(lambda _: tf.timestamp() < end, lambda count: [count + 1], [0])[0]
        return {"spun": seconds + 0.0 * tf.cast(spun, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="value")])
    def single(self, value):
        return {"double": value * 2}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="size")])
    def wide(self, size):
        return {"text": tf.strings.reduce_join(tf.fill([size], "0123456789"))}

    def _answer(self, correct, num_steps, level):
        lengths = tf.clip_by_value(num_steps, 0, tf.shape(correct, tf.int64)[1])
        seen = tf.sequence_mask(lengths, tf.shape(correct)[1])
        with tf.control_dependencies(
            [tf.debugging.assert_less(level, tf.constant(100, tf.int64), "level too high")]
        ):
            total = tf.reduce_sum(tf.where(seen & tf.math.is_finite(correct), correct, 0.0), axis=1)
        score = self.weight * total / tf.maximum(tf.cast(lengths, tf.float32), 1.0) + tf.cast(
            level, tf.float32
        )
        return {"score": score, "basis": tf.where(lengths > 0, "sequence", "prior")}


def save_model(folder: Path, weight: float) -> Path:
    """Saves a version's content, with a warm-up request and a manifest."""
    model = TinyModel(weight)
    names = ("serving_default", "predict_steps", "slow", "single", "wide")
    tf.saved_model.save(model, str(folder), {name: getattr(model, name) for name in names})
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(
        str(folder / "assets.extra" / "tf_serving_warmup_requests")
    ) as writer:
        log = PredictionLog(predict_log=PredictLog(request=steps_request(steps([3]))))
        writer.write(log.SerializeToString())
    (folder / "manifest.json").write_text(json.dumps({"name": "tiny"}))
    return folder


def push(source: Path, folder: Path, version: int) -> Path:
    """Adds a version as a push does: complete at once."""
    beside = folder / f".push-{version}"
    shutil.copytree(source, beside)
    return beside.rename(folder / str(version))


def steps(lengths: list[int], seed: int = 0, width: int | None = None) -> Steps:
    """Returns the inputs of `predict_steps` for rows of these lengths, with visible padding."""
    draw = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths) if width is None else width)
    return {
        "correct": draw.random(shape, np.float32) + 1,
        "event_type": draw.choice(np.array([b"quiz", b"video"], object), shape),
        "level": draw.integers(0, 9, len(lengths)),
        "num_steps": np.array(lengths, np.int64),
    }


def expected_scores(inputs: Steps, weight: float) -> np.ndarray:
    """The model's formula, a row at a time."""
    values = inputs["correct"] + (inputs["event_type"] == b"quiz")
    lengths = np.clip(inputs["num_steps"], 0, values.shape[1])
    means = [
        row[:length].sum() / max(length, 1) for row, length in zip(values, lengths, strict=True)
    ]
    return weight * np.array(means) + inputs["level"]


def steps_request(inputs: Steps, **spec: object) -> PredictRequest:
    """Returns a request to `predict_steps`; `spec` may say version_label."""
    request = PredictRequest()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "predict_steps"
    for key, value in spec.items():
        setattr(request.model_spec, key, value)
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def example(correct: list[float], level: int = 0) -> bytes:
    """Returns a serialized tf.Example."""
    features = {
        "correct": tf.train.Feature(float_list=tf.train.FloatList(value=correct)),
        "level": tf.train.Feature(int64_list=tf.train.Int64List(value=[level])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
