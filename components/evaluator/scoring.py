"""Runs a SavedModel over serialized examples, once, and keeps its answers as a table.

What a model answers, and what was true, are columns; anything but the contract of
`serving_default` is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import tensorflow as tf
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.contracts.names import (
    AS_OF,
    BASIS,
    CLASSES,
    DAYS_SEEN,
    DECISION_PREFIX,
    EXAMPLES,
    LEARNER,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    SERVING_DEFAULT,
    TIME_TO_AS_OF,
    UNFAMILIAR,
    UNIT,
)
from components.errors import MasteryError
from components.evaluator.loaded_signature import Predict, load_signature
from components.event_log.column_kinds import digits
from components.files.atomic import new_file
from components.model_version.safe_graph import require_safe
from components.node.progress import report_progress

if TYPE_CHECKING:
    from components.config.data import Label

BATCH = 1024  # examples that the model sees at once
WINDOW = 16 * BATCH  # examples that are in memory, sorted by length and written at once
LABEL = "label"  # the column of predictions with the true value, whatever the log calls it
SHOWN = 5  # labels that an error lists
SECONDS_PER_DAY = 86_400
FIRST_MICROSECONDS = 10**14  # in 1973: no smaller `as_of` is taken for microseconds since 1970

Array = np.ndarray[Any, Any]


def windows_of_split(folder: Path) -> Iterator[list[bytes]]:
    """Reads the serialized examples of a split in windows, from TFRecord files, gzipped or not."""
    files = [str(file) for file in sorted(folder.iterdir()) if file.is_file()]
    compressions = ["GZIP" if file.endswith(".gz") else "" for file in files]

    # One data set for all files: to make one takes longer than to read a small file.
    texts = (tf.constant(files, tf.string), tf.constant(compressions, tf.string))
    windows = tf.data.Dataset.from_tensor_slices(texts).flat_map(
        lambda file, compression: tf.data.TFRecordDataset(file, compression).batch(WINDOW)
    )
    for window in windows.as_numpy_iterator():
        yield window.tolist()


def in_windows(examples: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Groups serialized examples into windows."""
    source = iter(examples)
    while window := list(islice(source, WINDOW)):
        yield window


def write_predictions(
    model: Path,
    windows: Iterable[list[bytes]],
    label: Label,
    slice_columns: Sequence[str],
    predictions: Path,
) -> None:
    """Writes a model's predictions as one Parquet file, whole or not at all.

    The file has one row per example, in their order: `learner_id`, `unit_id`, `as_of`, `label`
    (text or float64), the slice columns as text ("" for a missing value; the keys among them as
    they are), then `probabilities` (list of float32, in the order of the configured classes),
    `predicted_class` and `basis`, or `prediction` and `basis`. A model that says how sure it is
    adds `prediction_set` (list of bool, in the same order) or `prediction_interval` (list of two
    float32), and `unfamiliar`. Then `decision_...`, boolean, of each decision that it takes.

    Args:
        model: a SavedModel with the signature `serving_default`.
        windows: serialized `tf.Example`s.
        label: what is predicted.
        slice_columns: names of features to keep for slicing; `DAYS_SEEN` among them is derived.
        predictions: the file to write.

    Raises:
        MasteryError: there are no examples; an example's label is missing or unknown; the model has
            other classes, cannot read the examples, or answers something that is not a number.
    """
    decoder = ExamplesToRecordBatchDecoder()

    def tables(predict: Predict) -> Iterator[pl.DataFrame]:
        for window in windows:
            features = pl.DataFrame(decoder.DecodeBatch(window))
            answers = read_answers(_predict(predict, window, model), label.classes)
            yield _keys(features, label, slice_columns).hstack(answers)

    with _load(model) as predict:
        _write(tables(predict), predictions)


@contextmanager
def _load(model: Path) -> Iterator[Predict]:
    require_safe(model)
    with ExitStack() as stack:
        try:
            predict = stack.enter_context(load_signature(model, SERVING_DEFAULT))
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise MasteryError(
                f"{model}: expected a SavedModel with a signature {SERVING_DEFAULT}. {error}"
            ) from error
        yield predict


def _predict(predict: Predict, window: list[bytes], model: Path) -> dict[str, Array]:
    """Returns the model's answers, in the order of the window.

    The model pads a batch to its longest sequence, so examples of similar length share a batch;
    their length in bytes is a good enough measure. On a log of mostly short sequences this is three
    times as fast.
    """
    order = np.argsort([len(example) for example in window], kind="stable")
    parts = []
    try:
        for start in range(0, len(window), BATCH):
            batch = [window[row] for row in order[start : start + BATCH]]
            parts.append(predict({EXAMPLES: np.array(batch, object)}))
    except (TypeError, tf.errors.OpError) as error:
        raise MasteryError(f"{model}: the model cannot read these examples. {error}") from error

    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def read_answers(answers: Mapping[str, Array], classes: Sequence[str]) -> pl.DataFrame:
    """Returns the outputs of `serving_default` as columns.

    Args:
        answers: `probabilities` float [B, C], `classes` bytes [B, C], `predicted_class` and `basis`
            bytes [B]; or `prediction` float [B] and `basis`; what `write_predictions` lists beside
            them may be missing.
        classes: the configured ones, in whose order the probabilities are returned; none for a
            regression.

    Raises:
        MasteryError: an output is missing, the classes differ, or an answer is not a finite number.
    """
    number = PROBABILITIES if classes else PREDICTION
    expected = [number, BASIS]
    if classes:
        expected += [PREDICTED_CLASS, CLASSES]
    missing = [name for name in expected if name not in answers]
    if missing:
        raise MasteryError(
            f"The model was made for another task: expected outputs {missing}, found {[*answers]}."
        )

    values = answers[number].astype(np.float32)
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    if bad:
        raise MasteryError(
            f"The model answers {bad} of {len(values)} examples with NaN or infinity; "
            "train it again."
        )

    columns = [_as_strings(answers[BASIS], BASIS)]
    if UNFAMILIAR in answers:
        columns.append(_as_strings(answers[UNFAMILIAR], UNFAMILIAR))
    if not classes:
        if PREDICTION_INTERVAL in answers:
            ends = answers[PREDICTION_INTERVAL].astype(np.float32)
            columns.append(pl.Series(PREDICTION_INTERVAL, ends).arr.to_list())
        return pl.DataFrame([pl.Series(PREDICTION, values), *columns])

    order = _class_order(answers[CLASSES], classes)
    probabilities = pl.Series(PROBABILITIES, values[:, order]).arr.to_list()
    predicted = _as_strings(answers[PREDICTED_CLASS], PREDICTED_CLASS)
    if PREDICTION_SET in answers:
        sets = answers[PREDICTION_SET].astype(bool)[:, order]
        columns.append(pl.Series(PREDICTION_SET, sets).arr.to_list())
    columns += [
        pl.Series(name, taken, pl.Boolean)
        for name, taken in sorted(answers.items())
        if name.startswith(DECISION_PREFIX)
    ]
    return pl.DataFrame([probabilities, predicted, *columns])


def _as_strings(values: Array, name: str) -> pl.Series:
    return pl.Series(name, values.tolist(), pl.Binary).cast(pl.String)


def _class_order(rows: Array, classes: Sequence[str]) -> list[int]:
    """Returns the place of each configured class among the model's."""
    found = [name.decode() for name in rows[0]]
    if sorted(found) != sorted(classes):
        raise MasteryError(f"The model has other classes: expected {[*classes]}, found {found}.")
    return [found.index(name) for name in classes]


def _keys(features: pl.DataFrame, label: Label, slice_columns: Sequence[str]) -> pl.DataFrame:
    """Returns the keys of each row, its label, and the columns to slice by."""
    keys = [first_value(features, name).alias(name) for name in (LEARNER, UNIT, AS_OF)]
    true = check_label(first_value(features, label.column), label).alias(LABEL)

    taken = {LEARNER, UNIT, AS_OF}
    if label.column == LABEL:
        taken.add(LABEL)
    slices = [
        as_text(first_value(features, name)).alias(name)
        for name in slice_columns
        if name not in taken and name != DAYS_SEEN
    ]
    days = [_days_seen(features)] if DAYS_SEEN in slice_columns else []
    return pl.DataFrame([*keys, true, *slices, *days])


def _days_seen(features: pl.DataFrame) -> pl.Series:
    """Returns the days from the first event of each example to `as_of`, float64.

    It is null without an event, and for clocks that are not timestamps, whose unit is not known.
    """
    as_of, seconds = first_value(features, AS_OF), first_value(features, TIME_TO_AS_OF)
    if not as_of.dtype.is_integer() or not seconds.dtype.is_float():
        return pl.Series(DAYS_SEEN, [None] * features.height, pl.Float64)
    days = seconds.cast(pl.Float64) / SECONDS_PER_DAY
    return days.set(as_of < FIRST_MICROSECONDS, None).alias(DAYS_SEEN)


def first_value(features: pl.DataFrame, name: str) -> pl.Series:
    """Returns a feature's value in every example; null where the feature is absent."""
    if name not in features.columns or features[name].dtype == pl.Null:
        return pl.Series(name, [None] * features.height, pl.String)
    column = features[name].list.get(0, null_on_oob=True)
    return column.cast(pl.String) if column.dtype == pl.Binary else column


def check_label(column: pl.Series, label: Label) -> pl.Series:
    """Returns the labels of examples, as text or float64.

    Raises:
        MasteryError: a label is missing or is not a configured class.
    """
    missing = column.null_count()
    if missing:
        found = f"none in {missing} of {len(column)}"
        raise MasteryError(f"{label.column}: expected a label in every example, found {found}.")
    if not label.classes:
        return column.cast(pl.Float64)

    text = column.cast(pl.String)
    unknown = text.filter(~text.is_in(label.classes)).unique().sort().to_list()
    if unknown:
        found = ", ".join(unknown[:SHOWN])
        raise MasteryError(f"{label.column}: expected one of {label.classes}, found {found}.")
    return text


def as_text(column: pl.Series) -> pl.Series:
    """Returns a column to slice by as text; whole numbers have no fraction, missing ones are ""."""
    text = digits(column) if column.dtype.is_float() else column.cast(pl.String)
    return text.fill_null("")


def probability_rows(column: pl.Series, classes: int) -> Array:
    """Returns a column of lists of probabilities as an array [n, C]."""
    return column.list.to_array(classes).to_numpy()


def sets_of(predictions: pl.DataFrame, classes: int) -> Array:
    """Returns the prediction sets of a model as bool [n, C], or [n, 0] if it answers none."""
    if PREDICTION_SET not in predictions:
        return np.zeros((len(predictions), 0), bool)
    sets: Array = predictions[PREDICTION_SET].list.to_array(classes).to_numpy()
    return sets


def intervals_of(predictions: pl.DataFrame) -> Array:
    """Returns the prediction intervals of a model as float32 [n, 2], or [n, 0] if it has none."""
    if PREDICTION_INTERVAL not in predictions:
        return np.zeros((len(predictions), 0), np.float32)
    return probability_rows(predictions[PREDICTION_INTERVAL], 2)


def class_indices(names: pl.Series, classes: Sequence[str]) -> Array:
    """Returns a column of class names as indices of the classes, [n]."""
    indices: Array = names.cast(pl.Enum(classes)).to_physical().cast(pl.Int64).to_numpy()
    return indices


def _write(tables: Iterator[pl.DataFrame], path: Path) -> None:
    first = next(tables, None)
    if first is None:
        raise MasteryError("The model cannot be judged: expected labelled examples, found none.")

    schema = first.to_arrow().schema
    done = 0
    with new_file(path) as beside, closing(pq.ParquetWriter(beside, schema)) as writer:
        for table in chain([first], tables):
            writer.write_table(table.to_arrow().cast(schema), row_group_size=WINDOW)
            done += len(table)
            report_progress(f"{done:,} examples scored")
