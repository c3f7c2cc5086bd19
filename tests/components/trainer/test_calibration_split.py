"""The eval split as the served model answers it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.contracts.calibration import Calibration
from components.contracts.names import (
    BASIS,
    BASIS_PRIOR,
    EXAMPLES,
    NUM_STEPS,
    PROBABILITIES,
)
from components.node.settings import TrainerSettings
from components.trainer.calibration_split import CalibrationSplit
from components.trainer.network import build_network, read_network_inputs
from tests.components.trainer.test_served import serialized
from tests.components.trainer.tiny_log import SETTINGS, tiny_log


def open_split(inputs: FnArgs, scratch: Path) -> CalibrationSplit:
    transform = tft.TFTransformOutput(inputs.transform_graph_path)
    settings = TrainerSettings.model_validate(SETTINGS)
    network_inputs = read_network_inputs(settings, transform)
    return CalibrationSplit(inputs.eval_files, network_inputs, transform, settings, scratch)


def test_every_outcome_is_answered_and_cold_starts_by_their_prior(
    inputs: FnArgs, tmp_path: Path
) -> None:
    split = open_split(inputs, tmp_path)
    network = build_network(split.settings, split.inputs, lstm="served")

    found = split.answers(network)

    lengths = np.array([row[0] for row in tiny_log(60, seed=2)[NUM_STEPS]])
    assert len(found.answers) == len(found.labels) == len(found.groups) == 60
    assert found.is_cold.sum() == (lengths < split.settings.steps.min_steps).sum() > 0
    assert found.groups.shape == (60, 3)  # unit and horizon, horizon, all
    assert len(np.unique(found.groups[:, -1])) == 1
    assert np.allclose(found.answers.sum(axis=1), 1, atol=1e-5)
    priors = np.concatenate([batch["prior"] for batch in split.batches()])
    assert np.array_equal(found.answers[found.is_cold], priors[found.is_cold])


def test_answers_are_those_of_the_served_model(inputs: FnArgs, served: Any, tmp_path: Path) -> None:
    """Asked with the raw examples, the served model says what the constants were fitted to."""
    log = tiny_log(60, seed=2)
    raw = [serialized(log, row) for row in range(60)]
    answers = served.signatures["serving_default"](**{EXAMPLES: tf.constant(raw)})
    split = open_split(inputs, tmp_path)

    cold = [basis.decode() == BASIS_PRIOR for basis in answers[BASIS].numpy()]
    found = split.answers(build_network(split.settings, split.inputs, lstm="served"))
    assert sum(cold) == found.is_cold.sum()
    own = sorted(map(tuple, answers[PROBABILITIES].numpy()[cold].round(5).tolist()))
    assert own == sorted(map(tuple, found.answers[found.is_cold].round(5).tolist()))


def test_the_model_records_what_was_fitted(fitted: Path) -> None:
    record = Calibration.read(fitted / "model")

    assert record.examples == 60
    assert record.temperature == pytest.approx(1, abs=5)
