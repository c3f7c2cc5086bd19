"""What people did about answers: stored once, taken back, counted per version."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select
from sqlalchemy.orm import Session

from serving.answers import feedback
from serving.answers.feedback import (
    LONGEST_NOTE,
    UNDO_WITHIN,
    Feedback,
    FeedbackError,
    precision_in_use,
    record,
    undo,
    wilson_interval,
)
from serving.answers.tables import Action, CurrentAnswer, Learner
from tests.serving.answers.classroom import CLASSES, NOW, fill

LEARNER, UNIT = "learner-0000", "unit-1"
SOON = NOW + timedelta(minutes=1)


@pytest.fixture
def classroom(database: Engine) -> Engine:
    fill(database, learners=6, units=2)
    return database


def _answer(engine: Engine, learner: str = LEARNER) -> CurrentAnswer:
    with Session(engine) as session:
        return session.get_one(CurrentAnswer, (learner, UNIT))


def _said(engine: Engine, kind: str = "called", **changes: object) -> Feedback:
    answer = _answer(engine)
    said = Feedback(
        user="ada", learner_id=LEARNER, unit_id=UNIT, as_of=answer.as_of,
        version_id=answer.version_id, kind=kind, form="f",
    )  # fmt: skip
    return replace(said, **changes)  # type: ignore[arg-type]


def _record(engine: Engine, said: Feedback, at: object = NOW) -> int:
    with Session(engine) as session, session.begin():
        return record(session, said, at).id  # type: ignore[arg-type]


def _count(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Action)) or 0


def _other(engine: Engine) -> str:
    return next(name for name in CLASSES if name != _answer(engine).predicted_class)


def test_an_action_keeps_what_the_answer_said_not_what_the_form_says(classroom: Engine) -> None:
    number = _record(classroom, _said(classroom, note="at home"))

    with Session(classroom) as session:
        action = session.get_one(Action, number)
        assert action.predicted_class == _answer(classroom).predicted_class
        assert (action.user, action.kind, action.note, action.at) == (
            "ada",
            "called",
            "at home",
            NOW,
        )


def test_a_second_click_stores_nothing_and_another_statement_does(classroom: Engine) -> None:
    first = _record(classroom, _said(classroom))
    assert _record(classroom, _said(classroom), SOON) == first
    assert _count(classroom) == 1

    _record(classroom, _said(classroom, "helped"), SOON)  # the browser's "back", same form
    _record(classroom, _said(classroom, form="g"), SOON)
    assert _count(classroom) == 3


def test_two_clicks_at_the_same_time_store_one_action(
    classroom: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, numbers = _said(classroom), []
    both_looked = threading.Barrier(2, timeout=20)
    check = feedback._check

    def wait_for_the_other(*given: object) -> str | None:
        both_looked.wait()  # neither has found the action of the other
        return check(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(feedback, "_check", wait_for_the_other)
    threads = [
        threading.Thread(target=lambda: numbers.append(_record(classroom, said))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 2
    assert len(set(numbers)) == 1
    assert _count(classroom) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "fired"}, "choose what was done"),
        ({"note": "x" * (LONGEST_NOTE + 1)}, "too long"),
        ({"label": "genius"}, "none that the model knows"),
        ({"as_of": NOW - timedelta(seconds=1)}, "no longer there"),
        ({"learner_id": "nobody"}, "no longer there"),
        ({"kind": "snooze"}, "can be hidden until"),
        ({"kind": "snooze", "snooze_until": NOW}, "can be hidden until"),
        ({"kind": "snooze", "snooze_until": NOW + timedelta(days=400)}, "can be hidden until"),
    ],
)
def test_what_cannot_be_is_refused(
    classroom: Engine, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(FeedbackError, match=message):
        _record(classroom, _said(classroom, **changes))  # type: ignore[arg-type]
    assert _count(classroom) == 0


def test_an_answer_is_not_wrong_if_its_class_is_true(classroom: Engine) -> None:
    true = _answer(classroom).predicted_class
    with pytest.raises(FeedbackError, match="cannot be wrong"):
        _record(classroom, _said(classroom, "wrong", label=true))
    _record(classroom, _said(classroom, "wrong", label=_other(classroom)))


def _snoozed(engine: Engine) -> object:
    with Session(engine) as session:
        return session.get_one(Learner, LEARNER).snoozed_until


def _undo(engine: Engine, number: int, user: str = "ada", at: object = SOON) -> bool:
    with Session(engine) as session, session.begin():
        return undo(session, number, LEARNER, user, at)  # type: ignore[arg-type]


def test_undoing_a_snooze_brings_the_one_before_back(classroom: Engine) -> None:
    week, month = NOW + timedelta(days=7), NOW + timedelta(days=30)
    first = _record(classroom, _said(classroom, "snooze", snooze_until=week))
    second = _record(classroom, _said(classroom, "snooze", snooze_until=month), SOON)
    assert _snoozed(classroom) == month

    assert _undo(classroom, second)
    assert _snoozed(classroom) == week
    assert _undo(classroom, first)
    assert _snoozed(classroom) is None
    assert _count(classroom) == 0
    assert not _undo(classroom, first)


def test_only_ones_own_newest_action_of_today_is_undone(classroom: Engine) -> None:
    first = _record(classroom, _said(classroom))
    assert not _undo(classroom, first, user="max")
    assert not _undo(classroom, first, at=NOW + UNDO_WITHIN + timedelta(seconds=1))
    with Session(classroom) as session, session.begin():
        assert not undo(session, first, "learner-0001", "ada", SOON)

    second = _record(classroom, _said(classroom, "helped", user="max"), SOON)
    assert not _undo(classroom, first)
    assert _count(classroom) == 2
    assert _undo(classroom, second, user="max")
    assert _undo(classroom, first)


def test_precision_counts_the_newest_verdict_of_each_user(classroom: Engine) -> None:
    answer, other = _answer(classroom), _other(classroom)
    about = {"as_of": answer.as_of, "version_id": answer.version_id, "unit_id": UNIT}

    def say(learner: int, user: str, kind: str, label: str | None = None, minute: int = 0) -> None:
        with Session(classroom) as session, session.begin():
            predicted = _answer(classroom, f"learner-{learner:04}").predicted_class
            session.add(
                Action(
                    learner_id=f"learner-{learner:04}", user=user, kind=kind, note="",
                    at=NOW + timedelta(minutes=minute), predicted_class=predicted, label=label,
                    snooze_until=None, **about,
                )
            )  # fmt: skip

    say(0, "ada", "called")  # right
    say(1, "ada", "wrong")
    say(1, "ada", "helped", minute=1)  # changed her mind: right
    say(2, "ada", "called")
    say(2, "max", "not_applicable")  # disputed
    say(3, "ada", "snooze")  # no verdict
    predicted = _answer(classroom, "learner-0004").predicted_class
    say(4, "ada", "called", next(name for name in CLASSES if name != predicted))  # not right
    say(5, "ada", "not_applicable")  # not right
    assert other

    with Session(classroom) as session:
        found = precision_in_use(session)
        assert precision_in_use(session, version_ids=[99]) == {}
    assert [*found] == [answer.version_id]
    precision = found[answer.version_id]
    assert (precision.right, precision.acted, precision.disputed) == (2, 4, 1)
    assert precision.share == 0.5
    assert precision.interval == wilson_interval(2, 4)


@given(
    st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
)
def test_wilsons_ends_are_where_the_test_of_the_share_just_rejects(counts: tuple[int, int]) -> None:
    successes, trials = counts
    share = successes / trials
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            z = (share - end) / math.sqrt(end * (1 - end) / trials)
            assert abs(z) == pytest.approx(1.959964, rel=1e-4)


def test_recording_takes_a_constant_number_of_queries(classroom: Engine) -> None:
    said, queries = _said(classroom), []
    event.listen(classroom, "before_cursor_execute", lambda *given: queries.append(given[2]))
    _record(classroom, said)
    assert len(queries) == 3  # the form, the answer, the action
