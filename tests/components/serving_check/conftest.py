"""A small SavedModel with both signatures, examples, and an evaluator's predictions for them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.serving_check.standby import AnsweringProcess

CLASSES = ["low", "middle", "high"]
CONFIG = {
    "name": "small",
    "label": {"column": "mastery", "task": "classification", "classes": CLASSES},
    "steps": {"max_steps": 10, "min_steps": 1, "features": {"event_type": {}, "correct": {}}},
    "context": {"level": {}},
    "prior": {"group_by": ["unit_id"]},
}
PRIOR = [0.2, 0.3, 0.5]
Flaw = str | None


class SmallModel(tf.Module):
    """Scores a sequence by a formula; `flaw` names one thing that is wrong with it."""

    def __init__(self, flaw: Flaw, level: tf.DType = tf.int64) -> None:
        super().__init__()
        self.flaw = flaw
        self.level = level  # the type of that column in examples
        # TensorFlow Serving restores a variable of Keras only if its tf.Variable is held, too.
        self.weight = keras.Variable(2.0) if flaw == "forgets its weights" else tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_default(self, examples):
        steps = {
            "event_type": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64),
            "correct": tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64),
        }
        single = {
            "num_steps": tf.io.FixedLenFeature([], tf.int64),
            "unit_id": tf.io.FixedLenFeature([], tf.string, ""),
            "level": tf.io.FixedLenFeature([], self.level, 0),
        }
        if self.flaw == "needs the label":
            single["mastery"] = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_example(examples, {**steps, **single})
        dense = {name: parsed[name].to_tensor() for name in steps}
        return self._answer(
            **dense, **{name: parsed[name] for name in ("num_steps", "unit_id", "level")}
        )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.string, name="event_type"),
            tf.TensorSpec([None, None], tf.float32, name="correct"),
            tf.TensorSpec([None], tf.int64, name="num_steps"),
            tf.TensorSpec([None], tf.string, name="unit_id"),
            tf.TensorSpec([None], tf.int64, name="level"),
        ]
    )
    def predict_steps(self, event_type, correct, num_steps, unit_id, level):
        if self.flaw == "signatures differ":
            correct = correct + 0.25
        return self._answer(event_type, correct, num_steps, unit_id, level)

    def _answer(self, event_type, correct, num_steps, unit_id, level):
        seen = tf.sequence_mask(num_steps, tf.shape(correct)[1])
        length = tf.cast(num_steps, tf.float32)
        if self.flaw == "counts padding":
            length = tf.cast(tf.fill(tf.shape(num_steps), tf.shape(correct)[1]), tf.float32)
        if self.flaw != "leaks NaN":
            correct = tf.where(tf.math.is_nan(correct), 0.0, correct)
        score = tf.reduce_sum(tf.where(seen, correct, 0.0), 1) / tf.maximum(length, 1.0)
        quizzes = tf.reduce_sum(tf.cast(seen & (event_type == b"quiz"), tf.float32), 1)
        logits = tf.stack(
            [
                score * tf.convert_to_tensor(self.weight),
                quizzes * 0.1,
                tf.cast(level, tf.float32) * 0.3,
            ],
            1,
        )
        known = num_steps > (-1 if self.flaw == "leaks NaN" else 0)
        prior = tf.where((unit_id == b"unit-0")[:, None], [PRIOR[::-1]], [PRIOR])
        probabilities = tf.where(known[:, None], tf.nn.softmax(logits), prior)
        classes = tf.broadcast_to(tf.constant([CLASSES]), tf.shape(probabilities))
        if self.flaw == "wants a GPU":
            probabilities += tf.reduce_sum(_cudnn(correct))
        if self.flaw == "has no basis":
            return {"classes": classes, "probabilities": probabilities}
        return {
            "classes": classes,
            "probabilities": probabilities,
            "predicted_class": tf.gather(tf.constant(CLASSES), tf.argmax(probabilities, 1)),
            "basis": tf.where(known, "sequence", "prior"),
        }


def _cudnn(values: Any) -> Any:
    state = tf.zeros([1, 1, 1])
    return tf.raw_ops.CudnnRNNV3(
        input=values[:, :, None],
        input_h=state,
        input_c=state,
        params=tf.zeros([16]),
        sequence_lengths=[1],
    ).output


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns a function that saves the model, with or without a flaw, and returns its folder."""

    def save(flaw: Flaw = None) -> Path:
        folder = tmp_path_factory.mktemp("model") / "Format-Serving"
        model = SmallModel(flaw)
        signatures = {name: getattr(model, name) for name in ("serving_default", "predict_steps")}
        tf.saved_model.save(model, str(folder), signatures)
        (folder / "assets.extra").mkdir()
        notes = {
            "name": "small",
            "task": "classification",
            "classes": CLASSES,
            "config": CONFIG,
            "code": "abc",
        }
        (folder / "assets.extra" / "mastery.json").write_text(json.dumps(notes))
        return folder

    return save


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder that leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="check-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def process() -> Iterator[AnsweringProcess]:
    """What answers requests as a server would."""
    with AnsweringProcess() as process:
        yield process


@pytest.fixture(scope="session")
def model(save_model: Callable[..., Path]) -> Path:
    """The model without a flaw."""
    return save_model()


def _example(number: int) -> bytes:
    draw = np.random.default_rng(number)
    length = 0 if number % 10 == 0 else int(draw.integers(1, 8))
    correct = draw.choice([0.0, 1.0, np.nan], length, p=[0.4, 0.4, 0.2])
    events = draw.choice([b"quiz", b"video", b""], length)
    features = {
        "learner_id": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[f"learner-{number:03}".encode()])
        ),
        "unit_id": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[b"unit-%d" % (number % 3)])
        ),
        "as_of": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 4])),
        "num_steps": tf.train.Feature(int64_list=tf.train.Int64List(value=[length])),
        "mastery": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"low"])),
        "gender": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"f"])),
        "event_type": tf.train.Feature(bytes_list=tf.train.BytesList(value=events.tolist())),
        "correct": tf.train.Feature(float_list=tf.train.FloatList(value=correct)),
    }
    if number % 7:  # the others have no level, which only serving_default can express
        features["level"] = tf.train.Feature(
            int64_list=tf.train.Int64List(value=[int(draw.integers(0, 5))])
        )
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture(scope="session")
def examples() -> list[bytes]:
    """Sixty examples of a test split: cold starts, missing steps, missing outcome columns."""
    return [_example(number) for number in range(60)]


@pytest.fixture(scope="session")
def predictions(examples: list[bytes]) -> pl.DataFrame:
    """What the Evaluator would have written about the examples and the model without a flaw."""
    module = SmallModel(None)  # held by a name, or its functions lose it
    answers = module.serving_default(tf.constant(examples))
    found = {name: value.numpy() for name, value in answers.items()}
    return pl.DataFrame(
        {
            "learner_id": [f"learner-{number:03}" for number in range(len(examples))],
            "unit_id": [f"unit-{number % 3}" for number in range(len(examples))],
            "as_of": [number % 4 for number in range(len(examples))],
            "label": ["low"] * len(examples),
            "probabilities": found["probabilities"].tolist(),
            "predicted_class": [item.decode() for item in found["predicted_class"]],
            "basis": [item.decode() for item in found["basis"]],
        },
        schema_overrides={"probabilities": pl.List(pl.Float32)},
    )
