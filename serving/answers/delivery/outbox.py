"""The outbox: messages are written with what they report, claimed by one sender at a time, marked.

A claim is a lease in `not_before`: until it ends, no other sender takes the message. So no
transaction is open while a message travels, and a sender that dies in between delays the message
and loses nothing; what it had already sent is repeated once, with the same key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from serving.answers.tables import Message

_NAMESPACE = uuid.UUID("4f1c2f0a-5d0e-5b52-9a53-0d2b8f0f9f6e")  # of the ids of messages


def enqueue(
    session: Session,
    key: str,
    channel: str,
    payload: dict[str, Any],
    learner_ids: Sequence[str],
    not_before: datetime | None = None,
) -> bool:
    """Writes a message in the caller's transaction; a second one of the same key is not written.

    Args:
        session: commits or rolls back the message with what it reports.
        key: idempotency key: what the message says, to whom. It stays after the message is sent
            and its learners are erased, so it holds no learner's id (a hash of it is fine).
        channel: a name in `channels` of the settings.
        payload: for a channel, `serving.answers.delivery.notice.Notice`, dumped as JSON.
        learner_ids: whom it is about.
        not_before: the end of quiet hours; None for now.

    Returns:
        False if there is a message of this key, sent or not.
    """
    now = datetime.now(UTC)
    message = {
        "key": key, "channel": channel, "payload": payload, "learner_ids": list(learner_ids),
        "created_at": now, "not_before": not_before or now, "attempts": 0,
    }  # fmt: skip
    return enqueue_all(session, [message]) == 1


def enqueue_all(session: Session, messages: Sequence[dict[str, Any]]) -> int:
    """Writes messages with one statement; returns how many of them were new."""
    if not messages:
        return 0
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement: Insert = dialect.insert(Message).on_conflict_do_nothing(index_elements=["key"])
    done = session.execute(statement.values(list(messages)))
    return int(done.rowcount)  # type: ignore[attr-defined]


def message_id(key: str) -> str:
    """Returns what a receiver recognises a repeated message by: a UUID made from its key.

    Keys hold names of any script, and headers of HTTP and mail do not.

    >>> message_id("low/2026-03-02/learner-1") == message_id("low/2026-03-02/learner-1")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, key))
