"""Reads transformed examples as padded, weighted batches, without Python code for each example.

Memory does not grow with the examples: they are parsed once, in windows of some thousands, and
large splits are kept on disk from then on, parsed.

An example is a sequence with its outcome or, with `steps.shared`, with several. A batch holds some
sequences, and all their outcomes one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from components.contracts.names import ASKED_ROW, NUM_STEPS, REWEIGHED, TRANSFORMED_LABEL
from components.errors import TrainingError
from components.trainer.masking import hide_words, masked_shares
from components.trainer.reweighing import fit_reweighing

if TYPE_CHECKING:
    from components.config.data import Label
    from components.config.training import Training
    from components.node.settings import TrainerSettings
    from components.trainer.network import NetworkInputs
    from components.trainer.reweighing import Reweighing

WINDOW_BATCHES = 100  # batches that are sorted by length together: little padding, well shuffled
WINDOW_EXAMPLES = 131_072  # bound of large batches: shuffles keep 8 windows, parsed and not
FEWEST_BATCHES = 8
SHUFFLE_WINDOWS = 8  # windows that the buffers of the shuffles hold
MEMORY_BYTES = 256 << 20  # parsed splits above this size are kept on disk
EVALUATION_BATCH = 1024
EVALUATION_SHARED = 256  # shared sequences, of which all states are kept

Spec = Mapping[str, object]  # features of tf.io.parse_example, by name
Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]  # inputs, label, weight, as Keras has it


class Window(NamedTuple):
    """Parsed examples: W sequences with N outcomes.

    Attributes:
        steps: all steps of all sequences, one after the other [S], by the name of the feature.
        bounds: where the steps of each sequence start, and the last ones end, int64 [W + 1].
        columns: features with one value per outcome [N], by name, in the order of the sequences.
        asked: where the outcomes of each sequence start, and the last ones end, int64 [W + 1].
    """

    steps: dict[str, tf.Tensor]
    bounds: tf.Tensor
    columns: dict[str, tf.Tensor]
    asked: tf.Tensor


class Outcomes(NamedTuple):
    """The outcomes of a window.

    Attributes:
        labels: their labels [N].
        counts: how many each sequence has [W], at least one.
        groups: hashes of the groups that they are weighted by [N]; None without such weights.
    """

    labels: np.ndarray
    counts: np.ndarray
    groups: np.ndarray | None = None


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
    training, shared = settings.training, settings.steps.shared
    train = _read_split(train_files, settings, inputs, spec, scratch / "train")
    evaluation = _read_split(eval_files, settings, inputs, spec, scratch / "eval")
    to_train, to_evaluate = outcomes_of(train), outcomes_of(evaluation)
    labels = np.concatenate([window.labels for window in to_train])
    weights = class_weights(labels, settings.label, training)
    reweigh = _reweighing(to_train, labels, settings)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def for_keras(batch: dict[str, tf.Tensor]) -> Batch:
        picked, label, weight = _without_weights(batch, inputs, shared=shared)
        if weights is not None:
            weight = tf.gather(weights, label)
        if reweigh is not None:
            weight *= reweigh(batch[REWEIGHED], label)
        return fill_up((picked, label, weight), replicas)

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    shuffled = training_batches(train, to_train, training.batch_size, training.seed)
    shuffled = hide_words(shuffled, inputs, masked_shares(settings), training.seed)
    ordered = evaluation_batches(evaluation, to_evaluate, _evaluation_size(settings))
    shuffled, ordered = (
        batches.map(for_keras).prefetch(2).with_options(options) for batches in (shuffled, ordered)
    )
    return shuffled, ordered


def read_evaluation(
    eval_files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    spec: Spec,
    scratch: Path,
) -> tf.data.Dataset:
    """Returns the batches for early stopping alone, all with weight 1; see `read_batches`."""
    windows = _read_split(eval_files, settings, inputs, spec, scratch / "eval")
    shared = settings.steps.shared

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def for_keras(batch: dict[str, tf.Tensor]) -> Batch:
        return _without_weights(batch, inputs, shared=shared)

    batches = evaluation_batches(windows, outcomes_of(windows), _evaluation_size(settings))
    return batches.map(for_keras).prefetch(2)


def _read_split(
    files: Sequence[str],
    settings: TrainerSettings,
    inputs: NetworkInputs,
    spec: Spec,
    stored: Path,
) -> tf.data.Dataset:
    training = settings.training
    size, min_steps = window_size(training.batch_size), settings.steps.min_steps
    return read_windows(files, spec, size, min_steps, training.seed, stored, steps=inputs.steps)


def _without_weights(batch: dict[str, tf.Tensor], inputs: NetworkInputs, *, shared: bool) -> Batch:
    """Returns a batch as Keras has it, in which all outcomes weigh the same."""
    picked = inputs.pick(batch)
    if shared:
        picked[ASKED_ROW] = batch[ASKED_ROW]
    label = batch[TRANSFORMED_LABEL]
    return picked, label, tf.ones_like(label, tf.float32)


def _evaluation_size(settings: TrainerSettings) -> int:
    return EVALUATION_SHARED if settings.steps.shared else EVALUATION_BATCH


def window_size(batch_size: int) -> int:
    """Returns how many examples are sorted by length together.

    Memory would grow with the batch otherwise: with batches of 8,192, shuffles would keep 6,553,600
    examples, some 20 GB.

    >>> window_size(64), window_size(1024), window_size(8192)
    (6400, 102400, 131072)
    """
    batches = min(WINDOW_BATCHES, WINDOW_EXAMPLES // batch_size)
    return max(FEWEST_BATCHES, batches) * batch_size


def read_windows(
    files: Sequence[str],
    spec: Spec,
    size: int,
    min_steps: int,
    seed: int,
    stored: Path,
    *,
    steps: Collection[str],
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
        steps: names of the features of steps; the others have one value per outcome.
    """
    paths = sorted(path for pattern in files for path in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    records = records.shuffle(SHUFFLE_WINDOWS * size, seed=seed, reshuffle_each_iteration=False)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def parse(batch: tf.Tensor) -> Window:
        return _window(tf.io.parse_example(batch, spec), steps, min_steps)

    windows = records.batch(size).map(parse)
    bytes_unpacked = 10 * sum(tf.io.gfile.stat(path).length for path in paths)
    return windows.cache("" if bytes_unpacked <= MEMORY_BYTES else str(stored))


def outcomes_of(windows: tf.data.Dataset) -> list[Outcomes]:
    """Returns the outcomes of each window, in order.

    Raises:
        TrainingError: there is none.
    """
    outcomes = [
        Outcomes(
            window.columns[TRANSFORMED_LABEL].numpy(),
            np.diff(window.asked.numpy()),
            window.columns[REWEIGHED].numpy() if REWEIGHED in window.columns else None,
        )
        for window in windows
    ]
    if not any(len(window.labels) for window in outcomes):
        raise TrainingError(
            "The train split or the eval split has no example with events. Add outcomes, or lower "
            "steps.min_steps."
        )
    return outcomes


def training_batches(
    windows: tf.data.Dataset, outcomes: Sequence[Outcomes], batch_size: int, seed: int
) -> tf.data.Dataset:
    """Returns batches of sequences of similar length, in another order every epoch.

    The same seed gives the same batches. Steps [B, T] are padded with zeros on the right, to the
    longest sequence of the batch. Outcomes are flat [N]; `asked_row` has their places among the B
    sequences.

    Args:
        windows: the examples.
        outcomes: of the windows.
        batch_size: how many sequences a batch holds on average. A batch of short sequences, with
            few outcomes each, holds more: the loss is a mean over each batch, and every outcome is
            to have the same part in it.
        seed: of the order.
    """
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    pairs = seeds.batch(2, drop_remainder=True)
    shuffled = windows.shuffle(SHUFFLE_WINDOWS, seed=seed, reshuffle_each_iteration=True)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def split(window: Window, pair: tf.Tensor) -> tf.data.Dataset:
        return _split(window, batch_size, pair)

    batches = tf.data.Dataset.zip(shuffled, pairs).flat_map(split)
    return _with_length(batches, outcomes, batch_size)


def evaluation_batches(
    windows: tf.data.Dataset, outcomes: Sequence[Outcomes], batch_size: int
) -> tf.data.Dataset:
    """Returns batches of sequences of similar length, padded too, in the same order every time."""

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def split(window: Window) -> tf.data.Dataset:
        return _split(window, batch_size, None)

    return _with_length(windows.flat_map(split), outcomes, batch_size)


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


def _reweighing(
    outcomes: Sequence[Outcomes], labels: np.ndarray, settings: TrainerSettings
) -> Reweighing | None:
    """Returns the weights by group and class; None where none are configured."""
    if settings.remedies.reweigh is None:
        return None
    groups = np.concatenate([window.groups for window in outcomes if window.groups is not None])
    least = settings.remedies.min_examples
    return fit_reweighing(groups, labels, len(settings.label.classes), least)


def _with_length(
    batches: tf.data.Dataset, outcomes: Sequence[Outcomes], batch_size: int
) -> tf.data.Dataset:
    """Sets the length of an epoch, which Keras reads: how many batches `_split` will yield."""
    counts = (window.counts for window in outcomes if len(window.counts))
    numbers = (int(_number_batches(count, batch_size)[-1]) + 1 for count in counts)
    return batches.apply(tf.data.experimental.assert_cardinality(sum(numbers)))


def _window(
    parsed: Mapping[str, tf.Tensor | tf.RaggedTensor], steps: Collection[str], min_steps: int
) -> Window:
    """Returns parsed examples without cold starts."""
    columns = {name: _as_lists(item) for name, item in parsed.items() if name not in steps}
    is_warm = columns[NUM_STEPS] >= min_steps
    columns = {name: tf.ragged.boolean_mask(item, is_warm) for name, item in columns.items()}

    kept = tf.where(columns[NUM_STEPS].row_lengths() > 0)[:, 0]
    sequences = {name: tf.gather(parsed[name], kept) for name in steps}
    asked = tf.gather(columns[NUM_STEPS], kept).row_splits

    bounds = next(iter(sequences.values())).row_splits
    same = [tf.debugging.assert_equal(item.row_splits, bounds) for item in sequences.values()]
    with tf.control_dependencies(same):
        bounds = tf.identity(bounds)
    values = {name: item.values for name, item in columns.items()}
    return Window({name: item.values for name, item in sequences.items()}, bounds, values, asked)


def _as_lists(column: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns the values of outcomes by example [B, K, ...]; one each if they are not shared."""
    if isinstance(column, tf.RaggedTensor):
        if column.ragged_rank == 1:
            return column
        # Rows of numbers of one width are parsed as ragged, too.
        width = column.values.uniform_row_length
        return column.with_values(tf.reshape(column.flat_values, tf.stack([-1, width])))
    return tf.RaggedTensor.from_uniform_row_length(column, 1)


def _split(window: Window, batch_size: int, seed: tf.Tensor | None) -> tf.data.Dataset:
    """Cuts a window into batches by length; a seed blurs lengths and shuffles the batches."""
    length = tf.cast(window.bounds[1:] - window.bounds[:-1], tf.float32)
    if seed is not None:
        # Lengths blurred by a tenth mix other examples every epoch, for a tenth more padding.
        blur = tf.random.stateless_uniform(tf.shape(length), tf.bitcast(seed, tf.int64), 0.95, 1.05)
        length = length * blur

    order = tf.argsort(length, stable=True)
    counts = tf.gather(window.asked[1:] - window.asked[:-1], order)
    batches = tf.RaggedTensor.from_value_rowids(order, _number_batches(counts, batch_size))
    places = tf.range(batches.nrows())
    if seed is not None:
        places = tf.random.experimental.stateless_shuffle(places, tf.bitcast(seed, tf.int64))

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def batch(place: tf.Tensor) -> dict[str, tf.Tensor]:
        return _padded(window, batches[place])

    return tf.data.Dataset.from_tensor_slices(places).map(batch)


def _number_batches(counts: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Returns the number of each sequence's batch, int64 [W] from 0.

    A batch has as many outcomes as `batch_size` sequences have on average, as nearly as whole
    sequences allow; but never fewer than the longest list, so that no number is left out. With one
    outcome each, it has `batch_size` sequences.

    Args:
        counts: how many outcomes each sequence has, int64 [W], in the order of the batches.
        batch_size: sequences in a batch on average.
    """
    sequences = tf.size(counts, tf.int64)
    # Counts and sizes times the number of sequences, to compute with whole numbers.
    size = tf.maximum(tf.reduce_sum(counts) * batch_size, tf.reduce_max(counts) * sequences)
    return (tf.cumsum(counts) - 1) * sequences // tf.maximum(size, 1)


def _padded(window: Window, rows: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns some sequences of a window: steps [B, T], padded with zeros; their outcomes [N]."""
    first = tf.gather(window.bounds, rows)
    length = tf.gather(window.bounds, rows + 1) - first
    places = tf.range(tf.reduce_max(length))
    is_real = places < length[:, tf.newaxis]
    taken = tf.where(is_real, first[:, tf.newaxis] + places, 0)

    steps = {
        name: tf.where(is_real, tf.gather(values, taken), tf.zeros([], values.dtype))
        for name, values in window.steps.items()
    }
    asked = tf.ragged.range(tf.gather(window.asked, rows), tf.gather(window.asked, rows + 1))
    columns = {name: tf.gather(item, asked.values) for name, item in window.columns.items()}
    return steps | columns | {ASKED_ROW: asked.value_rowids()}
