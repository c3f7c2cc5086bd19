"""ROC and precision-recall curves of each class against all others, thinned for drawing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 200

Floats = NDArray[np.floating]
Curve = dict[str, list[float]]


def class_curves(
    labels: NDArray[np.integer], probabilities: Floats, classes: Sequence[str]
) -> dict[str, dict[str, Curve]]:
    """Returns {class: {"roc": {"fpr", "tpr", "threshold"}, "pr": {"recall", "precision"}}}, at most 200 points each.

    Args:
        labels: [n], indices of classes.
        probabilities: [n, C].
        classes: the C names.

    Returns:
        Both curves by falling threshold, for the classes that some examples have and some have not.
    """
    curves = {}
    for index, name in enumerate(classes):
        positive = labels == index
        if positive.any() and not positive.all():
            curves[name] = _curves(positive, probabilities[:, index])
    return curves


def _curves(positive: NDArray[np.bool_], scores: Floats) -> dict[str, Curve]:
    order = np.argsort(-scores, kind="stable")
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_its_score]
    chosen = np.flatnonzero(last_of_its_score) + 1
    recall, precision = true / true[-1], true / chosen
    fpr = (chosen - true) / (len(positive) - true[-1])
    roc_x, roc_y = np.append(0, fpr), np.append(0, recall)
    thresholds = np.append(1.0, scores[order][last_of_its_score])
    pr_x, pr_y = np.append(0, recall), np.append(1, precision)
    roc, pr = _thin(roc_x + roc_y), _thin(pr_x)
    return {
        "roc": {
            "fpr": roc_x[roc].tolist(),
            "tpr": roc_y[roc].tolist(),
            "threshold": thresholds[roc].tolist(),
        },
        "pr": {"recall": pr_x[pr].tolist(), "precision": pr_y[pr].tolist()},
    }


def _thin(position: Floats) -> NDArray[np.intp]:
    """Returns indices of at most `MAX_POINTS` points, spread evenly over a rising position, both ends among them."""
    if len(position) <= MAX_POINTS:
        return np.arange(len(position))
    targets = np.linspace(position[0], position[-1], MAX_POINTS - 1)
    return np.unique([*np.searchsorted(position, targets), len(position) - 1])
