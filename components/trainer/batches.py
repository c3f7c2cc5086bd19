"""Reads transformed examples as padded, weighted batches, without Python code for each example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.contracts.names import NUM_STEPS, TRANSFORMED_LABEL
from components.errors import TrainingError

if TYPE_CHECKING:
    from components.config.data import Label
    from components.config.training import Training
    from components.node.settings import TrainerSettings
    from components.trainer.network import NetworkInputs

WINDOW_BATCHES = 100  # batches that are sorted by length together: little padding, well shuffled
SHUFFLE_WINDOWS = 8  # windows that the buffers of the shuffles hold
CACHE_BYTES = 2 << 30  # transformed examples above this size are read again every epoch
EVALUATION_BATCH = 1024

Spec = Mapping[str, object]  # features of tf.io.parse_example, by name
Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]  # inputs, label, weight, as Keras has it
Columns = dict[str, tf.Tensor | tf.RaggedTensor]


def read_batches(
    train_files: Sequence[str],
    eval_files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    spec: Spec,
    replicas: int,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns batches of (inputs, label, weight) for fitting, and for early stopping.

    Args:
        train_files: patterns of gzipped TFRecords of transformed examples.
        eval_files: the same, for early stopping.
        settings: batches, seed, classes and their weights.
        inputs: the inputs of the network.
        spec: how examples are parsed.
        replicas: how many devices share a batch.

    Raises:
        TrainingError: a split has no example with events, or the train split has none of a class.
    """
    training = settings.training
    size = WINDOW_BATCHES * training.batch_size
    train, evaluation = (
        read_windows(files, spec, size, settings.steps.min_steps, training.seed)
        for files in (train_files, eval_files)
    )
    weights = class_weights(train, settings.label, training)

    def for_keras(batch: dict[str, tf.Tensor]) -> Batch:
        label = batch[TRANSFORMED_LABEL]
        weight = tf.ones_like(label, tf.float32) if weights is None else tf.gather(weights, label)
        return fill_up((inputs.pick(batch), label, weight), replicas)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    shuffled = training_batches(train, training.batch_size, training.seed).map(for_keras)
    ordered = evaluation_batches(evaluation, EVALUATION_BATCH).map(for_keras)
    return shuffled.prefetch(2).with_options(options), ordered.prefetch(2).with_options(options)


def read_windows(
    files: Sequence[str], spec: Spec, size: int, min_steps: int, seed: int
) -> tf.data.Dataset:
    """Returns the examples in windows: dictionaries of ragged steps [W, T] and dense columns [W].

    Examples are shuffled once; cold starts, with fewer than `min_steps` events, are left out. The
    windows stay in memory when the files are small enough.

    Args:
        files: patterns of gzipped TFRecords of transformed examples.
        spec: how they are parsed.
        size: examples in a window, before cold starts are left out.
        min_steps: the fewest events that the model needs for an answer.
        seed: seed of the shuffle.
    """
    paths = sorted(path for pattern in files for path in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    records = records.shuffle(SHUFFLE_WINDOWS * size, seed=seed, reshuffle_each_iteration=False)
    windows = records.batch(size).map(
        lambda batch: _without_cold_starts(tf.io.parse_example(batch, spec), min_steps)
    )

    bytes_unpacked = 10 * sum(tf.io.gfile.stat(path).length for path in paths)
    return windows.cache() if bytes_unpacked <= CACHE_BYTES else windows


def training_batches(windows: tf.data.Dataset, batch_size: int, seed: int) -> tf.data.Dataset:
    """Returns batches of examples of similar length, in another order every epoch.

    The same seed gives the same batches. Steps are padded with zeros on the right, to the longest
    sequence of the batch.
    """
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    pairs = seeds.batch(2, drop_remainder=True)
    shuffled = windows.shuffle(SHUFFLE_WINDOWS, seed=seed, reshuffle_each_iteration=True)
    batches = tf.data.Dataset.zip(shuffled, pairs).flat_map(
        lambda window, pair: _split(window, batch_size, pair)
    )
    return _with_length(batches, windows, batch_size)


def evaluation_batches(windows: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Returns batches of examples of similar length, padded too, in the same order every time."""
    batches = windows.flat_map(lambda window: _split(window, batch_size, None))
    return _with_length(batches, windows, batch_size)


def fill_up(batch: Batch, replicas: int) -> Batch:
    """Adds rows with weight 0 until all replicas get equally many; Keras refuses uneven shares.

    Args:
        batch: inputs [B, ...] by name, label [B], weight [B], with at least one row.
        replicas: how many share the batch.
    """
    if replicas == 1:
        return batch

    inputs, label, weight = batch
    size = tf.size(weight)
    places = tf.range(size + tf.math.floormod(-size, replicas))
    rows = tf.minimum(places, size - 1)
    inputs = {name: tf.gather(value, rows) for name, value in inputs.items()}
    return inputs, tf.gather(label, rows), tf.where(places < size, tf.gather(weight, rows), 0.0)


def class_weights(windows: tf.data.Dataset, label: Label, training: Training) -> np.ndarray | None:
    """Returns the weight of each class in the loss, float32 [C]; None for a regression.

    Balanced weights are N / (C * count of the class), as in scikit-learn; their mean over examples
    is one.

    Raises:
        TrainingError: the train split has no example with events, or none of a class.
    """
    classes = label.classes or [label.column]
    counts = np.zeros(len(classes), np.int64)
    for window in windows:
        labels = window[TRANSFORMED_LABEL].numpy()
        ids = labels if label.classes else np.zeros(len(labels), np.int64)
        counts += np.bincount(ids, minlength=len(classes))

    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        raise TrainingError(
            f"label.column {label.column}: expected training examples with events for "
            f"{', '.join(classes)}, found none for {', '.join(absent)}. "
            "Add outcomes, or lower steps.min_steps."
        )
    if label.task == "regression":
        return None
    if isinstance(training.class_weights, dict):
        return np.array([training.class_weights[name] for name in classes], np.float32)
    if training.class_weights == "none":
        return np.ones(len(classes), np.float32)
    balanced: np.ndarray = counts.sum() / (len(classes) * counts)
    return balanced.astype(np.float32)


def _with_length(
    batches: tf.data.Dataset, windows: tf.data.Dataset, batch_size: int
) -> tf.data.Dataset:
    """Sets the length of an epoch, which Keras reads: how many batches `_split` will yield."""
    count = sum(-(-len(window[NUM_STEPS]) // batch_size) for window in windows)
    if count == 0:
        raise TrainingError(
            "The train split or the eval split has no example with events. Add outcomes, or lower "
            "steps.min_steps."
        )
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def _without_cold_starts(window: Columns, min_steps: int) -> Columns:
    kept = tf.where(window[NUM_STEPS] >= min_steps)[:, 0]
    return {name: tf.gather(column, kept) for name, column in window.items()}


def _split(window: Columns, batch_size: int, seed: tf.Tensor | None) -> tf.data.Dataset:
    """Cuts a window into batches by length; a seed blurs lengths and shuffles the batches."""
    length = tf.cast(window[NUM_STEPS], tf.float32)
    starts = tf.range(0, tf.size(length), batch_size)
    if seed is not None:
        # Lengths blurred by a tenth mix other examples every epoch, for a tenth more padding.
        blur = tf.random.stateless_uniform(tf.shape(length), tf.bitcast(seed, tf.int64), 0.95, 1.05)
        length = length * blur
        starts = tf.random.experimental.stateless_shuffle(starts, tf.bitcast(seed, tf.int64))

    order = tf.argsort(length, stable=True)
    batches = tf.data.Dataset.from_tensor_slices(starts)
    return batches.map(lambda start: _padded(window, order[start : start + batch_size]))


def _padded(window: Columns, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    batch = {name: tf.gather(column, rows) for name, column in window.items()}
    return {
        name: column.to_tensor() if isinstance(column, tf.RaggedTensor) else column
        for name, column in batch.items()
    }
