"""What is drawn, what ends early, and what an interruption changes: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.contracts.tuning import Trial
from pipeline.tuning.fits import FitEnd
from pipeline.tuning.space import Choices, Range, Space
from pipeline.tuning.study import RunningTrial, Study

SPACE = Space(
    {
        "training.learning_rate": Range(low=0.001, high=0.1, log=True),
        "model.lstm": Choices(choices=[[64, 32], [128]]),
        "training.patience": Range(low=2, high=4),
    }
)
GIVEN = {"training.learning_rate": 0.01, "model.lstm": [128], "training.patience": 3}


def study(folder: Path, *, space: Space = SPACE, given: dict[str, Any] | None = None) -> Study:
    return Study(folder, "abc", space, given or GIVEN, seed=5)


def loss(values: dict[str, Any]) -> float:
    """A loss that only the learning rate decides, lowest at 0.02."""
    return abs(float({**GIVEN, **values}["training.learning_rate"]) - 0.02)


def finish(trial: RunningTrial) -> None:
    if trial.same is not None:
        trial.end_like_same()
        return
    value = loss(trial.values)
    losses = []
    for epoch in range(1, 5):
        losses.append(value / epoch)
        if not trial.after_epoch(epoch, losses[-1]):
            trial.end(FitEnd("pruned", losses, 1.0))
            return
    trial.end(FitEnd("complete", losses, 1.0))


def run(found: Study, count: int) -> list[Trial]:
    while len(found.trials) < count:
        finish(found.start_next() if found.trials else found.start_given())
    return found.trials


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of 16 trials."""
    found = study(tmp_path_factory.mktemp("searched"))
    run(found, 16)
    return found


def test_the_given_configuration_is_first_and_worse_trials_end_early(searched: Study) -> None:
    trials = searched.trials
    assert trials[0].values == {}
    assert [trial.number for trial in trials] == [*range(1, 17)]
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.epochs > 2 for trial in pruned if trial.same_as is None)
    best = min(trial.eval_loss for trial in trials if trial.eval_loss is not None)
    assert best < 0.5 * loss(GIVEN) / 4
    for trial in trials[1:]:
        assert 0.001 <= trial.values["training.learning_rate"] <= 0.1
        assert trial.values["model.lstm"] in ([64, 32], [128])
        assert trial.values["training.patience"] in (2, 3, 4)


def test_an_interruption_changes_no_trial(searched: Study, tmp_path: Path) -> None:
    run(study(tmp_path), 3)
    interrupted = study(tmp_path).start_next()  # as after kill -9: nothing is said of its end
    interrupted.after_epoch(1, 0.5)
    run(study(tmp_path), 9)
    told = study(tmp_path).start_next()
    told.interrupt()
    assert run(study(tmp_path), 12) == searched.trials[:12]


def test_given_values_outside_the_space_are_compared_all_the_same(tmp_path: Path) -> None:
    given = {**GIVEN, "model.lstm": [8]}
    trials = run(study(tmp_path, given=given), 3)
    assert (trials[0].values, trials[0].eval_loss) == ({}, loss(GIVEN) / 4)
    assert all(trial.values for trial in trials[1:])


def test_values_are_fitted_once(tmp_path: Path) -> None:
    space = Space({"training.patience": Range(low=3, high=4)})
    trials = run(study(tmp_path, space=space, given={"training.patience": 3}), 5)
    fresh = [trial for trial in trials if trial.same_as is None]
    assert len(fresh) <= 2
    for trial in trials:
        if trial.same_as:
            other = trials[trial.same_as - 1]
            assert (trial.eval_loss, trial.epoch, trial.seconds) == (
                other.eval_loss, other.epoch, 0.0,
            )  # fmt: skip


def test_importance_names_what_decides_the_loss(searched: Study) -> None:
    importance = searched.importance()
    assert next(iter(importance)) == "training.learning_rate"
    assert sum(importance.values()) == pytest.approx(1)


def test_few_trials_have_no_importance(tmp_path: Path) -> None:
    found = study(tmp_path)
    run(found, 3)
    assert found.importance() == {}


FAILURES: list[Callable[[RunningTrial], None]] = [
    lambda trial: trial.end(FitEnd("failed", [0.5], 1.0, "it diverged")),
    lambda trial: trial.end(FitEnd("failed", reason="it diverged")),
]


@pytest.mark.parametrize("fail", FAILURES)
def test_a_failed_trial_counts_and_has_no_loss(
    tmp_path: Path, fail: Callable[[RunningTrial], None]
) -> None:
    found = study(tmp_path)
    run(found, 1)
    fail(found.start_next())
    _, failed = found.trials
    assert (failed.state, failed.eval_loss, failed.reason) == ("failed", None, "it diverged")
    assert run(found, 3)[2].state != "failed"
