from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.node.settings import TrainerSettings
from components.trainer.network import Embedded, NetworkInputs, build_network, count_parameters
from tests.components.trainer.tiny_log import SETTINGS

NETWORK_INPUTS = NetworkInputs(
    {"step_kind": Embedded(4, 3), "step_x": None},
    {"context_unit": Embedded(3, 2), "context_h": None},
)


def test_values_in_padding_are_ignored() -> None:
    network = build_network(TrainerSettings.model_validate(SETTINGS), NETWORK_INPUTS)
    context = {"context_unit": tf.constant([1, 2], tf.int64), "context_h": tf.constant([0.5, -0.5])}
    steps = {"num_steps": tf.constant([1, 3], tf.int64)}
    kinds, numbers = (
        np.array([[1, 0, 0], [1, 2, 3]]),
        np.array([[0.5, 0.0, 0.0], [0.1, 0.2, 0.3]], np.float32),
    )
    clean = network(
        {**context, **steps, "step_kind": tf.constant(kinds), "step_x": tf.constant(numbers)}
    )
    kinds, numbers = np.pad(kinds, ((0, 0), (0, 4))), np.pad(numbers, ((0, 0), (0, 4)))
    kinds[0, 1:], kinds[1, 3:], numbers[0, 1:], numbers[1, 3:] = 3, 3, 1e6, 1e6
    dirty = network(
        {**context, **steps, "step_kind": tf.constant(kinds), "step_x": tf.constant(numbers)}
    )
    assert dirty.numpy() == pytest.approx(clean.numpy(), abs=1e-6)


def test_the_default_is_two_lstms_a_dense_layer_and_a_softmax() -> None:
    defaults = {name: value for name, value in SETTINGS.items() if name != "model"}
    network = build_network(
        TrainerSettings.model_validate({**defaults, "model": {}}),
        NetworkInputs({"step_x": None}, {}),
    )
    kinds = [
        (type(layer).__name__, getattr(layer, "units", None))
        for layer in network.layers
        if layer.weights
    ]
    assert kinds == [("FusedLSTM", 64), ("FusedLSTM", 32), ("Dense", 64), ("Dense", 3)]
    assert network.get_layer("dropout_0").rate == 0.5
    assert (
        count_parameters(network)
        == 4 * 64 * (1 + 64 + 1) + 4 * 32 * (64 + 32 + 1) + 64 * 33 + 3 * 65
    )


def test_an_interaction_multiplies_the_state_by_the_context() -> None:
    model = {"lstm": [5], "dense": [], "interaction": True}
    settings = TrainerSettings.model_validate({**SETTINGS, "model": model})
    network = build_network(settings, NETWORK_INPUTS)

    layers = {layer.name: layer for layer in network.layers}
    state, product = layers["lstm_0"].output, layers["product"].output
    context = layers["interaction"].input
    parts = keras.Model(network.input, [state, context, product])
    states, contexts, products = parts(
        {
            "step_kind": tf.constant([[1, 2], [3, 0]], tf.int64),
            "step_x": tf.constant([[0.5, -1.0], [2.0, 0.0]]),
            "context_unit": tf.constant([1, 2], tf.int64),
            "context_h": tf.constant([0.5, -0.5]),
            "num_steps": tf.constant([2, 1], tf.int64),
        }
    )
    kernel, bias = layers["interaction"].get_weights()
    expected = states.numpy() * (contexts.numpy() @ kernel + bias)
    assert products.numpy() == pytest.approx(expected, abs=1e-6)
    assert network.get_layer("answer").get_weights()[0].shape[0] == 5 + 2 + 1 + 5


def test_an_interaction_multiplies_the_words_of_a_step_by_its_numbers() -> None:
    model = {"lstm": [5], "dense": [], "interaction": True}
    network = build_network(
        TrainerSettings.model_validate({**SETTINGS, "model": model}), NETWORK_INPUTS
    )
    layers = {layer.name: layer for layer in network.layers}
    names = ["step_product_words", "step_product_numbers", "step_product"]
    joined, _ = layers["lstm_0"].input  # and the mask
    parts = keras.Model(network.input, [joined] + [layers[name].output for name in names])
    read, words, numbers, product = parts(
        {
            "step_kind": tf.constant([[1, 2]], tf.int64),
            "step_x": tf.constant([[0.5, -1.0]]),
            "context_unit": tf.constant([1], tf.int64),
            "context_h": tf.constant([0.5]),
            "num_steps": tf.constant([2], tf.int64),
        }
    )
    kernel, bias = layers["step_product_numbers"].get_weights()
    assert numbers.numpy()[0] == pytest.approx(np.array([[0.5], [-1.0]]) @ kernel + bias, abs=1e-6)
    assert product.numpy() == pytest.approx(words.numpy() * numbers.numpy(), abs=1e-6)
    assert read.numpy()[0, :, -3:] == pytest.approx(product.numpy()[0], abs=1e-6)
