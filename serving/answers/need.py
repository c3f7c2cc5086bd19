"""How much a learner is expected to gain from help: what worklists and alerts are ordered by."""

from __future__ import annotations

from collections.abc import Sequence


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
