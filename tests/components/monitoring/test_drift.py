"""Intervals and decisions, on samples of learners that are drawn from known distributions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from components.contracts.drift_report import ColumnDrift, DriftReport
from components.monitoring.distances import infinity_norm, jensen_shannon
from components.monitoring.drift import Comparison, compare, confidence_of
from components.monitoring.log_sample import ColumnSample, LogSample

WORDS = np.array(["exercise", "quiz", "video"])
Floats = NDArray[np.floating]


def words(shares: Floats, learners: int, seed: int, *, prefix: str = "l") -> LogSample:
    """Learners with eight words each, who differ in how often they have which."""
    draw = np.random.default_rng(seed)
    habits = draw.dirichlet(shares * 6, learners)
    chosen = (draw.random((learners, 8, 1)) > habits.cumsum(axis=1)[:, None]).sum(axis=2)
    owners = np.repeat(np.arange(learners), 8)
    values = pl.Series("x", WORDS[chosen.clip(0, 2).ravel()])
    return sample(values, owners, learners, prefix)


def numbers(mean: float, learners: int, seed: int, *, prefix: str = "l") -> LogSample:
    draw = np.random.default_rng(seed)
    values = draw.normal(mean, 0.6, learners).repeat(8) + draw.normal(0, 0.8, 8 * learners)
    return sample(pl.Series("x", values), np.repeat(np.arange(learners), 8), learners, prefix)


def sample(
    values: pl.Series, owners: NDArray[np.integer], learners: int, prefix: str = "l"
) -> LogSample:
    ids = pl.Series([f"{prefix}{number:06d}" for number in range(learners)])
    return LogSample(ids, {"x": ColumnSample(values, owners)}, learners)


def moved(first: LogSample, second: LogSample, threshold: float | None = 0.1) -> ColumnDrift:
    is_text = first.columns["x"].is_text
    distance = "infinity_norm" if is_text else "jensen_shannon_divergence"
    comparison = Comparison("x", "input", distance, threshold, first, second)
    [found] = compare([comparison], draws=200)
    return found


def test_equal_samples_have_not_moved() -> None:
    same = words(np.array([0.5, 0.3, 0.2]), 100, 1)
    found = moved(same, same)
    assert found.size == found.low == found.high == 0


def test_what_moved_is_said_in_words() -> None:
    first = words(np.array([0.5, 0.29, 0.21]), 900, 1)
    second = words(np.array([0.2, 0.32, 0.48]), 300, 2, prefix="n")
    found = moved(first, second)
    assert found.drifted
    assert found.words == "`x` exercise 48% → 21%"
    assert [bucket.name for bucket in found.buckets] == ["exercise", "video", "quiz"]

    found = moved(numbers(40, 900, 1), numbers(41.2, 300, 2, prefix="n"))
    assert found.drifted
    assert found.words == "median `x` 40 → 41.2"


@pytest.mark.parametrize("kind", ["words", "numbers"])
def test_the_lower_end_is_below_the_true_distance(kind: str) -> None:
    """With a threshold as large as the true distance, fewer than one report in ten is wrong."""
    wrong = 0
    for seed in range(60):
        if kind == "words":
            shares = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
            first = words(shares[0], 400, 2 * seed)
            second = words(shares[1], 150, 2 * seed + 1, prefix="n")
            true = float(infinity_norm(*shares))
        else:
            first = numbers(0, 400, 2 * seed)
            second = numbers(0.5, 150, 2 * seed + 1, prefix="n")
            true = TRUE_DIVERGENCE
        found = moved(first, second, threshold=true)
        assert found.low is not None
        assert found.size is not None
        assert found.high is not None
        assert found.low <= found.size <= found.high
        wrong += found.drifted
    assert wrong <= 60 / 5  # 10% are expected at most; of 60, a fifth would be chance in a thousand


def divergence_of_shift(shift: float) -> float:
    """The divergence of two normal distributions over the deciles of the first, by simulation."""
    draw = np.random.default_rng(1).normal(0, 1, 2_000_000)
    edges = np.quantile(draw, np.arange(1, 10) / 10)
    shares = [
        np.bincount(np.searchsorted(edges, draw + by), minlength=10) / len(draw)
        for by in (0, shift)
    ]
    return float(jensen_shannon(shares[0], shares[1]))


TRUE_DIVERGENCE = divergence_of_shift(0.5)  # the standard deviation of all values is 1


def test_learners_are_drawn_not_values() -> None:
    """A few learners with many values each say little, so the interval is wide."""
    draw = np.random.default_rng(1)
    favourite = WORDS[draw.integers(3, size=40)]
    first = words(np.ones(3) / 3, 400, 1)
    second = sample(pl.Series("x", favourite.repeat(500)), np.arange(40).repeat(500), 40, "n")
    found = moved(first, second)
    assert not found.drifted
    assert found.high is not None
    assert found.high > 0.1


def test_too_few_learners_are_not_judged() -> None:
    first, second = (
        words(np.array(shares), 9, 1, prefix=prefix)
        for shares, prefix in (([0.9, 0.05, 0.05], "l"), ([0.05, 0.05, 0.9], "n"))
    )
    found = moved(first, second)
    assert found.size is not None
    assert found.size > 0.5
    assert found.low is None
    assert not found.drifted


def test_a_column_without_threshold_is_shown_and_not_judged() -> None:
    first = words(np.array([0.9, 0.05, 0.05]), 200, 1)
    second = words(np.array([0.05, 0.05, 0.9]), 200, 2, prefix="n")
    found = moved(first, second, threshold=None)
    assert found.low is not None
    assert found.low > 0.5
    assert not found.drifted


def test_a_column_without_values_has_no_distance() -> None:
    nothing = sample(pl.Series("x", [], pl.String), np.zeros(0, np.int64), 20, "n")
    found = moved(words(np.ones(3) / 3, 100, 1), nothing)
    assert found.size is None
    assert found.low is None
    assert found.words == "`x` has no values in the new data"


def test_missing_numbers_are_a_bucket() -> None:
    draw = np.random.default_rng(1)
    owners = np.arange(1600) // 8
    values = draw.normal(100, 10, 1600)
    sides = []
    for share, prefix in ((0.2, "l"), (0.6, "n")):
        present = np.where(draw.random(1600) < share, np.nan, values)
        sides.append(sample(pl.Series("x", present), owners, 200, prefix))
    found = moved(*sides, threshold=0.02)
    assert found.drifted
    assert found.words == "`x` missing 22% → 60%, median `x` 99.6 → 99.5"


def test_a_unit_that_was_never_seen_is_named_with_its_share() -> None:
    owners = np.arange(200)
    first = sample(pl.Series("x", ["algebra", "sets"] * 100), owners, 200)
    units = ["algebra"] * 138 + ["statistics"] * 62
    second = sample(pl.Series("x", units), owners, 200, "n")
    [found] = compare([Comparison("x", "unit", "share", 0.1, first, second)], draws=200)
    assert found.drifted
    assert found.size == pytest.approx(0.31)
    assert found.words == "unit `statistics` was never seen: 31% of outcomes"

    [found] = compare([Comparison("x", "unit", "share", 0.1, second, first)], draws=200)
    assert found.words == "unit `sets` was never seen: 50% of outcomes"
    [found] = compare([Comparison("x", "unit", "share", 0.1, first, first)], draws=200)
    assert found.size == 0
    assert found.words == "every unit was seen before"


def test_all_lower_ends_together_hold_in_nine_of_ten_reports() -> None:
    first, second = words(np.ones(3) / 3, 20, 1), words(np.ones(3) / 3, 20, 2)
    judged = Comparison("x", "input", "infinity_norm", 0.1, first, second)
    shown = Comparison("x", "unit", "infinity_norm", None, first, second)
    assert confidence_of([judged] * 5 + [shown]) == pytest.approx(0.98)


def test_a_report_calls_for_retraining_if_a_column_drifted() -> None:
    still = moved(words(np.ones(3) / 3, 50, 1), words(np.ones(3) / 3, 50, 2, prefix="n"))
    shifted = still.model_copy(update={"drifted": True, "words": "`x` video 21% → 48%"})
    fields = {"name": "n", "reference_learners": 50, "learners": 50, "outcomes": 50}
    fields |= {"confidence": 0.9, "draws": 200}
    assert not DriftReport.judged(**fields, columns=[still]).calls_for_retraining
    report = DriftReport.judged(**fields, columns=[still, shifted])
    assert report.calls_for_retraining
    assert report.headline == "Drift calls for retraining: `x` video 21% → 48%."
    assert DriftReport.from_json(report.to_json()) == report
