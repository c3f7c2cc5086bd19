"""Reads transformed examples as padded, weighted batches, without Python code for each example.

Memory does not grow with the examples: they are parsed once, in windows of some thousands, and
large splits are kept on disk from then on, parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
MEMORY_BYTES = 256 << 20  # parsed splits above this size are kept on disk
EVALUATION_BATCH = 1024

Spec = Mapping[str, object]  # features of tf.io.parse_example, by name
Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]  # inputs, label, weight, as Keras has it


class Window(NamedTuple):
    """Parsed examples, W of them.

    Attributes:
        steps: all steps of all examples, one after the other [S], by the name of the feature.
        bounds: where the steps of each example start, and the last ones end, int64 [W + 1].
        columns: features with one value per example [W], by name.
    """

    steps: dict[str, tf.Tensor]
    bounds: tf.Tensor
    columns: dict[str, tf.Tensor]


def read_batches(
    train_files: Sequence[str],
    eval_files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    spec: Spec,
    replicas: int,
    scratch: Path,
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns batches of (inputs, label, weight) for fitting, and for early stopping.

    Args:
        train_files: patterns of gzipped TFRecords of transformed examples.
        eval_files: the same, for early stopping.
        settings: batches, seed, classes and their weights.
        inputs: the inputs of the network.
        spec: how examples are parsed.
        replicas: how many devices share a batch.
        scratch: a folder for parsed examples; it has to be there as long as batches are read.

    Raises:
        TrainingError: a split has no example with events, or the train split has none of a class.
    """
    training = settings.training
    size = WINDOW_BATCHES * training.batch_size
    train, evaluation = (
        read_windows(files, spec, size, settings.steps.min_steps, training.seed, scratch / name)
        for name, files in (("train", train_files), ("eval", eval_files))
    )
    train_labels, eval_labels = labels_of(train), labels_of(evaluation)
    weights = class_weights(np.concatenate(train_labels), settings.label, training)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def for_keras(batch: dict[str, tf.Tensor]) -> Batch:
        label = batch[TRANSFORMED_LABEL]
        weight = tf.ones_like(label, tf.float32) if weights is None else tf.gather(weights, label)
        return fill_up((inputs.pick(batch), label, weight), replicas)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    shuffled = training_batches(train, train_labels, training.batch_size, training.seed)
    ordered = evaluation_batches(evaluation, eval_labels, EVALUATION_BATCH)
    shuffled, ordered = (
        batches.map(for_keras).prefetch(2).with_options(options) for batches in (shuffled, ordered)
    )
    return shuffled, ordered


def read_windows(
    files: Sequence[str], spec: Spec, size: int, min_steps: int, seed: int, stored: Path
) -> tf.data.Dataset:
    """Returns the examples as `Window`s, which the first pass over them parses and keeps.

    Examples are shuffled once; cold starts, with fewer than `min_steps` events, are left out. The
    windows stay in memory if they are small enough, and are otherwise kept on disk.

    Args:
        files: patterns of gzipped TFRecords of transformed examples.
        spec: how they are parsed.
        size: examples in a window, before cold starts are left out.
        min_steps: the fewest events that the model needs for an answer.
        seed: seed of the shuffle.
        stored: the start of the names of the files on disk.
    """
    paths = sorted(path for pattern in files for path in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    records = records.shuffle(SHUFFLE_WINDOWS * size, seed=seed, reshuffle_each_iteration=False)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def parse(batch: tf.Tensor) -> Window:
        return _window(tf.io.parse_example(batch, spec), min_steps)

    windows = records.batch(size).map(parse)
    bytes_unpacked = 10 * sum(tf.io.gfile.stat(path).length for path in paths)
    return windows.cache("" if bytes_unpacked <= MEMORY_BYTES else str(stored))


def labels_of(windows: tf.data.Dataset) -> list[np.ndarray]:
    """Returns the labels of each window, in order.

    Raises:
        TrainingError: there is no example.
    """
    labels = [window.columns[TRANSFORMED_LABEL].numpy() for window in windows]
    if not any(map(len, labels)):
        raise TrainingError(
            "The train split or the eval split has no example with events. Add outcomes, or lower "
            "steps.min_steps."
        )
    return labels


def training_batches(
    windows: tf.data.Dataset, labels: Sequence[np.ndarray], batch_size: int, seed: int
) -> tf.data.Dataset:
    """Returns batches of examples of similar length, in another order every epoch.

    The same seed gives the same batches. Steps are padded with zeros on the right, to the longest
    sequence of the batch. `labels` are those of the windows.
    """
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    pairs = seeds.batch(2, drop_remainder=True)
    shuffled = windows.shuffle(SHUFFLE_WINDOWS, seed=seed, reshuffle_each_iteration=True)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def split(window: Window, pair: tf.Tensor) -> tf.data.Dataset:
        return _split(window, batch_size, pair)

    batches = tf.data.Dataset.zip(shuffled, pairs).flat_map(split)
    return _with_length(batches, labels, batch_size)


def evaluation_batches(
    windows: tf.data.Dataset, labels: Sequence[np.ndarray], batch_size: int
) -> tf.data.Dataset:
    """Returns batches of examples of similar length, padded too, in the same order every time."""

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def split(window: Window) -> tf.data.Dataset:
        return _split(window, batch_size, None)

    return _with_length(windows.flat_map(split), labels, batch_size)


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


def class_weights(labels: np.ndarray, label: Label, training: Training) -> np.ndarray | None:
    """Returns the weight of each class in the loss, float32 [C]; None for a regression.

    Balanced weights are N / (C * count of the class), as in scikit-learn; their mean over examples
    is one.

    Raises:
        TrainingError: there is no example of a class.
    """
    if label.task == "regression":
        return None

    classes = label.classes
    counts = np.bincount(labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        raise TrainingError(
            f"label.column {label.column}: expected training examples with events for "
            f"{', '.join(classes)}, found none for {', '.join(absent)}. "
            "Add outcomes, or lower steps.min_steps."
        )

    if isinstance(training.class_weights, dict):
        return np.array([training.class_weights[name] for name in classes], np.float32)
    if training.class_weights == "none":
        return np.ones(len(classes), np.float32)
    balanced: np.ndarray = counts.sum() / (len(classes) * counts)
    return balanced.astype(np.float32)


def _with_length(
    batches: tf.data.Dataset, labels: Sequence[np.ndarray], batch_size: int
) -> tf.data.Dataset:
    """Sets the length of an epoch, which Keras reads: how many batches `_split` will yield."""
    count = sum(-(-len(window) // batch_size) for window in labels)
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def _window(parsed: Mapping[str, tf.Tensor | tf.RaggedTensor], min_steps: int) -> Window:
    """Returns parsed examples without cold starts."""
    kept = tf.where(parsed[NUM_STEPS] >= min_steps)[:, 0]
    examples = {name: tf.gather(column, kept) for name, column in parsed.items()}

    ragged = {name: item for name, item in examples.items() if isinstance(item, tf.RaggedTensor)}
    columns = {name: item for name, item in examples.items() if name not in ragged}
    bounds = next(iter(ragged.values())).row_splits
    same = [tf.debugging.assert_equal(item.row_splits, bounds) for item in ragged.values()]
    with tf.control_dependencies(same):
        bounds = tf.identity(bounds)
    return Window({name: item.values for name, item in ragged.items()}, bounds, columns)


def _split(window: Window, batch_size: int, seed: tf.Tensor | None) -> tf.data.Dataset:
    """Cuts a window into batches by length; a seed blurs lengths and shuffles the batches."""
    length = tf.cast(window.columns[NUM_STEPS], tf.float32)
    starts = tf.range(0, tf.size(length), batch_size)
    if seed is not None:
        # Lengths blurred by a tenth mix other examples every epoch, for a tenth more padding.
        blur = tf.random.stateless_uniform(tf.shape(length), tf.bitcast(seed, tf.int64), 0.95, 1.05)
        length = length * blur
        starts = tf.random.experimental.stateless_shuffle(starts, tf.bitcast(seed, tf.int64))

    order = tf.argsort(length, stable=True)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def batch(start: tf.Tensor) -> dict[str, tf.Tensor]:
        return _padded(window, order[start : start + batch_size])

    return tf.data.Dataset.from_tensor_slices(starts).map(batch)


def _padded(window: Window, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns some examples of a window: steps [B, T], padded with zeros; columns [B]."""
    first = tf.gather(window.bounds, rows)
    length = tf.gather(window.bounds, rows + 1) - first
    places = tf.range(tf.reduce_max(length))
    is_real = places < length[:, tf.newaxis]
    taken = tf.where(is_real, first[:, tf.newaxis] + places, 0)

    steps = {
        name: tf.where(is_real, tf.gather(values, taken), tf.zeros([], values.dtype))
        for name, values in window.steps.items()
    }
    return steps | {name: tf.gather(column, rows) for name, column in window.columns.items()}
