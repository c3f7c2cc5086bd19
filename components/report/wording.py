"""What metrics are called, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricWords:
    """How people say a metric."""

    name: str
    meaning: str
    more_is_better: bool = True


METRICS = {
    "accuracy": MetricWords(
        "accuracy", "Share of answers that are right. Large classes dominate it."
    ),
    "f1_macro": MetricWords(
        "macro F1",
        "F1 of every class, averaged with each class counting the same, however rare it is.",
    ),
    "precision_macro": MetricWords("macro precision", "Precision of every class, averaged."),
    "recall_macro": MetricWords("macro recall", "Recall of every class, averaged."),
    "f1_weighted": MetricWords(
        "weighted F1", "F1 of every class, averaged by how common the class is."
    ),
    "precision_weighted": MetricWords(
        "weighted precision", "Precision, averaged by how common the class is."
    ),
    "recall_weighted": MetricWords(
        "weighted recall", "Recall, averaged by how common the class is: accuracy."
    ),
    "auc": MetricWords(
        "AUC",
        "Chance that a learner of a class is ranked above one of another class: 0.5 is a coin, 1 is perfect.",
    ),
    "log_loss": MetricWords(
        "log loss",
        "How far the probabilities are from what happened; confident mistakes cost most.",
        False,
    ),
    "precision": MetricWords(
        "precision", "When the model names this class, how often it is right."
    ),
    "recall": MetricWords(
        "recall", "Of the learners in this class, the share that the model finds."
    ),
    "f1": MetricWords("F1", "Precision and recall in one number (their harmonic mean)."),
    "mse": MetricWords(
        "MSE", "Mean of the squared errors; large errors cost most. 0 is perfect.", False
    ),
    "mae": MetricWords(
        "MAE", "Mean size of the errors, in the label's own unit. 0 is perfect.", False
    ),
    "rmse": MetricWords(
        "RMSE", "Typical size of an error, in the label's own unit; large errors count more.", False
    ),
    "r2": MetricWords(
        "R²",
        "Share of the label's variation that is explained: 1 is perfect, 0 no better than the mean.",
    ),
}
FOREMOST = {
    "classification": ("f1_macro", "accuracy", "auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}
MAIN_METRIC = {task: metrics[0] for task, metrics in FOREMOST.items()}


def metric_words(metric: str) -> MetricWords:
    """Returns the words for a metric; for one not known here, its own name."""
    return METRICS.get(metric) or MetricWords(metric.replace("_", " "), "")


def sentence_case(text: str) -> str:
    """Returns the text with its first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def say_slice(where: dict[str, str]) -> str:
    """Returns the condition of a slice: `gender = f, region = south`."""
    return ", ".join(f"{column} = {value or '(none)'}" for column, value in where.items())
