"""Changes of course: each has the effect that it names, and no other, on what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.changes import (
    GUESS,
    JOB_LEVELS,
    KINDS,
    NEW_COMPONENTS,
    NEW_UNIT,
    OLD_UNIT,
    Change,
    admitted,
    kinds_in,
    read_changes,
    teaching_after,
)
from components.simulator.posterior import posterior
from components.simulator.sequences import Sequences
from components.simulator.weeks import Delivery, draw_week

LEARNERS = 2000


@pytest.fixture(scope="module")
def weeks() -> dict[str, Delivery]:
    """The same week without a change, and with each of them."""
    drawn = {}
    for kind in ("none", *KINDS):
        changes = [Change(kind, 2)] if kind in KINDS else []
        [drawn[kind]] = draw_week(7, 2, LEARNERS, changes)
    return drawn


def steps(sequences: Sequences) -> np.ndarray:
    """Returns which steps are events, `[B, T]`."""
    return np.arange(sequences.time.shape[1]) < sequences.events[:, None]


def f1(delivery: Delivery, *, knows_change: bool) -> float:
    """Returns macro F1 of the exact answers, by what events mean now or meant before."""
    teaching = delivery.teaching if knows_change else model.TEACHING
    answers = posterior(delivery.sequences, teaching=teaching).argmax(axis=1)
    return float(f1_score(delivery.sequences.label, answers, average="macro"))


def test_other_learners_come_and_events_mean_the_same(weeks: dict[str, Delivery]) -> None:
    plain, changed = weeks["none"].sequences, weeks["intake"].sequences
    shares = np.bincount(changed.attributes["job_level"]) / len(changed.label)
    np.testing.assert_allclose(shares, JOB_LEVELS, atol=0.03)
    assert np.bincount(plain.attributes["job_level"])[0] / len(plain.label) < 0.4
    assert weeks["intake"].teaching is model.TEACHING

    # Calibration of the exact probabilities holds: as many of each class as they say.
    expected = posterior(changed).mean(axis=0)
    found = np.bincount(changed.label) / len(changed.label)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found[0] > np.bincount(plain.label)[0] / len(plain.label)


def test_a_unit_is_replaced_and_the_others_stay(weeks: dict[str, Delivery]) -> None:
    plain, changed = weeks["none"].sequences, weeks["content"].sequences
    catalogue = weeks["content"].teaching.catalogue
    assert OLD_UNIT not in catalogue
    assert catalogue[NEW_UNIT] == NEW_COMPONENTS
    assert set(weeks["content"].events()["unit_id"].unique().to_pylist()) == set(catalogue)

    is_new = changed.unit == [*catalogue].index(NEW_UNIT)
    shown = steps(changed)
    now, before = (
        [values[is_new][shown[is_new]] for values in (sequences.event_type, sequences.dwell)]
        for sequences in (changed, plain)
    )
    assert np.mean(now[0] == model.VIDEO) > np.mean(before[0] == model.VIDEO) + 0.15
    assert np.nanmean(now[1]) > 1.3 * np.nanmean(before[1])
    for name in ("event_type", "dwell", "correct", "label"):
        np.testing.assert_array_equal(
            getattr(changed, name)[~is_new], getattr(plain, name)[~is_new]
        )


def test_answers_no_longer_say_what_they_said(weeks: dict[str, Delivery]) -> None:
    plain, changed = weeks["none"].sequences, weeks["relation"].sequences
    weak = changed.label == 0
    assert np.nanmean(changed.correct[weak]) > np.nanmean(plain.correct[weak]) + 0.2
    assert np.nanmean(changed.completed[weak]) > np.nanmean(plain.completed[weak]) + 0.1
    np.testing.assert_array_equal(changed.label, plain.label)
    np.testing.assert_array_equal(changed.event_type, plain.event_type)
    others = ~np.isin(changed.event_type, (model.EXERCISE, model.QUIZ))
    np.testing.assert_array_equal(changed.dwell[others], plain.dwell[others])
    assert (weeks["relation"].teaching.knows >= GUESS).all()


def test_the_old_model_is_as_good_after_a_change_of_intake_only(
    weeks: dict[str, Delivery],
) -> None:
    before = f1(weeks["none"], knows_change=True)
    assert f1(weeks["intake"], knows_change=False) == pytest.approx(before, abs=0.02)
    assert f1(weeks["content"], knows_change=False) < before - 0.03
    assert f1(weeks["relation"], knows_change=False) < before - 0.15


def test_a_model_that_knows_the_change_is_nearly_as_good_as_before(
    weeks: dict[str, Delivery],
) -> None:
    before = f1(weeks["none"], knows_change=True)
    assert f1(weeks["content"], knows_change=True) == pytest.approx(before, abs=0.02)
    assert f1(weeks["relation"], knows_change=True) > before - 0.07


def test_changes_last_and_add_up() -> None:
    changes = read_changes(["relation:4", "content:2"], weeks=5)
    assert changes == [Change("content", 2), Change("relation", 4)]
    assert [kinds_in(changes, week) for week in (1, 2, 3, 4, 5)] == [
        set(), {"content"}, {"content"}, {"content", "relation"}, {"content", "relation"},
    ]  # fmt: skip
    both = teaching_after(KINDS)
    assert NEW_UNIT in both.catalogue
    np.testing.assert_array_equal(both.types, teaching_after(["content"]).types)
    np.testing.assert_array_equal(both.knows, teaching_after(["relation"]).knows)


def test_probabilities_of_every_teaching_are_probabilities() -> None:
    for kinds in ((), ("content",), ("relation",), KINDS):
        teaching = teaching_after(kinds)
        np.testing.assert_allclose(teaching.types.sum(axis=2), 1)
        for chances in (teaching.completed, teaching.knows):
            assert ((chances > 0) & (chances < 1)).all()
        assert (teaching.dwell > 0).all()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("weather:3", "expected KIND:WEEK .* found 'weather:3'"),
        ("intake", "expected KIND:WEEK .* found 'intake'"),
        ("intake:x", "expected KIND:WEEK .* found 'intake:x'"),
        ("intake:0", "expected a week from 1 to 5, found 0"),
        ("intake:6", "expected a week from 1 to 5, found 6"),
    ],
)
def test_a_change_that_is_none_is_explained(text: str, found: str) -> None:
    with pytest.raises(MasteryError, match=found):
        read_changes([text], weeks=5)


def test_a_kind_changes_once() -> None:
    with pytest.raises(MasteryError, match="expected once, found 2 times"):
        read_changes(["intake:1", "intake:3"], weeks=5)


def test_too_few_learners_of_a_level_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected \d+ learners of job level 0, drew 10"):
        admitted(np.zeros(10, np.int64), 100, ["intake"], [1])
