"""From TFMA's files to the results that gates, reports and people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice

from components.config.data import Label
from components.config.gates import Evaluation
from components.config.metrics import Level, metrics_of
from components.evaluator.measures import SUPPORT
from components.evaluator.tfma_metrics import CONFUSION, EXAMPLES, names_in_tfma

Json = dict[str, Any]


def load_results(
    folder: Path, models: Sequence[str], label: Label, evaluation: Evaluation
) -> dict[str, Json]:
    """Reads what TFMA wrote of some models.

    Args:
        folder: what `components.evaluator.analysis.analyze` wrote to.
        models: names of the models.
        label: what was predicted.
        evaluation: the slices, in which order, and how many examples a reported one has at least.

    Returns:
        For each model {"overall": RESULT, "slices": [{"slice": {column: value}, **RESULT}]}, a RESULT being
        {"examples": n, "metrics": {name: value}, "classes": {class: {name: value}}, "confusion": [[true x predicted]]}
        with None for a metric that is undefined; the last two are empty for a regression.
    """
    results: dict[str, Json] = {model: {"overall": {}, "slices": []} for model in models}
    names = names_in_tfma(models)
    for metrics in tfma.load_metrics(str(folder)):
        where = {
            key.column: key.bytes_value.decode() for key in metrics.slice_key.single_slice_keys
        }
        for model, result in results.items():
            read = _read_result(metrics, names[model], label.classes)
            if not where:
                result["overall"] = read
            elif read["examples"] >= evaluation.min_slice_examples:
                result["slices"].append({"slice": where, **read})
    order = [sorted(names) for names in evaluation.slices]
    for result in results.values():
        result["slices"].sort(key=lambda item: _rank(item["slice"], order))
    return results


def _read_result(metrics: MetricsForSlice, model: str, classes: Sequence[str]) -> Json:
    numbers: dict[tuple[str, int | None], float] = {}
    confusion: list[list[int]] = []
    for item in metrics.metric_keys_and_values:
        key, value = item.key, item.value
        if key.model_name != model:
            continue
        if key.name == CONFUSION:
            confusion = np.reshape(value.array_value.int64_values, value.array_value.shape).tolist()
        else:
            class_id = key.sub_key.class_id.value if key.HasField("sub_key") else None
            numbers[key.name, class_id] = value.double_value.value
    names = metrics_of(Level.OVERALL if classes else Level.REGRESSION)
    return {
        "examples": int(numbers[EXAMPLES, None]),
        "metrics": {name: _defined(numbers[name, None]) for name in names},
        "classes": {
            name: {metric: _defined(numbers[metric, index]) for metric in metrics_of(Level.CLASS)}
            | {SUPPORT: int(numbers[SUPPORT, index])}
            for index, name in enumerate(classes)
        },
        "confusion": confusion,
    }


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rank(
    where: dict[str, str], order: list[list[str]]
) -> tuple[int, list[tuple[bool, float, str]]]:
    """Sorts slices as configured, and those of a column by value; numbers by size, before text."""
    return order.index(sorted(where)), [_value_rank(where[column]) for column in sorted(where)]


def _value_rank(value: str) -> tuple[bool, float, str]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    # "nan" reads as a number too, but as one that has no place among others.
    return (False, number, value) if math.isfinite(number) else (True, 0.0, value)
