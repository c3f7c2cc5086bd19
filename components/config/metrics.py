"""The table of metrics: name, meaning, which way is better, and what each is measured over.

Gates, the Evaluator, the report, comparisons of versions and CI read it. A new metric needs a row
here and a function in `components.evaluator.measures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Task = Literal["classification", "regression"]


class Level(StrEnum):
    """What a metric is measured over."""

    OVERALL = "overall"  # all classes of a classification
    CLASS = "class"  # one class against all others
    DECISION = "decision"  # a decision that is taken or not
    REGRESSION = "regression"


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: its key in configurations and in `metrics.json`.
        short: what people call it, in the middle of a sentence.
        meaning: what it says, in a sentence or two.
        levels: what it is measured over.
        more_is_better: whether a higher value is a better one.
        rank: its place among the foremost metrics of its task, from 1; 0 for all others.
    """

    name: str
    short: str
    meaning: str
    levels: tuple[Level, ...] = (Level.OVERALL,)
    more_is_better: bool = True
    rank: int = 0


_CLASS = (Level.CLASS,)
_CLASS_AND_DECISION = (Level.CLASS, Level.DECISION)
_DECISION = (Level.DECISION,)
_REGRESSION = (Level.REGRESSION,)

# The order of the rows is the order in `metrics.json` and in the report.
_TABLE = (
    Metric(
        "accuracy",
        "accuracy",
        "Share of answers that are right. Large classes dominate it.",
        rank=2,
    ),
    Metric("precision_macro", "macro precision", "Precision of every class, averaged."),
    Metric("recall_macro", "macro recall", "Recall of every class, averaged."),
    Metric(
        "f1_macro",
        "macro F1",
        "F1 of every class, averaged with each class counting the same, however rare it is.",
        rank=1,
    ),
    Metric(
        "precision_weighted",
        "weighted precision",
        "Precision, averaged by how common the class is.",
    ),
    Metric(
        "recall_weighted",
        "weighted recall",
        "Recall, averaged by how common the class is: accuracy.",
    ),
    Metric(
        "f1_weighted",
        "weighted F1",
        "F1 of every class, averaged by how common the class is.",
    ),
    Metric(
        "precision",
        "precision",
        "When the model names this class, how often it is right.",
        levels=_CLASS_AND_DECISION,
    ),
    Metric(
        "recall",
        "recall",
        "Of the learners in this class, the share that the model finds.",
        levels=_CLASS_AND_DECISION,
    ),
    Metric(
        "f1",
        "F1",
        "Precision and recall in one number (their harmonic mean).",
        levels=_CLASS,
    ),
    Metric(
        "auc",
        "AUC",
        "Chance that a learner of a class is ranked above one of another class: "
        "0.5 is a coin toss, 1 is perfect.",
        levels=(Level.OVERALL, Level.CLASS),
        rank=3,
    ),
    Metric(
        "log_loss",
        "log loss",
        "How far the probabilities are from what happened; confident mistakes cost most.",
        more_is_better=False,
        rank=4,
    ),
    Metric(
        "ece",
        "calibration error",
        "How far probabilities are from what happens: of outcomes that get 80%, 80% should come "
        "true. The mean distance over fifteen bins; 0 is perfect.",
        levels=(Level.OVERALL, Level.CLASS),
        more_is_better=False,
    ),
    Metric(
        "coverage",
        "coverage",
        "How often the truth is in the prediction set, or within the prediction interval; of a "
        "class: for learners of that class. It should be what was promised.",
        levels=(Level.OVERALL, Level.CLASS, Level.REGRESSION),
    ),
    Metric(
        "set_size",
        "set size",
        "Classes in a prediction set, on average; 1 is as sure as can be.",
        levels=(Level.OVERALL, Level.CLASS),
        more_is_better=False,
    ),
    Metric(
        "not_sure",
        "share of not sure",
        "Share of prediction sets with so many classes that the answer is “not sure”.",
        levels=(Level.OVERALL, Level.CLASS),
        more_is_better=False,
    ),
    Metric(
        "interval_width",
        "interval width",
        "Mean width of the prediction intervals, in the label's own unit; undefined where one has "
        "no end.",
        levels=_REGRESSION,
        more_is_better=False,
    ),
    Metric(
        "alarm_rate",
        "rate of alarms",
        "Share of outcomes for which the decision is taken.",
        levels=_DECISION,
        more_is_better=False,
    ),
    Metric(
        "cost",
        "cost per outcome",
        "What misses and false alarms of the decision cost, averaged over all outcomes.",
        levels=_DECISION,
        more_is_better=False,
    ),
    Metric(
        "mse",
        "MSE",
        "Mean of the squared errors; large errors cost most. 0 is perfect.",
        levels=_REGRESSION,
        more_is_better=False,
    ),
    Metric(
        "mae",
        "MAE",
        "Mean size of the errors, in the label's own unit. 0 is perfect.",
        levels=_REGRESSION,
        more_is_better=False,
        rank=2,
    ),
    Metric(
        "rmse",
        "RMSE",
        "Typical size of an error, in the label's own unit; large errors count more.",
        levels=_REGRESSION,
        more_is_better=False,
        rank=1,
    ),
    Metric(
        "r2",
        "R²",
        "Share of the label's variation that is explained: "
        "1 is perfect, 0 no better than the mean.",
        levels=_REGRESSION,
        rank=3,
    ),
)

METRICS = {metric.name: metric for metric in _TABLE}


def metrics_of(*levels: Level) -> tuple[str, ...]:
    """Returns the names of the metrics that are measured over one of `levels`.

    >>> metrics_of(Level.CLASS)
    ('precision', 'recall', 'f1', 'auc', 'ece', 'coverage', 'set_size', 'not_sure')
    """
    return tuple(metric.name for metric in _TABLE if set(levels) & set(metric.levels))


def metrics_of_task(task: Task) -> tuple[str, ...]:
    """Returns the names of all metrics that a gate may ask for.

    >>> metrics_of_task("regression")
    ('coverage', 'interval_width', 'mse', 'mae', 'rmse', 'r2')
    """
    if task == "regression":
        return metrics_of(Level.REGRESSION)
    return metrics_of(Level.OVERALL, Level.CLASS, Level.DECISION)


def foremost_metrics(task: Task) -> tuple[str, ...]:
    """Returns the names of the few metrics to look at first, the most important one first.

    >>> foremost_metrics("classification")
    ('f1_macro', 'accuracy', 'auc', 'log_loss')
    """
    ranked = [METRICS[name] for name in metrics_of_task(task) if METRICS[name].rank]
    return tuple(metric.name for metric in sorted(ranked, key=lambda metric: metric.rank))


def main_metric_of(task: Task) -> str:
    """Returns the name of the one metric that models are ranked by.

    >>> main_metric_of("classification"), main_metric_of("regression")
    ('f1_macro', 'rmse')
    """
    return foremost_metrics(task)[0]


def describe_metric(name: str) -> Metric:
    """Returns a metric's row; one that is not in the table is called by its own name.

    >>> describe_metric("log_loss").short, describe_metric("cosine_similarity").short
    ('log loss', 'cosine similarity')
    """
    return METRICS.get(name) or Metric(name, name.replace("_", " "), "")
