"""Keras' own `fit` on several workers: each computes its rows of a batch, and they add up sums.

Every worker reads the same batches and has the same weights. It computes the loss, the gradients
and the metrics of its rows; all of them are sums over the batch, so what the workers have is added
up and divided by the size of the whole batch. What they then do, they all do alike: the optimizer's
step, and what Keras' callbacks decide.

Keras knows nothing of it. Its `fit` cannot run under TensorFlow's strategy for several workers, so
the network is made outside of the strategy, and only the function for one step is exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer.distributed.adam import gradient_of, sums_of
from components.trainer.distributed.checkpoint import (
    Checkpoints,
    read_checkpoint,
    restore_variables,
    write_arrays,
)
from components.trainer.distributed.order import END, FitResult, Order
from components.trainer.fit import (
    Devices,
    Fit,
    FitCallbacks,
    choose_devices,
    fit_network,
    reproducible,
)
from components.trainer.network import read_network_inputs
from components.trainer.preparation import batches_of, network_of, take_over_weights

if TYPE_CHECKING:
    from components.trainer.batches import Batch
    from components.trainer.distributed.pulse import Pulse

Iterate = Callable[[Any], dict[str, tf.Tensor]]  # one step, with the next batch of an iterator

_SEED_OF_RANK = 0x9E3779B1  # odd, so that the seeds of all ranks differ


def fit_together(order: Order, rank: int, threads: int, scratch: Path, pulse: Pulse) -> None:
    """Fits with the other workers; the chief writes how it went.

    It has to be the first thing that a process does with TensorFlow.

    Args:
        order: what to fit.
        rank: which of the workers this one is, from 0, the chief.
        threads: how many cores to use; 0: all.
        scratch: a folder for parsed examples.
        pulse: is told how far the worker is.

    Raises:
        TrainingError: what a fit by one process raises.
        tf.errors.OpError: another worker does not answer.
    """
    settings, training = order.settings, order.settings.training
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    devices = _one_of(choose_devices(training))

    pulse.phase = "joining"
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    team = Team(strategy, rank, order.workers)
    with reproducible(training.seed):
        pulse.phase = "reading"
        transform = tft.TFTransformOutput(order.transform_graph)
        inputs = read_network_inputs(settings, transform)
        train, evaluation = batches_of(
            order.train_files, order.eval_files, settings, inputs, transform, 1, scratch
        )
        network = network_of(settings, inputs, devices.lstm, order.workers)
        warm_start = take_over_weights(network, settings, inputs, order.base_model)
        start = read_checkpoint(Path(order.resume_from)) if order.resume_from else None
        if start:
            restore_variables(network, start)

        pulse.phase = "fitting"
        team.share_state(network)
        share_steps(network, team, pulse.step)
        is_chief = rank == 0
        callbacks = FitCallbacks(training, Path(order.logs) if is_chief else None, order.name)
        checkpoints = Checkpoints(callbacks, order.checkpoint if is_chief else None, start)
        digests = WeightDigests(order.digests(rank))
        done = start.state.epoch if start else 0
        fit = fit_network(
            network,
            train,
            evaluation,
            training,
            callbacks,
            digests,
            checkpoints,
            first_epoch=training.epochs if start and start.state.ended else done,
        )
        if is_chief:
            _write_result(order, network.get_weights(), fit, devices, warm_start)
        digests.write(END, network)


def _one_of(devices: Devices) -> Devices:
    """Has TensorFlow see one GPU of several: sums of a worker come from one device."""
    if len(devices.names) == 1 or not devices.on_gpu:
        return devices
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
    return replace(devices, names=devices.names[:1], described=f"one of {devices.described}")


def _write_result(
    order: Order,
    weights: list[np.ndarray],
    fit: Fit,
    devices: Devices,
    warm_start: str | None,
) -> None:
    write_arrays(order.weights, {str(index): weight for index, weight in enumerate(weights)})
    FitResult(
        epochs=fit.epochs,
        best_epoch=fit.best_epoch,
        stopped=fit.stopped,
        device=devices.described,
        device_warning=devices.warning,
        warm_start=warm_start,
    ).write(Path(order.folder))


class Team:
    """The workers of a fit, as one of them sees them.

    Args:
        strategy: adds up over the workers; it has one device in each.
        rank: which of them this one is, from 0, the chief.
        size: how many there are.
    """

    def __init__(self, strategy: tf.distribute.Strategy, rank: int, size: int) -> None:
        self._strategy = strategy
        self.rank = rank
        self.size = size

    def add_up(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the sums of float32 tensors over the workers, the same bits in all of them.

        They travel as one vector, because every exchange costs a round trip.
        """
        shapes = [value.shape for value in values]
        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        summed = self._strategy.run(_add_up, args=(flat,))
        parts = tf.split(summed, [shape.num_elements() for shape in shapes])
        return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]

    def add_up_groups(self, groups: Sequence[Sequence[tf.Tensor]]) -> list[list[tf.Tensor]]:
        """Returns the sums of tensors in the groups that they came in; see `add_up`."""
        sums = iter(self.add_up([value for group in groups for value in group]))
        return [[next(sums) for _ in group] for group in groups]

    def share_state(self, network: keras.Model) -> None:
        """Gives all workers the chief's weights; their draws of random numbers stay different.

        Machines of other makes may round the first weights differently, which come from a QR
        decomposition.
        """
        is_chief = float(self.rank == 0)

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def of_chief() -> list[tf.Tensor]:
            return self.add_up([is_chief * weight for weight in network.weights])

        for weight, value in zip(network.weights, of_chief(), strict=True):
            weight.assign(value)
        for seed in seeds_of(network):
            seed.assign(seed + tf.constant([self.rank * _SEED_OF_RANK % 2**32, 0], seed.dtype))

    def own_rows(self, batch: Batch) -> tuple[Batch, tf.Tensor]:
        """Returns this worker's rows of a batch, and how much of the batch they are, float32 [].

        A worker for which there is none takes one, of which it is said that it is nothing.
        """
        inputs, label, weight = batch
        size = tf.size(weight)
        first, end = size * self.rank // self.size, size * (self.rank + 1) // self.size
        last = tf.maximum(end, first + 1)
        share = tf.cast(end - first, tf.float32) / tf.cast(size, tf.float32)
        own = {name: value[first:last] for name, value in inputs.items()}
        return (own, label[first:last], weight[first:last]), share


def _add_up(values: tf.Tensor) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    here = tf.identity(values)  # places it on the device, which `all_reduce` looks at
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, here)


def share_steps(network: keras.Model, team: Team, done: Callable[[], None]) -> None:
    """Makes Keras' `fit` compute the steps of a compiled network on all workers.

    Args:
        network: compiled with metrics that are means over examples.
        team: the workers.
        done: is called after each step.
    """
    # Keras makes these functions itself unless they are there already.
    network.train_function = _after(_train_step(network, team), done)
    network.test_function = _after(_test_step(network, team), done)


def _after(step: Iterate, done: Callable[[], None]) -> Iterate:
    def and_done(iterator: Any) -> dict[str, tf.Tensor]:
        logs = step(iterator)
        done()
        return logs

    return and_done


def _train_step(network: keras.Model, team: Team) -> Iterate:
    weights = network.trainable_weights

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def step(iterator: Any) -> dict[str, tf.Tensor]:
        batch = next(iterator)
        (inputs, label, weight), share = team.own_rows(batch)
        with tf.GradientTape() as tape:
            answer = network(inputs, training=True)
            loss = share * network.compute_loss(inputs, label, answer, weight)
            scaled = network.optimizer.scale_loss(loss)
        gradients = tape.gradient(
            scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

        measured = _measured(network, label, answer, share)
        shapes = (weight.shape for weight in weights)
        groups = [[loss], measured, *map(sums_of, gradients, shapes)]
        [loss], measured, *groups = team.add_up_groups(groups)
        network.optimizer.apply_gradients(zip(map(gradient_of, groups), weights, strict=True))
        return _updated_metrics(network, loss, measured, batch)

    result: Iterate = step
    return result


def _test_step(network: keras.Model, team: Team) -> Iterate:
    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def step(iterator: Any) -> dict[str, tf.Tensor]:
        batch = next(iterator)
        (inputs, label, weight), share = team.own_rows(batch)
        answer = network(inputs, training=False)
        loss = share * network.compute_loss(inputs, label, answer, weight, training=False)

        measured = _measured(network, label, answer, share)
        [loss], measured = team.add_up_groups([[loss], measured])
        return _updated_metrics(network, loss, measured, batch)

    result: Iterate = step
    return result


def _measured(
    network: keras.Model, label: tf.Tensor, answer: tf.Tensor, share: tf.Tensor
) -> list[tf.Tensor]:
    """Returns what some rows add to the variables of the metrics: sums and counts."""
    _, metrics = network.metrics
    if not metrics.built:
        metrics.build(label, answer)
    zeros = [tf.zeros_like(variable) for variable in metrics.variables]
    measured = metrics.stateless_update_state(zeros, label, answer)
    is_real = tf.cast(share > 0, tf.float32)
    return [is_real * tf.convert_to_tensor(value) for value in measured]


def _updated_metrics(
    network: keras.Model, loss: tf.Tensor, measured: list[tf.Tensor], batch: Batch
) -> dict[str, tf.Tensor]:
    """Adds what was measured of a whole batch to the metrics; returns their values."""
    tracker, metrics = network.metrics
    tracker.update_state(loss, sample_weight=tf.size(batch[2]))
    for variable, value in zip(metrics.variables, measured, strict=True):
        variable.assign_add(value)
    logs: dict[str, tf.Tensor] = network.get_metrics_result()
    return logs


def seeds_of(network: keras.Model) -> list[keras.Variable]:
    """Returns the states of the generators of random numbers, of dropout."""
    return [value for value in network.variables if value.path.endswith("seed_generator_state")]


class WeightDigests(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes a line after every epoch: its number and a digest of the network's weights.

    The supervisor compares those of all workers.

    Args:
        file: where they are written.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
        """Writes the line of an epoch."""
        self.write(str(epoch + 1), self.model)

    def write(self, when: str, network: keras.Model) -> None:
        """Writes a line."""
        digest = digest_of(network.get_weights())
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{when} {digest}\n")


def digest_of(weights: Sequence[np.ndarray]) -> str:
    """Returns a digest of the bits of some arrays, in their order."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
