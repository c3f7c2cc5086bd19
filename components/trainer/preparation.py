"""What a fit needs, wherever it runs: batches, the untrained network, and weights to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.contracts.names import REWEIGHED
from components.errors import TrainingError
from components.trainer.batches import read_batches, read_evaluation
from components.trainer.distributed.adam import TeamAdam
from components.trainer.fit import compile_network
from components.trainer.lstm import parts_of
from components.trainer.network import NetworkInputs, build_network
from components.trainer.start_from import read_start
from components.trainer.warm_start import warm_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.node.settings import TrainerSettings
    from components.trainer.states import LstmKernel


def batches_of(
    train_files: Sequence[str],
    eval_files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    transform: tft.TFTransformOutput,
    replicas: int,
    scratch: Path,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns batches for fitting and for early stopping; see `read_batches`."""
    spec = _parse_spec(inputs, transform, settings)
    return read_batches(train_files, eval_files, settings, inputs, spec, replicas, scratch)


def evaluation_of(
    eval_files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    transform: tft.TFTransformOutput,
    scratch: Path,
) -> tf.data.Dataset:
    """Returns unweighted batches of the eval split, in the order of those for early stopping."""
    spec = _parse_spec(inputs, transform, settings)
    return read_evaluation(eval_files, settings, inputs, spec, scratch)


def network_of(
    settings: TrainerSettings, inputs: NetworkInputs, lstm: LstmKernel, workers: int = 1
) -> keras.Model:
    """Returns the compiled network, untrained.

    Args:
        settings: the layers, and how they are fitted.
        inputs: what the network reads.
        lstm: what LSTMs compute with; see `build_network`.
        workers: how many share each batch.
    """
    training = settings.training
    network = build_network(
        settings,
        inputs,
        lstm=lstm,
        precision=training.precision,
        parts=parts_of(-(-training.batch_size // workers)),
        shared=settings.steps.shared,
    )
    adam = keras.optimizers.Adam if workers == 1 else TeamAdam
    compile_network(network, settings.label, training, adam)
    return network


def take_over_weights(
    network: keras.Model, settings: TrainerSettings, inputs: NetworkInputs, base: str | None
) -> str | None:
    """Copies what fits of an earlier model's weights, if there is one; returns what was done.

    Args:
        network: the untrained network.
        settings: whether and where to start from.
        inputs: what the network reads.
        base: the folder of the model for `training.warm_start`; None without one.

    Raises:
        TrainingError: the model of `training.start_from` cannot be read.
    """
    training = settings.training
    if training.start_from is not None:
        return warm_start(network, inputs, settings, read_start(Path(training.start_from)))
    if not training.warm_start or not base:
        return None
    try:
        return warm_start(network, inputs, settings, read_start(Path(base)))
    except TrainingError as error:
        return f"fresh weights: {error}"


def _parse_spec(
    inputs: NetworkInputs, transform: tft.TFTransformOutput, settings: TrainerSettings
) -> dict[str, object]:
    """Returns how examples are parsed: what the network reads, the label, and what weights need."""
    spec = inputs.parse_spec(transform)
    if settings.remedies.reweigh is not None:
        spec[REWEIGHED] = transform.transformed_feature_spec()[REWEIGHED]
    return spec
