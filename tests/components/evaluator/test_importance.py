"""Which features answers rest on, for a model whose attributions are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from components.config import load_config
from components.config.data import Label
from components.contracts.names import (
    ATTRIBUTIONS,
    BASIS,
    BASIS_PRIOR,
    BASIS_SEQUENCE,
    DIRECTIONS,
    EXAMPLES,
    EXPLAIN,
    EXPLAINED_FEATURES,
    LEARNER,
    NUM_STEPS,
    PREDICTION,
    SERVING_DEFAULT,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
)
from components.evaluator.evaluator_settings import EvaluatorSettings
from components.evaluator.importance import measure_importance

ROWS, COLD = 30, 5


class Linear(tf.Module):  # type: ignore[misc]
    """Predicts `of_correct` times the sum of `correct`, minus the sum of `dwell_seconds`."""

    def __init__(self, of_correct: float) -> None:
        super().__init__()
        self.weights = tf.constant([of_correct, -1.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {PREDICTION: tf.reduce_sum(self._parts(examples), axis=[1, 2])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=EXAMPLES)])
    def explain(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = self._parts(examples)
        sums = tf.reduce_sum(parts, axis=1)
        names = tf.constant([["correct", "dwell_seconds"]])
        return {
            PREDICTION: tf.reduce_sum(sums, axis=1),
            TYPICAL_ANSWER: tf.zeros([tf.size(examples)]),
            ATTRIBUTIONS: sums,
            DIRECTIONS: tf.constant([[1.0, 1.0]]) + 0 * sums,
            STEP_ATTRIBUTIONS: parts,
            EXPLAINED_FEATURES: tf.tile(names, [tf.size(examples), 1]),
        }

    def _parts(self, examples: tf.Tensor) -> tf.Tensor:
        spec = {name: tf.io.VarLenFeature(tf.float32) for name in ("correct", "dwell_seconds")}
        parsed = tf.io.parse_example(examples, spec)
        values = [tf.sparse.to_dense(parsed[name]) for name in spec]
        return tf.stack(values, axis=2) * self.weights


def save(folder: Path, of_correct: float) -> Path:
    model = Linear(of_correct)
    signatures = {SERVING_DEFAULT: model.serve, EXPLAIN: model.explain}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Right answers and seconds, [rows, steps, 2]; every sequence has six steps."""
    draw = np.random.default_rng(4)
    return np.stack([draw.integers(0, 2, (ROWS, 6)), draw.random((ROWS, 6))], 2).astype(np.float32)


@pytest.fixture(scope="module")
def split(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer:
        for row in values:
            example = tf.train.Example()
            for name, column in zip(("correct", "dwell_seconds"), row.T, strict=True):
                example.features.feature[name].float_list.value.extend(column)
            example.features.feature[NUM_STEPS].int64_list.value.append(6)
            writer.write(example.SerializeToString())
    return folder


@pytest.fixture(scope="module")
def predictions(split: Path) -> Path:
    """The first rows were answered by the prior, so they are not explained."""
    path = split.parent / "predictions.parquet"
    basis = [BASIS_PRIOR] * COLD + [BASIS_SEQUENCE] * (ROWS - COLD)
    learners = [f"learner-{row}" for row in range(ROWS)]
    pl.DataFrame({LEARNER: learners, "label": np.zeros(ROWS), BASIS: basis}).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def settings() -> EvaluatorSettings:
    whole = EvaluatorSettings.of(load_config("configs/sample.yaml"))
    features = whole.steps.features
    steps = {name: features[name] for name in ("correct", "dwell_seconds")}
    return whole.model_copy(
        update={
            "label": Label(column="score", task="regression"),
            "steps": whole.steps.model_copy(update={"features": steps}),
            "explain": whole.explain.model_copy(update={"truth": "none"}),
        }
    )


def test_features_are_ranked_by_the_mean_size_of_what_they_add(
    split: Path, predictions: Path, values: np.ndarray, settings: EvaluatorSettings, tmp_path: Path
) -> None:
    model, before = save(tmp_path / "model", 3.0), save(tmp_path / "before", 0.5)

    found = measure_importance(split, model, before, predictions, settings)

    assert found is not None
    assert found.examples == ROWS - COLD
    assert found.completeness < 1e-5
    sums = values[COLD:].sum(axis=1)
    of_correct, of_dwell = found.classes[""]
    assert [of_correct.feature, of_dwell.feature] == ["correct", "dwell_seconds"]
    assert of_correct.size == pytest.approx(3 * sums[:, 0].mean(), rel=1e-5)
    assert of_correct.before == pytest.approx(0.5 * sums[:, 0].mean(), rel=1e-5)
    assert of_dwell.size == pytest.approx(sums[:, 1].mean(), rel=1e-5)
    assert (of_correct.lean, of_dwell.lean) == (1.0, -1.0)
    assert of_correct.interval is not None
    assert of_correct.interval[0] < of_correct.size < of_correct.interval[1]
    assert found.removal is not None
    assert found.removal.gain > 0
    assert found.drivers is None


def test_a_model_that_explains_nothing_has_no_picture(
    split: Path, predictions: Path, settings: EvaluatorSettings, tmp_path: Path
) -> None:
    silent = Linear(1.0)
    tf.saved_model.save(silent, str(tmp_path / "silent"), {SERVING_DEFAULT: silent.serve})

    assert measure_importance(split, tmp_path / "silent", None, predictions, settings) is None

    speaking = save(tmp_path / "speaking", 1.0)
    unasked = settings.explain.model_copy(update={"examples": 0})
    without = settings.model_copy(update={"explain": unasked})
    assert measure_importance(split, speaking, None, predictions, without) is None
    beside = measure_importance(split, speaking, tmp_path / "silent", predictions, settings)
    assert beside is not None
    assert beside.classes[""][0].before is None
