"""Expected quality: by hand, as NannyML computes it, and whether what comes true is within it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from components.monitoring.expected_confusion import (
    Estimate,
    Quality,
    expected_confusion,
    expected_quality,
    realised_quality,
)
from components.simulator.changes import RELATION, teaching_after
from components.simulator.posterior import posterior
from components.simulator.sequences import draw
from tests import nannyml

PERIODS = 100
LEARNERS = 400  # of a period


@dataclass(frozen=True)
class Answers:
    """Exact answers about simulated learners, and the truth."""

    shares: NDArray[np.float64]
    truth: NDArray[np.int64]
    learner: NDArray[np.int64]
    job_level: NDArray[np.int64]
    events: NDArray[np.int64]

    @property
    def answered(self) -> NDArray[np.int64]:
        """The most probable class."""
        return self.shares.argmax(axis=1)

    def where(self, rows: NDArray[np.bool_]) -> Answers:
        """Returns some of them."""
        return Answers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def expected(self, draws: int = 200) -> Quality:
        return expected_quality(self.shares, self.answered, self.learner, draws=draws)

    def realised(self, draws: int = 0) -> Quality:
        return realised_quality(self.shares, self.answered, self.learner, self.truth, draws=draws)


def simulated(seed: int, chunks: int) -> Answers:
    """Returns the answers of the best possible model: probabilities that are exactly calibrated."""
    drawn = [draw(seed, chunk) for chunk in range(chunks)]
    return Answers(
        shares=np.concatenate([posterior(item) for item in drawn]),
        truth=np.concatenate([item.label for item in drawn]),
        learner=np.concatenate([item.learner for item in drawn]),
        job_level=np.concatenate([item.attributes["job_level"] for item in drawn]),
        events=np.concatenate([item.before for item in drawn]),
    )


@pytest.fixture(scope="module")
def answers() -> Answers:
    return simulated(seed=7, chunks=4)


def measures(quality: Quality) -> dict[str, Estimate]:
    return {
        "accuracy": quality.accuracy,
        "f1_macro": quality.f1_macro,
        **{f"recall of {number}": item for number, item in enumerate(quality.recall)},
    }


def periods_of_juniors(answers: Answers) -> list[Answers]:
    """Returns periods in which learners are junior and begin more often than in `answers`."""
    weight = np.where(answers.job_level == 0, 3.0, 0.5) * np.where(answers.events < 18, 3.0, 0.5)
    ids, first = np.unique(answers.learner, return_index=True)
    chances = weight[first] / weight[first].sum()
    rng = np.random.default_rng(3)
    return [
        answers.where(np.isin(answers.learner, rng.choice(ids, LEARNERS, False, chances)))
        for _ in range(PERIODS)
    ]


def test_by_hand() -> None:
    shares = [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]
    confusion = expected_confusion(shares, [0, 0, 2])
    assert confusion == pytest.approx(np.array([[1.4, 0, 0.1], [0.4, 0, 0.2], [0.2, 0, 0.7]]))

    quality = expected_quality(shares, [0, 0, 2], ["a", "b", "b"], draws=0)
    assert (quality.answers, quality.learners) == (3, 2)
    assert quality.accuracy.value == pytest.approx((1.4 + 0.7) / 3)
    assert [item.value for item in quality.recall] == pytest.approx([1.4 / 1.5, 0, 0.7 / 0.9])
    f1 = [2 * 1.4 / (1.5 + 2), 0, 2 * 0.7 / (0.9 + 1)]
    assert quality.f1_macro.value == pytest.approx(sum(f1) / 3)
    assert quality.accuracy.low is None  # two learners say nothing of others


def test_realised_quality_is_that_of_scikit_learn(answers: Answers) -> None:
    quality = answers.realised()
    truth, answered = answers.truth, answers.answered
    assert quality.accuracy.value == pytest.approx((truth == answered).mean())
    assert quality.f1_macro.value == pytest.approx(f1_score(truth, answered, average="macro"))
    recall = recall_score(truth, answered, average=None)
    assert [item.value for item in quality.recall] == pytest.approx(recall)
    areas = [roc_auc_score(truth == one, answers.shares[:, one]) for one in range(3)]
    assert quality.auc == pytest.approx(np.mean(areas), abs=1e-6)


def test_a_class_without_a_case_has_no_recall() -> None:
    quality = realised_quality([[0.8, 0.2], [0.7, 0.3]], [0, 0], [1, 2], [0, 0])
    assert [item.value for item in quality.recall] == [1, None]
    assert quality.auc is None


def test_the_truth_is_within_the_interval_where_inputs_shift(answers: Answers) -> None:
    """Of 100 periods, at least 90 for each measure, as a 95% interval should."""
    held: dict[str, int] = {}
    shifted = periods_of_juniors(answers)
    assert np.mean([period.job_level == 0 for period in shifted[:1]]) > 0.6  # of 35%
    widths = []
    for period in shifted:
        truth = measures(period.realised())
        for name, item in measures(period.expected()).items():
            value = truth[name].value
            assert value is not None
            held[name] = held.get(name, 0) + item.holds(value)
        accuracy = period.expected(draws=50).accuracy
        assert accuracy.low is not None
        assert accuracy.high is not None
        widths.append(accuracy.high - accuracy.low)
    assert min(held.values()) >= 0.9 * PERIODS, held
    assert max(widths) < 0.06  # not by being wide


def test_a_changed_relation_is_not_seen() -> None:
    """Answers are shared, so right ones say little: old answers are as sure as ever."""
    drawn = draw(5, 0, teaching_after({RELATION}))
    shares = posterior(drawn)
    answered = shares.argmax(axis=1)
    expected = expected_quality(shares, answered, drawn.learner)
    realised = realised_quality(shares, answered, drawn.learner, drawn.label)
    assert expected.accuracy.value is not None
    assert realised.accuracy.value is not None
    assert expected.accuracy.value - realised.accuracy.value > 0.1
    assert not expected.accuracy.holds(realised.accuracy.value)


@pytest.mark.slow
def test_equal_to_nannyml(answers: Answers, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    reference = simulated(seed=1, chunks=1)
    new = periods_of_juniors(answers)[0]
    found = nannyml.estimate(
        request.config.cache.mkdir("nannyml"), tmp_path,
        reference=reference.shares, outcomes=reference.truth, new=new.shares,
    )  # fmt: skip
    quality = new.expected(draws=0)
    recalls = [item.value for item in quality.recall]
    ours = {
        "accuracy": quality.accuracy.value,
        "f1": quality.f1_macro.value,
        "recall": np.mean([value for value in recalls if value is not None]),
        **{
            f"true_{true}_pred_{answered}": quality.confusion[true, answered]
            for true in range(3)
            for answered in range(3)
        },
    }
    # It rounds sums of probabilities to five digits before it computes this one.
    assert found.pop("roc_auc") == pytest.approx(quality.auc, abs=1e-6)
    assert found == pytest.approx(ours, abs=1e-6)
