"""A small SavedModel that says how sure it is, what is to be done, and why: by formulas."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tests.components.serving_check.conftest import CLASSES, SmallModel

TYPICAL = 0.25  # of every class
FEATURES = ["event_type", "correct", "level"]
_STEPS = {
    "event_type": tf.TensorSpec([None, None], tf.string, name="event_type"),
    "correct": tf.TensorSpec([None, None], tf.float32, name="correct"),
}
_COLUMNS = {
    "num_steps": tf.TensorSpec([None], tf.int64, name="num_steps"),
    "unit_id": tf.TensorSpec([None], tf.string, name="unit_id"),
    "level": tf.TensorSpec([None], tf.float32, name="level"),
}
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
_CLASS = tf.TensorSpec([None], tf.string, name="explained_class")


class ExplainingModel(tf.Module):
    """Answers as `SmallModel`, with all outputs that newer versions have.

    Its attributions add up to what is between the answer and `TYPICAL`. Half of that is the level;
    steps have the rest, quizzes and right answers more than others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._small = SmallModel(None, level=tf.float32)
        self.weight = self._small.weight

        def default(examples):
            return self._answer(**self._parsed(examples))

        def steps(inputs):
            return self._answer(**inputs)

        def explain(examples, explained_class):
            return self._explain(self._parsed(examples), explained_class)

        def explain_steps(inputs):
            named = dict(inputs)
            return self._explain(named, named.pop("explained_class"))

        dense = {**_STEPS, **_COLUMNS}
        self.functions = {
            "serving_default": tf.function(default).get_concrete_function(_EXAMPLES),
            "predict_steps": tf.function(steps).get_concrete_function(dense),
            "explain": tf.function(explain).get_concrete_function(_EXAMPLES, _CLASS),
            "explain_steps": tf.function(explain_steps).get_concrete_function(
                {**dense, "explained_class": _CLASS}
            ),
        }

    def _parsed(self, examples):
        lists = {
            name: tf.io.RaggedFeature(spec.dtype, row_splits_dtype=tf.int64)
            for name, spec in _STEPS.items()
        }
        single = {
            "num_steps": tf.io.FixedLenFeature([], tf.int64),
            "unit_id": tf.io.FixedLenFeature([], tf.string, ""),
            "level": tf.io.FixedLenFeature([], tf.float32, 0),
        }
        parsed = tf.io.parse_example(examples, {**lists, **single})
        return {**parsed, **{name: parsed[name].to_tensor() for name in lists}}

    def _answer(self, event_type, correct, num_steps, unit_id, level):
        answer = self._small._answer(event_type, correct, num_steps, unit_id, level)
        probabilities = answer["probabilities"]
        is_in = probabilities >= 0.3
        is_far = (level > 2) & (answer["basis"] == b"sequence")
        return {
            **answer,
            "basis": tf.where(is_far, "unfamiliar", answer["basis"]),
            "prediction_set": is_in,
            "answer_text": tf.where(
                tf.reduce_sum(tf.cast(is_in, tf.int32), 1) == 1,
                answer["predicted_class"],
                "not sure",
            ),
            "unfamiliar": tf.where(is_far, "level", ""),
            "decision_call": probabilities[:, 0] >= 0.4,
        }

    def _explain(self, inputs, explained_class):
        answer = self._answer(**inputs)
        name = tf.where(explained_class == b"", answer["predicted_class"], explained_class)
        place = tf.argmax(tf.cast(name[:, None] == tf.constant([CLASSES]), tf.int32), 1)
        whole = tf.gather(answer["probabilities"], place, batch_dims=1) - TYPICAL

        seen = tf.sequence_mask(inputs["num_steps"], tf.shape(inputs["correct"])[1])
        correct = tf.where(tf.math.is_nan(inputs["correct"]), 0.0, inputs["correct"])
        kinds = tf.where(inputs["event_type"] == b"quiz", 3.0, 1.0)
        weights = tf.stack([kinds, 1.0 + correct], 2) * tf.cast(seen, tf.float32)[:, :, None]
        total = tf.maximum(tf.reduce_sum(weights, [1, 2]), 1e-6)
        by_step = weights * (whole / 2 / total)[:, None, None]
        attributions = tf.concat([tf.reduce_sum(by_step, 1), (whole / 2)[:, None]], 1)
        length = tf.maximum(tf.cast(inputs["num_steps"], tf.float32), 1.0)
        mean = tf.reduce_sum(tf.where(seen, correct, 0.0), 1) / length
        level = inputs["level"]
        return {
            **answer,
            "explained_class": name,
            "explained_features": tf.broadcast_to(tf.constant([FEATURES]), tf.shape(attributions)),
            "attributions": attributions,
            "directions": tf.stack([tf.zeros_like(level), mean - 0.5, level - 1.5], 1),
            "step_attributions": by_step,
            "typical_answer": tf.fill(tf.shape(level), TYPICAL),
        }


def save(folder: Path) -> Path:
    """Writes the model with its four signatures; returns the folder."""
    model = ExplainingModel()
    tf.saved_model.save(model, str(folder), model.functions)
    return folder
