"""Runs a SavedModel over serialized examples, once, and keeps its answers as a table of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import tensorflow as tf
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.config.data import Label
from components.contracts.names import AS_OF, EXAMPLES, LEARNER, SERVING_DEFAULT, UNIT
from components.errors import MasteryError
from components.evaluator.answers import check_label, read_answers
from components.event_log.column_kinds import digits
from components.files.atomic import new_file
from components.model_version.safe_graph import require_safe
from components.node.progress import report_progress

BATCH = 1024  # examples that the model sees at once
WINDOW = 16 * BATCH  # examples that are in memory, sorted by length and written at once
LABEL = "label"  # the column of predictions that holds it, whatever the log calls it

Predict = Callable[..., dict[str, Any]]
Arrays = dict[str, np.ndarray[Any, Any]]


def read_windows(folder: Path) -> Iterator[list[bytes]]:
    """Reads the serialized examples of a split, from TFRecord files that may be gzipped, in windows."""
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        compression = "GZIP" if file.suffix == ".gz" else ""
        for window in (
            tf.data.TFRecordDataset(str(file), compression).batch(WINDOW).as_numpy_iterator()
        ):
            yield window.tolist()


def in_windows(examples: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Groups serialized examples into windows."""
    source = iter(examples)
    while window := list(islice(source, WINDOW)):
        yield window


def score(
    model: Path,
    windows: Iterable[list[bytes]],
    label: Label,
    slice_columns: Sequence[str],
    predictions: Path,
) -> None:
    """Writes a model's predictions as one Parquet file, whole or not at all.

    The file has a row an example, in their order: `learner_id`, `unit_id`, `as_of`, `label` (text or float64), the
    slice columns as text ("" for a missing value; the keys among them as they are), then `probabilities` (list of
    float32, in the order of the configured classes), `predicted_class` and `basis`, or `prediction` and `basis`.

    Args:
        model: a SavedModel with the signature `serving_default`.
        windows: serialized `tf.Example`s.
        label: what is predicted.
        slice_columns: names of features to keep for slicing.
        predictions: the file to write.

    Raises:
        MasteryError: there are no examples; an example's label is missing or unknown; the model has other classes,
            cannot read the examples, or answers something that is not a number.
    """
    predict = _load(model)
    decoder = ExamplesToRecordBatchDecoder()

    def tables() -> Iterator[pl.DataFrame]:
        for window in windows:
            features = pl.DataFrame(decoder.DecodeBatch(window))
            answers = read_answers(_predict(predict, window, model), label.classes)
            yield _keys(features, label, slice_columns).hstack(answers)

    _write(tables(), predictions)


def _load(model: Path) -> Predict:
    require_safe(model)
    try:
        predict: Predict = tf.saved_model.load(str(model)).signatures[SERVING_DEFAULT]
    except (OSError, KeyError, tf.errors.OpError) as error:
        raise MasteryError(
            f"{model}: expected a SavedModel with a signature {SERVING_DEFAULT}. {error}"
        ) from error
    return predict


def _predict(predict: Predict, window: list[bytes], model: Path) -> Arrays:
    """Returns the model's answers, in the order of the window.

    The model pads a batch to its longest sequence, so it sees examples of like length together; an example's length
    in bytes says it well enough. On a log of mostly short sequences this is three times as fast.
    """
    order = np.argsort([len(example) for example in window], kind="stable")
    parts = []
    try:
        for start in range(0, len(window), BATCH):
            batch = tf.constant([window[row] for row in order[start : start + BATCH]])
            parts.append(
                {name: value.numpy() for name, value in predict(**{EXAMPLES: batch}).items()}
            )
    except (TypeError, tf.errors.OpError) as error:
        raise MasteryError(f"{model}: the model cannot read these examples. {error}") from error
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


def _keys(features: pl.DataFrame, label: Label, slice_columns: Sequence[str]) -> pl.DataFrame:
    """Returns the columns that say whose prediction a row is, what was true and which slices it is in."""
    keys = [_first(features, name).alias(name) for name in (LEARNER, UNIT, AS_OF)]
    true = check_label(_first(features, label.column), label).alias(LABEL)
    there = {LEARNER, UNIT, AS_OF} | ({LABEL} & {label.column})
    others = [name for name in slice_columns if name not in there]
    return pl.DataFrame(
        [*keys, true, *(as_text(_first(features, name)).alias(name) for name in others)]
    )


def as_text(column: pl.Series) -> pl.Series:
    """Returns a column to slice by: text, whole numbers without a fraction, and "" for missing values."""
    text = digits(column) if column.dtype.is_float() else column.cast(pl.String)
    return text.fill_null("")


def _first(features: pl.DataFrame, name: str) -> pl.Series:
    """Returns a feature's value in every example; null where the feature is absent."""
    if name not in features.columns or features[name].dtype == pl.Null:
        return pl.Series(name, [None] * features.height, pl.String)
    column = features[name].list.get(0, null_on_oob=True)
    return column.cast(pl.String) if column.dtype == pl.Binary else column


def _write(tables: Iterator[pl.DataFrame], path: Path) -> None:
    first = next(tables, None)
    if first is None:
        raise MasteryError("The model cannot be judged: expected labelled examples, found none.")
    schema, done = first.to_arrow().schema, 0
    with new_file(path) as beside, closing(pq.ParquetWriter(beside, schema)) as writer:
        for table in chain([first], tables):
            writer.write_table(table.to_arrow().cast(schema), row_group_size=WINDOW)
            done += len(table)
            report_progress(f"{done:,} examples scored")
