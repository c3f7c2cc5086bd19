"""What follows a scoring: its answers go to where people work, and its alerts into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from components.event_log.left_out import read_left_out
from serving.answers.alerts.evaluation import Told, run_alerts
from serving.answers.delivery.deliver import deliver_answers
from serving.answers.tables import ModelVersion

if TYPE_CHECKING:
    from serving.answers.scoring.versions import PushedVersion
    from serving.answers.settings import AnswersSettings


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
    is_left_out = (lambda _: False) if left_out is None else left_out.known.holds
    return run_alerts(engine, settings, now, is_left_out=is_left_out)
