from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from components.node.settings import TrainerSettings
from components.trainer.calibration import BOUNDS, best_temperature, fit_temperature, read_logits
from components.trainer.export import float32_copy
from tests.components.trainer.test_export import with_random_weights
from tests.components.trainer.test_gpu_export import INPUTS, NETWORK_INPUTS
from tests.components.trainer.tiny_log import SETTINGS


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


def made_up(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with the probabilities that they mean."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, classes))
    drawn = [rng.choice(classes, p=row) for row in softmax(logits, axis=1)]
    return logits, np.array(drawn)


@pytest.mark.parametrize("boldness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_how_bold_logits_were_made(boldness: float) -> None:
    logits, labels = made_up(20_000, 3, seed=1)
    assert best_temperature(boldness * logits, labels) == pytest.approx(boldness, rel=0.03)


@given(st.integers(2, 200), st.integers(2, 5), st.floats(0.1, 20.0), st.integers(0, 2**32 - 1))
def test_no_temperature_on_a_grid_is_better(
    rows: int, classes: int, boldness: float, seed: int
) -> None:
    logits, labels = made_up(rows, classes, seed)
    logits *= boldness
    found = best_temperature(logits, labels)
    assert BOUNDS[0] <= found <= BOUNDS[1]
    loss = log_loss(logits, labels, found)
    for other in np.append(np.geomspace(*BOUNDS, 50), 1.0):
        assert loss <= log_loss(logits, labels, other) + 1e-9
    assert np.array_equal((logits / found).argmax(axis=1), logits.argmax(axis=1))


def test_labels_that_logits_always_find_get_the_boldest_temperature_allowed() -> None:
    logits = np.random.default_rng(2).normal(size=(50, 2))
    assert best_temperature(logits, logits.argmax(axis=1)) == pytest.approx(BOUNDS[0])


@pytest.fixture
def settings() -> TrainerSettings:
    return TrainerSettings.model_validate(SETTINGS)


def batches(*weights: list[float]) -> tf.data.Dataset:
    parts = [(INPUTS, np.array([0, 1, 2]), np.array(weight, np.float32)) for weight in weights]
    spec: Any = tf.data.Dataset.from_tensors(parts[0]).element_spec
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec)


def test_logits_are_those_of_the_answer_without_rows_that_fill_up(
    settings: TrainerSettings,
) -> None:
    network = with_random_weights(settings, NETWORK_INPUTS)
    logits, labels = read_logits(network, batches([2.0, 0.5, 0.0], [1.0, 1.0, 1.0]))
    expected = np.asarray(network(INPUTS, training=False))
    assert softmax(logits, axis=1) == pytest.approx(expected[[0, 1, 0, 1, 2]], abs=1e-6)
    assert labels.tolist() == [0, 1, 0, 1, 2]


def test_an_export_answers_with_the_softmax_of_logits_by_the_temperature(
    settings: TrainerSettings,
) -> None:
    network = with_random_weights(settings, NETWORK_INPUTS)
    evaluation = batches([1.0, 1.0, 1.0])
    logits, _ = read_logits(network, evaluation)
    temperature = fit_temperature(network, evaluation)
    assert temperature != pytest.approx(1.0, abs=0.05)
    copy = float32_copy(network, settings, NETWORK_INPUTS, "served", temperature)
    found = np.asarray(copy(INPUTS, training=False))
    assert found == pytest.approx(softmax(logits / temperature, axis=1), abs=1e-6)
