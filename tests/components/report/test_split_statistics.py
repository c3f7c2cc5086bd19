from __future__ import annotations

import math
from dataclasses import replace

import pytest

from components.report.split_statistics import FeatureFacts, measure_drift

NUMBER = FeatureFacts("dwell", "number", missing=0.5, mean=10.0, deviation=4.0)
CATEGORY = FeatureFacts("page", "category", missing=0.0, shares={"video": 0.6, "quiz": 0.4})


@pytest.mark.parametrize(
    ("mean", "shift", "far"),
    [(10.0, 0.0, False), (9.2, -0.2, False), (11.2, 0.3, True), (None, None, False)],
)
def test_a_mean_moves_in_standard_deviations(
    mean: float | None, shift: float | None, *, far: bool
) -> None:
    drift = measure_drift(NUMBER, replace(NUMBER, mean=mean))
    assert drift.mean == pytest.approx(shift)
    assert drift.is_far is far


def test_a_changed_constant_drifts_infinitely() -> None:
    constant = replace(NUMBER, deviation=0.0)
    assert measure_drift(constant, constant).mean == 0
    assert measure_drift(constant, replace(constant, mean=9.0)).mean == -math.inf


@pytest.mark.parametrize(
    ("shares", "change", "far"),
    [
        ({"video": 0.55, "quiz": 0.45}, 0.05, False),
        ({"video": 0.6, "forum": 0.4}, 0.4, True),
        ({}, 0.6, True),
    ],
)
def test_the_share_that_changes_most_counts(
    shares: dict[str, float], change: float, *, far: bool
) -> None:
    drift = measure_drift(CATEGORY, replace(CATEGORY, shares=shares))
    assert drift.share == pytest.approx(change)
    assert drift.is_far is far


def test_more_missing_values_count_as_drift() -> None:
    assert not measure_drift(NUMBER, replace(NUMBER, missing=0.58)).is_far
    assert measure_drift(NUMBER, replace(NUMBER, missing=0.3)).is_far
