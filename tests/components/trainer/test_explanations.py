"""The served model says what each feature adds to its answer, beyond the average learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.names import NUM_STEPS
from components.node.settings import TrainerSettings
from components.trainer.answer_parts import Answered, Evidence
from components.trainer.calibration_split import CalibrationSplit
from components.trainer.explanations import AverageLearners, Explainer
from components.trainer.export import float32_copy
from components.trainer.network import build_network, read_network_inputs
from tests.components.trainer.test_served import ask, dense, serialized, with_horizon
from tests.components.trainer.tiny_log import SETTINGS, tiny_log, write_inputs
from tests.components.transform.analysis import Columns

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS = 40
CLASSES = ["low", "mid", "high"]
FEATURES = ["correct", "event_type", "mean_dwell", "horizon", "unit_id"]
POINTS = 24  # of the learners that are compared
EXACT = 1e-3  # of the sum of attributions
MIDPOINTS = 1000  # of the reference, which takes the gradient at so many places


@pytest.fixture(scope="module")
def log() -> Columns:
    return with_horizon(tiny_log(ROWS, seed=3))


def explained(served: Any, log: Columns, named: str = "") -> dict[str, np.ndarray]:
    rows = range(len(log["correct"]))
    examples = tf.constant([serialized(log, row) for row in rows])
    classes = tf.fill([len(rows)], named)
    return ask(served, "explain", examples=examples, explained_class=classes)


def test_attributions_add_up_to_the_difference_to_the_typical_answer(
    served: Any, log: Columns
) -> None:
    found = explained(served, log)

    places = found["probabilities"].argmax(axis=1)
    answers = found["probabilities"][np.arange(ROWS), places]
    assert found["explained_class"].tolist() == [CLASSES[place].encode() for place in places]
    total = found["attributions"].sum(axis=1)
    assert total == pytest.approx(answers - found["typical_answer"], abs=EXACT)
    is_cold = found["basis"] == b"prior"
    assert 0 < is_cold.sum() < ROWS
    assert np.abs(total[~is_cold]).max() > 0.01
    assert not found["attributions"][is_cold].any()
    assert not found["directions"][is_cold].any()
    assert np.array_equal(found["typical_answer"][is_cold], answers[is_cold])


def test_both_signatures_explain_the_same(served: Any, log: Columns) -> None:
    one = explained(served, log)
    classes = tf.fill([ROWS], "")
    other = ask(served, "explain_steps", **dense(log), explained_class=classes)

    assert set(one) == set(other)
    for name, values in one.items():
        if values.dtype == object:
            assert np.array_equal(values, other[name])
        else:
            assert values == pytest.approx(other[name], abs=1e-5)
    assert one["explained_features"].tolist() == [[name.encode() for name in FEATURES]] * ROWS
    assert one["step_attributions"].shape == (ROWS, 6, 3)
    assert one["step_attributions"].sum(axis=1) == pytest.approx(
        one["attributions"][:, :3], abs=1e-6
    )


def test_a_class_can_be_named(served: Any, log: Columns) -> None:
    found = explained(served, log, "low")

    assert set(found["explained_class"].tolist()) == {b"low"}
    total = found["attributions"].sum(axis=1)
    assert total == pytest.approx(found["probabilities"][:, 0] - found["typical_answer"], abs=EXACT)


def test_an_unknown_class_fails_the_request(served: Any, log: Columns) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"low, mid, high, found.*lwo"):
        explained(served, log, "lwo")


def test_neither_padding_nor_the_batch_changes_attributions(served: Any, log: Columns) -> None:
    together = explained(served, log)
    padded = ask(
        served, "explain_steps", **dense(log, padding=7), explained_class=tf.fill([ROWS], "")
    )
    assert padded["attributions"] == pytest.approx(together["attributions"], abs=1e-5)
    for row in range(0, ROWS, 8):
        alone = explained(served, {name: [values[row]] for name, values in log.items()})
        assert alone["attributions"][0] == pytest.approx(together["attributions"][row], abs=1e-5)


def test_a_batch_may_be_empty(served: Any) -> None:
    nobody = ask(
        served,
        "explain",
        examples=tf.constant([], tf.string),
        explained_class=tf.constant([], tf.string),
    )
    assert nobody["attributions"].shape == (0, 5)


def test_a_loaded_model_refuses_to_be_differentiated(served: Any, log: Columns) -> None:
    """TensorFlow's own gradient of the operation is wrong; ours does not travel with the model."""
    tensors = dense(log)
    with tf.GradientTape() as tape:
        tape.watch(tensors["correct"])
        with pytest.raises(LookupError, match="cannot be differentiated"):
            served.signatures["explain_steps"](**tensors, explained_class=tf.fill([ROWS], ""))


class Explaining:
    """An untrained network with the averages of the eval split, and what it is compared with."""

    def __init__(self, settings: dict[str, Any], files: FnArgs, scratch: Path) -> None:
        transform = tft.TFTransformOutput(files.transform_graph_path)
        self._settings = TrainerSettings.model_validate(settings)
        self._inputs = read_network_inputs(self._settings, transform)
        self._split = CalibrationSplit(
            files.eval_files, self._inputs, transform, self._settings, scratch
        )
        [self.batch] = self._split.batches()
        self._network = build_network(self._settings, self._inputs)
        draw = np.random.default_rng(5)
        self._network.set_weights(
            [draw.normal(0, 2 * w.shape[0] ** -0.5, w.shape) for w in self._network.weights]
        )

    def _evidence(self, served: keras.Model) -> Evidence:
        return Evidence(self._settings, self._split, self._split.answers(served))

    def averages(self) -> AverageLearners:
        """The average learners of the split."""
        served = float32_copy(self._network, self._settings, self._inputs, "served")
        return Explainer(served, self._inputs, self._evidence(served)).averages

    def explain(self) -> dict[str, np.ndarray]:
        """What the served graph says."""
        served = float32_copy(self._network, self._settings, self._inputs, "served")
        explainer = Explainer(served, self._inputs, self._evidence(served))

        @tf.function(autograph=False)
        def outputs(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            answer = served(self._inputs.pick(batch), training=False)
            is_cold = batch[NUM_STEPS] < self._settings.steps.min_steps
            named = tf.fill([tf.size(is_cold)], "") if explainer.asks_for_class else None
            return explainer.outputs(Answered(answer, is_cold, batch, batch["groups"]), named)

        found = outputs(self.batch)
        warm = self.batch[NUM_STEPS] >= self._settings.steps.min_steps
        return {name: values[warm].numpy() for name, values in found.items()}

    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """Attributions [B, N] and typical answers [B] of those who are no cold starts."""
        warm = self.batch[NUM_STEPS] >= self._settings.steps.min_steps
        batch = {name: values[warm] for name, values in self.batch.items()}
        loop = float32_copy(self._network, self._settings, self._inputs, "loop")
        features = {**self._inputs.steps, **self._inputs.context}
        layers = {
            name: loop.get_layer(f"embedding_{name}" if item else name)
            for name, item in features.items()
        }
        if self._inputs.summaries:
            layers["summaries"] = loop.get_layer("summaries")
        differentiable = keras.Model(
            [*(layer.output for layer in layers.values()), loop.get_layer(NUM_STEPS).output],
            loop.output,
        )

        ends = [layers[name](batch[name]) if features.get(name) else batch[name] for name in layers]
        starts = [
            self._mean(name, end, batch[NUM_STEPS]) for name, end in zip(layers, ends, strict=True)
        ]
        answer = loop(self._inputs.pick(batch), training=False).numpy()
        index = answer.argmax(axis=1)

        @tf.function(autograph=False)
        def gradients(place: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            points = [
                start + place * (end - start) for start, end in zip(starts, ends, strict=True)
            ]
            with tf.GradientTape() as tape:
                tape.watch(points)
                answers = differentiable([*points, batch[NUM_STEPS]], training=False)
                explained = tf.gather(answers, index, batch_dims=1)
            return explained, tape.gradient(explained, points)

        totals = [np.zeros(end.shape) for end in ends]
        for place in (np.arange(MIDPOINTS) + 0.5) / MIDPOINTS:
            _, found = gradients(tf.constant(place, tf.float32))
            totals = [
                total + part.numpy() / MIDPOINTS for total, part in zip(totals, found, strict=True)
            ]
        added = {
            name: total * (end - start).numpy()
            for name, total, end, start in zip(layers, totals, ends, starts, strict=True)
        }
        typical, _ = gradients(tf.constant(0.0))
        return self._by_feature(added), typical.numpy()

    def _mean(self, name: str, end: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
        """The average learner's value; the split is too small for groups of their own."""
        if name not in self._inputs.steps:
            return tf.broadcast_to(tf.reduce_mean(end, axis=0), end.shape)
        mean = tf.boolean_mask(end, tf.sequence_mask(num_steps, end.shape[1]))
        return tf.broadcast_to(tf.reduce_mean(mean, axis=0), end.shape)

    def _by_feature(self, added: dict[str, np.ndarray]) -> np.ndarray:
        rows = len(next(iter(added.values())))
        columns = []
        for kind, names in (
            ("step", self._settings.steps.features),
            ("context", self._settings.context),
        ):
            for name in names:
                read = [added.get(key) for key in (f"{kind}_{name}", f"missing_{kind}_{name}")]
                columns.append(
                    sum(
                        values.reshape(rows, -1).sum(axis=1)
                        for values in read
                        if values is not None
                    )
                )
        return np.column_stack([*columns, *added.get("summaries", np.zeros((0, rows)).T).T])


NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "attention": {"pooling": "attention"},
    "transformer": {"kind": "transformer", "transformer": {"width": 8, "heads": 2, "layers": 2}},
    "summaries and interaction": {"summaries": True, "interaction": True},
}


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_attributions_are_those_of_another_computation(
    kind: str, task: str, inputs: FnArgs, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Compared with Keras' loop, differentiated at many places of a line that is made here."""
    settings = {
        **SETTINGS,
        "model": {**SETTINGS["model"], **NETWORKS[kind]},
        "explain": {"steps": POINTS},
    }
    if task == "regression":
        settings["label"] = {"column": "score", "task": "regression"}
    if kind.startswith("summaries") or task == "regression":
        inputs = write_inputs(tmp_path_factory.mktemp("inputs"), settings)
    explaining = Explaining(settings, inputs, tmp_path)

    found = explaining.explain()
    expected, typical = explaining.reference()

    assert found["typical_answer"] == pytest.approx(typical, abs=1e-5)
    assert np.abs(expected).max() > 0.02
    scale = max(1.0, np.abs(found["attributions"].sum(axis=1) + typical).max())
    assert found["attributions"] == pytest.approx(expected, abs=1e-3 * float(scale))


def test_each_group_has_its_own_average_learner(inputs: FnArgs, tmp_path: Path) -> None:
    """Groups are by unit and horizon; small ones share the average of all of their horizon."""
    explaining = Explaining({**SETTINGS, "uncertainty": {"min_examples": 8}}, inputs, tmp_path)
    averages, batch = explaining.averages(), explaining.batch

    levels = [(level, group) for level, known in enumerate(averages.table.known) for group in known]
    assert len(levels) > 3
    is_warm = batch[NUM_STEPS].numpy() >= SETTINGS["steps"]["min_steps"]
    for place, (level, group) in enumerate(levels):
        members = (batch["groups"].numpy()[:, level] == group) & is_warm
        assert members.sum() >= 8
        real = tf.sequence_mask(batch[NUM_STEPS], batch["step_correct"].shape[1]).numpy()
        values = batch["step_correct"].numpy()[members][real[members]]
        # After the three numbers of the embedded type of an event.
        assert averages.steps[place, 3] == pytest.approx(values.mean(), abs=1e-6)
        numbers = batch["context_horizon"].numpy()[members]
        known = batch["missing_context_horizon"].numpy()[members] == 0
        typical = numbers[known].mean() if known.any() else 0.0
        assert averages.numbers[place, -1] == pytest.approx(typical, abs=1e-6)


def test_a_model_without_anything_beside_the_sequence_explains_its_steps(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {**SETTINGS, "context": {}, "prior": {"group_by": []}}
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"), settings)
    explaining = Explaining(settings, inputs, tmp_path)

    found = explaining.explain()
    expected, typical = explaining.reference()

    assert found["attributions"].shape[1] == len(SETTINGS["steps"]["features"])
    assert found["typical_answer"] == pytest.approx(typical, abs=1e-5)
    assert found["attributions"].sum(axis=1) == pytest.approx(expected.sum(axis=1), abs=EXACT)
