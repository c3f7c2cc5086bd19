"""Metrics of predictions, overall and by slice: computed by our functions, written as TFMA does.

Where Beam would run in this process, the functions are called here: TFMA's pipeline for a thousand
examples takes ten times as long. On a runner that the configuration names, TFMA calls them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from google.protobuf import json_format
from tensorflow_model_analysis.constants import (
    FEATURES_KEY,
    LABELS_KEY,
    METRICS_KEY,
    PREDICTIONS_KEY,
)
from tensorflow_model_analysis.proto.config_pb2 import (
    EvalConfig,
    EvalRun,
    MetricConfig,
    MetricsSpec,
    ModelSpec,
    SlicingSpec,
)
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice
from tensorflow_model_analysis.version import VERSION
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    convert_slice_metrics_to_proto,
)

from components.config.metrics import Level, metrics_of
from components.contracts.evaluation import ClassMetrics, ModelResults, Result, SliceResult
from components.contracts.names import (
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
)
from components.evaluator import tfma_metrics
from components.evaluator.measures import SUPPORT
from components.evaluator.scoring import (
    LABEL,
    as_text,
    class_indices,
    intervals_of,
    probability_rows,
    sets_of,
)
from components.files.atomic import write_text

if TYPE_CHECKING:
    from components.config.beam import Beam
    from components.config.data import Label
    from components.config.gates import EvaluationRules

Blocks = Iterator[dict[str, Any]]
Array = np.ndarray[Any, Any]

# The names that TFMA's writers give their files.
_METRICS_FILE = f"{METRICS_KEY}-00000-of-00001.tfrecord"
_CONFIG_FILE = "eval_config.json"

_ROW = "\0row"  # no column of a log has this name


def analyze(
    predictions: Mapping[str, Path],
    label: Label,
    slices: Sequence[Sequence[str]],
    output: Path,
    runner: Beam,
) -> None:
    """Computes all metrics of some models on the same examples.

    Args:
        predictions: a Parquet file for each model, by its name, with the same examples in the same
            row groups.
        label: what is predicted.
        slices: columns to slice by, each entry by all of its columns at once.
        output: the folder for TFMA's files, which `load_results` and `tfma.load_eval_result` read.
        runner: how Beam runs.
    """
    paths = {
        name: str(predictions[model])
        for model, name in tfma_metrics.names_in_tfma([*predictions]).items()
    }
    config = _eval_config([*paths], label, slices)
    if runner.runs_here:
        _analyze_here(paths, label, slices, output, config)
    else:
        _analyze_on_beam(paths, label, slices, output, config, runner.options)


def _analyze_here(
    paths: Mapping[str, str],
    label: Label,
    slices: Sequence[Sequence[str]],
    output: Path,
    config: EvalConfig,
) -> None:
    """Computes metrics slice by slice, and writes the files of TFMA's writers."""
    outputs = {
        model: _outputs(_read_outputs(path, label), label.classes) for model, path in paths.items()
    }
    read = [*dict.fromkeys([LABEL, *(name for names in slices for name in names)])]
    first = pl.read_parquet(next(iter(paths.values())), columns=read)
    labels = _labels(first, label.classes)

    with tf.io.TFRecordWriter(str(output / _METRICS_FILE)) as writer:
        for columns in dict.fromkeys([(), *(tuple(sorted(names)) for names in slices)]):
            for values, rows in rows_by_slices(first, columns):
                metrics: dict[Any, Any] = {}
                for model, found in outputs.items():
                    combine_fn = tfma_metrics.combine_fn(label.task)(model)
                    taken = (found[name][rows] for name in combine_fn.outputs)
                    metrics |= combine_fn.measure(labels[rows], *taken)

                where = tuple(zip(columns, values, strict=True))
                proto = convert_slice_metrics_to_proto((where, metrics), None)
                writer.write(proto.SerializeToString(deterministic=True))

    run = EvalRun(
        eval_config=config,
        version=VERSION,
        data_location="<user provided PCollection>",
        file_format="<unknown>",
        model_locations={"": "<unknown>"},
    )
    write_text(output / _CONFIG_FILE, json_format.MessageToJson(run) + "\n")


def _analyze_on_beam(
    paths: Mapping[str, str],
    label: Label,
    slices: Sequence[Sequence[str]],
    output: Path,
    config: EvalConfig,
    beam_args: Sequence[str],
) -> None:
    import tensorflow_model_analysis as tfma  # all of it, widgets for notebooks included

    columns = sorted({column for names in slices for column in names})
    groups = pq.ParquetFile(next(iter(paths.values()))).num_row_groups

    extractor = tfma.extractors.SliceKeyExtractor(eval_config=config, materialize=False)
    files = {METRICS_KEY: str(output / METRICS_KEY)}
    writers = [
        tfma.writers.EvalConfigWriter(str(output), config),
        tfma.writers.MetricsPlotsAndValidationsWriter(files, config),
    ]

    with beam.Pipeline(options=PipelineOptions([*beam_args])) as pipeline:
        _ = (
            pipeline
            | "RowGroups" >> beam.Create(range(groups))
            | "ReadBlocks" >> beam.FlatMap(read_slice_blocks, paths, label.classes, columns)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config, extractors=[extractor], writers=writers
            )
        )


def _eval_config(
    models: Sequence[str], label: Label, slices: Sequence[Sequence[str]]
) -> EvalConfig:
    if label.classes:
        metric = tfma_metrics.ClassificationMetrics.__name__
    else:
        metric = tfma_metrics.RegressionMetrics.__name__
    config = MetricConfig(class_name=metric, module=tfma_metrics.__name__, config=json.dumps({}))

    return EvalConfig(
        model_specs=[ModelSpec(name=model) for model in models],
        metrics_specs=[MetricsSpec(metrics=[config], model_names=models)],
        slicing_specs=[SlicingSpec(), *(SlicingSpec(feature_keys=names) for names in slices)],
        options={"include_default_metrics": {"value": False}},
    )


def read_slice_blocks(
    group: int, paths: Mapping[str, str], classes: Sequence[str], slice_columns: Sequence[str]
) -> Blocks:
    """Reads one row group of predictions as blocks of rows that are in the same slices.

    TFMA slices and combines extract by extract, in Python. With a block as an extract it does so
    once for every combination of the columns' values instead of once for every row: 18,000 rows
    take seconds, not minutes.

    Args:
        group: index of the row group.
        paths: Parquet files of predictions, by the name that TFMA knows the model by.
        classes: names of the classes, none for a regression.
        slice_columns: the columns that slices are made of.

    Yields:
        Extracts as `components.evaluator.tfma_metrics` takes them, with the columns' values as
        features.
    """
    tables = {
        model: pl.DataFrame(pq.ParquetFile(path).read_row_group(group))
        for model, path in paths.items()
    }
    outputs = {model: _outputs(table, classes) for model, table in tables.items()}
    first = next(iter(tables.values()))
    labels = _labels(first, classes)

    for values, rows in rows_by_slices(first, slice_columns):
        yield {
            FEATURES_KEY: {
                # As objects: NumPy's own strings lose NULs at the end, and with them a slice.
                name: np.array([value], object)
                for name, value in zip(slice_columns, values, strict=True)
            },
            LABELS_KEY: labels[rows],
            PREDICTIONS_KEY: {
                model: {name: column[rows] for name, column in columns.items()}
                for model, columns in outputs.items()
            },
        }


def rows_by_slices(
    table: pl.DataFrame, columns: Sequence[str]
) -> Iterator[tuple[Sequence[str], Array]]:
    """Yields the columns' values in a slice, and the indices of its rows, slice by slice."""
    if not columns:
        yield (), np.arange(len(table))
        return
    keys = pl.DataFrame([as_text(table[name]) for name in columns]).with_row_index(_ROW)
    for values, block in keys.group_by(columns, maintain_order=True):
        yield values, block[_ROW].to_numpy()


def _labels(table: pl.DataFrame, classes: Sequence[str]) -> Array:
    return class_indices(table[LABEL], classes) if classes else table[LABEL].to_numpy()


def _read_outputs(path: str, label: Label) -> pl.DataFrame:
    """Reads what metrics are made of; not all models answer sets or intervals."""
    names = [PREDICTION, PREDICTION_INTERVAL]
    if label.classes:
        names = [PREDICTED_CLASS, PROBABILITIES, PREDICTION_SET]
    found = pl.read_parquet_schema(path)
    return pl.read_parquet(path, columns=[name for name in names if name in found])


def _outputs(table: pl.DataFrame, classes: Sequence[str]) -> dict[str, Array]:
    if not classes:
        return {
            PREDICTION: table[PREDICTION].to_numpy(),
            PREDICTION_INTERVAL: intervals_of(table),
        }
    return {
        PREDICTED_CLASS: class_indices(table[PREDICTED_CLASS], classes),
        PROBABILITIES: probability_rows(table[PROBABILITIES], len(classes)),
        PREDICTION_SET: sets_of(table, len(classes)),
    }


def load_results(
    folder: Path, models: Sequence[str], label: Label, rules: EvaluationRules
) -> dict[str, ModelResults]:
    """Reads what `analyze` wrote.

    Args:
        folder: the folder that `analyze` wrote to.
        models: names of the models.
        label: what was predicted.
        rules: the order of the slices, and how many examples a reported one has at least.

    Returns:
        The metrics of each model, by its name; curves are not among them.
    """
    order = [sorted(columns) for columns in rules.slices]
    files = sorted(str(file) for file in folder.glob(f"{METRICS_KEY}-*"))
    records = tf.data.TFRecordDataset(files).as_numpy_iterator()
    found = (MetricsForSlice.FromString(record) for record in records)
    all_metrics = [(_read_slice(item), item) for item in found]
    all_metrics.sort(key=lambda pair: _rank(pair[0], order))

    results = {}
    for model, name in tfma_metrics.names_in_tfma(models).items():
        overall, slices = None, []
        for where, metrics in all_metrics:
            result = _read_result(metrics, name, label.classes)
            if not where:
                overall = result
            elif result.examples >= rules.min_slice_examples:
                slices.append(SliceResult(slice=where, **dict(result)))
        assert overall is not None  # TFMA always measures all examples
        results[model] = ModelResults(overall=overall, slices=slices)
    return results


def _read_slice(metrics: MetricsForSlice) -> dict[str, str]:
    """Returns the values of the columns that make a slice; empty for all examples."""
    return {key.column: key.bytes_value.decode() for key in metrics.slice_key.single_slice_keys}


def _read_result(metrics: MetricsForSlice, model: str, classes: Sequence[str]) -> Result:
    numbers: dict[tuple[str, int | None], float] = {}
    confusion: list[list[int]] = []
    for item in metrics.metric_keys_and_values:
        key, value = item.key, item.value
        if key.model_name != model:
            continue

        if key.name == tfma_metrics.CONFUSION:
            counts = value.array_value
            confusion = np.reshape(counts.int64_values, counts.shape).tolist()
        else:
            class_id = key.sub_key.class_id.value if key.HasField("sub_key") else None
            numbers[key.name, class_id] = value.double_value.value

    return Result(
        examples=int(numbers[tfma_metrics.EXAMPLES, None]),
        metrics={
            name: _defined(numbers[name, None])
            for name in metrics_of(Level.OVERALL if classes else Level.REGRESSION)
            if (name, None) in numbers  # not all models answer sets
        },
        classes={name: _read_class(numbers, index) for index, name in enumerate(classes)},
        confusion=confusion,
    )


def _read_class(numbers: Mapping[tuple[str, int | None], float], index: int) -> ClassMetrics:
    names = [name for name in metrics_of(Level.CLASS) if (name, index) in numbers]
    values = {name: _defined(numbers[name, index]) for name in names}
    return ClassMetrics.model_validate({**values, SUPPORT: int(numbers[SUPPORT, index])})


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rank(
    where: dict[str, str], order: list[list[str]]
) -> tuple[int, list[tuple[bool, float, str]]]:
    """Returns the sort key of a slice: columns as configured, then values, numbers before text."""
    if not where:  # all examples
        return -1, []
    return order.index(sorted(where)), [_value_rank(where[column]) for column in sorted(where)]


def _value_rank(value: str) -> tuple[bool, float, str]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # "nan" reads as a number too, but has no place among the others.
    return (False, number, value) if math.isfinite(number) else (True, 0.0, value)
