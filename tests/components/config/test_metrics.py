"""The table of metrics, and that it names what is measured."""

from __future__ import annotations

import doctest

import numpy as np

from components.config import metrics
from components.config.metrics import METRICS, Level, foremost_metrics, metrics_of
from components.evaluator.measures import (
    averages,
    class_metrics,
    interval_metrics,
    regression_metrics,
    set_metrics,
)

CONFUSION = np.array([[3, 1], [0, 2]])


def test_the_examples_are_right() -> None:
    results = doctest.testmod(metrics)
    assert results.attempted
    assert not results.failed


def test_every_metric_of_the_table_is_measured() -> None:
    of_scores = {"auc", "log_loss", "ece"}  # those of probabilities
    of_sets = {*set_metrics(np.array([0, 1]), np.eye(2, dtype=bool))}
    assert {*metrics_of(Level.OVERALL)} == {*averages(CONFUSION)} | of_scores | of_sets
    of_classes = {*class_metrics(CONFUSION), "auc", "ece"} | of_sets
    assert {*metrics_of(Level.CLASS), "support"} == of_classes
    numbers = np.array([1.0, 2.0])
    of_intervals = {*interval_metrics(numbers, np.stack([numbers, numbers], axis=1))}
    assert {*metrics_of(Level.REGRESSION)} == {*regression_metrics(numbers, numbers)} | of_intervals


def test_losses_and_errors_are_better_when_lower() -> None:
    lower = {name for name, metric in METRICS.items() if not metric.more_is_better}
    assert lower == {
        "alarm_rate",
        "cost",
        "log_loss",
        "ece",
        "mse",
        "mae",
        "rmse",
        "set_size",
        "not_sure",
        "interval_width",
    }


def test_the_foremost_metrics_are_in_their_order() -> None:
    assert foremost_metrics("regression") == ("rmse", "mae", "r2")
