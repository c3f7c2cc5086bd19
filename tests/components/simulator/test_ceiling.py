"""The best reachable score, and the exact posterior that it is computed from."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, recall_score

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.ceiling import Ceiling, best_answers, explain, posterior, score
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
    assert all(name in text for name in model.CLASSES)


def test_no_learners_is_an_error() -> None:
    with pytest.raises(MasteryError, match="one learner or more"):
        explain(learners=0)


LEVELS = range(len(model.CLASSES))


def likelihood(event: dict[str, Any], level: int) -> float:
    """Returns p(row of the log | class) of one event, up to a factor that all classes share."""
    kind = model.EVENT_TYPES.index(event["event_type"])
    unit, name = event["knowledge_component"].split("/")
    result = float(model.TYPE[level, kind])
    if event["dwell_seconds"] is not None:
        median = model.DWELL_MEDIAN[kind] * model.DWELL_FACTOR[level]
        result *= math.exp(
            -(math.log(event["dwell_seconds"] / median) ** 2) / (2 * model.DWELL_SIGMA**2)
        )
    if event["exercise_completed"] is not None:
        result *= (
            model.COMPLETED[level] if event["exercise_completed"] else 1 - model.COMPLETED[level]
        )
    if event["correct"] is not None:
        logit = model.SKILL[level] - model.DIFFICULTY[model.CATALOGUE[unit].index(name)]
        right = model.GUESS + (1 - model.GUESS - model.SLIP) / (1 + math.exp(-logit))
        result *= right if event["correct"] else 1 - right
    if event["playback_speed"] is not None:
        result *= model.SPEED[level, list(model.SPEEDS).index(event["playback_speed"])]
    return result


def moves(rise: float, fall: float) -> Floats:
    """p(next class | class), `[class, class]`, by going through what can happen."""
    result = np.zeros((len(LEVELS), len(LEVELS)))
    for level, up, down in itertools.product(LEVELS, (0, 1), (0, 1)):
        chance = (rise if up else 1 - rise) * (fall if down else 1 - fall)
        result[level, max(min(level + up, LEVELS[-1]) - down, 0)] += chance
    return result


def enumerate_paths(events: list[dict[str, Any]], as_of: Any, job_level: str) -> Floats:
    """The posterior by summing over every path that the class can have taken."""
    times = [event["time"] for event in events] + [as_of]
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
    paths = np.array(list(itertools.product(LEVELS, repeat=len(times))))
    weight = model.START[list(model.ATTRIBUTES["job_level"]).index(job_level)][paths[:, 0]].copy()
    for step, event in enumerate(events):
        weight *= np.array([likelihood(event, level) for level in LEVELS])[paths[:, step]]
        rise = model.RISE[model.EVENT_TYPES.index(event["event_type"])]
        if step and gaps[step - 1] >= model.SPACING:
            rise *= model.SPACED_FACTOR
        fall = 1 - math.exp(-gaps[step] / model.FORGETTING)
        weight *= moves(rise, fall)[paths[:, step], paths[:, step + 1]]
    total = np.bincount(paths[:, -1], weights=weight)
    return total / total.sum()


@pytest.mark.parametrize("which", range(4))
def test_it_equals_the_sum_over_all_paths_of_what_the_log_shows(
    sequences: Sequences, events: pl.DataFrame, outcomes: pl.DataFrame, which: int
) -> None:
    shortest = np.nonzero(sequences.recorded & (sequences.before == model.EVENTS_BEFORE[0]))[0]
    row = int(shortest[which])
    outcome = outcomes.row(row, named=True)
    seen = events.filter(
        pl.col("learner_id") == outcome["learner_id"],
        pl.col("unit_id") == outcome["unit_id"],
        pl.col("time") < outcome["as_of"],
    ).sort("time")
    expected = enumerate_paths(seen.to_dicts(), outcome["as_of"], outcome["job_level"])
    np.testing.assert_allclose(posterior(sequences)[row], expected, rtol=1e-4, atol=1e-9)


def test_classes_are_as_frequent_as_described(sequences: Sequences) -> None:
    belief = posterior(sequences)
    np.testing.assert_allclose(belief.sum(axis=1), 1)
    for level in LEVELS:
        bins = np.digitize(belief[:, level], [0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99])
        hits = np.bincount(bins, weights=sequences.label == level)
        expected = np.bincount(bins, weights=belief[:, level])
        variance = np.bincount(bins, weights=belief[:, level] * (1 - belief[:, level]))
        assert (np.abs(hits - expected) < 3.5 * np.sqrt(variance) + 1).all()
