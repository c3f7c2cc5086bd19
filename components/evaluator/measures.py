"""Metrics and curves of predictions in plain NumPy, equal to scikit-learn's in edge cases too.

None depends on the order of the rows, to the last bit: counts are whole numbers and sums are exact
(`math.fsum`), so a distributed runner that merges rows as they come gives the same metrics every
time. `components.config.metrics` says what each metric means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.contracts.uncertainty_results import most_classes_said

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Curve = dict[str, list[float]]
Bins = dict[str, list[float] | list[int]]

SUPPORT = "support"  # how many examples have a class
CALIBRATION_BINS = 15
MAX_POINTS = 200  # of a curve, enough to draw it


def count_confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Returns the confusion matrix, counts [C, C] of true classes in rows and predicted in columns.

    Args:
        labels: [n], indices of classes.
        predicted: [n], indices of classes.
        classes: C.

    >>> count_confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def class_metrics(confusion: Ints) -> dict[str, Floats]:
    """Returns precision, recall, f1 and support of every class, each [C], from counts [C, C].

    A ratio without a case in its denominator is 0, as with scikit-learn's `zero_division=0`.
    """
    hits = np.diag(confusion)
    support = confusion.sum(axis=1)
    chosen = confusion.sum(axis=0)
    return {
        "precision": _ratio(hits, chosen),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + chosen),
        SUPPORT: support,
    }


def averages(confusion: Ints) -> dict[str, float]:
    """Returns accuracy, and precision, recall and f1 as macro and support-weighted averages.

    Macro averages go over the classes that are true or predicted for at least one example, as in
    scikit-learn: a class that is absent from a slice does not count as one that the model gets
    wrong.
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
    """Returns the exact area under the ROC curve; ties count one half.

    It is NaN unless some examples are of the class and some are not.

    Args:
        positive: [n], whether an example is of the class.
        scores: [n], the class's probability.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return math.nan

    # The Mann-Whitney statistic: with tied scores sharing their mean rank, it is the trapezoidal
    # area.
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(sizes) - (sizes - 1) / 2
    rank_sum = float(mean_rank[group[positive]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def one_vs_rest_auc(labels: Ints, probabilities: Floats) -> tuple[Floats, float]:
    """Returns the area under the ROC curve of each class against all others, [C], and one for all.

    The latter is the mean over classes; with two classes it is the second one's, the positive class
    of scikit-learn. Both are NaN where a class has no example, or all of them.
    """
    areas = np.array(
        [area_under_roc(labels == index, column) for index, column in enumerate(probabilities.T)]
    )
    return areas, float(areas[1] if len(areas) == 2 else areas.mean())


def log_loss(labels: Ints, probabilities: Floats) -> float:
    """Returns the mean negative log probability of the true class."""
    return math.fsum(log_losses(labels, probabilities)) / len(labels)


def log_losses(labels: Ints, probabilities: Floats) -> Floats:
    """Returns the negative log probability of the true class, [n], of probabilities [n, C].

    As in scikit-learn, probabilities are kept one machine epsilon of their own type away from 0
    and 1.
    """
    true = probabilities[np.arange(len(labels)), labels]
    epsilon = np.finfo(true.dtype).eps
    return -np.log(np.clip(true, epsilon, 1 - epsilon).astype(np.float64))


def calibration_error(labels: Ints, probabilities: Floats) -> tuple[Floats, float]:
    """Returns how far probabilities are from what happens: of each class [C], and of the answers.

    Probabilities fall into `CALIBRATION_BINS` bins of equal width. In each bin the mean probability
    is compared with the share of examples where the class is the true one; the result is the mean
    distance, weighted by examples. The second number does so for the highest probability of each
    example and whether that class is the true one.

    M. P. Naeini, G. F. Cooper and M. Hauskrecht, AAAI 2015; C. Guo et al., ICML 2017.
    """
    bins, gaps = calibration_gaps(labels, probabilities)
    errors = [_bin_distance(*columns) for columns in zip(bins.T, gaps.T, strict=True)]
    return np.array(errors[:-1]), errors[-1]


def calibration_gaps(labels: Ints, probabilities: Floats) -> tuple[Ints, Floats]:
    """Returns the bin of each probability, and the probability minus what happened (1 or 0).

    Both are [n, C + 1]; the last column is that of the class with the highest probability. A bin
    holds its lower end, and the last one 1 too.

    >>> bins, gaps = calibration_gaps(np.array([1]), np.array([[0.25, 0.75]]))
    >>> bins.tolist(), gaps.tolist()
    ([[3, 11, 11]], [[0.25, -0.25, -0.25]])
    """
    rows = np.arange(len(labels))
    answered = probabilities.argmax(axis=1)
    is_true = labels[:, np.newaxis] == np.arange(probabilities.shape[1])
    happened = np.column_stack([is_true, labels == answered])
    exact = np.column_stack([probabilities, probabilities[rows, answered]]).astype(np.float64)

    return _bin_of(exact), exact - happened


def set_metrics(labels: Ints, sets: NDArray[np.bool_]) -> dict[str, Floats]:
    """Returns coverage, set_size and not_sure: of each class, and of all examples, [C + 1].

    Nothing is returned for a model that answers no sets; a class without examples has NaN.

    Args:
        labels: [n], indices of classes.
        sets: prediction sets [n, C], or [n, 0] of a model that answers none.

    >>> sets = np.array([[True, False], [True, True]])
    >>> {name: values.tolist() for name, values in set_metrics(np.array([0, 1]), sets).items()}
    {'coverage': [1.0, 1.0, 1.0], 'set_size': [1.0, 2.0, 1.5], 'not_sure': [0.0, 1.0, 0.5]}
    """
    classes = sets.shape[1]
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    counts = np.append(counts, len(labels))
    found = {}
    for name, values in set_columns(labels, sets).items():
        sums = np.bincount(labels, weights=values, minlength=classes)
        sums = np.append(sums, sums.sum())
        undefined = np.full(classes + 1, math.nan)
        found[name] = np.divide(sums, counts, out=undefined, where=counts > 0)
    return found


def set_columns(labels: Ints, sets: NDArray[np.bool_]) -> dict[str, Floats]:
    """Returns for each example, [n], what is averaged of its prediction set, by metric.

    Nothing is returned for a model that answers no sets, [n, 0].
    """
    if not sets.shape[1]:
        return {}
    sizes = sets.sum(axis=1)
    columns = {
        "coverage": sets[np.arange(len(labels)), labels],
        "set_size": sizes,
        "not_sure": sizes > most_classes_said(sets.shape[1]),
    }
    return {name: values.astype(np.float64) for name, values in columns.items()}


def interval_metrics(labels: Floats, intervals: Floats) -> dict[str, float]:
    """Returns the coverage and the mean width of prediction intervals, [n, 2]; none for [n, 0].

    The width is NaN where an interval has no end.

    >>> interval_metrics(np.array([1.0, 5.0]), np.array([[0.0, 2.0], [0.0, 3.0]]))
    {'coverage': 0.5, 'interval_width': 2.5}
    """
    if not intervals.shape[1]:
        return {}
    columns = interval_columns(labels, intervals)
    return {name: math.fsum(values) / len(labels) for name, values in columns.items()}


def interval_columns(labels: Floats, intervals: Floats) -> dict[str, Floats]:
    """Returns for each example, [n], what is averaged of its prediction interval, by metric."""
    low, high = intervals.astype(np.float64).T
    has_ends = high - low < np.finfo(np.float32).max
    return {
        "coverage": ((low <= labels) & (labels <= high)).astype(np.float64),
        "interval_width": np.where(has_ends, high - low, math.nan),
    }


def reliability_curve(is_true: NDArray[np.bool_], probabilities: Floats) -> Bins:
    """Returns what is said of a class against what happens, in the bins of `calibration_error`.

    Args:
        is_true: [n], whether an example is of the class.
        probabilities: [n], of the class.

    Returns:
        {"probability", "share", "examples"} of each bin that has examples, by rising probability.

    >>> said = np.array([0.1, 0.1, 0.9])
    >>> reliability_curve(np.array([False, True, True]), said)
    {'probability': [0.1, 0.9], 'share': [0.5, 1.0], 'examples': [2, 1]}
    """
    bins = _bin_of(probabilities)
    inside = [bins == place for place in np.unique(bins)]
    said = probabilities.astype(np.float64)
    examples = [int(rows.sum()) for rows in inside]
    pairs = [*zip(inside, examples, strict=True)]
    return {
        "probability": [math.fsum(said[rows]) / count for rows, count in pairs],
        "share": [int(is_true[rows].sum()) / count for rows, count in pairs],
        "examples": examples,
    }


def _bin_of(probabilities: Floats) -> Ints:
    """Returns the bin of each probability, of the same shape; 1 is in the last bin."""
    scaled = probabilities.astype(np.float64) * CALIBRATION_BINS
    return np.minimum(scaled.astype(np.int64), CALIBRATION_BINS - 1)


def _bin_distance(bins: Ints, gaps: Floats) -> float:
    distances = [abs(math.fsum(gaps[bins == place])) for place in np.unique(bins)]
    return math.fsum(distances) / len(gaps)


def regression_metrics(labels: Floats, predictions: Floats) -> dict[str, float]:
    """Returns mse, mae, rmse and r2 of labels [n] and predictions [n].

    r2 is NaN for one example. Where all labels are equal it is, as in scikit-learn, 1 for perfect
    predictions and 0 for others.
    """
    errors = predictions.astype(np.float64) - labels
    labels = labels.astype(np.float64)
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


def class_curves(
    labels: NDArray[np.integer], probabilities: Floats, classes: Sequence[str]
) -> dict[str, dict[str, Curve | Bins]]:
    """Returns the curves of each class against all others, for drawing.

    Args:
        labels: [n], indices of classes.
        probabilities: [n, C].
        classes: the C names.

    Returns:
        {class: {"roc": {"fpr", "tpr", "threshold"}, "pr": {"recall", "precision"}, "calibration":
        see `reliability_curve`}}, the former two by falling threshold with at most `MAX_POINTS`
        points each, for the classes that some examples have and some have not.
    """
    curves: dict[str, dict[str, Curve | Bins]] = {}
    for index, name in enumerate(classes):
        positive = labels == index
        if positive.any() and not positive.all():
            scores = probabilities[:, index]
            calibration = reliability_curve(positive, scores)
            curves[name] = {**_curves(positive, scores), "calibration": calibration}
    return curves


def _curves(positive: NDArray[np.bool_], scores: Floats) -> dict[str, Curve]:
    order = np.argsort(-scores, kind="stable")
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_its_score]
    chosen = np.flatnonzero(last_of_its_score) + 1

    recall = true / true[-1]
    fpr = np.append(0, (chosen - true) / (len(positive) - true[-1]))
    tpr = np.append(0, recall)
    threshold = np.append(1.0, scores[order][last_of_its_score])
    roc = thin(fpr + tpr)

    recall_from_0 = np.append(0, recall)
    precision = np.append(1, true / chosen)
    pr = thin(recall_from_0)

    return {
        "roc": {
            "fpr": fpr[roc].tolist(),
            "tpr": tpr[roc].tolist(),
            "threshold": threshold[roc].tolist(),
        },
        "pr": {"recall": recall_from_0[pr].tolist(), "precision": precision[pr].tolist()},
    }


def thin(position: Floats) -> NDArray[np.intp]:
    """Returns indices of at most `MAX_POINTS` points, both ends included.

    They are spread evenly over `position`, which rises.
    """
    if len(position) <= MAX_POINTS:
        return np.arange(len(position))
    targets = np.linspace(position[0], position[-1], MAX_POINTS - 1)
    return np.unique([*np.searchsorted(position, targets), len(position) - 1])
