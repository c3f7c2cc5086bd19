"""Metrics of predictions, in plain numpy; each equals scikit-learn's of the same name, also where it degenerates.

None depends on the order of the rows, to the last bit: counts are whole numbers and sums are exact (`math.fsum`), so a
distributed runner that merges rows as they come gives the same metrics every time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

SUPPORT = "support"  # how many examples have a class


def count_confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts predictions: labels [n] and predicted [n], as indices of classes, to [true, predicted] counts [C, C]."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def class_metrics(confusion: Ints) -> dict[str, Floats]:
    """Returns precision, recall, f1 and support of every class, each [C], from counts [C, C].

    A ratio without a case in its denominator is 0, as with scikit-learn's `zero_division=0`.
    """
    hits, support, chosen = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": _ratio(hits, chosen),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + chosen),
        SUPPORT: support,
    }


def averages(confusion: Ints) -> dict[str, float]:
    """Returns accuracy, and precision, recall and f1 as macro and support-weighted averages.

    Macro averages go over the classes that an example has or was given, as in scikit-learn: a class that a slice
    knows nothing of does not count as one that the model gets wrong.
    """
    by_class = class_metrics(confusion)
    support = by_class.pop(SUPPORT)
    total = int(support.sum())
    occurs = (support > 0) | (confusion.sum(axis=0) > 0)
    result = {"accuracy": float(np.trace(confusion) / total)}
    for name, values in by_class.items():
        result[f"{name}_macro"] = float(values[occurs].mean())
        result[f"{name}_weighted"] = float(values @ support / total)
    return result


def area_under_roc(positive: NDArray[np.bool_], scores: Floats) -> float:
    """Returns the exact area under the ROC curve, ties counting one half; NaN unless both outcomes are there.

    Args:
        positive: [n], whether an example is of the class.
        scores: [n], the class's probability.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return math.nan
    # The Mann-Whitney statistic: with tied scores sharing their mean rank, it is the trapezoidal area.
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(sizes) - (sizes - 1) / 2
    rank_sum = float(mean_rank[group[positive]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def one_vs_rest_auc(labels: Ints, probabilities: Floats) -> tuple[Floats, float]:
    """Returns the area under the ROC curve of each class against all others, [C], and the one number for all of them.

    That number is the mean over classes, or with two classes the second one's, the positive class of scikit-learn.
    Both are NaN where a class has no example, or all of them.
    """
    areas = np.array(
        [area_under_roc(labels == index, column) for index, column in enumerate(probabilities.T)]
    )
    return areas, float(areas[1] if len(areas) == 2 else areas.mean())


def log_loss(labels: Ints, probabilities: Floats) -> float:
    """Returns the mean negative log probability of the true class.

    As in scikit-learn, probabilities are kept one machine epsilon of their own type away from 0 and 1.
    """
    true = probabilities[np.arange(len(labels)), labels]
    epsilon = np.finfo(true.dtype).eps
    return math.fsum(-np.log(np.clip(true, epsilon, 1 - epsilon).astype(np.float64))) / len(labels)


def regression_metrics(labels: Floats, predictions: Floats) -> dict[str, float]:
    """Returns mse, mae, rmse and r2 of labels [n] and predictions [n].

    r2 is NaN for one example, and, as in scikit-learn, with equal labels 1 for perfect predictions and 0 for others.
    """
    labels, errors = labels.astype(np.float64), predictions.astype(np.float64) - labels
    squares = math.fsum(errors**2)
    spread = math.fsum((labels - math.fsum(labels) / len(labels)) ** 2)
    mse = squares / len(labels)
    r2 = 1 - squares / spread if spread else float(squares == 0)
    return {
        "mse": mse,
        "mae": math.fsum(np.abs(errors)) / len(labels),
        "rmse": math.sqrt(mse),
        "r2": r2 if len(labels) > 1 else math.nan,
    }


def _ratio(numerator: Ints, denominator: Ints) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
