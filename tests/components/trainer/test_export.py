"""The LSTMs of a served network answer as Keras' layers do, and cannot be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.load import load_config
from components.config.training import Categorical, Feature
from components.contracts.names import context_feature, step_feature
from components.errors import TrainingError
from components.node.settings import TrainerSettings
from components.trainer.export import float32_copy, probes, require_same_answers
from components.trainer.lstm import ServedLSTMs
from components.trainer.network import Embedded, NetworkInputs, build_network
from tests.components.trainer.tiny_log import SETTINGS

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIGS = [
    path
    for path in sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
    if path.name != "answers.yaml"  # of no pipeline
]
TOLERANCE = 1e-6
Inputs = dict[str, np.ndarray]


def with_random_weights(
    trainer: TrainerSettings, inputs: NetworkInputs, precision: str = "float32"
) -> keras.Model:
    """A network as after a fit: no bias is zero, and states are neither tiny nor saturated."""
    network = build_network(trainer, inputs, precision=precision)
    draw = np.random.default_rng(5)
    network.set_weights(
        [draw.normal(0, weight.shape[0] ** -0.5, weight.shape) for weight in network.weights]
    )
    return network


def answers(trainer: TrainerSettings, inputs: NetworkInputs, features: Inputs) -> list[np.ndarray]:
    """What the network answers, with the LSTMs of the export and with those of Keras."""
    network = with_random_weights(trainer, inputs)
    copies = (float32_copy(network, trainer, inputs, lstm) for lstm in ("served", "loop"))
    return [np.asarray(copy(features, training=False)) for copy in copies]


def made_up(inputs: NetworkInputs, lengths: list[int], width: int, seed: int) -> Inputs:
    """Sequences of these lengths in `width` steps, with nonsense for padding."""
    draw = np.random.default_rng(seed)

    def some(item: Embedded | None, shape: tuple[int, ...]) -> np.ndarray:
        if item is None:
            return draw.normal(size=shape).astype(np.float32)
        return draw.integers(0, item.size, shape)

    rows = len(lengths)
    steps = {name: some(item, (rows, width)) for name, item in inputs.steps.items()}
    context = {name: some(item, (rows,)) for name, item in inputs.context.items()}
    return {**steps, **context, "num_steps": np.array(lengths, np.int64)}


def configured_inputs(trainer: TrainerSettings) -> NetworkInputs:
    """The inputs that a configuration leads to, with vocabularies of a few words."""

    def of(features: dict[str, Feature], name_of: object) -> dict[str, Embedded | None]:
        return {
            name_of(name): Embedded(6, item.embedding) if isinstance(item, Categorical) else None
            for name, item in features.items()
        }

    return NetworkInputs(
        of(trainer.steps.features, step_feature), of(trainer.context, context_feature)
    )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_that_ships_answers_as_with_keras(path: Path) -> None:
    trainer = TrainerSettings.of(load_config(path))
    inputs = configured_inputs(trainer)
    longest = trainer.steps.max_steps
    lengths = [0, 1, 2, longest // 2, longest - 1, longest]
    found, expected = answers(trainer, inputs, made_up(inputs, lengths, longest, seed=3))
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert np.unique(expected, axis=0).shape == expected.shape  # the lengths make a difference


@st.composite
def cases(draw: st.DrawFn) -> tuple[TrainerSettings, NetworkInputs, Inputs]:
    """Any network with any batch."""
    width = st.integers(1, 9)
    label = draw(st.sampled_from(["classification", "regression"]))
    trainer = TrainerSettings.model_validate(
        {
            **SETTINGS,
            "label": {"column": "score", "task": "regression"}
            if label == "regression"
            else SETTINGS["label"],
            "model": {
                "lstm": draw(st.lists(width, min_size=1, max_size=4)),
                "dense": draw(st.lists(width, max_size=2)),
            },
        }
    )
    kinds = st.one_of(st.none(), st.builds(Embedded, st.integers(1, 5), st.integers(1, 4)))
    steps = draw(st.lists(kinds, min_size=1, max_size=4))
    context = draw(st.lists(kinds, max_size=3))
    inputs = NetworkInputs(
        {f"step_{place}": item for place, item in enumerate(steps)},
        {f"context_{place}": item for place, item in enumerate(context)},
    )
    lengths = draw(st.lists(st.integers(0, 12), max_size=6))
    padded = max([1, *lengths]) + draw(st.integers(0, 3))
    return trainer, inputs, made_up(inputs, lengths, padded, draw(st.integers(0, 9)))


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_any_network_answers_any_batch_as_with_keras(
    case: tuple[TrainerSettings, NetworkInputs, Inputs],
) -> None:
    trainer, inputs, features = case
    if len(features["num_steps"]) == 0:  # Keras' layers refuse an empty batch outside of a graph
        network = float32_copy(with_random_weights(trainer, inputs), trainer, inputs, "served")
        assert network(features, training=False).shape[0] == 0
        return

    found, expected = answers(trainer, inputs, features)
    assert found == pytest.approx(expected, abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_precision_of_the_fit_does_not_change_the_copy(precision: str) -> None:
    trainer = TrainerSettings.model_validate(SETTINGS)
    inputs = configured_inputs(trainer)
    features = made_up(inputs, [0, 3, 6], 6, seed=1)
    network = with_random_weights(trainer, inputs, precision)
    found = float32_copy(network, trainer, inputs, "served")(features, training=False)
    expected = with_random_weights(trainer, inputs)(features, training=False)
    assert found.dtype == tf.float32
    assert found.numpy() == pytest.approx(expected.numpy(), abs=TOLERANCE)


def test_the_weights_are_stored_once() -> None:
    trainer = TrainerSettings.model_validate(SETTINGS)
    inputs = configured_inputs(trainer)
    network = with_random_weights(trainer, inputs)
    copy = float32_copy(network, trainer, inputs, "served")
    assert copy.count_params() == network.count_params()


def gradient(function: Callable[[tf.Tensor], tf.Tensor], value: tf.Tensor) -> tf.Tensor:
    """The gradient of a function with one input."""
    with tf.GradientTape() as tape:
        tape.watch(value)
        answer = function(value)
    return tape.gradient(answer, value)


def test_a_gradient_through_the_layer_is_refused() -> None:
    layer = ServedLSTMs([5, 2], name="lstms")
    num_steps = tf.constant([3, 1], tf.int64)
    with pytest.raises(LookupError, match="a served model cannot be differentiated"):
        gradient(lambda steps: layer([steps, num_steps]), tf.ones([2, 3, 4]))


def test_a_gradient_through_a_loaded_export_is_refused(served: Any) -> None:
    others = {
        "event_type": tf.constant([["quiz", "quiz", "quiz"]]),
        "mean_dwell": tf.ones([1, 3]),
        "unit_id": tf.constant(["algebra"]),
        "horizon": tf.constant([7], tf.int64),
        "num_steps": tf.constant([3], tf.int64),
    }

    def answer(correct: tf.Tensor) -> tf.Tensor:
        answers = served.signatures["predict_steps"](correct=correct, **others)
        return answers["probabilities"]

    with pytest.raises(LookupError, match="a served model cannot be differentiated"):
        gradient(answer, tf.ones([1, 3]))


def test_an_export_that_answers_otherwise_is_not_written() -> None:
    trainer = TrainerSettings.model_validate(SETTINGS)
    inputs = configured_inputs(trainer)
    network = with_random_weights(trainer, inputs)
    same, other = (float32_copy(network, trainer, inputs, "served") for _ in range(2))
    features = probes(trainer, inputs)
    assert {0, 1, trainer.steps.max_steps} <= set(features["num_steps"].tolist())
    require_same_answers(same, network, features)

    kernel, *_ = other.get_layer("lstms").weights
    gates = tf.split(kernel.value, 4, axis=1)
    kernel.assign(tf.concat([gates[0], gates[2], gates[1], gates[3]], axis=1))
    with pytest.raises(TrainingError, match="so nothing was exported"):
        require_same_answers(other, network, features)

    other.get_layer("answer").bias.assign([np.nan] * 3)
    with pytest.raises(TrainingError, match=r"answers \[nan, nan, nan\] where"):
        require_same_answers(other, network, features)


def test_small_answers_of_large_terms_are_as_exact_as_their_terms() -> None:
    expected = np.array([[30_000.0], [0.5]], np.float32)

    def answering(answers: np.ndarray) -> Callable[..., np.ndarray]:
        return lambda _, **__: answers

    near = expected + np.array([[0.0], [0.02]], np.float32)
    require_same_answers(answering(near), answering(expected), {})
    far = expected + np.array([[0.0], [0.5]], np.float32)
    with pytest.raises(TrainingError, match="so nothing was exported"):
        require_same_answers(answering(far), answering(expected), {})
