"""Answers for tests of alerts, row by row, and what became of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from serving.answers.alerts.evaluation import Told
from serving.answers.need import expected_need
from serving.answers.settings import AnswersSettings
from serving.answers.tables import (
    Alert,
    CurrentAnswer,
    Group,
    Learner,
    Message,
    ModelVersion,
    Scoring,
    Unit,
)

CLASSES = ["low", "middle", "high"]
MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def settings_with(*rules: dict[str, Any], **alerts: Any) -> AnswersSettings:
    """Returns settings with rules, each with defaults, and the channels `mail` and `file`."""
    default = {"name": "call", "when": "p(low) >= 0.5", "to": ["mail"]}
    channel = {"kind": "file", "path": "told.jsonl"}
    return AnswersSettings.model_validate({
        "channels": {"mail": channel, "file": channel},
        "alerts": {"time_zone": "Europe/Berlin", **alerts,
                   "rules": [{**default, **rule} for rule in rules or [{}]]},
    })  # fmt: skip


def score(
    engine: Engine,
    lows: dict[tuple[str, str], float],
    *,
    as_of: datetime = MONDAY,
    classes: Sequence[str] = CLASSES,
    version: int = 1,
    groups: dict[str, str] | None = None,
    **columns: Any,
) -> None:
    """Writes the newest answers, as a scoring at a moment would leave them.

    Args:
        engine: the database.
        lows: the probability of `low`, by learner and unit.
        as_of: the moment.
        classes: of the version.
        version: which one answers.
        groups: of the learners.
        columns: of each answer, in place of those that it has.
    """
    with Session(engine) as session, session.begin():
        if session.get(ModelVersion, version) is None:
            session.add(
                ModelVersion(id=version, model="m", version=version, run=None, pushed_at=None,
                             classes=[*classes], metrics={}, report=None, card=None)
            )  # fmt: skip
            session.flush()
        scoring = Scoring(version_id=version, as_of=as_of, started_at=as_of, finished_at=as_of,
                          answers=len(lows))  # fmt: skip
        session.add(scoring)
        for group in {*(groups or {}).values()}:
            session.merge(Group(group_id=group, name=f"Group {group}", region=None))
        session.flush()
        for (learner, unit), low in lows.items():
            group = (groups or {}).get(learner)
            session.merge(Learner(learner_id=learner, name=learner.title(), group_id=group))
            session.merge(Unit(unit_id=unit, title=unit.title(), course=None, prerequisites=[]))
            session.merge(_answer(learner, unit, low, as_of, classes, version, group, columns))


def _answer(
    learner: str,
    unit: str,
    low: float,
    as_of: datetime,
    classes: Sequence[str],
    version: int,
    group: str | None,
    columns: dict[str, Any],
) -> CurrentAnswer:
    rest = round((1 - low) / (len(classes) - 1), 6)
    probabilities = [low if name == "low" else rest for name in classes]
    values: dict[str, Any] = {
        "predicted_class": classes[probabilities.index(max(probabilities))],
        "probabilities": probabilities, "prediction": None, "need": expected_need(probabilities),
        "basis": "sequence", "reasons": [], "since": as_of, "previous_class": None,
        "first_event_at": as_of - 10 * DAY, "last_event_at": as_of - DAY,
    }  # fmt: skip
    return CurrentAnswer(
        learner_id=learner, unit_id=unit, as_of=as_of, scored_at=as_of, version_id=version,
        group_id=group, **(values | columns),
    )  # fmt: skip


def learners(told: Told) -> list[str]:
    """Returns of whom a rule told, in its order."""
    return [candidate.learner_id for candidate in told.decision.told]


def near(told: Told) -> dict[str, str]:
    """Returns why the others were not told about."""
    return {candidate.learner_id: reason for candidate, reason in told.decision.near_misses}


def messages(engine: Engine) -> list[Message]:
    """Returns the outbox, in the order in which messages were written."""
    with Session(engine) as session:
        return [*session.scalars(select(Message).order_by(Message.id))]


def alerts(engine: Engine) -> list[Alert]:
    """Returns what is remembered of what was told."""
    with Session(engine) as session:
        return [*session.scalars(select(Alert).order_by(Alert.id))]
