"""Every metric equals scikit-learn's on the same predictions."""

from __future__ import annotations

import doctest
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.exceptions import UndefinedMetricWarning

from components.evaluator import measures
from components.evaluator.measures import (
    CALIBRATION_BINS,
    MAX_POINTS,
    area_under_roc,
    averages,
    calibration_error,
    calibration_gaps,
    class_curves,
    class_metrics,
    count_confusion,
    log_loss,
    one_vs_rest_auc,
    regression_metrics,
    reliability_curve,
)

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def classifications(draw: st.DrawFn) -> Case:
    """Labels, predicted classes and probabilities, with many ties and absent classes."""
    classes, rows = draw(st.integers(2, 4)), draw(st.integers(1, 25))
    parts = st.lists(st.integers(0, 4), min_size=classes, max_size=classes).filter(any)
    weights = np.array(draw(st.lists(parts, min_size=rows, max_size=rows)), np.float32)
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    return labels, probabilities.argmax(axis=1), probabilities


def _equal(ours: float, reference: float) -> bool:
    return ours == pytest.approx(reference, abs=1e-6, nan_ok=True)


@settings(max_examples=60)
@given(classifications())
def test_precision_recall_and_f1_are_those_of_scikit_learn(case: Case) -> None:
    labels, predicted, probabilities = case
    classes = probabilities.shape[1]
    confusion = count_confusion(labels, predicted, classes)
    ours = class_metrics(confusion)
    reference = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    for name, expected in zip(("precision", "recall", "f1", "support"), reference, strict=True):
        np.testing.assert_allclose(ours[name], expected, atol=1e-6, err_msg=name)
    assert (
        confusion.tolist() == sk.confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    )


@settings(max_examples=60)
@given(classifications())
def test_averages_are_those_of_scikit_learn(case: Case) -> None:
    labels, predicted, probabilities = case
    ours = averages(count_confusion(labels, predicted, probabilities.shape[1]))
    assert _equal(ours.pop("accuracy"), sk.accuracy_score(labels, predicted))
    scores = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    for name, value in ours.items():
        metric, average = name.rsplit("_", 1)
        assert _equal(value, scores[metric](labels, predicted, average=average, zero_division=0)), (
            name
        )


@settings(max_examples=60)
@given(classifications())
def test_the_area_under_the_roc_is_that_of_scikit_learn_ties_and_all(case: Case) -> None:
    labels, _, probabilities = case
    classes = probabilities.shape[1]
    areas, area = one_vs_rest_auc(labels, probabilities)
    for index in range(classes):
        positive = labels == index
        if positive.all() or not positive.any():
            assert math.isnan(areas[index])
        else:
            assert _equal(areas[index], sk.roc_auc_score(positive, probabilities[:, index]))
    if len(set(labels)) < classes:
        assert math.isnan(area)
    elif classes == 2:
        assert _equal(area, sk.roc_auc_score(labels, probabilities[:, 1]))
    else:
        assert _equal(
            area, sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        )


@settings(max_examples=60)
@given(classifications())
def test_log_loss_is_that_of_scikit_learn_also_at_a_probability_of_zero(case: Case) -> None:
    labels, _, probabilities = case
    expected = sk.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    assert _equal(log_loss(labels, probabilities), expected)


numbers = st.integers(-50, 50).map(lambda value: value / 8)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 200))
def test_the_calibration_error_is_that_of_scikit_learn_s_curve(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    positive = random.random(rows)
    labels = (random.random(rows) < positive**2).astype(int)
    errors, error = calibration_error(labels, np.column_stack([1 - positive, positive]))

    def expected(true: np.ndarray, scores: np.ndarray) -> float:
        shares, means = calibration_curve(true, scores, n_bins=15)
        sizes = np.bincount(np.searchsorted(np.linspace(0, 1, 16)[1:-1], scores))
        return float(np.abs(shares - means) @ sizes[sizes > 0] / len(true))

    assert _equal(errors[1], expected(labels == 1, positive))
    assert _equal(errors[0], expected(labels == 0, 1 - positive))
    answered = (positive > 0.5).astype(int)
    assert _equal(error, expected(labels == answered, np.maximum(positive, 1 - positive)))


def test_calibration_errors_that_are_known() -> None:
    sure = np.array([[0.0, 1.0]])
    assert calibration_error(np.array([1]), sure)[1] == 0
    errors, error = calibration_error(np.array([0]), sure)
    assert (errors.tolist(), error) == ([1.0, 1.0], 1.0)

    # Four answers of 75%, three of which are right: nothing is wrong with that.
    answers = np.tile([0.25, 0.75], (4, 1))
    errors, error = calibration_error(np.array([1, 1, 1, 0]), answers)
    assert (errors.tolist(), error) == ([0.0, 0.0], 0.0)
    assert calibration_error(np.array([1, 1, 0, 0]), answers)[1] == 0.25

    # Errors of one bin cancel out, those of two bins do not.
    two = np.array([[0.3, 0.7], [0.1, 0.9]])
    assert calibration_error(np.array([1, 1]), two)[1] == pytest.approx((0.3 + 0.1) / 2)


def test_a_bin_holds_its_lower_end_and_the_last_one_also_one() -> None:
    ends = np.arange(16) / 15
    bins, _ = calibration_gaps(np.zeros(16, int), np.column_stack([ends, 1 - ends]))
    assert bins[:, 0].tolist() == [*range(15), 14]


@settings(max_examples=60)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_regression_metrics_are_those_of_scikit_learn(rows: list[tuple[float, float]]) -> None:
    labels, predictions = np.array(rows).T
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UndefinedMetricWarning
        )  # r2 of a single example is NaN there, too
        r2 = sk.r2_score(labels, predictions)
    mse = sk.mean_squared_error(labels, predictions)
    expected = {
        "mse": mse,
        "mae": sk.mean_absolute_error(labels, predictions),
        "rmse": mse**0.5,
        "r2": r2,
    }
    ours = regression_metrics(labels, predictions.astype(np.float32))
    assert ours.keys() == expected.keys()
    assert all(_equal(ours[name], expected[name]) for name in expected)


def test_known_areas() -> None:
    positive = np.array([False, False, True, True])
    assert area_under_roc(positive, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert area_under_roc(positive, np.full(4, 0.5)) == 0.5


@settings(max_examples=60)
@given(classifications())
def test_curves_run_through_scikit_learn_s_points(case: Case) -> None:
    labels, _, probabilities = case
    curves = class_curves(
        labels, probabilities, [f"class {index}" for index in range(probabilities.shape[1])]
    )
    for index in range(probabilities.shape[1]):
        positive = labels == index
        if positive.all() or not positive.any():
            assert f"class {index}" not in curves
            continue
        roc, pr = curves[f"class {index}"]["roc"], curves[f"class {index}"]["pr"]
        fpr, tpr, threshold = sk.roc_curve(
            positive, probabilities[:, index], drop_intermediate=False
        )
        np.testing.assert_allclose([roc["fpr"], roc["tpr"]], [fpr, tpr], atol=1e-9)
        np.testing.assert_allclose(
            roc["threshold"], [1, *threshold[1:]], atol=1e-9
        )  # scikit-learn starts at infinity
        precision, recall, _ = sk.precision_recall_curve(positive, probabilities[:, index])
        np.testing.assert_allclose(
            [pr["recall"], pr["precision"]], [recall[::-1], precision[::-1]], atol=1e-9
        )


@settings(max_examples=60)
@given(classifications())
def test_reliability_curves_hold_every_example_and_make_up_the_calibration_error(
    case: Case,
) -> None:
    labels, _, probabilities = case
    errors, _ = calibration_error(labels, probabilities)
    for index, error in enumerate(errors):
        curve = reliability_curve(labels == index, probabilities[:, index])
        said, share, examples = (
            np.array(curve[key]) for key in ("probability", "share", "examples")
        )
        assert examples.sum() == len(labels)
        assert (np.diff(said) > 0).all()
        assert (examples * np.abs(said - share)).sum() / len(labels) == pytest.approx(error)


def test_reliability_curves_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(6)
    said = random.random(3000) ** 2  # no value lies on the edge of a bin
    happened = random.random(3000) < 0.8 * said
    ours = reliability_curve(happened, said)
    share, probability = calibration_curve(happened, said, n_bins=CALIBRATION_BINS)
    np.testing.assert_allclose(ours["share"], share, rtol=1e-12)
    np.testing.assert_allclose(ours["probability"], probability, rtol=1e-12)


def test_long_curves_are_thinned_and_keep_their_ends_and_their_area() -> None:
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 5000)
    second = np.clip(random.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    probabilities = np.stack([1 - second, second], axis=1)
    curves = class_curves(labels, probabilities, ["no", "yes"])["yes"]
    roc, pr = curves["roc"], curves["pr"]
    assert 150 < len(roc["fpr"]) <= MAX_POINTS
    assert 150 < len(pr["recall"]) <= MAX_POINTS
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)
    assert (pr["recall"][0], pr["recall"][-1]) == (0, 1)
    assert sk.auc(roc["fpr"], roc["tpr"]) == pytest.approx(
        sk.roc_auc_score(labels, second), abs=2e-3
    )


def test_the_examples_are_right() -> None:
    results = doctest.testmod(measures)
    assert results.attempted
    assert not results.failed
