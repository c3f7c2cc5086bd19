"""What is sent to others, and what the server answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from serving.answers.tables.base import Id, Table


class Alert(Table):
    """A rule that told somebody about an answer.

    Attributes:
        rule: the rule's name.
        at: when the message may leave: then, or at the end of quiet hours.
        key: what the keys of its messages in the outbox begin with; the same for a repetition.
    """

    __tablename__ = "alerts"
    __table_args__ = (Index(None, "rule", "learner_id", "at"), Index(None, "rule", "at"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    rule: Mapped[str]
    learner_id: Mapped[str]
    unit_id: Mapped[str]
    as_of: Mapped[datetime]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    at: Mapped[datetime]
    key: Mapped[str]


class Message(Table):
    """A message of the outbox: written with what it reports, sent at least once.

    Attributes:
        key: idempotency key; a second message of the same key is not written, also after the first
            was sent.
        channel: name of the channel or destination in the settings.
        payload: what to send; its form belongs to the channel's kind. Empty once it is sent.
        learner_ids: whom it is about, for the right to be forgotten. Empty once it is sent.
        not_before: quiet hours, the wait after a failed attempt, or until when a sender has
            claimed it.
        sent_at: None until a receiver has taken it.
        given_up_at: when no further attempt will be made.
        error: of the last attempt.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("key"),
        Index(
            "ix_outbox_waiting",
            "channel",
            "id",
            postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL"),
            sqlite_where=text("sent_at IS NULL AND given_up_at IS NULL"),
        ),
        Index(
            "ix_outbox_given_up",
            "channel",
            "id",
            postgresql_where=text("given_up_at IS NOT NULL"),
            sqlite_where=text("given_up_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[str]
    channel: Mapped[str]
    payload: Mapped[dict[str, Any]]
    learner_ids: Mapped[list[str]]
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    error: Mapped[str | None]


class ServedAnswer(Table):
    """One row of the prediction log: what the server answered to whoever asked.

    Attributes:
        label: the version label that was asked for, if any.
        input_hash: SHA-256 of the example, in hexadecimal.
        answer: the outputs for this example, by name.
        latency: seconds from the request's arrival to its answer.
        shadow: whether the answer was returned to nobody: another version's, for comparison.
    """

    __tablename__ = "served_answers"
    __table_args__ = (Index(None, "at"), Index(None, "shadow", "at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    model: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str | None]
    input_hash: Mapped[str]
    answer: Mapped[dict[str, Any]]
    latency: Mapped[float]
    shadow: Mapped[bool] = mapped_column(default=False, server_default=false())
