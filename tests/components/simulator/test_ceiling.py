"""The best reachable score."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.ceiling import Ceiling, best_answers, explain, score
from components.simulator.learner_model import Floats
from components.simulator.sequences import CHUNK, Sequences


@pytest.fixture(scope="module")
def ceiling() -> Ceiling:
    return explain(seed=0, learners=CHUNK)


@pytest.fixture(scope="module")
def beliefs() -> Floats:
    """Unsure and unbalanced, so that the most probable class is far from the best answer."""
    return np.random.default_rng(3).dirichlet([0.3, 0.9, 2.0], size=4000)


def test_score_equals_scikit_learn_on_labels() -> None:
    rng = np.random.default_rng(1)
    label, answers = rng.integers(3, size=(2, 500))
    found = score(np.eye(3)[label], answers)
    assert found.f1_macro == pytest.approx(f1_score(label, answers, average="macro"), abs=1e-12)
    assert found.recall == pytest.approx(recall_score(label, answers, average=None), abs=1e-12)


def test_the_standard_error_is_that_of_resampling(beliefs: Floats) -> None:
    rng = np.random.default_rng(2)
    answers = beliefs.argmax(axis=1)
    label = (beliefs.cumsum(axis=1) < rng.random((len(beliefs), 1))).sum(axis=1)
    for truth in (beliefs, np.eye(3)[label]):
        rows = rng.integers(len(truth), size=(400, len(truth)))
        resampled = [score(truth[sample], answers[sample]).f1_macro for sample in rows]
        assert score(truth, answers).standard_error == pytest.approx(np.std(resampled), rel=0.15)


def test_no_weighting_of_the_classes_beats_the_best_answers(beliefs: Floats) -> None:
    best = score(beliefs, best_answers(beliefs)).f1_macro
    assert best > score(beliefs, beliefs.argmax(axis=1)).f1_macro + 0.02
    for first in np.linspace(0.2, 5, 25):
        for second in np.linspace(0.2, 5, 25):
            weighted = (beliefs * [first, second, 1]).argmax(axis=1)
            assert score(beliefs, weighted).f1_macro <= best + 1e-4


def test_the_ceiling_is_where_the_shipped_gate_can_be_passed_and_not_trivially(
    ceiling: Ceiling,
) -> None:
    assert 0.93 < ceiling.best.f1_macro < 0.95
    assert ceiling.best.f1_macro >= ceiling.argmax.f1_macro
    assert ceiling.best.f1_macro < ceiling.recorded.f1_macro
    assert abs(ceiling.drawn.f1_macro - ceiling.argmax.f1_macro) < 4 * ceiling.drawn.standard_error
    assert ceiling.best.recall[0] > 0.92
    assert ceiling.cold_start_share == pytest.approx(model.COLD_START, abs=0.01)


def test_other_units_help_newcomers_most_and_nobody_is_worse_off(ceiling: Ceiling) -> None:
    by_unit, by_learner = ceiling.newcomers_by_unit, ceiling.newcomers_by_learner
    assert ceiling.newcomers > 20
    assert by_learner.f1_macro > by_unit.f1_macro + 0.15
    assert ceiling.learner.f1_macro > ceiling.best.f1_macro
    assert ceiling.learner.f1_macro < ceiling.best.f1_macro + 0.005


@pytest.mark.parametrize("last", [3, 5, 10, model.EVENTS_BEFORE[1]])
def test_counting_the_last_answers_stays_far_below(
    sequences: Sequences, ceiling: Ceiling, last: int
) -> None:
    steps = np.arange(sequences.correct.shape[1])
    answered = ~np.isnan(sequences.correct) & (steps < sequences.before[:, None])
    recent = answered & (np.cumsum(answered[:, ::-1], axis=1)[:, ::-1] <= last)
    right = (np.nan_to_num(sequences.correct) * recent).sum(axis=1) / np.maximum(
        recent.sum(axis=1), 1
    )
    truth = np.eye(3)[sequences.label]
    rules = (
        np.digitize(right, [low, high])
        for low in np.arange(0.1, 0.6, 0.1)
        for high in np.arange(0.6, 1, 0.1)
    )
    assert max(score(truth, answers).f1_macro for answers in rules) < ceiling.best.f1_macro - 0.05


def test_the_ceiling_is_described_in_words(ceiling: Ceiling) -> None:
    text = ceiling.describe()
    assert f"Best reachable macro F1: {ceiling.best.f1_macro:.4f} (standard error 0.00" in text
    assert "simulated learners (seed 0)" in text
    assert f"With steps.history: learner:   {ceiling.learner}" in text
    assert f"of newcomers to a unit:      {ceiling.newcomers_by_learner}" in text
    assert all(name in text for name in model.CLASSES)


def test_no_learners_is_an_error() -> None:
    with pytest.raises(MasteryError, match="one learner or more"):
        explain(learners=0)
