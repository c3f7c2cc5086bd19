"""The parts of a fit on several workers, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.errors import TrainingError
from components.node.settings import TrainerSettings
from components.trainer.distributed.adam import TeamAdam, gradient_of, sums_of
from components.trainer.distributed.checkpoint import (
    Checkpoints,
    assign,
    read_checkpoint,
    read_state,
    restore_variables,
)
from components.trainer.distributed.loop import Team, digest_of, share_steps
from components.trainer.fit import Fit, FitCallbacks, fit_network, reproducible
from components.trainer.network import read_network_inputs
from components.trainer.preparation import batches_of, network_of
from tests.components.trainer.distributed.orders import trained
from tests.components.trainer.tiny_log import SETTINGS

# Keras converts variables the way NumPy 1 wanted it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Alone(Team):
    """A team of one, which needs no exchange."""

    def __init__(self) -> None:
        super().__init__(tf.distribute.get_strategy(), rank=0, size=1)

    def add_up(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return [*values]


def run(
    inputs: FnArgs,
    folder: Path,
    values: dict[str, Any],
    *,
    keep: Path | None = None,
    start: Path | None = None,
    team: Team | None = None,
) -> tuple[list[np.ndarray], Fit]:
    """Fits in this process; may keep checkpoints, start from one, or do the steps of a team."""
    settings = TrainerSettings.model_validate(values)
    folder.mkdir()
    with reproducible(7):
        transform = tft.TFTransformOutput(inputs.transform_graph_path)
        features = read_network_inputs(settings, transform)
        train, evaluation = batches_of(
            inputs.train_files, inputs.eval_files, settings, features, transform, 1, folder
        )
        network = network_of(settings, features, "fused", workers=2 if team else 1)
        if team:
            share_steps(network, team, lambda: None)
        checkpoint = read_checkpoint(start) if start else None
        if checkpoint:
            restore_variables(network, checkpoint)
        callbacks = FitCallbacks(settings.training, None)
        fit = fit_network(
            network,
            train,
            evaluation,
            settings.training,
            callbacks,
            Checkpoints(callbacks, keep, checkpoint),
            first_epoch=checkpoint.state.epoch if checkpoint else 0,
        )
    return network.get_weights(), fit


def test_the_steps_of_a_team_are_those_of_keras(inputs: FnArgs, tmp_path: Path) -> None:
    settings = trained(SETTINGS, epochs=2)
    weights, fit = run(inputs, tmp_path / "keras", settings)
    shared, same = run(inputs, tmp_path / "team", settings, team=Alone())
    for expected, found in zip(fit.epochs, same.epochs, strict=True):
        assert found == pytest.approx(expected, rel=1e-6)
    assert all(map(np.allclose, shared, weights))


def test_a_fit_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    inputs: FnArgs, tmp_path: Path
) -> None:
    settings = trained(SETTINGS, epochs=7, patience=5, decay=0.5, learning_rate=0.2)
    weights, fit = run(inputs, tmp_path / "whole", settings)

    file = tmp_path / "checkpoint.npz"
    run(inputs, tmp_path / "part", trained(settings, epochs=4), keep=file)
    state = read_state(file)
    assert (state.epoch, state.ended) == (4, False)
    assert state.epochs == fit.epochs[:4]
    resumed, same = run(inputs, tmp_path / "rest", settings, start=file)

    assert same == fit
    assert digest_of(resumed) == digest_of(weights)


def test_early_stopping_goes_on_counting(inputs: FnArgs, tmp_path: Path) -> None:
    settings = trained(SETTINGS, epochs=9, patience=3, learning_rate=1e-30, decay=1.0)
    file = tmp_path / "checkpoint.npz"
    run(inputs, tmp_path / "part", trained(settings, epochs=2), keep=file)
    _, fit = run(inputs, tmp_path / "rest", settings, keep=file, start=file)
    assert (len(fit.epochs), fit.stopped) == (4, "no better eval loss for 3 epochs")
    assert read_state(file).ended


@pytest.mark.parametrize(("size", "workers"), [(7, 3), (6, 2), (2, 3), (1, 2)])
def test_the_rows_of_all_workers_are_the_batch(size: int, workers: int) -> None:
    rows = tf.range(size)
    batch = ({"steps": tf.stack([rows, rows], axis=1)}, rows, tf.ones([size]))
    strategy = tf.distribute.get_strategy()
    parts = [Team(strategy, rank, workers).own_rows(batch) for rank in range(workers)]

    shares = [float(share) for _, share in parts]
    assert sum(shares) == pytest.approx(1.0)
    assert max(shares) - min(shares) <= 1 / size + 1e-6
    found = [int(label) for (_, labels, _), share in parts if share > 0 for label in labels.numpy()]
    assert found == [*range(size)]
    for (inputs, label, weight), _ in parts:
        assert len(label) == len(weight) == len(inputs["steps"]) > 0
        assert inputs["steps"][:, 0].numpy().tolist() == label.numpy().tolist()


def test_adam_takes_gradients_that_were_added_up_as_it_takes_them_whole() -> None:
    first = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, -1.0]]), [0, 0], [3, 2])
    second = tf.IndexedSlices(tf.constant([[0.5, 1.0]]), [2], [3, 2])
    whole = tf.IndexedSlices(tf.concat([first.values, second.values], 0), [0, 0, 2], [3, 2])
    sums = [a + b for a, b in zip(sums_of(first, [3, 2]), sums_of(second, [3, 2]), strict=True)]

    variables = [keras.Variable(np.ones([3, 2], np.float32)) for _ in range(2)]
    for variable, gradient, adam in zip(
        variables, (whole, gradient_of(sums)), (keras.optimizers.Adam, TeamAdam), strict=True
    ):
        optimizer = adam(0.1)
        for _ in range(3):
            optimizer.apply_gradients([(gradient, variable)])
    assert variables[1].numpy() == pytest.approx(variables[0].numpy(), rel=1e-6)
    assert variables[0].numpy()[0, 0] < 1


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(TrainingError, match="expected the weights of this network"):
        assign([keras.Variable([1.0, 2.0])], [np.zeros([3], np.float32)])


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.npz"
    file.write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(TrainingError, match="the checkpoint could not be read"):
        read_checkpoint(file)
