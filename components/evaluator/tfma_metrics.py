"""Our metrics as TFMA sees them: loaded by name from a `MetricConfig`, computed for every slice.

TFMA's own precision, recall and F1 use a threshold of 0.5 on each class, and its AUC approximates
with 10,000 thresholds. A gate has to judge the class that the model answers, exactly.

One of TFMA's extracts is not one example here but a block of them, as columns:
    labels: [n], indices of classes, or numbers
    predictions: {model: {"predicted_class": [n], "probabilities": [n, C], "prediction_set":
        [n, C]}}, or of a regression {model: {"prediction": [n], "prediction_interval": [n, 2]}};
        sets and intervals are [n, 0] for a model that answers none
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics.metric_types import (
    Metric,
    MetricComputation,
    MetricKey,
    StandardMetricInputs,
    SubKey,
)

from components.contracts.names import (
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
)
from components.evaluator.measures import (
    averages,
    calibration_error,
    class_metrics,
    count_confusion,
    interval_metrics,
    log_loss,
    one_vs_rest_auc,
    regression_metrics,
    set_metrics,
)

EXAMPLES = "examples"
CONFUSION = "confusion"
# Columns of equal length: the labels, then the outputs of one model.
Block = tuple[np.ndarray[Any, Any], ...]


def names_in_tfma(models: Sequence[str]) -> dict[str, str]:
    """Returns TFMA's name for each model of an evaluation; a single model has an empty name."""
    return dict(zip(models, models if len(models) > 1 else [""], strict=True))


class _ColumnsCombineFn(beam.CombineFn):  # type: ignore[misc]
    """Gathers the columns of a slice, as no smaller state gives an exact AUC."""

    outputs: tuple[str, ...]

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def create_accumulator(self) -> list[Block]:
        return []

    def add_input(self, accumulator: list[Block], element: StandardMetricInputs) -> list[Block]:
        model = element.predictions[self.model_name]
        accumulator.append((element.labels, *(model[output] for output in self.outputs)))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Block]]) -> list[Block]:
        return [block for accumulator in accumulators for block in accumulator]

    def compact(self, accumulator: list[Block]) -> list[Block]:
        return [_concatenate(accumulator)] if len(accumulator) > 1 else accumulator

    def extract_output(self, accumulator: list[Block]) -> dict[MetricKey, Any]:
        return self.measure(*_concatenate(accumulator))

    def measure(self, *columns: Any) -> dict[MetricKey, Any]:
        """Computes the metrics of one slice from its whole columns."""
        raise NotImplementedError

    def key(self, name: str, class_id: int | None = None) -> MetricKey:
        """Returns what TFMA calls a metric of this model."""
        sub_key = None if class_id is None else SubKey(class_id=class_id)
        return MetricKey(name=name, model_name=self.model_name, sub_key=sub_key)


class ClassificationCombineFn(_ColumnsCombineFn):
    """All metrics of a classification: of the slice, of each class, and the confusion matrix."""

    outputs = (PREDICTED_CLASS, PROBABILITIES, PREDICTION_SET)

    def measure(self, *columns: Any) -> dict[MetricKey, Any]:
        """See `_ColumnsCombineFn`; undefined metrics are NaN."""
        labels, predicted, probabilities, sets = columns
        confusion = count_confusion(labels, predicted, probabilities.shape[1])
        areas, area = one_vs_rest_auc(labels, probabilities)

        errors, error = calibration_error(labels, probabilities)

        loss = log_loss(labels, probabilities)
        of_sets = set_metrics(labels, sets)
        metrics = {**averages(confusion), "auc": area, "log_loss": loss, "ece": error}
        metrics |= {name: values[-1] for name, values in of_sets.items()}
        by_class = {**class_metrics(confusion), "auc": areas, "ece": errors}
        by_class |= {name: values[:-1] for name, values in of_sets.items()}

        return {
            self.key(EXAMPLES): len(labels),
            self.key(CONFUSION): confusion,
            **{self.key(name): value for name, value in metrics.items()},
            **{
                self.key(name, index): value
                for name, row in by_class.items()
                for index, value in enumerate(row)
            },
        }


class RegressionCombineFn(_ColumnsCombineFn):
    """All metrics of a regression."""

    outputs = (PREDICTION, PREDICTION_INTERVAL)

    def measure(self, *columns: Any) -> dict[MetricKey, Any]:
        """See `_ColumnsCombineFn`; undefined metrics are NaN."""
        labels, predictions, intervals = columns
        metrics = {EXAMPLES: len(labels), **regression_metrics(labels, predictions)}
        metrics |= interval_metrics(labels, intervals)
        return {self.key(name): value for name, value in metrics.items()}


def combine_fn(task: str) -> type[_ColumnsCombineFn]:
    """Returns what computes the metrics of a classification or a regression."""
    return RegressionCombineFn if task == "regression" else ClassificationCombineFn


class ClassificationMetrics(Metric):  # type: ignore[misc]
    """What a `MetricConfig` with this class's name and module loads for a classification."""

    def __init__(self, name: str = "classification") -> None:
        super().__init__(_computations_of(ClassificationCombineFn), name=name)


class RegressionMetrics(Metric):  # type: ignore[misc]
    """What a `MetricConfig` with this class's name and module loads for a regression."""

    def __init__(self, name: str = "regression") -> None:
        super().__init__(_computations_of(RegressionCombineFn), name=name)


def _computations_of(combine_fn: type[_ColumnsCombineFn]) -> Callable[..., list[MetricComputation]]:
    # TFMA fills these arguments by name, and tells computations apart by their keys.
    def computations(name: str, model_names: list[str]) -> list[MetricComputation]:
        keys = {model: [MetricKey(name, model_name=model)] for model in model_names}
        return [MetricComputation(key, None, combine_fn(model)) for model, key in keys.items()]

    return computations


def _concatenate(blocks: list[Block]) -> Block:
    return tuple(np.concatenate(columns) for columns in zip(*blocks, strict=True))
