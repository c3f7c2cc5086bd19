"""Fits the network: chooses devices, and fits reproducibly until the eval loss stops improving."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

# TensorFlow has no public function for it.
from tensorflow.python.framework.config import disable_op_determinism

from components.errors import TrainingError
from components.gpu import gpus, why_unseen
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.config.data import Label
    from components.config.training import Training
    from components.trainer.states import LstmKernel

_ITERATORS = 2  # that Keras makes in an epoch: it reads the first, and leaves the second unread
# With buffers of two sizes, as by default, cuBLAS takes another kernel whenever one size is not
# free: cuDNN's LSTM then adds in another order from run to run (release notes of cuDNN 8).
_ONE_BUFFER_SIZE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:2")

_NO_GPU_HERE = (
    "this machine or container has none. Start a container with `docker run --gpus all`; on "
    "Kubernetes ask for `nvidia.com/gpu`, as `kubeflow.nodes` does"
)


@dataclass(frozen=True)
class Devices:
    """Where a fit computes.

    Attributes:
        names: TensorFlow's names of the devices that share the work, e.g. `["/device:GPU:0"]`.
        described: for people, e.g. `2 GPUs (NVIDIA A10)` or `CPU`.
        warning: why a GPU of the machine is not used; None without a reason to warn.
    """

    names: list[str]
    described: str
    warning: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether the devices are GPUs."""
        return any("GPU" in name for name in self.names)

    @property
    def lstm(self) -> LstmKernel:
        """What LSTMs compute with here; see `build_network`."""
        return "cudnn" if self.on_gpu else "fused"

    def first(self) -> Devices:
        """Returns one of the devices: batches of shared sequences cannot be cut by outcomes.

        A strategy would cut each input into as many parts, and an outcome's sequence would be in
        another part.
        """
        if len(self.names) == 1:
            return self
        return replace(
            self, names=self.names[:1], described=f"one of {self.described}: sequences are shared"
        )

    def strategy(self) -> tf.distribute.Strategy:
        """Returns the strategy that places variables; networks are built inside its scope.

        Several devices get a mirrored strategy. A CPU beside visible GPUs gets one for a single
        device, because TensorFlow would choose a GPU. Otherwise TensorFlow's default is right.
        """
        if len(self.names) > 1:
            return tf.distribute.MirroredStrategy(self.names)
        if not self.on_gpu and tf.config.list_logical_devices("GPU"):
            return tf.distribute.OneDeviceStrategy(self.names[0])
        return tf.distribute.get_strategy()


def choose_devices(training: Training) -> Devices:
    """Returns the devices of `training.device`; warns if there is a GPU that cannot be used.

    It comes before anything is computed: cuBLAS reads its variable of the environment once.

    Raises:
        TrainingError: TensorFlow sees no GPU, and `training.device` is gpu or `training.precision`
            needs one.
    """
    os.environ.setdefault(*_ONE_BUFFER_SIZE)
    if training.device == "cpu":
        # Fails if this process has used TensorFlow before; OneDeviceStrategy then avoids the GPU.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        return Devices(_device_names("CPU"), "CPU")

    if seen := _device_names("GPU"):
        models = dict.fromkeys(map(_model, tf.config.list_physical_devices("GPU")))
        count = "1 GPU" if len(seen) == 1 else f"{len(seen)} GPUs"
        return Devices(seen, f"{count} ({', '.join(models)})")

    unseen = _why_not_seen()
    if training.device == "gpu":
        raise TrainingError(
            "training.device: expected a GPU that TensorFlow sees, found none: "
            f"{unseen or _NO_GPU_HERE}."
        )
    if training.precision == "mixed_float16":
        raise TrainingError(
            "training.precision: mixed_float16 needs a GPU, and TensorFlow sees none: "
            f"{unseen or _NO_GPU_HERE}. Use mixed_bfloat16 or float32 on a CPU."
        )
    if unseen is None:
        return Devices(_device_names("CPU"), "CPU")

    remedy = "To have the run fail instead: training.device: gpu"
    warning = f"fitted on the CPU, although {unseen}. {remedy}"
    logging.getLogger(__name__).warning("%s", warning)
    report_progress(warning)
    return Devices(_device_names("CPU"), "CPU", warning)


def beside_workers(training: Training) -> Devices:
    """Returns where a process computes whose fits others do: on a GPU only if it exports for one.

    Nothing is taken of a GPU before that, and only what is needed then.
    """
    seen = tf.config.list_physical_devices("GPU")
    with contextlib.suppress(RuntimeError):  # this process has used TensorFlow before
        if seen and training.gpu_export:
            for device in seen:
                tf.config.experimental.set_memory_growth(device, True)
            return Devices(_device_names("GPU")[:1], "1 GPU")
        tf.config.set_visible_devices([], "GPU")
    return Devices(_device_names("CPU"), "CPU")


def _device_names(kind: str) -> list[str]:
    # `list_logical_devices` would make TensorFlow take the memory of all GPUs.
    devices = tf.config.get_visible_devices(kind)
    count = sum(len(tf.config.get_logical_device_configuration(it) or [it]) for it in devices)
    return [f"/device:{kind}:{index}" for index in range(count)]


def _why_not_seen() -> str | None:
    """Returns why a GPU of this machine is not used; None if the machine has none."""
    found = gpus()
    if not found:
        return None

    unseen = f"this machine has a GPU ({', '.join(found)}) that TensorFlow does not see"
    if reasons := why_unseen():
        return f"{unseen}, because {'; '.join(reasons)}"
    return f"{unseen}; the log of this node has the reason, in its lines about GPU devices"


def _model(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device)
    return str(details.get("device_name", "unknown model"))


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeds every generator and makes TensorFlow's operations deterministic, inside the block.

    It is switched off again, because it forbids many operations to other code of the process.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        disable_op_determinism()


@contextmanager
def full_float32() -> Iterator[None]:
    """Has GPUs multiply float32 as float32, inside the block or the function that it decorates.

    From NVIDIA's Ampere generation on TensorFlow lets them round both factors to ten bits (TF32).
    A fit may do with that. Answers that are compared with a CPU's, or become constants of a graph
    that CPUs serve, would be off by some 1e-4.
    """
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def compile_network(
    network: keras.Model,
    label: Label,
    training: Training,
    adam: type[keras.optimizers.Adam] = keras.optimizers.Adam,
) -> None:
    """Gives the network its loss, optimizer and the metrics of the learning curves."""
    optimizer = adam(training.learning_rate)
    if training.precision == "mixed_float16":  # without scaling, small gradients become zero
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)

    classification = label.task == "classification"
    accuracy, error = keras.metrics.SparseCategoricalAccuracy, keras.metrics.MeanAbsoluteError
    network.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy" if classification else "mse",
        metrics=[accuracy(name="accuracy") if classification else error(name="mae")],
        weighted_metrics=[],
        jit_compile=False,  # measured on CPUs: XLA compiles for a minute and every step is slower
    )
    # A step that makes variables is traced twice: here are those of the optimizer, in `compile`
    # those of the metric, because it is an object instead of a name.
    optimizer.build(network.trainable_variables)


@dataclass(frozen=True)
class Fit:
    """How a fit went; see `TrainingHistory`."""

    epochs: list[dict[str, int | float | None]]
    best_epoch: int
    stopped: str


class FitCallbacks:
    """What Keras calls while it fits.

    Args:
        training: epochs, patience and decay.
        logs: a new folder for TensorBoard; None: no curves are written.
        name: of the fit among several, for progress.

    Attributes:
        epochs: keeps and reports the epochs.
        decay: lowers the learning rate; None with a factor of 1, which Keras refuses.
        stopping: ends the fit, and puts the best weights into the network.
    """

    def __init__(self, training: Training, logs: Path | None, name: str = "") -> None:
        self.epochs = EpochLog(training.epochs, name)
        self.stopping = keras.callbacks.EarlyStopping(
            patience=training.patience, restore_best_weights=True
        )
        self.decay: keras.callbacks.ReduceLROnPlateau | None = None
        if training.decay < 1:
            patience = max(1, training.patience // 2)
            self.decay = keras.callbacks.ReduceLROnPlateau(factor=training.decay, patience=patience)
        self._curves: list[keras.callbacks.Callback] = []
        if logs is not None:
            self._curves = [
                keras.callbacks.TensorBoard(
                    str(logs),
                    histogram_freq=int(training.histograms),
                    write_graph=False,
                    profile_batch=0,
                )
            ]

    @property
    def ordered(self) -> list[keras.callbacks.Callback]:
        """All of them, in the order in which they are called."""
        decay = [] if self.decay is None else [self.decay]
        return [self.epochs, *decay, self.stopping, *self._curves]


def fit_network(
    network: keras.Model,
    train: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    training: Training,
    callbacks: FitCallbacks,
    *more: keras.callbacks.Callback,
    first_epoch: int = 0,
) -> Fit:
    """Fits until the eval loss stops improving and leaves the best epoch's weights in the network.

    Args:
        network: the compiled network.
        train: batches of (inputs, label, weight).
        evaluation: the same, for early stopping.
        training: epochs and patience.
        callbacks: new ones.
        more: what is called after them.
        first_epoch: how many epochs are done already, whose states `more` brings back.

    Raises:
        TrainingError: the loss is not a finite number.
    """
    for _ in range(first_epoch * _ITERATORS):
        iter(train)  # every iterator has another order, also if it is not read
    network.fit(
        train,
        validation_data=evaluation,
        epochs=training.epochs,
        initial_epoch=first_epoch,
        callbacks=[*callbacks.ordered, *more],
        verbose=0,
        shuffle=False,
    )

    epochs, losses = callbacks.epochs.epochs, callbacks.epochs.losses
    stopped = f"after the {training.epochs} epochs configured"
    if callbacks.stopping.stopped_epoch:
        stopped = f"no better eval loss for {training.patience} epochs"
    return Fit(epochs, losses.index(min(losses)) + 1, stopped)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps and reports the losses and metrics of every epoch; stops a fit that diverges.

    Attributes:
        most: the largest number of epochs.
        name: of the fit among several; empty for the only one.
        epochs: the epochs so far; each with `epoch`, from 1, and what Keras measured.
        losses: the eval loss of each epoch.
    """

    def __init__(self, most: int, name: str = "") -> None:
        super().__init__()
        self.most = most
        self.name = name
        self.epochs: list[dict[str, int | float | None]] = []
        self.losses: list[float] = []

    def resume(self, epochs: list[dict[str, int | float | None]]) -> None:
        """Takes over the epochs that an earlier attempt at the same fit has done."""
        self.epochs = [*epochs]
        self.losses = [loss for epoch in epochs if (loss := epoch["val_loss"]) is not None]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records an epoch.

        Raises:
            TrainingError: a loss is not a finite number.
        """
        values = {name: float(value) for name, value in (logs or {}).items()}
        losses = {name: value for name, value in values.items() if "loss" in name}
        infinite = [f"{name} {value}" for name, value in losses.items() if not math.isfinite(value)]
        if infinite:
            raise TrainingError(
                f"epoch {epoch + 1}: expected finite losses, found {', '.join(infinite)}. "
                "Lower training.learning_rate, set training.precision to float32 where it is not, "
                "or look for huge values in the features: `clip`, `log: true` or "
                "`scale: z_score` tame them."
            )

        self.epochs.append({"epoch": epoch + 1, **values})
        self.losses.append(values["val_loss"])
        figures = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        fit = f"{self.name}  " if self.name else ""
        report_progress(f"{fit}epoch {epoch + 1}/{self.most}  {figures}")
