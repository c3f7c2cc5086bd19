"""From transformed examples on disk to padded batches, without touching single examples in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from components.contracts.names import NUM_STEPS
from components.errors import TrainingError

WINDOW_BATCHES = (
    100  # batches that are sorted by length together: little padding, still well shuffled
)
SHUFFLE_WINDOWS = 8  # windows' worth of examples that are shuffled once, in the order of the files
CACHE_BYTES = 2 << 30  # transformed examples above this size are read again every epoch

Spec = Mapping[str, object]  # features of tf.io.parse_example, by name
Batch = tuple[
    dict[str, tf.Tensor], tf.Tensor, tf.Tensor
]  # inputs, label, weight, as Keras takes them
Columns = dict[str, tf.Tensor | tf.RaggedTensor]


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
        min_steps: what the model answers for.
        seed: of the shuffle.
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
    """Returns batches of examples of similar length, in another order every epoch, the same for the same seed.

    Steps are padded with zeros on the right, to the longest sequence of the batch.
    """
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(
        2, drop_remainder=True
    )
    shuffled = windows.shuffle(SHUFFLE_WINDOWS, seed=seed, reshuffle_each_iteration=True)
    batches = tf.data.Dataset.zip(shuffled, seeds).flat_map(
        lambda window, window_seed: _split(window, batch_size, window_seed)
    )
    return batches.apply(
        tf.data.experimental.assert_cardinality(_count_batches(windows, batch_size))
    )


def evaluation_batches(windows: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Returns batches of examples of similar length, in the same order every time, padded alike."""
    batches = windows.flat_map(lambda window: _split(window, batch_size, None))
    return batches.apply(
        tf.data.experimental.assert_cardinality(_count_batches(windows, batch_size))
    )


def fill_up(batch: Batch, replicas: int) -> Batch:
    """Fills a batch up with rows of no weight until every replica gets as many; Keras refuses uneven shares.

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


def _count_batches(windows: tf.data.Dataset, batch_size: int) -> int:
    """Counts what `_split` will yield, so that Keras knows the length of an epoch beforehand."""
    batches = sum(-(-len(window[NUM_STEPS]) // batch_size) for window in windows)
    if batches == 0:
        raise TrainingError(
            "expected examples with events to fit to and to stop by, found none in the train or the eval split. "
            "Add outcomes, or lower steps.min_steps."
        )
    return batches


def _without_cold_starts(window: Columns, min_steps: int) -> Columns:
    kept = tf.where(window[NUM_STEPS] >= min_steps)[:, 0]
    return {name: tf.gather(column, kept) for name, column in window.items()}


def _split(window: Columns, batch_size: int, seed: tf.Tensor | None) -> tf.data.Dataset:
    """Cuts a window into batches by length; with a seed lengths are blurred and the batches shuffled."""
    length = tf.cast(window[NUM_STEPS], tf.float32)
    starts = tf.range(0, tf.size(length), batch_size)
    if seed is not None:
        # A tenth of blur gives a batch other neighbours every epoch, for a tenth of padding.
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
