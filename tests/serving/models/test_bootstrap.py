"""Intervals of the difference of two models."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluator import resampling
from components.evaluator.resampling import ClassAnswers
from serving.models.bootstrap import Interval, difference_intervals, judge


def measure_classes(owners, *columns):
    return ClassAnswers(*columns).measure(owners, owners.max() + 1)


def classification(seed: int, rows: int, learners: int, classes: int, noise: float = 1.0):
    draw = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(learners), draw.integers(learners, size=rows - learners)])
    labels = draw.integers(classes, size=rows)
    logits = np.eye(classes)[labels] + draw.normal(scale=noise, size=(rows, classes)).round(
        1
    )  # rounded: with ties
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return owners, labels, probabilities.argmax(axis=1), probabilities


def test_learners_are_drawn_not_rows() -> None:
    """Rows of a learner that are copies of each other add no certainty."""
    owners, *columns = classification(1, 200, 200, 3)
    copies = [np.repeat(column, 9, axis=0) for column in columns]
    worse = classification(1, 200, 200, 3, noise=2.0)
    other = [np.repeat(column, 9, axis=0) for column in (columns[0], *worse[2:])]
    single = difference_intervals(
        measure_classes(owners, *columns),
        measure_classes(owners, columns[0], *worse[2:]),
        learners=200,
        draws=300,
        seed=5,
    )
    repeated = np.repeat(owners, 9)
    many = difference_intervals(
        measure_classes(repeated, *copies),
        measure_classes(repeated, *other),
        learners=200,
        draws=300,
        seed=5,
    )
    for name, interval in single.items():
        assert (many[name].low, many[name].high) == pytest.approx(
            (interval.low, interval.high), abs=1e-9
        )


def test_the_same_seed_gives_the_same_intervals_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners, *columns = classification(2, 300, 100, 3)
    _, _, *other = classification(3, 300, 100, 3)
    a, b = measure_classes(owners, *columns), measure_classes(owners, columns[0], *other)
    whole = difference_intervals(a, b, learners=100, draws=150, seed=7)
    monkeypatch.setattr(resampling, "BLOCK", 1000)
    for name, interval in difference_intervals(a, b, learners=100, draws=150, seed=7).items():
        assert (interval.low, interval.high) == pytest.approx(
            (whole[name].low, whole[name].high), rel=1e-12
        )
    assert (
        difference_intervals(a, b, learners=100, draws=150, seed=8)["auc", None]
        != whole["auc", None]
    )


def test_a_model_against_itself_is_not_distinguishable_from_it() -> None:
    owners, *columns = classification(4, 300, 100, 3)
    a = measure_classes(owners, *columns)
    for interval in difference_intervals(a, a, learners=100, draws=200, seed=1).values():
        assert interval == Interval(0.0, 0.0)
        assert judge(interval, more_is_better=True) == "not distinguishable"


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two models are right in 60 and in 70 of 100 cases, independently: the difference is 0.1."""
    draw, covered, trials = np.random.default_rng(6), 0, 100
    for trial in range(trials):
        labels = np.zeros(150, int)
        answers = [(draw.random(150) > share).astype(int) for share in (0.6, 0.7)]
        rows = [np.where(answer[:, None] == [0, 1], 0.9, 0.1) for answer in answers]
        pair = [
            measure_classes(np.arange(150), labels, answer, row)
            for answer, row in zip(answers, rows, strict=True)
        ]
        interval = difference_intervals(*pair, learners=150, draws=200, seed=trial)[
            "accuracy", None
        ]
        covered += interval.low <= 0.1 <= interval.high
    assert 0.90 <= covered / trials <= 0.985


def test_a_class_that_hardly_any_draw_has_gets_no_interval() -> None:
    owners, labels, predicted, probabilities = classification(7, 60, 60, 3)
    labels = np.where(np.arange(60) == 0, 2, labels % 2)
    measure = measure_classes(owners, labels, predicted, probabilities)
    intervals = difference_intervals(measure, measure, learners=60, draws=300, seed=1)
    assert (
        intervals["recall", 2] is None
    )  # one learner has the class: about a third of the draws leave her out
    assert judge(None, more_is_better=False) == "not distinguishable"
    assert intervals["accuracy", None] is not None


@pytest.mark.parametrize(
    ("low", "high", "more_is_better", "wanted"),
    [
        (0.1, 0.2, True, "better"),
        (-0.2, -0.1, True, "worse"),
        (-0.2, -0.1, False, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.1, 0.1, True, "not distinguishable"),
        (0.0, 0.1, True, "not distinguishable"),
    ],
)
def test_a_verdict_is_about_zero(
    low: float, high: float, more_is_better: bool, wanted: str
) -> None:
    assert judge(Interval(low, high), more_is_better=more_is_better) == wanted
