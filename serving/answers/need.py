"""How much a learner is expected to gain from help: what worklists and alerts are ordered by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def expected_need(probabilities: Sequence[float]) -> float:
    """Returns how far a learner is from the highest class in expectation, 0 to 1.

    Each class below the highest counts by its distance from it: with three classes, help can bring
    a learner of the lowest class two steps up and one of the middle class one.

    Args:
        probabilities: of the classes, lowest first.

    >>> expected_need([1.0, 0.0, 0.0]), expected_need([0.0, 1.0, 0.0])
    (1.0, 0.5)
    >>> round(expected_need([0.7, 0.2, 0.1]), 3)
    0.8
    """
    most = len(probabilities) - 1
    return sum(
        probability * (most - place) / most for place, probability in enumerate(probabilities)
    )


def expected_needs(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns `expected_need` of many answers, `[answers]`.

    Args:
        probabilities: `[answers, classes]`, lowest class first.
    """
    distances = np.linspace(1.0, 0.0, probabilities.shape[1])
    return np.clip(probabilities.astype(np.float64) @ distances, 0.0, 1.0)


def needs_in_range(
    predictions: npt.NDArray[Any], lowest: float, highest: float
) -> npt.NDArray[np.float64]:
    """Returns how far predicted numbers are from the highest one possible, 0 to 1, `[answers]`.

    Args:
        predictions: `[answers]`.
        lowest: the lowest number that the label can be; a prediction below it has need 1.
        highest: the highest one; the learner needs no help to reach it.

    >>> needs_in_range(np.array([0.0, 75.0, 120.0]), 0.0, 100.0).tolist()
    [1.0, 0.25, 0.0]
    """
    shares = (highest - predictions.astype(np.float64)) / (highest - lowest)
    return np.clip(shares, 0.0, 1.0)
