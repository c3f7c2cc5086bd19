"""Words with line breaks, blanks, any bytes: each has its id, in training and when served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.contracts.model_card import WEIGHTS
from components.node.settings import TrainerSettings
from components.trainer.network import Embedded, NetworkInputs, build_network, read_network_inputs
from components.trainer.start_from import read_start
from components.trainer.warm_start import warm_start
from tests.components.trainer.tiny_log import SETTINGS, fit, tiny_log, write_inputs
from tests.components.transform.analysis import Columns, apply, examples

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WORDS = [
    b"quiz", b"quiz ", b" quiz", b"quiz\n", b"quiz\r", b"\nquiz", b"Quiz", b"quiz\0",
    b" ", b"\n", b"\r\n", b"\t", b"\0", b"\x0b", b"\x1c", b"-1", b"cXVpeg", b"\xff\xfe",
    b"a", b"a b", b"a\0b", b"a\nb", b"a\r\nb", "quiz\u200b".encode(), "\u2028".encode(),
    "ü".encode() * 3000,
]  # fmt: skip
STRANGER = b"a\n"
TRAINING = {**SETTINGS["training"], "epochs": 1, "calibration": "none"}
SETTINGS_ODD = {**SETTINGS, "training": TRAINING}


def log(words: list[bytes], seed: int) -> Columns:
    """One example for each word, which it holds three times."""
    columns: Columns = tiny_log(len(words), seed)
    steps = {"event_type": words, "correct": [1.0] * len(words), "mean_dwell": [30.0] * len(words)}
    classes = SETTINGS["label"]["classes"]
    return {
        **columns,
        **{name: [[value] * 3 for value in values] for name, values in steps.items()},
        "unit_id": [[word] for word in words],
        "horizon": [[7] for _ in words],
        "num_steps": [[3] for _ in words],
        "mastery": [[classes[row % 3]] for row in range(len(words))],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    inputs = write_inputs(folder, SETTINGS_ODD, log(WORDS * 3, seed=1), log(WORDS, seed=2))
    return fit(inputs, folder / "fitted", SETTINGS_ODD).parent


@pytest.fixture(scope="module")
def transform(folder: Path) -> tft.TFTransformOutput:
    return tft.TFTransformOutput(str(folder / "graph"))


@pytest.fixture(scope="module")
def network_inputs(transform: tft.TFTransformOutput) -> NetworkInputs:
    return read_network_inputs(TrainerSettings.model_validate(SETTINGS_ODD), transform)


@pytest.fixture(scope="module")
def transformed(transform: tft.TFTransformOutput) -> dict[str, list[Any]]:
    return apply(transform, examples(log([*WORDS, STRANGER, b""], seed=3)))


def test_each_word_has_its_own_id(
    network_inputs: NetworkInputs, transformed: dict[str, list[Any]]
) -> None:
    of_steps = [row[0] for row in transformed["step_event_type"]]
    for name, ids in (
        ("step_event_type", of_steps),
        ("context_unit_id", transformed["context_unit_id"]),
    ):
        embedded = (network_inputs.steps | network_inputs.context)[name]
        assert embedded is not None
        assert embedded.tokens is not None
        assert sorted(embedded.tokens) == sorted(WORDS)
        *known, stranger, missing = ids
        assert [embedded.tokens[place - 1] for place in known] == WORDS
        assert (stranger, missing) == (len(WORDS) + 1, 0)


def test_the_served_model_gives_words_the_ids_of_training(
    folder: Path, network_inputs: NetworkInputs, transformed: dict[str, list[Any]]
) -> None:
    settings = TrainerSettings.model_validate(SETTINGS_ODD)
    network = build_network(settings, network_inputs)
    start = read_start(folder / "fitted" / "model")
    assert "fresh" not in warm_start(network, network_inputs, settings, start)
    inputs = (*network_inputs.steps, *network_inputs.context, "num_steps")
    features = {name: tf.constant(transformed[name]) for name in inputs}
    expected = network(network_inputs.pick(features), training=False).numpy()
    assert len({row.tobytes() for row in expected}) == len(expected)

    asked = request([*WORDS, STRANGER, b""])
    served = tf.saved_model.load(str(folder / "fitted" / "model"))
    answers = served.signatures["predict_steps"](**asked)
    assert answers["probabilities"].numpy() == pytest.approx(expected, abs=1e-5)
    assert as_a_loader_of_graphs(folder / "fitted" / "model", asked) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_warm_start_finds_each_word(folder: Path, network_inputs: NetworkInputs) -> None:
    step = network_inputs.steps["step_event_type"]
    assert step is not None
    assert step.tokens is not None
    backwards = Embedded(step.size, step.width, step.tokens[::-1])
    turned = NetworkInputs(
        {**network_inputs.steps, "step_event_type": backwards}, network_inputs.context
    )
    settings = TrainerSettings.model_validate(SETTINGS_ODD)
    network = build_network(settings, turned)
    warm_start(network, turned, settings, read_start(folder / "fitted" / "model"))
    rows = network.get_layer("embedding_step_event_type").get_weights()[0]
    with np.load(folder / "fitted" / "model" / WEIGHTS) as weights:
        before = weights["embedding_step_event_type/embeddings"]
    assert np.array_equal(rows[1:-1], before[1:-1][::-1])


def request(words: list[bytes]) -> dict[str, tf.Tensor]:
    count = len(words)
    return {
        "event_type": tf.constant([[word] * 3 for word in words]),
        "correct": tf.ones([count, 3]),
        "mean_dwell": tf.fill([count, 3], 30.0),
        "unit_id": tf.constant(words),
        "horizon": tf.fill([count], tf.constant(7, tf.int64)),
        "num_steps": tf.fill([count], tf.constant(3, tf.int64)),
    }


def as_a_loader_of_graphs(model: Path, inputs: dict[str, tf.Tensor]) -> np.ndarray:
    """Asks the model as TensorFlow Serving does: its graph in a session, after its initializers."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(model))
        signature = loaded.signature_def["predict_steps"]
        fed = {signature.inputs[name].name: value.numpy() for name, value in inputs.items()}
        answer: np.ndarray = session.run(signature.outputs["probabilities"].name, fed)
    return answer
