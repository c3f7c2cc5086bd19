"""How labels are shuffled among learners, and what the probe scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pipeline.audit.probe import Shuffles, mean_auc, shuffle


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 99), st.randoms())
def test_each_learner_gets_labels_of_one_other(
    counts: list[int], seed: int, order: np.random.Generator
) -> None:
    learners = np.repeat(np.arange(len(counts)), counts)
    order.shuffle(learners)
    rows = shuffle(learners, seed)
    donors = {(int(to), int(learners[row])) for to, row in zip(learners, rows, strict=True)}
    assert len(donors) == len(counts)  # one for each
    assert len({donor for _, donor in donors}) == len(counts)  # and each for one
    for number, count in enumerate(counts):
        taken = rows[learners == number]
        [donor] = {int(learners[row]) for row in taken}
        assert len({*taken}) == min(count, counts[donor])  # again only where there are too few


def test_the_order_of_labels_is_drawn_anew() -> None:
    learners = np.repeat(np.arange(400), 5)
    taken = shuffle(learners, seed=3) % 5
    places = [np.mean(taken[np.arange(2000) % 5 == place] == place) for place in range(5)]
    assert places == pytest.approx([0.2] * 5, abs=0.08)


def test_other_seeds_draw_other_labels() -> None:
    learners = np.repeat(np.arange(50), 2)
    assert not np.array_equal(shuffle(learners, 0), shuffle(learners, 1))
    assert np.array_equal(shuffle(learners, 0), shuffle(learners, 0))


def test_the_mean_auc_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 200)
    scores = generator.dirichlet([1, 1, 1], 200)
    expected = roc_auc_score(labels, scores, multi_class="ovr")
    assert mean_auc(labels, scores, [0, 1, 2]) == pytest.approx(expected)
    binary = labels % 2
    assert mean_auc(binary, scores[:, :2], [0, 1]) == pytest.approx(
        (roc_auc_score(binary, scores[:, 1]) + roc_auc_score(1 - binary, scores[:, 0])) / 2
    )
    assert np.isnan(mean_auc(np.zeros(5), scores[:5, :1], [0]))


def test_the_error_of_a_mean() -> None:
    shuffles = Shuffles([0.4, 0.5, 0.6, 0.5])
    assert shuffles.mean == pytest.approx(0.5)
    assert shuffles.deviation == pytest.approx(np.std([0.4, 0.5, 0.6, 0.5], ddof=1))
    assert shuffles.error == pytest.approx(shuffles.deviation / 2)
