"""All kinds of networks read sequences alike: alone or in a batch, shared or not, served or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.model_card import WEIGHTS
from components.contracts.names import ASKED_ROW, NUM_STEPS, SUMMARIES
from components.contracts.training_history import TrainingHistory
from components.model_version.safe_graph import require_safe
from components.node.settings import TrainerSettings
from components.trainer import attention
from components.trainer.export import NOT_NEEDED, float32_copy, probes, require_same_answers
from components.trainer.network import Embedded, NetworkInputs, build_network, copy_weights
from tests.components.trainer.tiny_log import SETTINGS, fit, write_inputs

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KINDS: dict[str, dict[str, str]] = {
    "lstm": {},
    "pooled lstm": {"pooling": "attention"},
    "transformer": {"kind": "transformer"},
    "pooled transformer": {"kind": "transformer", "pooling": "attention"},
}
NEW = {name: model for name, model in KINDS.items() if model}
SMALL = {"width": 12, "heads": 3, "layers": 2}
INPUTS = NetworkInputs(
    {"step_kind": Embedded(6, 3), "step_x": None},
    {"context_unit": Embedded(4, 2), "context_h": None},
    summaries=5,
)
TOLERANCE = 1e-6
Features = dict[str, np.ndarray]


@pytest.fixture(params=KINDS.values(), ids=[*KINDS])
def trainer(request: pytest.FixtureRequest) -> TrainerSettings:
    return settings(request.param)


def settings(model: dict[str, Any], **training: Any) -> TrainerSettings:
    return TrainerSettings.model_validate(sections(model, **training))


def sections(model: dict[str, Any], **training: Any) -> dict[str, Any]:
    own = {**SETTINGS["model"], "transformer": SMALL, "summaries": True, **model}
    return {**SETTINGS, "model": own, "training": {**SETTINGS["training"], **training}}


def random_network(trainer: TrainerSettings, *, shared: bool = False) -> keras.Model:
    network = build_network(trainer, INPUTS, shared=shared)
    draw = np.random.default_rng(5)
    network.set_weights(
        [draw.normal(0, weight.shape[0] ** -0.5, weight.shape) for weight in network.weights]
    )
    return network


def made_up(lengths: list[int], width: int, seed: int = 0) -> Features:
    draw, rows = np.random.default_rng(seed), len(lengths)
    return {
        "step_kind": draw.integers(0, 6, (rows, width)),
        "step_x": draw.normal(size=(rows, width)).astype(np.float32),
        "context_unit": draw.integers(0, 4, rows),
        "context_h": draw.normal(size=rows).astype(np.float32),
        SUMMARIES: draw.normal(size=(rows, 5)).astype(np.float32),
        NUM_STEPS: np.array(lengths),
    }


def answers(network: keras.Model, features: Features) -> np.ndarray:
    return np.asarray(network(features, training=False))


def test_a_sequence_alone_is_answered_as_in_a_padded_batch(trainer: TrainerSettings) -> None:
    network, lengths = random_network(trainer), [1, 3, 40, 7, 0, 12]
    batch = made_up(lengths, 45)
    together = answers(network, batch)
    for row, length in enumerate(lengths):
        alone = {name: values[row : row + 1] for name, values in batch.items()}
        for name in ("step_kind", "step_x"):
            alone[name] = alone[name][:, : max(length, 1)]
        assert together[row] == pytest.approx(answers(network, alone)[0], abs=TOLERANCE)
    assert np.unique(together.round(4), axis=0).shape == together.shape


def test_shared_sequences_are_answered_as_one_by_one(trainer: TrainerSettings) -> None:
    steps = made_up([0] * 4, 30)
    rows = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
    lengths = [1, 2, 30, 29, 5, 17, 0, 1, 8, 30]
    asked = made_up(lengths, 1, seed=1)
    by_step = {name: steps[name] for name in ("step_kind", "step_x")}
    by_outcome = {name: values for name, values in asked.items() if name not in by_step}
    one_by_one = {**by_outcome, **{name: values[rows] for name, values in by_step.items()}}

    shared = answers(
        random_network(trainer, shared=True), {**by_step, **by_outcome, ASKED_ROW: rows}
    )
    expected = answers(random_network(trainer), one_by_one)
    assert shared == pytest.approx(expected, abs=TOLERANCE)


def test_the_network_to_serve_answers_as_one_that_computes_all_states(
    trainer: TrainerSettings,
) -> None:
    network = random_network(trainer)
    served, reference = (
        float32_copy(network, trainer, INPUTS, lstm) for lstm in ("served", "loop")
    )
    require_same_answers(served, reference, probes(trainer, INPUTS))
    features = made_up([0, 1, 33, 64], 64)
    assert answers(served, features) == pytest.approx(answers(reference, features), abs=TOLERANCE)
    assert answers(served, features) == pytest.approx(answers(network, features), abs=TOLERANCE)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_lower_precisions_answer_nearly_the_same(trainer: TrainerSettings, precision: str) -> None:
    exact = random_network(trainer)
    rough = build_network(trainer, INPUTS, precision=precision)
    copy_weights(exact, rough)
    features = made_up([1, 9, 20, 0], 20)
    assert answers(rough, features).dtype == np.float32
    assert answers(rough, features) == pytest.approx(answers(exact, features), abs=0.02)


@pytest.mark.parametrize("name", NEW)
def test_memory_for_attention_is_bounded_by_cutting_the_batch(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trainer = settings(NEW[name])
    network = float32_copy(random_network(trainer), trainer, INPUTS, "loop")
    features = made_up([5, 1, 20, 11, 0, 20, 3], 20)
    whole = answers(network, features)
    for sequences in (1, 2, 3):
        monkeypatch.setattr(attention, "WEIGHTS_AT_ONCE", sequences * 3 * 20**2)
        assert answers(network, features) == pytest.approx(whole, abs=TOLERANCE)


@pytest.mark.parametrize("name", NEW)
def test_gradients_are_those_of_the_same_sequences_cut_short(name: str) -> None:
    """What a fit learns from an outcome does not depend on padding or on later steps."""
    network = random_network(settings({**NEW[name], "dropout": 0.0}))

    def gradients(features: Features) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.math.log(network(features, training=True)[:, 0]))
        found = tape.gradient(loss, network.trainable_weights)
        return [tf.convert_to_tensor(gradient).numpy() for gradient in found]

    features = made_up([4, 4, 4], 9)
    short = {
        name: values[:, :4] if name.startswith("step_") else values
        for name, values in features.items()
    }
    for found, expected in zip(gradients(features), gradients(short), strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
        assert np.abs(expected).max() > 0


def test_attention_is_that_of_the_formula() -> None:
    draw = np.random.default_rng(0)
    queries, keys, values = draw.normal(size=(3, 2, 2, 6, 4)).astype(np.float32)
    slopes = np.array([0.5, 0.01], np.float32)
    operands = [*map(tf.constant, (queries, keys, values)), None, tf.constant(slopes)]
    found = attention.attend(*operands, training=False).numpy()

    expected = np.zeros_like(values)
    for row, head, place in np.ndindex(2, 2, 6):
        scores = [
            queries[row, head, place] @ keys[row, head, step] / 2 - slopes[head] * (place - step)
            for step in range(place + 1)
        ]
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[row, head, place] = weights @ values[row, head, : place + 1]
    assert found == pytest.approx(expected, abs=1e-5)

    place = np.array([3, 0])
    asked = tf.constant(queries[[0, 1], :, place][:, :, np.newaxis])
    operands = [asked, *map(tf.constant, (keys, values, place, slopes))]
    last = attention.attend(*operands, training=True).numpy()
    assert last[:, :, 0] == pytest.approx(expected[[0, 1], :, place], abs=1e-5)


def test_pooling_starts_as_a_plain_mean() -> None:
    states = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    pooled = attention.AttentionPooling()(tf.constant(states), tf.constant([4, 0, 2], tf.int64))
    for row, place in enumerate([4, 0, 2]):
        expected = [*states[row, place], *states[row, : place + 1].mean(axis=0)]
        assert pooled.numpy()[row] == pytest.approx(expected, abs=TOLERANCE)


@pytest.fixture(scope="module")
def summarised(tmp_path_factory: pytest.TempPathFactory) -> FnArgs:
    return write_inputs(tmp_path_factory.mktemp("summarised"), sections({}))


@pytest.mark.parametrize("name", NEW)
def test_a_fit_is_repeatable_safe_to_load_and_can_be_continued(
    summarised: FnArgs, name: str, tmp_path: Path
) -> None:
    one, same = (
        fit(summarised, tmp_path / folder, sections(NEW[name])) for folder in ("one", "same")
    )
    weights = [np.load(folder / "model" / WEIGHTS) for folder in (one, same)]
    for path in weights[0]:
        assert np.array_equal(*(part[path] for part in weights))
    require_safe(one / "model")
    first, *_, last = TrainingHistory.read(one / "run").epochs
    assert float(last["loss"] or 0) < float(first["loss"] or 0)

    again = sections(NEW[name], warm_start=True, learning_rate=1e-12, epochs=1)
    later = fit(summarised, tmp_path / "later", again, base_model=one / "model")
    assert "fresh" not in str(TrainingHistory.read(later / "run").warm_start)
    ask: list[Callable[..., Any]] = [
        tf.saved_model.load(str(folder / "model")).signatures["predict_steps"]
        for folder in (one, later)
    ]
    found, expected = (signature(**request())["probabilities"].numpy() for signature in ask)
    assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()


def request() -> dict[str, tf.Tensor]:
    return {
        "event_type": tf.constant([["quiz", "video", "quiz"], ["forum", "quiz", ""]]),
        "correct": tf.constant([[1.0, float("nan"), 0.0], [1.0, 1.0, 0.0]]),
        "mean_dwell": tf.constant([[5.0, 50.0, 80.0], [500.0, 20.0, 0.0]]),
        "unit_id": tf.constant(["algebra", "geometry"]),
        "horizon": tf.constant([7, 14], tf.int64),
        "num_steps": tf.constant([3, 2], tf.int64),
    }


def test_a_transformer_needs_no_export_for_gpus(summarised: FnArgs, tmp_path: Path) -> None:
    model = sections({"kind": "transformer"}, gpu_export=True, epochs=1)
    folder = fit(summarised, tmp_path, model)
    assert TrainingHistory.read(folder / "run").gpu_export == NOT_NEEDED
    assert not (folder / "model" / "gpu").exists()
