"""The fused LSTM against Keras' own: the same weights, answers and gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.lstm import FusedLSTM, parts_of

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def gradients(
    layer: keras.layers.LSTM, steps: np.ndarray, mask: np.ndarray | None, upstream: np.ndarray
) -> list[np.ndarray]:
    """Returns the outputs, and the gradients of the steps and of the weights."""

    @tf.function(autograph=False)
    def compute(steps: tf.Tensor) -> list[tf.Tensor]:
        watched = [steps, *(weight.value for weight in layer.weights)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = layer(steps, mask=mask)
            if mask is not None and layer.return_sequences:
                outputs *= tf.cast(mask, tf.float32)[..., tf.newaxis]
            loss = tf.reduce_sum(outputs * upstream)
        return [outputs, *tape.gradient(loss, watched)]

    return [value.numpy() for value in compute(tf.constant(steps))]


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(
    ("rows", "longest", "features", "units", "parts"),
    [(64, 32, 28, 64, 2), (7, 12, 64, 32, 3), (16, 1, 3, 8, 1), (1, 5, 4, 6, 2), (130, 9, 5, 4, 3)],
)
def test_outputs_and_gradients_are_those_of_keras(
    rows: int, longest: int, features: int, units: int, parts: int, sequences: bool
) -> None:
    rng = np.random.default_rng(rows)
    fused = FusedLSTM(units, parts=parts, return_sequences=sequences)
    plain = keras.layers.LSTM(units, return_sequences=sequences, use_cudnn=False)
    steps = rng.normal(size=(rows, longest, features)).astype(np.float32)
    for layer in (fused, plain):
        layer.build(steps.shape)
    weights = [rng.normal(scale=0.3, size=weight.shape) for weight in plain.get_weights()]
    fused.set_weights(weights)
    plain.set_weights(weights)
    shape = (rows, longest, units) if sequences else (rows, units)
    upstream = rng.normal(size=shape).astype(np.float32)

    lengths = rng.integers(1, longest + 1, rows)
    for mask in (np.arange(longest) < lengths[:, np.newaxis], None):
        found, expected = (gradients(layer, steps, mask, upstream) for layer in (fused, plain))
        for one, other in zip(found, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-5 * max(1.0, float(np.abs(other).max())))


def test_weights_have_the_names_and_first_values_of_keras() -> None:
    built = []
    for kind in (keras.layers.LSTM, FusedLSTM):
        keras.utils.set_random_seed(3)
        layer = kind(4, name="lstm_0")
        layer.build((None, None, 5))
        built.append({weight.path: weight.numpy() for weight in layer.weights})
    plain, fused = built
    assert list(fused) == list(plain)
    assert all(np.array_equal(fused[name], plain[name]) for name in plain)


def test_parts_depend_on_the_size_of_a_batch_only() -> None:
    assert [parts_of(size) for size in (1, 64, 128, 129, 1024)] == [2, 2, 2, 3, 16]
