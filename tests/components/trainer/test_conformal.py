"""Prediction sets and intervals: equal to crepes, and as sure as promised."""

from __future__ import annotations

import doctest
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import crepes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.calibration import Calibration
from components.trainer import conformal
from components.trainer.answer_parts import Answered
from components.trainer.conformal import (
    UNBOUNDED,
    Members,
    PredictionIntervals,
    PredictionSets,
    Thresholds,
    fit_thresholds,
    joined_names,
    lowest_conformity,
)
from tests.components.trainer.test_served import by_example, with_horizon
from tests.components.trainer.tiny_log import REGRESSION, fit, tiny_log, write_inputs

Array = np.ndarray[Any, Any]

CLASSES = ["low", "mid", "high"]
WHOLE = 99


def draw(rows: int, seed: int, groups: int = 3) -> tuple[Array, Array, Array]:
    """Returns probabilities [n, 3], labels and hashes [n, 2] of a model that some groups suit."""
    random = np.random.default_rng(seed)
    group = random.integers(groups, size=rows)
    labels = random.choice(3, rows, p=[0.5, 0.3, 0.2])
    logits = random.normal(size=(rows, 3)) + (1 + group)[:, None] * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, labels, np.stack([group, np.full(rows, WHOLE)], axis=1)


def fit_classes(
    probabilities: Array,
    labels: Array,
    groups: Array,
    is_cold: Array | None = None,
    *,
    coverage: float = 0.9,
    min_examples: int = 1,
) -> Thresholds:
    members = [
        Members(name, labels == index, probabilities[:, index])
        for index, name in enumerate(CLASSES)
    ]
    cold = np.zeros(len(labels), bool) if is_cold is None else is_cold
    return fit_thresholds(
        groups, cold, members, columns=["unit"], coverage=coverage, min_examples=min_examples
    )


def answered(answers: Array, groups: Array, is_cold: Array | None = None) -> Answered:
    cold = np.zeros(len(answers), bool) if is_cold is None else is_cold
    return Answered(
        tf.constant(answers, tf.float32), tf.constant(cold), {}, tf.constant(groups, tf.int64)
    )


def test_the_examples_are_right() -> None:
    results = doctest.testmod(conformal)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("seed", [1, 2])
def test_sets_are_those_of_crepes(coverage: float, seed: int) -> None:
    """Mondrian and conditional on the class: a category of its own for every group and class."""
    calibration, labels, groups = draw(733, seed)
    asked, _, asked_groups = draw(500, seed + 10)

    lowest = fit_classes(calibration, labels, groups, coverage=coverage).of(
        asked_groups, np.zeros(500, bool)
    )

    for index in range(3):
        reference = crepes.ConformalClassifier()
        mine = labels == index
        reference.fit(-calibration[mine, index].astype(np.float32), bins=groups[mine, 0])
        conformity = asked[:, index].astype(np.float32)
        p_values = reference.predict_p(
            -conformity[:, None], bins=asked_groups[:, 0], smoothing=False
        )[:, 0]
        # crepes counts p = 1 - coverage in, which is one rank more than the promise needs.
        assert np.array_equal(conformity >= lowest[:, index], p_values > 1 - coverage + 1e-12)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_intervals_are_those_of_crepes(coverage: float) -> None:
    random = np.random.default_rng(3)
    # Sizes at which (n + 1) * (1 - coverage) is not whole: crepes rounds it in binary.
    groups = np.stack([np.repeat(np.arange(3), [240, 241, 252]), np.full(733, WHOLE)], axis=1)
    residuals = random.normal(size=733) * (1 + groups[:, 0])
    predictions = random.normal(size=200)
    asked = np.stack([random.integers(3, size=200), np.full(200, WHOLE)], axis=1)

    members = [Members("", np.ones(733, bool), -np.abs(residuals))]
    thresholds = fit_thresholds(
        groups,
        np.zeros(733, bool),
        members,
        columns=["unit"],
        coverage=coverage,
        min_examples=1,
    )
    found = PredictionIntervals(thresholds).outputs(answered(predictions[:, None], asked))

    reference = crepes.ConformalRegressor()
    reference.fit(residuals, bins=groups[:, 0])
    wanted = reference.predict_int(predictions, bins=asked[:, 0], confidence=coverage)
    assert found["prediction_interval"].numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=60),
    st.sampled_from(["0.5", "0.8", "0.9", "0.95", "0.99"]),
)
def test_a_new_example_is_above_the_threshold_as_often_as_promised(
    conformity: list[int], promised: str
) -> None:
    """Of n + 1 exchangeable examples each may be the new one: the share of them that conforms."""
    coverage = Fraction(promised)
    within = 0
    for place in range(len(conformity)):
        rest = np.array(conformity[:place] + conformity[place + 1 :], float)
        within += conformity[place] >= lowest_conformity(rest, float(coverage))
    assert within >= coverage * len(conformity)


def test_the_threshold_is_no_lower_than_it_needs_to_be() -> None:
    for count in range(1, 400):
        found = lowest_conformity(np.arange(count), 0.9)
        covered = 0 if math.isinf(found) else found  # how many of the n are below
        assert covered == math.floor(Fraction(count + 1, 10)) - 1 or count < 9


def test_two_hundred_fits_cover_each_class_and_group_as_promised() -> None:
    """The mean over fits is the promise; a single fit varies around it."""
    trials, coverage = 200, 0.9
    hits = np.zeros((trials, 3, 3))
    for trial in range(trials):
        calibration, labels, groups = draw(600, 1000 + trial)
        asked, true, asked_groups = draw(600, 5000 + trial)
        lowest = fit_classes(calibration, labels, groups, coverage=coverage, min_examples=20)
        limits = lowest.of(asked_groups, np.zeros(600, bool))
        covered = (asked >= limits)[np.arange(600), true]
        for group in range(3):
            for label in range(3):
                cell = (asked_groups[:, 0] == group) & (true == label)
                hits[trial, group, label] = covered[cell].mean()

    error = hits.std(axis=0) / math.sqrt(trials)
    mean = hits.mean(axis=0)
    assert (mean >= coverage - 3 * error).all()
    assert (mean <= coverage + 1 / 21 + 3 * error).all()  # of at least 20 examples in a cell


def test_a_cell_with_few_examples_takes_the_threshold_of_the_wider_group() -> None:
    probabilities, labels, groups = draw(600, 4)
    rare = (groups[:, 0] == 2) & (labels == 1)
    labels[np.flatnonzero(rare)[30:]] = 0

    thresholds = fit_classes(probabilities, labels, groups, min_examples=50)

    own = thresholds.of(np.array([[2, WHOLE]]), np.array([False]))[0]
    whole = thresholds.of(np.array([[7, WHOLE]]), np.array([False]))[0]
    assert own[1] == whole[1]  # thirty of them
    in_group = (groups[:, 0] == 2) & (labels == 0)
    assert own[0] == np.float32(lowest_conformity(probabilities[in_group, 0], 0.9))
    assert whole[1] == np.float32(lowest_conformity(probabilities[labels == 1, 1], 0.9))


def test_cold_starts_have_cells_of_their_own_and_too_few_promise_nothing() -> None:
    probabilities, labels, groups = draw(400, 6)
    is_cold = np.arange(400) >= 395

    thresholds = fit_classes(probabilities, labels, groups, is_cold, min_examples=30)

    assert np.isneginf(thresholds.of(groups[:1], np.array([True]))).all()
    alone = fit_classes(probabilities[:395], labels[:395], groups[:395], min_examples=30)
    warm = np.zeros(400, bool)
    assert np.array_equal(thresholds.of(groups, warm), alone.of(groups, warm))
    cold_cells = [cell for cell in thresholds.cells if cell.basis == "prior"]
    assert sum(cell.examples for cell in cold_cells) == 5
    assert {cell.threshold for cell in cold_cells} == {None}


def outputs_of(thresholds: Thresholds, probabilities: Array) -> tuple[list[list[bool]], list[str]]:
    groups = np.full((len(probabilities), 2), WHOLE)
    found = PredictionSets(thresholds, CLASSES).outputs(answered(probabilities, groups))
    texts = [text.decode() for text in found["answer_text"].numpy()]
    return found["prediction_set"].numpy().tolist(), texts


def test_the_words_of_a_set() -> None:
    calibration = np.tile(np.eye(3) * 0.3, (20, 1))  # the threshold is 0.3 for every class
    thresholds = fit_classes(
        calibration, np.tile(np.arange(3), 20), np.full((60, 2), WHOLE), min_examples=1
    )

    sets, texts = outputs_of(
        thresholds,
        np.array([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05], [0.34, 0.33, 0.33]]),
    )

    assert sets == [[False, True, True], [True, False, False], [True, True, True]]
    assert texts == ["mid or high", "low", "not sure"]


def test_an_empty_set_gets_the_most_probable_class() -> None:
    calibration = np.tile(np.eye(3) * 0.9, (20, 1))
    thresholds = fit_classes(
        calibration, np.tile(np.arange(3), 20), np.full((60, 2), WHOLE), min_examples=1
    )

    sets, texts = outputs_of(thresholds, np.array([[0.3, 0.5, 0.2]]))

    assert sets == [[False, True, False]]
    assert texts == ["mid"]


def test_an_interval_without_an_end_is_a_number_in_json() -> None:
    members = [Members("", np.ones(5, bool), -np.arange(5.0))]
    groups = np.full((5, 1), WHOLE)
    thresholds = fit_thresholds(
        groups, np.zeros(5, bool), members, columns=[], coverage=0.9, min_examples=1
    )

    found = PredictionIntervals(thresholds).outputs(answered(np.array([[3.0]]), groups[:1]))

    assert found["prediction_interval"].numpy().tolist() == [[-UNBOUNDED, UNBOUNDED]]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
@settings(deadline=None)
def test_names_are_joined(chosen: list[list[bool]]) -> None:
    names = ["a", "b, or", "", "or "]
    found = joined_names(tf.constant(chosen), names, " or ").numpy().tolist()
    wanted = [
        " or ".join(name for name, is_in in zip(names, row, strict=True) if is_in) for row in chosen
    ]
    assert [text.decode() for text in found] == wanted


def test_the_served_model_answers_sets_that_hold_its_prediction(served: Any) -> None:
    answer = by_example(served, with_horizon(tiny_log(40, seed=3)))

    best = answer["probabilities"].argmax(axis=1)
    assert answer["prediction_set"].shape == (40, 3)
    assert answer["prediction_set"][np.arange(40), best].all()
    sizes = answer["prediction_set"].sum(axis=1)
    assert [text == b"not sure" for text in answer["answer_text"]] == (sizes == 3).tolist()
    assert set(sizes) > {3}


def test_the_record_names_every_cell(fitted: Path) -> None:
    record = Calibration.read(fitted / "model").conformal
    assert record is not None
    assert record.coverage == 0.9
    assert {(cell.basis, cell.class_) for cell in record.cells} == {
        (basis, name) for basis in ("sequence", "prior") for name in CLASSES
    }
    assert sum(cell.examples for cell in record.cells) == 60


def test_a_regression_answers_intervals(tmp_path: Path) -> None:
    folder = fit(write_inputs(tmp_path / "inputs", REGRESSION), tmp_path / "model", REGRESSION)
    model = tf.saved_model.load(str(folder / "model"))

    answer = by_example(model, with_horizon(tiny_log(40, seed=3)))

    assert "prediction_set" not in answer
    low, high = answer["prediction_interval"].T
    assert answer["prediction"] == pytest.approx((low + high) / 2, abs=1e-5)
    assert len(np.unique((high - low).round(4))) == 2  # cold starts have a width of their own
