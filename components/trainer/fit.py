"""Fits the network: class weights, early stopping, learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.config import (
    disable_op_determinism,  # TensorFlow has no public way back
)

from components.config import Label, Training
from components.errors import TrainingError
from components.node.progress import report_progress
from components.transform import names

LOGS = "logs"  # TensorBoard's folder inside the model run, with a folder for each fit


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeds every generator, and has TensorFlow run operations that give the same result every time, inside the block.

    Left on, determinism would forbid other code of the process a good many operations, the clock among them.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        disable_op_determinism()


def class_weights(windows: tf.data.Dataset, label: Label, training: Training) -> np.ndarray | None:
    """Returns the weight of each class in the loss, float32 [C]; None for a regression.

    Balanced weights are N / (C * count of the class), as scikit-learn has them; the mean over examples is one.

    Raises:
        TrainingError: training has no example with events, or a class has none.
    """
    classes = label.classes or [label.column]
    counts = np.zeros(len(classes), np.int64)
    for window in windows:
        ids = (
            window[names.LABEL].numpy()
            if label.classes
            else np.zeros(len(window[names.LABEL]), np.int64)
        )
        counts += np.bincount(ids, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        raise TrainingError(
            f"label.column {label.column}: expected training examples with events for {', '.join(classes)}, "
            f"found none for {', '.join(absent)}. Add outcomes, or lower steps.min_steps."
        )
    if label.task == "regression":
        return None
    if isinstance(training.class_weights, dict):
        return np.array([training.class_weights[name] for name in classes], np.float32)
    if training.class_weights == "none":
        return np.ones(len(classes), np.float32)
    balanced: np.ndarray = counts.sum() / (len(classes) * counts)
    return balanced.astype(np.float32)


def compile_network(network: keras.Model, label: Label, training: Training) -> None:
    """Gives the network its loss, optimizer and the metrics of the learning curves."""
    classification = label.task == "classification"
    optimizer = keras.optimizers.Adam(training.learning_rate)
    if training.precision == "mixed_float16":  # small gradients would be zero in it
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    network.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy" if classification else "mse",
        metrics=["accuracy"] if classification else ["mae"],
        weighted_metrics=[],
        jit_compile=False,  # measured on CPUs: XLA compiles for a minute and every step is slower
    )


def fit_network(
    network: keras.Model,
    train: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    training: Training,
    logs: Path,
) -> dict[str, Any]:
    """Fits until the eval loss stops improving and leaves the best epoch's weights in the network.

    Args:
        network: compiled.
        train: batches of (inputs, label, weight).
        evaluation: the same, for early stopping.
        training: epochs, patience and decay.
        logs: a new folder for TensorBoard.

    Returns:
        `epochs`: a dictionary per epoch; `best_epoch`: from 1; `stopped`: why.

    Raises:
        TrainingError: the loss is no finite number.
    """
    stopping = keras.callbacks.EarlyStopping(patience=training.patience, restore_best_weights=True)
    slower = max(1, training.patience // 2)
    # Keras refuses a factor of 1.
    decay = (
        [keras.callbacks.ReduceLROnPlateau(factor=training.decay, patience=slower)]
        if training.decay < 1
        else []
    )
    curves = keras.callbacks.TensorBoard(
        str(logs), histogram_freq=int(training.histograms), write_graph=False, profile_batch=0
    )
    epochs = EpochLog(training.epochs)
    network.fit(
        train,
        validation_data=evaluation,
        epochs=training.epochs,
        callbacks=[epochs, *decay, stopping, curves],
        verbose=0,
        shuffle=False,
    )
    best = min(range(len(epochs.epochs)), key=lambda index: epochs.epochs[index]["val_loss"])
    early = f"no better eval loss for {training.patience} epochs"
    stopped = early if stopping.stopped_epoch else f"after the {training.epochs} epochs configured"
    return {"epochs": epochs.epochs, "best_epoch": best + 1, "stopped": stopped}


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps and reports every epoch's losses and metrics, and stops a fit that has gone astray.

    Attributes:
        epochs: so far; each with `epoch`, from 1, and what Keras measured.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.epochs: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records an epoch; raises TrainingError when a loss is no finite number."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        wrong = {
            name: value
            for name, value in values.items()
            if "loss" in name and not math.isfinite(value)
        }
        if wrong:
            found = ", ".join(f"{name} {value}" for name, value in wrong.items())
            raise TrainingError(
                f"epoch {epoch + 1}: expected finite losses, found {found}. Lower training.learning_rate, "
                "set training.precision to float32 where it is not, "
                "or look for huge values in the features: `clip`, `log: true` or `scale: z_score` tame them."
            )
        self.epochs.append({"epoch": epoch + 1, **values})
        figures = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        report_progress(f"epoch {epoch + 1}/{self.most}  {figures}")
