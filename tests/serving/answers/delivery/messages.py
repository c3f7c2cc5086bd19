"""Messages for the tests: an alert, and how it gets into the outbox and out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from serving.answers.delivery.deliver import receivers
from serving.answers.delivery.outbox import enqueue
from serving.answers.delivery.sender import Report, send_due
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Message

ALERT: dict[str, Any] = {
    "subject": "1 learner of Group 0 needs help",
    "text": "New since yesterday:",
    "rows": [
        {
            "learner_id": "learner-0001", "learner": "Ada Ng", "unit_id": "unit-2",
            "unit": "Fractions", "class": "not_mastered", "probability": 0.91,
            "since": "2026-03-01T06:00:00Z",
            "reasons": ["no visit for 9 days", "2 of 9 answers were right"],
            "link": "https://board.example/learners/learner-0001?unit=unit-2",
        }
    ],
    "rule": "low",
    "language": "en",
}  # fmt: skip


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=1)  # after what a test enqueues

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def settings_of(**sections: Any) -> AnswersSettings:
    """Returns settings, as a file with these sections would say them."""
    return AnswersSettings.model_validate(sections)


def webhooks(**urls: str) -> AnswersSettings:
    """Returns settings with a channel per webhook."""
    channels = {
        name: {"kind": "webhook", "url": url, "timeout_seconds": 5} for name, url in urls.items()
    }
    return settings_of(channels=channels)


def put(engine: Engine, channel: str, *keys: str, **changes: Any) -> None:
    """Enqueues an alert under each key."""
    with Session(engine) as session, session.begin():
        for key in keys:
            enqueue(session, key, channel, {**ALERT, **changes}, ["learner-0001"])


def send(engine: Engine, settings: AnswersSettings, clock: Clock) -> Report:
    """Sends what is due by a clock."""
    return send_due(engine, receivers(settings), settings.delivery, clock=clock)


def row(engine: Engine, key: str) -> Message:
    """Returns a message as it is stored."""
    with Session(engine) as session:
        return session.scalars(select(Message).where(Message.key == key)).one()
