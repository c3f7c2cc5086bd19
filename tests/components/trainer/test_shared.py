"""Outcomes that share a sequence are answered, weighed and learned from as if each had its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.model_card import WEIGHTS
from components.contracts.names import ASKED_ROW, NUM_STEPS
from components.contracts.training_history import TrainingHistory
from components.model_version.safe_graph import require_safe
from components.node.settings import TrainerSettings
from components.trainer import batches as batches_module
from components.trainer.batches import Batch, read_batches
from components.trainer.fit import Devices, compile_network
from components.trainer.network import (
    ANSWER,
    Embedded,
    LstmKernel,
    NetworkInputs,
    build_network,
    copy_weights,
    read_network_inputs,
)
from tests.components.trainer.tiny_log import SETTINGS, encode, fit, write_inputs
from tests.components.transform.analysis import Columns, examples, one_by_one, raw_schema

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS: dict[str, Any] = {
    "event_type": {"type": "categorical", "embedding": 3},
    "correct": {"type": "numeric", "scale": "none"},
}
UNSHARED: dict[str, Any] = {
    **SETTINGS,
    # No words are hidden: other ones would be where outcomes are in another order.
    "context": {
        **SETTINGS["context"],
        "unit_id": {**SETTINGS["context"]["unit_id"], "mask": 0.0},
    },
    "steps": {"features": STEPS, "max_steps": 12, "min_steps": 2},
    "training": {
        **SETTINGS["training"],
        "class_weights": {"low": 1.0, "mid": 2.0, "high": 0.5},
        "histograms": False,
        "calibration": "none",
    },
}
SHARED: dict[str, Any] = {**UNSHARED, "steps": {**UNSHARED["steps"], "shared": True}}
CLASSES = SETTINGS["label"]["classes"]
WORDS = ["quiz", "video", "forum"]  # clearly most frequent first, however often each is seen


def shared_log(sequences: int, seed: int) -> Columns:
    """Returns shared examples as columns, with cold starts beside other outcomes and alone."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 13, sequences)
    skills = draw.random(sequences)
    seen = [
        sorted(draw.integers(0, length + 1, draw.integers(1, 2 + 2 * length)).tolist())
        for length in lengths
    ]
    counts = [len(outcomes) for outcomes in seen]
    return {
        "event_type": [draw.choice(WORDS, n, p=[0.7, 0.2, 0.1]).tolist() for n in lengths],
        "correct": [
            (draw.random(n) < skill).astype(float).tolist()
            for n, skill in zip(lengths, skills, strict=True)
        ],
        "num_steps": seen,
        "unit_id": [draw.choice(["algebra", "logic"], count).tolist() for count in counts],
        "horizon": [draw.choice([0.0, 7.0, np.nan], count).tolist() for count in counts],
        "mastery": [
            [CLASSES[min(int(3 * (skill + draw.random()) / 2), 2)] for _ in range(count)]
            for count, skill in zip(counts, skills, strict=True)
        ],
    }


LOGS = (shared_log(80, seed=1), shared_log(40, seed=2))


@pytest.fixture(scope="module")
def shared_inputs(tmp_path_factory: pytest.TempPathFactory) -> FnArgs:
    """Transformed shared examples and the transform graph."""
    return write_inputs(tmp_path_factory.mktemp("shared"), SHARED, *LOGS)


@pytest.fixture(scope="module")
def alone_inputs(tmp_path_factory: pytest.TempPathFactory) -> FnArgs:
    """The same outcomes, one per example."""
    logs = (one_by_one(log, STEPS) for log in LOGS)
    return write_inputs(tmp_path_factory.mktemp("alone"), UNSHARED, *logs)


NETWORK_INPUTS = NetworkInputs(
    {"step_kind": Embedded(4, 3), "step_x": None},
    {"context_unit": Embedded(3, 2), "context_h": None},
)


@pytest.mark.parametrize("lstm", ["fused", "loop"])
@pytest.mark.parametrize("parts", [1, 3])
def test_shared_answers_are_those_of_outcomes_asked_one_by_one(
    lstm: LstmKernel, parts: int
) -> None:
    settings = TrainerSettings.model_validate(SETTINGS)
    alone = build_network(settings, NETWORK_INPUTS, lstm=lstm)
    shared = build_network(settings, NETWORK_INPUTS, lstm=lstm, parts=parts, shared=True)
    copy_weights(alone, shared)

    draw = np.random.default_rng(0)
    rows = np.sort(draw.integers(0, 5, 30))
    counts = draw.integers(1, 8, 30)
    steps = {
        "step_kind": draw.integers(0, 4, (5, 7)),
        "step_x": draw.normal(size=(5, 7)).astype(np.float32),
    }
    columns = {
        "context_unit": draw.integers(0, 3, 30),
        "context_h": draw.normal(size=30).astype(np.float32),
        NUM_STEPS: counts,
    }
    found = shared({**steps, **columns, ASKED_ROW: rows}).numpy()
    for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
        own = {name: values[row : row + 1, :count] for name, values in steps.items()}
        own |= {name: values[place : place + 1] for name, values in columns.items()}
        assert found[place] == pytest.approx(alone(own).numpy()[0], abs=1e-6)


def read(
    inputs: FnArgs, settings: dict[str, Any], scratch: Path
) -> tuple[keras.Model, tf.data.Dataset, tf.data.Dataset]:
    """Returns an untrained network and the batches to train and to evaluate it with."""
    checked = TrainerSettings.model_validate(settings)
    transform = tft.TFTransformOutput(inputs.transform_graph_path)
    names = read_network_inputs(checked, transform)
    train, evaluation = read_batches(
        inputs.train_files,
        inputs.eval_files,
        checked,
        names,
        names.parse_spec(transform),
        1,
        scratch,
    )
    network = build_network(checked, names, shared=checked.steps.shared)
    compile_network(network, checked.label, checked.training)
    return network, train, evaluation


def outcomes_of(batches: tf.data.Dataset) -> list[tuple[Any, ...]]:
    """Returns all outcomes of an epoch, with what is known of each, sorted."""
    found: list[tuple[Any, ...]] = []
    batch: Batch
    for batch in batches:
        inputs, label, weight = batch
        counts = inputs[NUM_STEPS].numpy()
        rows = inputs[ASKED_ROW].numpy() if ASKED_ROW in inputs else np.arange(len(counts))
        kinds = inputs["step_event_type"].numpy()
        columns = (inputs["context_unit_id"], inputs["context_horizon"], label, weight)
        others = zip(*(column.numpy().tolist() for column in columns), strict=True)
        for row, count, other in zip(rows, counts, others, strict=True):
            found.append((kinds[row, :count].tolist(), *other))
    return sorted(found)


def test_batches_hold_the_same_outcomes_with_the_same_weights(
    shared_inputs: FnArgs, alone_inputs: FnArgs, tmp_path: Path
) -> None:
    _, train, evaluation = read(shared_inputs, SHARED, tmp_path / "shared")
    _, train_alone, evaluation_alone = read(alone_inputs, UNSHARED, tmp_path / "alone")
    for _ in range(2):
        assert outcomes_of(train) == outcomes_of(train_alone)
    assert outcomes_of(evaluation) == outcomes_of(evaluation_alone)
    warm = sum(count >= 2 for counts in LOGS[0]["num_steps"] for count in counts)
    assert len(outcomes_of(train)) == warm < sum(map(len, LOGS[0]["num_steps"]))


def test_batches_have_about_equally_many_outcomes(shared_inputs: FnArgs, tmp_path: Path) -> None:
    _, train, _ = read(shared_inputs, SHARED, tmp_path)
    sizes = [len(label) for _, label, _ in train]
    assert len(train) == len(sizes)
    most = max(map(len, LOGS[0]["num_steps"]))
    assert max(sizes) - sorted(sizes)[1] <= 2 * most  # one is what is left
    steps = [inputs["step_correct"].shape for inputs, _, _ in train]
    assert max(rows for rows, _ in steps) > 2 * min(rows for rows, _ in steps)  # not so sequences


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_the_eval_loss_is_the_mean_over_outcomes(
    size: int,
    shared_inputs: FnArgs,
    alone_inputs: FnArgs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keras weighs the batches by the first dimension of the first input, by name."""
    monkeypatch.setattr(batches_module, "EVALUATION_SHARED", size)
    shared, _, evaluation = read(shared_inputs, SHARED, tmp_path / "shared")
    alone, _, evaluation_alone = read(alone_inputs, UNSHARED, tmp_path / "alone")
    copy_weights(alone, shared)

    losses = []
    for inputs, label, weight in evaluation:
        answers = shared(inputs, training=False).numpy()
        right = answers[np.arange(len(answers)), label.numpy()]
        losses += (weight.numpy() * -np.log(right)).tolist()
    found = shared.evaluate(evaluation, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    expected = alone.evaluate(evaluation_alone, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_of_outcomes_asked_one_by_one(
    shared_inputs: FnArgs, alone_inputs: FnArgs, tmp_path: Path
) -> None:
    shared, _, evaluation = read(shared_inputs, SHARED, tmp_path / "shared")
    alone, _, evaluation_alone = read(alone_inputs, UNSHARED, tmp_path / "alone")
    copy_weights(alone, shared)
    for found, expected in zip(
        gradients(shared, evaluation), gradients(alone, evaluation_alone), strict=True
    ):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def gradients(network: keras.Model, batches: tf.data.Dataset) -> list[np.ndarray]:
    """Returns the gradient of the sum of all losses."""
    totals = [np.zeros(weight.shape, np.float32) for weight in network.trainable_weights]
    for inputs, label, weight in batches:
        with tf.GradientTape() as tape:
            answers = network(inputs, training=False)
            losses = keras.losses.sparse_categorical_crossentropy(label, answers)
            loss = tf.reduce_sum(weight * losses)
        weights = [item.value for item in network.trainable_weights]
        for total, gradient in zip(totals, tape.gradient(loss, weights), strict=True):
            total += tf.convert_to_tensor(gradient).numpy()
    return totals


def test_the_same_seed_gives_the_same_model_and_it_answers_requests(
    shared_inputs: FnArgs, tmp_path: Path
) -> None:
    folders = [fit(shared_inputs, tmp_path / name, SHARED) for name in ("one", "two")]
    one, two = (dict(np.load(folder / "model" / WEIGHTS)) for folder in folders)
    assert sorted(one) == sorted(two)
    assert all(np.array_equal(one[name], two[name]) for name in one)

    steps = {
        "event_type": [["quiz", "video", "game"], ["forum", "", ""]],
        "correct": [[1.0, np.nan, 0.0], [1.0, 0.0, 0.0]],
        "unit_id": ["logic", ""],
        "horizon": [7.0, np.nan],
        NUM_STEPS: [3, 1],
    }
    dtypes = {"correct": tf.float32, "horizon": tf.float32, NUM_STEPS: tf.int64}
    request = {
        name: tf.constant(values, dtypes.get(name, tf.string)) for name, values in steps.items()
    }
    model = tf.saved_model.load(str(folders[0] / "model"))
    answer = model.signatures["predict_steps"](**request)
    # A game is no event that the model knows.
    assert answer["basis"].numpy().tolist() == [b"unfamiliar", b"prior"]
    assert b"event_type" in answer["unfamiliar"].numpy()[0]
    assert answer["probabilities"].numpy().sum(axis=1) == pytest.approx([1, 1], abs=1e-6)


# All that a network can read, in all the ways in which it can read it.
WORD = {"type": "categorical", "vocabulary": 6, "embedding": 3}
WHOLE: dict[str, Any] = {
    **SHARED,
    "steps": {
        **SHARED["steps"],
        "history": "learner",
        "features": {**STEPS, "event_type": WORD, "step_unit": WORD},
    },
    "model": {
        **SETTINGS["model"],
        "kind": "transformer",
        "transformer": {"width": 12, "heads": 3, "layers": 2},
        "pooling": "attention",
        "summaries": True,
        "interaction": True,
    },
    "training": {**SHARED["training"], "calibration": "temperature"},
}


def with_units(log: Columns, seed: int) -> Columns:
    """Returns a log whose steps are in several units."""
    draw = np.random.default_rng(seed)
    units = [draw.choice(["algebra", "logic"], len(steps)).tolist() for steps in log["correct"]]
    return {**log, "step_unit": units}


def test_a_network_with_all_parts_is_fitted_to_shared_sequences_and_served_one_by_one(
    tmp_path: Path,
) -> None:
    logs = [with_units(log, seed) for seed, log in enumerate(LOGS)]
    inputs = write_inputs(tmp_path / "inputs", WHOLE, *logs)
    folder = fit(inputs, tmp_path, WHOLE)
    require_safe(folder / "model")

    temperature = TrainingHistory.read(folder / "run").temperature
    assert temperature is not None
    # The node's settings have the features in another order.
    settings = json.loads(TrainerSettings.model_validate(WHOLE).to_property())
    network, _, evaluation = read(inputs, settings, tmp_path / "scratch")
    with np.load(folder / "model" / WEIGHTS) as stored:
        for weight in network.weights:
            weight.assign(stored[weight.path])
    last = network.get_layer(ANSWER)
    last.set_weights([weight / temperature for weight in last.get_weights()])
    expected = [
        (int(label), *answer)
        for inputs_of_batch, labels, _ in evaluation
        for label, answer in zip(
            labels, network(inputs_of_batch, training=False).numpy().tolist(), strict=True
        )
    ]

    alone = one_by_one(logs[1], WHOLE["steps"]["features"])
    batch = pa.RecordBatch.from_pydict(
        {
            name: column.cast(pa.list_(pa.binary()))
            if column.type.value_type == "string"
            else column
            for name, column in zip(alone, examples(alone).columns, strict=True)
        }
    )
    requests = encode((batch, None), raw_schema(batch))
    served = tf.saved_model.load(str(folder / "model")).signatures["serving_default"]
    answer = served(examples=tf.constant(requests))
    labels = [CLASSES.index(label) for [label] in alone["mastery"]]
    found = [
        (label, *probabilities)
        for label, probabilities, basis in zip(
            labels, answer["probabilities"].numpy().tolist(), answer["basis"].numpy(), strict=True
        )
        if basis == b"sequence"
    ]
    # The order of batches is another one, so that of the answers is left out of the comparison.
    assert len({round(first, 4) for _, first, *_ in found}) > 50
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(expected)), abs=1e-5)


def test_shared_sequences_are_fitted_on_one_device() -> None:
    several = Devices(["/device:GPU:0", "/device:GPU:1"], "2 GPUs (NVIDIA A10)")
    assert several.first().names == ["/device:GPU:0"]
    assert several.first().described == "one of 2 GPUs (NVIDIA A10): sequences are shared"
    alone = Devices(["/device:CPU:0"], "CPU")
    assert alone.first() == alone
