"""Weights by group and class: their values, their way to the loss, and what is never served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.model_card import ModelCard
from components.contracts.names import REWEIGHED, WITHOUT_REMEDIES
from components.contracts.training_history import TrainingHistory
from components.node.settings import TrainerSettings
from components.trainer.batches import read_batches
from components.trainer.network import read_network_inputs
from components.trainer.reweighing import fit_reweighing
from tests.components.trainer.test_shared import SHARED, shared_log
from tests.components.trainer.tiny_log import SETTINGS, fit, tiny_log, write_inputs
from tests.components.transform.analysis import Columns

REWEIGHED_SETTINGS: dict[str, Any] = {
    "remedies": {"reweigh": "gender", "min_examples": 10},
    "training": {**SETTINGS["training"], "class_weights": "none", "histograms": False},
}


@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(2, 4))
def test_in_weighted_examples_the_group_says_nothing_about_the_class(
    seed: int, groups: int, classes: int
) -> None:
    random = np.random.default_rng(seed)
    every = np.arange(groups * classes)  # each group has an example of each class
    group = np.append(every // classes, random.integers(0, groups, 300))
    label = np.append(
        every % classes, random.integers(0, classes, 300) * (random.random(300) > 0.5)
    )
    label = label.astype(int)

    weights = fit_reweighing(group, label, classes, min_examples=1)(
        tf.constant(group), tf.constant(label)
    ).numpy()
    assert weights.sum() == pytest.approx(len(group), rel=1e-5)
    for index in range(groups):
        for class_ in range(classes):
            here = weights[(group == index) & (label == class_)].sum()
            # Kamiran and Calders: P(g) P(y), as if the two had nothing to do with each other.
            assert here == pytest.approx(
                (group == index).sum() * (label == class_).mean(), rel=1e-4
            )


def test_small_and_unknown_groups_keep_their_weight() -> None:
    group = np.array([5] * 40 + [9] * 40 + [7] * 4)
    label = np.array([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30 + [0] * 4)
    reweigh = fit_reweighing(group, label, 2, min_examples=10)
    asked = tf.constant([5, 9, 7, 6, 100], tf.int64)
    found = reweigh(asked, tf.zeros(5, tf.int64)).numpy()
    assert found[0] < 1 < found[1]
    assert found[2:].tolist() == [1, 1, 1]


def _with_gender(log: Columns) -> Columns:
    """Adds a column in which most of the lowest class are women."""
    random = np.random.default_rng(1)
    women = {"low": 0.8, "mid": 0.3, "high": 0.3}
    genders = [
        ["f" if random.random() < women[label] else "m" for label in labels]
        for labels in log["mastery"]
    ]
    return {**log, "gender": genders}


@pytest.mark.parametrize("shared", [False, True])
def test_weights_reach_the_loss_and_never_the_served_graph(shared: bool, tmp_path: Path) -> None:
    base = SHARED if shared else SETTINGS
    remedies = {**REWEIGHED_SETTINGS["remedies"], "measure_cost": not shared}
    settings = {**base, **REWEIGHED_SETTINGS, "remedies": remedies}
    draw = shared_log if shared else tiny_log
    logs = [_with_gender(draw(200, seed=seed)) for seed in (1, 2)]
    transform_settings = {**base, "reweigh": "gender"}
    inputs = write_inputs(tmp_path, transform_settings, *logs)

    # The weights of a batch are those of its genders and labels.
    transform = tft.TFTransformOutput(inputs.transform_graph_path)
    trainer = TrainerSettings.model_validate(settings)
    network_inputs = read_network_inputs(trainer, transform)
    assert REWEIGHED not in network_inputs.names
    spec = network_inputs.parse_spec(transform)
    spec[REWEIGHED] = transform.transformed_feature_spec()[REWEIGHED]
    train, _ = read_batches(
        inputs.train_files, inputs.eval_files, trainer, network_inputs, spec, 1, tmp_path
    )
    seen = {
        (int(label), round(float(weight), 5))
        for _, labels, weights in train
        for label, weight in zip(labels.numpy(), weights.numpy(), strict=True)
    }
    assert len(seen) == 6  # two genders, three classes
    fitted = fit(inputs, tmp_path / "fitted", settings)

    served = tf.saved_model.load(str(fitted / "model"))
    for signature in served.signatures.values():
        assert not any("gender" in name for name in signature.structured_input_signature[1])
    assert b"gender" not in (fitted / "model" / "saved_model.pb").read_bytes()

    assert ModelCard.read(fitted / "model").config["remedies"]["reweigh"] == "gender"
    assert TrainingHistory.read(fitted / "run").seeds == [7]

    # The model that shows what the weights change is fitted without them, where it is asked for.
    plain = fitted / "run" / WITHOUT_REMEDIES
    assert plain.exists() is not shared
    if not shared:
        assert ModelCard.read(plain).config["remedies"]["reweigh"] is None
