"""The table of metrics, and that it names what is measured."""

from __future__ import annotations

import doctest

import numpy as np

from components.config import metrics
from components.config.metrics import METRICS, Level, foremost_metrics, metrics_of
from components.evaluator.measures import averages, class_metrics, regression_metrics

CONFUSION = np.array([[3, 1], [0, 2]])


def test_the_examples_are_right() -> None:
    results = doctest.testmod(metrics)
    assert results.attempted
    assert not results.failed


def test_every_metric_of_the_table_is_measured() -> None:
    of_scores = {"auc", "log_loss", "ece"}  # those of probabilities
    assert {*metrics_of(Level.OVERALL)} == {*averages(CONFUSION)} | of_scores
    assert {*metrics_of(Level.CLASS), "support"} == {*class_metrics(CONFUSION), "auc", "ece"}
    numbers = np.array([1.0, 2.0])
    assert {*metrics_of(Level.REGRESSION)} == {*regression_metrics(numbers, numbers)}


def test_losses_and_errors_are_better_when_lower() -> None:
    lower = {name for name, metric in METRICS.items() if not metric.more_is_better}
    assert lower == {"log_loss", "ece", "alarm_rate", "cost", "mse", "mae", "rmse"}


def test_the_foremost_metrics_are_in_their_order() -> None:
    assert foremost_metrics("regression") == ("rmse", "mae", "r2")
