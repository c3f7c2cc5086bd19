"""Intervals that may be looked at any time: they hold, and they find a difference."""

from __future__ import annotations

import numpy as np
import pytest

from serving.rollout.confidence import always_valid_interval, is_excluded

SEQUENCES, LEARNERS = 1000, 1000
ALPHA = 0.05


def differences(seed: int, better: float = 0.0, sequences: int = SEQUENCES) -> np.ndarray:
    """Means per learner of the difference in correctness between two versions, [sequences, n].

    A learner has 1 to 4 outcomes. A fifth of the answers differ, those of a learner alike: the
    versions then win with a probability of the learner's own.
    """
    draw = np.random.default_rng(seed)
    shape = (sequences, LEARNERS)
    outcomes = draw.integers(1, 5, shape)
    differ = draw.binomial(outcomes, draw.beta(1.0, 4.0, shape))
    half = 0.5 + better / 0.4  # so that the mean is `better`
    wins = draw.binomial(differ, draw.beta(3.0 * half, 3.0 * (1.0 - half), shape))
    return (2 * wins - differ) / outcomes


def test_under_no_difference_zero_is_ever_excluded_in_at_most_alpha_of_the_sequences() -> None:
    values = differences(seed=1)
    assert abs(values.mean()) < 0.002
    assert values.var() > 0.05  # there is something to be mistaken about
    ever = is_excluded(values, 0.0, low=-1.0, high=1.0, alpha=ALPHA).any(axis=-1)
    assert ever.mean() <= ALPHA


def test_an_interval_for_one_look_would_not_hold_at_any_time() -> None:
    values = differences(seed=1)
    counts = np.arange(1, LEARNERS + 1)
    means = np.cumsum(values, axis=-1) / counts
    errors = np.sqrt(np.maximum(np.cumsum(values**2, axis=-1) / counts - means**2, 1e-9) / counts)
    ever = (np.abs(means) > 1.96 * errors)[:, 50:].any(axis=-1)
    assert ever.mean() > 3 * ALPHA


def test_a_real_difference_is_found() -> None:
    values = differences(seed=2, better=0.1, sequences=200)
    found = is_excluded(values, 0.0, low=-1.0, high=1.0, alpha=ALPHA)
    assert found[:, -1].mean() > 0.9
    signs = [always_valid_interval(row, low=-1.0, high=1.0).low > 0 for row in values[:20]]
    assert np.mean(signs) > 0.8


@pytest.mark.parametrize("count", [1, 2, 17, 400])
def test_the_interval_ends_where_means_begin_to_be_excluded(count: int) -> None:
    values = differences(seed=3, sequences=1)[0, :count]
    found = always_valid_interval(values, low=-1.0, high=1.0, alpha=ALPHA)
    assert found.count == count
    assert found.mean == pytest.approx(values.mean())
    assert -1.0 <= found.low <= found.mean <= found.high <= 1.0
    for edge, outwards in ((found.low, -1e-6), (found.high, 1e-6)):
        if abs(edge) < 1.0:
            beside, within = edge + outwards, edge - outwards
            bounds = {"low": -1.0, "high": 1.0, "alpha": ALPHA}
            assert is_excluded(values, beside, **bounds)[-1]
            assert not is_excluded(values, within, **bounds)[-1]


def test_without_observations_everything_is_possible() -> None:
    found = always_valid_interval(np.array([]), low=-1.0, high=1.0)
    assert (found.count, found.low, found.high) == (0, -1.0, 1.0)


def test_equal_answers_of_many_learners_leave_a_narrow_interval() -> None:
    found = always_valid_interval(np.zeros(500), low=-1.0, high=1.0)
    assert found.low < 0.0 < found.high
    assert found.high - found.low < 0.1
