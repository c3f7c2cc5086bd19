"""Gaps between groups: areas against a reference, and intervals that hold at once."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sk_roc_curve

from components.evaluator import fairness_gaps
from components.evaluator.fairness_gaps import (
    Compared,
    Gaps,
    Ranking,
    Ratio,
    area_between,
    comparable_groups,
    gaps_of,
    joint_factor,
    roc_curve,
)
from components.evaluator.resampling import draw_metrics


def _two_groups(seed: int, size: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labels, groups and scores; the classes of the second group are easier to tell."""
    random = np.random.default_rng(seed)
    label, group = random.random(size) < 0.4, random.random(size) < 0.45
    score = np.clip(random.normal(0.35 + 0.25 * label + 0.1 * label * group, 0.18, size), 0, 1)
    return label, group, np.round(score, 1) if ties else score


def _abroca(label: np.ndarray, group: np.ndarray, score: np.ndarray) -> float:
    return area_between(*(roc_curve(label[rows], score[rows]) for rows in (~group, group)))


@pytest.mark.parametrize(
    ("seed", "size", "ties", "expected"),
    [(1, 400, False, 0.096639), (2, 400, True, 0.148224), (3, 3000, False, 0.078582)],
)
def test_abroca_is_that_of_the_package(seed: int, size: int, ties: bool, expected: float) -> None:
    """The numbers are those of the package abroca 0.1.3, on 10,000 grid points.

    It cannot be called here: it asks pandas for `between(inclusive=True)`, which pandas 2 refuses.
    They were computed with that one argument changed.
    """
    assert _abroca(*_two_groups(seed, size, ties=ties)) == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(40, 200))
def test_abroca_is_the_area_on_a_fine_grid(seed: int, scores: int, size: int) -> None:
    random = np.random.default_rng(seed)
    label = random.permutation(np.arange(size) % 2 == 0)
    group = np.arange(size) < size // 2
    label[[0, size // 2]], label[[1, size // 2 + 1]] = True, False
    score = random.integers(0, scores, size) / scores

    grid = (np.arange(200_000) + 0.5) / 200_000
    curves = [
        np.interp(grid, *sk_roc_curve(label[rows], score[rows], drop_intermediate=False)[:2])
        for rows in (~group, group)
    ]
    reference = np.abs(curves[0] - curves[1]).mean()
    assert _abroca(label, group, score) == pytest.approx(reference, abs=1e-4)


def test_abroca_of_a_group_with_itself_is_nothing_and_of_opposites_one() -> None:
    label, _, score = _two_groups(1, 200, ties=True)
    curve = roc_curve(label, score)
    assert area_between(curve, curve) == 0
    perfect, reverse = roc_curve(label, label * 1.0), roc_curve(label, 1.0 - label)
    assert area_between(perfect, reverse) == 1


def _measure(
    measure: Ratio | Ranking, groups: list[np.ndarray], learners: np.ndarray, draws: int = 500
) -> Gaps:
    compared = Compared(measure, groups)
    count = int(learners.max()) + 1
    drawn = draw_metrics({"": compared.to_draw(learners, count)}, learners=count, draws=draws)
    return gaps_of(compared, drawn[""])


def test_the_standard_error_of_a_difference_of_shares_is_the_textbooks() -> None:
    """One outcome per learner: the variances of both groups add up."""
    random = np.random.default_rng(4)
    hit = random.random(1200) < 0.8
    groups = [np.arange(400), np.arange(400, 1200)]
    gaps = _measure(Ratio(hit.astype(float), np.ones(1200, bool)), groups, np.arange(1200), 4000)

    shares = [hit[rows].mean() for rows in groups]
    error = sum(p * (1 - p) / len(rows) for p, rows in zip(shares, groups, strict=True)) ** 0.5
    assert gaps.sizes == pytest.approx([abs(shares[0] - shares[1])])
    assert gaps.scales == pytest.approx([error], rel=0.05)
    # A single pair needs no correction: the factor is that of the normal distribution.
    assert joint_factor([gaps.noise], 0.95) == pytest.approx(1.96, abs=0.1)


def test_outcomes_of_one_learner_count_as_one() -> None:
    """Ten equal outcomes per learner say no more than one."""
    random = np.random.default_rng(5)
    once = (random.random(200) < 0.7).astype(float)
    groups = [np.arange(100), np.arange(100, 200)]
    single = _measure(Ratio(once, np.ones(200, bool)), groups, np.arange(200))

    ten = [np.concatenate([rows * 10 + k for k in range(10)]) for rows in groups]
    repeated = _measure(
        Ratio(np.repeat(once, 10), np.ones(2000, bool)), ten, np.repeat(np.arange(200), 10)
    )
    assert repeated.sizes == pytest.approx(single.sizes)
    assert repeated.scales == pytest.approx(single.scales, rel=0.05)


def test_more_pairs_need_wider_intervals() -> None:
    random = np.random.default_rng(6)
    hit = (random.random(1600) < 0.8).astype(float)
    everybody = np.ones(1600, bool)
    factors = []
    for parts in (2, 8):
        groups = np.array_split(np.arange(1600), parts)
        factors.append(
            joint_factor([_measure(Ratio(hit, everybody), groups, np.arange(1600)).noise], 0.95)
        )
    assert factors[0] < 2.1 < 2.8 < factors[1]


def test_a_group_in_which_everybody_is_found_is_not_taken_for_perfect() -> None:
    """No draw of 50 hits holds a miss, and yet 50 of 50 proves no recall of 1."""
    hit = np.append(np.ones(50), np.arange(50) % 10 > 0)
    groups = [np.arange(50), np.arange(50, 100)]
    gaps = _measure(Ratio(hit, np.ones(100, bool)), groups, np.arange(100))
    drawn_alone = (0.9 * 0.1 / 50) ** 0.5
    assert gaps.scales[0] > 1.05 * drawn_alone


def test_groups_need_examples_that_count_and_learners() -> None:
    is_class = np.arange(400) % 4 == 0
    groups = [np.arange(200), np.arange(200, 220), np.arange(220, 400)]
    recall = Ratio(is_class.astype(float), is_class)
    learners = np.arange(400)
    assert comparable_groups(recall, groups, learners, 40) == [0, 2]
    assert comparable_groups(recall, groups, learners, 46) == [0]
    assert comparable_groups(recall, groups, np.minimum(learners, 225), 40) == [0]
    ranking = Ranking(is_class, np.linspace(0, 1, 400))
    assert comparable_groups(ranking, groups, learners, 45) == [0, 2]


def test_equal_rankings_differ_by_chance_and_unequal_ones_by_more() -> None:
    random = np.random.default_rng(7)
    label = random.random(2000) < 0.4
    groups = [np.arange(1000), np.arange(1000, 2000)]
    equal = random.normal(1.5 * label, 1)
    unequal = np.where(np.arange(2000) < 1000, equal, random.normal(0.5 * label, 1))

    low = []
    for scores in (equal, unequal):
        gaps = _measure(Ranking(label, scores), groups, np.arange(2000))
        low.append(gaps.intervals(joint_factor([gaps.noise], 0.95))[0, 0])
        assert gaps.drawn is None
    assert low[0] == 0
    assert low[1] > 0.05


def test_the_examples_are_right() -> None:
    results = doctest.testmod(fairness_gaps)
    assert results.attempted
    assert not results.failed
