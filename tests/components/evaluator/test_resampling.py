"""Draws of learners: their metrics are those of the drawn rows, and their intervals hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluator import measures, resampling
from components.evaluator.draws import interval_of
from components.evaluator.resampling import (
    ClassAnswers,
    NumberAnswers,
    draw_metrics,
    resample,
)

Array = np.ndarray[Any, Any]


def classification(seed: int, rows: int, learners: int, classes: int) -> tuple[Array, ClassAnswers]:
    """Returns learners and answers of which many are tied, and some are 0 and 1."""
    random = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(learners), random.integers(learners, size=rows - learners)])
    labels = random.integers(classes, size=rows)
    logits = (
        2 * np.eye(classes)[labels] + random.normal(size=(rows, classes)).round(int(seed % 3))
    ).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities[random.random(rows) < 0.1] = np.eye(classes, dtype=np.float32)[0]
    return owners, ClassAnswers(labels, probabilities.argmax(axis=1), probabilities)


def regression(seed: int, learners: int) -> tuple[Array, NumberAnswers]:
    random = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(learners), random.integers(learners, size=learners)])
    labels = random.normal(1e4, 1, len(owners)).astype(np.float32)
    return owners, NumberAnswers(
        labels, labels + random.normal(size=len(owners)).astype(np.float32)
    )


def measured(answers: ClassAnswers) -> dict[tuple[str, int | None], float]:
    """Returns the metrics of `measures`; ratios without a case are NaN instead of 0."""
    labels, probabilities = answers.labels, answers.probabilities
    confusion = measures.count_confusion(labels, answers.predicted, probabilities.shape[1])
    areas, area = measures.one_vs_rest_auc(labels, probabilities)
    errors, error = measures.calibration_error(labels, probabilities)
    overall = {
        **measures.averages(confusion),
        "auc": area,
        "log_loss": measures.log_loss(labels, probabilities),
        "ece": error,
    }
    by_class = {**measures.class_metrics(confusion), "auc": areas, "ece": errors}
    support, chosen = by_class.pop("support"), confusion.sum(axis=0)
    cases = {"precision": chosen, "recall": support, "f1": support + chosen}
    found = {(name, None): value for name, value in overall.items()}
    for name, values in by_class.items():
        defined = cases.get(name, np.ones(len(values))) > 0
        found |= {
            (name, index): float(value) if defined[index] else math.nan
            for index, value in enumerate(values)
        }
    return found


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 4), st.data())
@settings(max_examples=80, deadline=None)
def test_a_draw_of_classes_has_the_metrics_of_its_rows(
    seed: int, learners: int, classes: int, data: st.DataObject
) -> None:
    owners, answers = classification(seed, learners * 3, learners, classes)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=learners, max_size=learners)))
    times[0] += 1  # somebody is in it
    counts = np.stack([times, np.ones(learners)], axis=1).astype(float)
    found = answers.measure(owners, learners)(counts)
    assert len(found) == answers.metrics
    for draw, rows in enumerate([np.repeat(np.arange(len(owners)), times[owners]), slice(None)]):
        wanted = measured(answers.at(rows))
        assert {name: values[draw] for name, values in found.items()} == pytest.approx(
            wanted, rel=1e-9, abs=1e-12, nan_ok=True
        )


@given(st.integers(0, 10**6), st.integers(1, 30), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_draw_of_numbers_has_the_metrics_of_its_rows(
    seed: int, learners: int, equal: bool
) -> None:
    owners, answers = regression(seed, learners)
    if equal:  # all of a learner's labels are the same, so that draws without variation occur
        labels = owners.astype(np.float32) // 10 + 0.1
        answers = NumberAnswers(labels, labels if seed % 2 else answers.predictions)
    times = np.random.default_rng(seed).integers(0, 3, learners)
    times[0] += 1
    rows = np.repeat(np.arange(len(owners)), times[owners])
    found = answers.measure(owners, learners)(times[:, None].astype(float))
    wanted = measures.regression_metrics(answers.labels[rows], answers.predictions[rows])
    if len(np.unique(answers.labels[rows])) == 1:
        wanted["r2"] = math.nan  # `measures` has a convention for it; there is nothing to explain
    assert len(found) == answers.metrics
    assert {name: values[0] for (name, _), values in found.items()} == pytest.approx(
        wanted, rel=1e-6, nan_ok=True
    )


def test_a_draw_without_any_of_the_rows_defines_nothing() -> None:
    owners, answers = classification(1, 40, 20, 2)
    nobody = np.zeros((21, 1))
    nobody[20] = 1  # a learner who has no row here
    assert all(np.isnan(value).all() for value in answers.measure(owners, 21)(nobody).values())
    owners, numbers = regression(1, 20)
    assert all(np.isnan(value).all() for value in numbers.measure(owners, 21)(nobody).values())


def test_slices_and_models_share_the_draws() -> None:
    """What is drawn for one slice is drawn for all: the rows of two slices are those of both."""
    owners, answers = classification(5, 600, 60, 3)
    _, other = classification(6, 600, 60, 3)
    everything, half = np.arange(600), np.flatnonzero(owners < 30)
    models = {"a": answers, "same": answers, "b": other}
    whole, part = resample(owners, models, [everything, half], draws=50)
    assert all((whole["a"][name] == whole["same"][name]).all() for name in whole["a"])
    [alone] = resample(owners, {"b": other}, [half], draws=50)
    for name, values in alone["b"].items():
        np.testing.assert_array_equal(values, part["b"][name])


def test_neither_the_order_of_rows_nor_blocks_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    owners, answers = classification(7, 900, 100, 3)
    rows = np.arange(900)
    slices = [rows, rows[::2], rows[owners % 2 == 0]]
    expected = list(resample(owners, {"a": answers}, slices, draws=70))

    order = np.random.default_rng(1).permutation(900)
    place = np.argsort(order)
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    monkeypatch.setattr(resampling, "KEPT", 1)  # every slice is a group of its own
    shuffled = [place[chosen] for chosen in slices]
    found = list(resample(owners[order], {"a": answers.at(order)}, shuffled, draws=70))
    for one, another in zip(expected, found, strict=True):
        for name, values in one["a"].items():
            np.testing.assert_array_equal(values, another["a"][name])


def test_a_seed_draws_the_same_learners() -> None:
    owners, answers = classification(8, 200, 50, 2)
    measure = {"a": answers.measure(owners, 50)}
    first, again, other = (
        draw_metrics(measure, learners=50, draws=40, seed=seed)["a"]["accuracy", None]
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert not (first == other).all()


def test_copies_of_a_learner_s_rows_add_no_certainty() -> None:
    owners, answers = classification(9, 200, 200, 2)
    copies = np.repeat(np.arange(200), 9)
    [once] = resample(owners, {"a": answers}, [np.arange(200)], draws=200)
    [often] = resample(
        owners[copies], {"a": answers.at(copies)}, [np.arange(len(copies))], draws=200
    )
    for name, values in once["a"].items():
        np.testing.assert_allclose(often["a"][name], values, rtol=1e-9)


def test_few_learners_give_no_draws() -> None:
    owners, answers = classification(10, 100, 50, 2)
    nine, ten = (np.flatnonzero(owners < learners) for learners in (9, 10))
    few, enough = resample(owners, {"a": answers}, [nine, ten], draws=20)
    assert few == {"a": {}}
    assert enough["a"]["accuracy", None].shape == (20,)


def test_an_interval_holds_the_share_of_draws_that_it_says() -> None:
    draws = np.random.default_rng(1).normal(size=1000)
    for confidence in (0.5, 0.9, 0.99):
        low, high = interval_of(draws, confidence) or (0, 0)
        assert np.mean((draws >= low) & (draws <= high)) == pytest.approx(confidence, abs=0.002)


def test_too_many_undefined_draws_give_no_interval() -> None:
    draws = np.arange(100.0)
    draws[:10] = np.nan
    assert interval_of(draws, 0.9) is not None
    draws[10] = np.nan
    assert interval_of(draws, 0.9) is None
    assert interval_of(None, 0.9) is None
    assert interval_of(np.array([]), 0.9) is None


TRIALS = 200


def _simulate(random: np.random.Generator, learners: int = 100, each: int = 8) -> tuple[Any, ...]:
    """Returns learners, labels and scores: a learner's outcomes are mostly of one kind.

    Half of the learners are always right and half of them always wrong, but for one outcome in ten;
    what the model sees of a learner is the same for all of that learner's outcomes.
    """
    kind = random.random(learners) < 0.5
    seen = kind + random.normal(0, 1, learners)
    owners = np.repeat(np.arange(learners), each)
    labels = (kind[owners] ^ (random.random(len(owners)) < 0.1)).astype(int)
    score = 1 / (1 + np.exp(-2 * (seen - 0.5)))
    probabilities = np.column_stack([1 - score, score])[owners]
    return owners, ClassAnswers(labels, probabilities.argmax(axis=1), probabilities)


def test_intervals_hold_the_truth_where_those_of_drawn_rows_would_not() -> None:
    truth_of = _simulate(np.random.default_rng(0), learners=200_000, each=2)[1]
    truth = measured(truth_of)
    metrics = [("auc", None), ("accuracy", None)]
    held = {(by, name): 0 for by in ("learners", "rows") for name in metrics}
    for trial in range(TRIALS):
        owners, answers = _simulate(np.random.default_rng(trial + 1))
        rows = np.arange(len(owners))
        for by, drawn in (("learners", owners), ("rows", rows)):
            [found] = resample(drawn, {"a": answers}, [rows], draws=200)
            for name in metrics:
                low, high = interval_of(found["a"][name], 0.95) or (0, 0)
                held[by, name] += low <= truth[name] <= high

    for name in metrics:
        assert 0.90 <= held["learners", name] / TRIALS <= 0.99
        assert held["rows", name] / TRIALS < 0.75
