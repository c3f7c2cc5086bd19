"""What follows a scoring: its answers go to where people work, and its alerts into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from components.contracts.left_out import read_left_out
from serving.answers.alerts.evaluation import Told, run_alerts
from serving.answers.current_sums import refresh_current_sums
from serving.answers.delivery.deliver import deliver_answers
from serving.answers.tables import ComponentResult, CurrentAnswer, Learner, ModelVersion

if TYPE_CHECKING:
    from serving.answers.scoring.versions import PushedVersion
    from serving.answers.settings import AnswersSettings


def withdraw(engine: Engine, version: PushedVersion) -> int:
    """Takes learners who are left out off the board; returns how many had answers there.

    Scoring leaves them out, but their answers from before would stay. What was answered earlier is
    kept for those who only opted out; `mastery learner erase` removes it.
    """
    left_out = read_left_out(version.config.data.left_out)
    if left_out is None or not left_out.learners:
        return 0
    with engine.begin() as connection:
        shown = connection.scalars(select(CurrentAnswer.learner_id).distinct())
        gone = [learner for learner in shown if left_out.holds(learner)]
        for learner in gone:
            for table in (CurrentAnswer, ComponentResult):
                connection.execute(delete(table).where(table.learner_id == learner))
            connection.execute(
                update(Learner)
                .where(Learner.learner_id == learner)
                .values(
                    unit_id=None,
                    predicted_class=None,
                    need=0.0,
                    decisions=None,
                    units=0,
                    last_event_at=None,
                )
            )
        if gone:
            refresh_current_sums(connection)
    return len(gone)


def follow_up(
    engine: Engine,
    settings: AnswersSettings,
    version: PushedVersion,
    moments: Sequence[datetime],
    now: datetime,
) -> list[Told]:
    """Writes the messages about finished scorings into the outbox; `answers send` sends them.

    Repeating it tells nobody twice, so a scoring that was killed here is simply run again.

    Args:
        engine: the answers' database.
        settings: who gets what.
        version: that answered.
        moments: of the scorings.
        now: when rules are evaluated: capacity, cool-down and quiet hours go by it.

    Returns:
        What became of each rule.

    Raises:
        AlertsError: a rule does not fit the models that answered; nobody was told.
    """
    with Session(engine) as session:
        version_id = session.scalars(
            select(ModelVersion.id).where(
                ModelVersion.model == version.name, ModelVersion.version == version.number
            )
        ).one()
    for moment in moments:
        deliver_answers(engine, settings, version_id, moment)

    left_out = read_left_out(version.config.data.left_out)
    is_left_out = (lambda _: False) if left_out is None else left_out.holds
    return run_alerts(engine, settings, now, is_left_out=is_left_out)
