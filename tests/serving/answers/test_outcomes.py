"""Outcomes that came in: which answer they belong to, and what happens on a repetition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from components.config.data import Label
from components.errors import MasteryError
from serving.answers.outcomes import StoredOutcomes, store_outcomes
from serving.answers.tables import (
    Answer,
    DailyActivity,
    Learner,
    ModelVersion,
    Outcome,
    OutcomeSum,
    Scoring,
)
from tests.serving.answers.classroom import CLASSES, NOW, fill

LABEL = Label(column="mastery", classes=CLASSES)
LATER = NOW + timedelta(days=40)
Row = tuple[str, str, datetime, str]


def store(
    engine: Engine, rows: list[Row], *, label: Label = LABEL, now: datetime = LATER
) -> StoredOutcomes:
    """Stores outcomes: learner, unit, moment and class."""
    schema = {
        "learner_id": pl.String,
        "unit_id": pl.String,
        "as_of": pl.Datetime("us", "UTC"),
        "mastery": pl.String,
    }
    return store_outcomes(engine, pl.DataFrame(rows, schema, orient="row"), label, now=now)


def outcome(engine: Engine, *key: object) -> Outcome:
    """Returns a stored outcome."""
    with Session(engine) as session:
        return session.get_one(Outcome, key)


@pytest.fixture
def classroom(database: Engine) -> Engine:
    """Three learners with two units, scored on 28 days."""
    fill(database, learners=3, units=2, groups=2)
    return database


def test_outcome_is_beside_the_last_answer_before_it(classroom: Engine) -> None:
    moment = NOW - timedelta(days=3, hours=1)  # an hour before the third last answer
    stored = store(classroom, [("learner-0000", "unit-1", moment, "partial")])
    found = outcome(classroom, "learner-0000", "unit-1", moment)
    with Session(classroom) as session:
        answer = session.scalars(
            select(Answer)
            .where(Answer.learner_id == "learner-0000", Answer.unit_id == "unit-1")
            .where(Answer.as_of <= moment)
            .order_by(Answer.as_of.desc())
        ).first()

    assert answer is not None
    assert found.answered_as_of == answer.as_of == NOW - timedelta(days=4)
    assert found.predicted_class == answer.predicted_class
    assert found.lowest_probability == pytest.approx(answer.probabilities[0])
    assert (found.version_id, found.label, found.value) == (answer.version_id, "partial", None)
    assert (found.group_id, found.received_at) == ("group-0", LATER)
    assert stored.describe() == (
        "1 outcomes stored, 1 of them with an answer in the 28 days before."
    )


def test_answer_as_of_the_same_moment_counts(classroom: Engine) -> None:
    """It saw only what had happened before, as the model does in training."""
    store(classroom, [("learner-0000", "unit-0", NOW, "partial")])
    assert outcome(classroom, "learner-0000", "unit-0", NOW).answered_as_of == NOW


@pytest.mark.parametrize(("days", "answered"), [(28, True), (29, False)])
def test_answers_older_than_four_weeks_do_not_count(
    classroom: Engine, days: int, *, answered: bool
) -> None:
    moment = NOW + timedelta(days=days)
    stored = store(classroom, [("learner-0001", "unit-0", moment, "partial")])
    found = outcome(classroom, "learner-0001", "unit-0", moment)
    assert (found.version_id is not None) is answered
    assert (found.rule_warned is not None) is answered
    assert (stored.stored, stored.answered) == (1, int(answered))


@pytest.mark.parametrize(
    ("day", "warned"),
    [
        (NOW.date() - timedelta(days=8), True),  # too long ago
        (NOW.date() - timedelta(days=7), False),
        (NOW.date() - timedelta(days=1), False),
        (NOW.date(), True),  # its events may be later than the answer
    ],
)
def test_rule_warns_without_a_visit_in_seven_days(
    classroom: Engine, day: date, *, warned: bool
) -> None:
    with classroom.begin() as connection:
        connection.execute(delete(DailyActivity))
        visit = {"event_type": "video", "events": 1, "answered": 0, "correct": 0, "seconds": 1.0}
        keys = {"learner_id": "learner-0000", "unit_id": "unit-0", "day": day}
        connection.execute(insert(DailyActivity), [keys | visit])
    store(classroom, [("learner-0000", "unit-0", NOW, "partial")])
    assert outcome(classroom, "learner-0000", "unit-0", NOW).rule_warned is warned


def test_repetition_changes_nothing(classroom: Engine) -> None:
    rows: list[Row] = [
        (
            f"learner-000{number}",
            f"unit-{number % 2}",
            NOW + timedelta(days=number),
            CLASSES[number],
        )
        for number in range(3)
    ]
    first = store(classroom, rows)
    before = snapshot(classroom)
    assert store(classroom, rows, now=LATER + timedelta(days=1)) == first
    assert snapshot(classroom) == before


def test_corrected_label_replaces_the_old_one_in_the_sums_too(classroom: Engine) -> None:
    store(classroom, [("learner-0000", "unit-0", NOW, "partial")])
    later = LATER + timedelta(days=1)
    store(classroom, [("learner-0000", "unit-0", NOW, "not_mastered")], now=later)
    found = outcome(classroom, "learner-0000", "unit-0", NOW)
    assert (found.label, found.received_at) == ("not_mastered", later)
    with Session(classroom) as session:
        sums = session.scalars(select(OutcomeSum).where(OutcomeSum.month == "")).one()
    assert (sums.totals[0], sums.totals[2]) == (1, 1)  # outcomes, and those of the lowest class


def test_newest_version_wins_where_two_answered(classroom: Engine) -> None:
    with Session(classroom) as session, session.begin():
        old = session.scalars(select(Answer).where(Answer.as_of == NOW)).first()
        assert old is not None
        version = ModelVersion(
            model="sample", version=2, run=None, pushed_at=NOW, classes=CLASSES, metrics={},
            report=None, card=None,
        )  # fmt: skip
        session.add(version)
        session.flush()
        scoring = Scoring(version_id=version.id, as_of=NOW, started_at=NOW, finished_at=NOW)
        session.add(scoring)
        session.flush()
        values = {column.key: getattr(old, column.key) for column in Answer.__table__.columns}
        session.add(Answer(**values | {"version_id": version.id, "scoring_id": scoring.id}))
        newest, key = version.id, (old.learner_id, old.unit_id)
    store(classroom, [(*key, NOW, "partial")])
    assert outcome(classroom, *key, NOW).version_id == newest


def test_two_imports_at_once_are_as_one_after_the_other(classroom: Engine) -> None:
    rows: list[Row] = [
        (f"learner-000{place % 3}", f"unit-{place % 2}", NOW - timedelta(days=place), class_)
        for place, class_ in enumerate(CLASSES * 6)
    ]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: store(classroom, rows), range(4)))
    assert {result.stored for result in results} == {18}
    after = snapshot(classroom)
    store(classroom, rows)
    assert snapshot(classroom) == after


def test_failure_leaves_nothing_behind(classroom: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stopped here")

    rows: list[Row] = [("learner-0000", "unit-0", NOW, "partial")]
    with monkeypatch.context() as patch:
        patch.setattr("serving.answers.outcomes.refresh_sums", fail)
        with pytest.raises(RuntimeError, match="stopped here"):
            store(classroom, rows)
    assert snapshot(classroom) == []
    assert store(classroom, rows).stored == 1


def test_unknown_learners_are_left_out_and_counted(classroom: Engine) -> None:
    rows: list[Row] = [
        ("learner-0000", "unit-0", NOW, "partial"),
        ("stranger", "unit-0", NOW, "partial"),
    ]
    stored = store(classroom, rows)
    assert (stored.stored, stored.unknown) == (1, 1)
    assert "1 left out: their learners, such as 'stranger'" in stored.describe()
    with Session(classroom) as session:
        assert session.scalar(select(func.count()).select_from(Outcome)) == 1


def test_other_classes_than_the_versions_are_an_error(classroom: Engine) -> None:
    other = Label(column="mastery", classes=["low", "high"])
    with pytest.raises(MasteryError, match=r"expected those of a version.*found low, high"):
        store(classroom, [("learner-0000", "unit-0", NOW, "low")], label=other)


def test_regression_keeps_the_numbers(database: Engine) -> None:
    with Session(database) as session, session.begin():
        version = ModelVersion(
            model="points", version=1, run=None, pushed_at=NOW, classes=[], metrics={},
            report=None, card=None,
        )  # fmt: skip
        session.add(version)
        session.flush()
        scoring = Scoring(version_id=version.id, as_of=NOW, started_at=NOW, finished_at=NOW)
        session.add_all([scoring, Learner(learner_id="anna")])
        session.flush()
        session.add(
            Answer(
                learner_id="anna", unit_id="algebra", as_of=NOW, version_id=version.id,
                scoring_id=scoring.id, predicted_class=None, probabilities=[], prediction=61.5,
                need=0.4, basis="sequence", reasons=[], scored_at=NOW,
            )
        )  # fmt: skip
    rows = pl.DataFrame({"learner_id": ["anna"], "unit_id": ["algebra"], "as_of": [NOW]})
    rows = rows.with_columns(points=pl.lit(55.0))
    label = Label(column="points", task="regression")
    store_outcomes(database, rows, label, now=LATER)

    found = outcome(database, "anna", "algebra", NOW)
    assert (found.label, found.value, found.prediction) == (None, 55.0, 61.5)
    assert (found.lowest_probability, found.group_id) == (None, None)
    with Session(database) as session:
        sums = session.scalars(select(OutcomeSum).where(OutcomeSum.month == "2026-03")).one()
    assert sums.totals == [1, 6.5, 6.5, 6.5**2]


def snapshot(engine: Engine) -> list[dict[str, object]]:
    """Returns all outcomes and sums."""
    with Session(engine) as session:
        return [
            {column.key: getattr(row, column.key) for column in table.__table__.columns}
            for table in (Outcome, OutcomeSum)
            for row in session.scalars(select(table).order_by(*table.__table__.primary_key))
        ]
