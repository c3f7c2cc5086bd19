"""More of a life for some learners of the classroom: gaps, versions, people, outcomes, odd ids."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from serving.answers.current_sums import refresh_current_sums
from serving.answers.tables import (
    Action,
    Answer,
    CurrentAnswer,
    DailyActivity,
    Learner,
    ModelVersion,
    Outcome,
    Scoring,
)
from tests.serving.answers.classroom import CLASSES, NOW

ODD_LEARNER = "../a b/ü?#%~ &<i>"
ODD_UNIT = "1/2\\..;x"
UNSCORED = [NOW - timedelta(days=9), NOW - timedelta(days=10)]
REASON = {"feature": "pauses", "direction": "high", "weight": 0.4,
          "text": {"en": "long pauses between visits", "de": "lange Pausen"}}  # fmt: skip


def add_life(engine: Engine) -> None:
    """Adds to a classroom.

    `learner-0000` in `unit-0` was not scored on two days, has answers of a second version for the
    last five, was called, and has an outcome. A learner and a unit have ids of odd characters.
    """
    with Session(engine) as session, session.begin():
        first = session.scalars(select(ModelVersion)).one()
        second = ModelVersion(
            model="sample", version=1795400000, run=None, pushed_at=NOW, classes=CLASSES,
            metrics={}, report=None,
        )  # fmt: skip
        session.add(second)
        session.flush()

        here = {"learner_id": "learner-0000", "unit_id": "unit-0"}
        session.execute(delete(Answer).where(
            Answer.learner_id == "learner-0000", Answer.unit_id == "unit-0",
            Answer.as_of.in_(UNSCORED),
        ))  # fmt: skip
        for days in range(5):
            _add_answer(
                session, here, second.id, days, [0.8, 0.15, 0.05] if days else [0.1, 0.6, 0.3]
            )
        session.add_all([
            Action(**here, kind="called", note="left a message <b>", user="ada",
                   at=NOW - timedelta(days=3), as_of=NOW - timedelta(days=3),
                   version_id=first.id, predicted_class="not_mastered"),
            Outcome(**here, as_of=NOW - timedelta(days=2), label="proficient", value=None,
                    received_at=NOW - timedelta(days=1), version_id=first.id,
                    answered_as_of=NOW - timedelta(days=3), predicted_class="not_mastered",
                    prediction=None, rule_warned=False, group_id="group-0"),
        ])  # fmt: skip
        _add_odd_learner(session, first.id)
        session.flush()
        refresh_current_sums(session.connection())


def _add_answer(
    session: Session, key: dict[str, str], version_id: int, days: int, probabilities: list[float]
) -> None:
    as_of = NOW - timedelta(days=days)
    scoring = Scoring(version_id=version_id, as_of=as_of, started_at=as_of, finished_at=as_of)
    session.add(scoring)
    session.flush()
    session.add(
        Answer(
            **key, as_of=as_of, version_id=version_id, scoring_id=scoring.id, scored_at=as_of,
            predicted_class=CLASSES[probabilities.index(max(probabilities))],
            probabilities=probabilities, prediction=None, need=0.5, basis="sequence",
            reasons=[REASON],
        )
    )  # fmt: skip


def _add_odd_learner(session: Session, version_id: int) -> None:
    key = {"learner_id": ODD_LEARNER, "unit_id": ODD_UNIT}
    session.add(
        Learner(learner_id=ODD_LEARNER, name=None, group_id="group-0", unit_id=ODD_UNIT,
                need=0.99, units=1, last_event_at=NOW)
    )  # fmt: skip
    _add_answer(session, key, version_id, 0, [0.98, 0.02, 0.0])
    session.add_all([
        CurrentAnswer(
            **key, as_of=NOW, version_id=version_id, predicted_class="not_mastered",
            probabilities=[0.98, 0.02, 0.0], prediction=None, need=0.99, basis="prior", reasons=[],
            scored_at=NOW, since=NOW, previous_class=None, group_id="group-0",
            first_event_at=NOW, last_event_at=NOW,
        ),
        DailyActivity(**key, day=NOW.date(), event_type="<video>", events=3, answered=0,
                      correct=0, seconds=90.0),
    ])  # fmt: skip
