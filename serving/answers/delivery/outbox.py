"""The outbox: messages are written with what they report, claimed by one sender at a time, marked.

A claim is a lease in `not_before`: until it ends, no other sender takes the message. So no
transaction is open while a message travels, and a sender that dies in between delays the message
and loses nothing; what it had already sent is repeated once, with the same key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, and_, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from serving.answers.tables import Message

_WAITING = (Message.sent_at.is_(None), Message.given_up_at.is_(None))
_GIVEN_UP = Message.given_up_at.is_not(None)
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
    statement = (
        dialect.insert(Message)
        .values(list(messages))
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(Message.id)
    )
    return len(session.execute(statement).all())


def message_id(key: str) -> str:
    """Returns what a receiver recognises a repeated message by: a UUID made from its key.

    Keys hold names of any script, and headers of HTTP and mail do not.

    >>> message_id("low/2026-03-02/learner-1") == message_id("low/2026-03-02/learner-1")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, key))


@dataclass
class Claim:
    """A message that this sender may send until its lease ends.

    Attributes:
        attempts: with this one; it tells this claim from an earlier or later one.
        left: what the next attempt has to send, if this one sent a part; None for all of it.
    """

    id: int
    key: str
    channel: str
    payload: dict[str, Any]
    learner_ids: list[str]
    attempts: int
    left: dict[str, Any] | None = None


def due_channels(engine: Engine, now: datetime) -> list[str]:
    """Returns the channels with messages to send now."""
    statement = select(Message.channel).where(*_WAITING, Message.not_before <= now).distinct()
    with engine.connect() as connection:
        return sorted(connection.scalars(statement))


def claim(
    engine: Engine, channel: str, now: datetime, lease: timedelta, *, in_order: bool
) -> Claim | None:
    """Returns a channel's next message that is due, kept from other senders for a while.

    Args:
        engine: the answers' database.
        channel: whose message.
        now: the moment.
        lease: how long it is kept; longer than sending takes.
        in_order: whether a message waits for every earlier one of the channel, also for those that
            another sender has claimed.

    Returns:
        None if nothing is due.
    """
    first = select(Message.id).where(Message.channel == channel, *_WAITING)
    if not in_order:
        first = first.where(Message.not_before <= now)
    first = first.order_by(Message.id).limit(1)
    # Without an order, what another sender is just claiming is passed over.
    first = first.with_for_update(skip_locked=not in_order)
    statement = (
        update(Message)
        .where(Message.id == first.scalar_subquery(), Message.not_before <= now, *_WAITING)
        .values(not_before=now + lease, attempts=Message.attempts + 1)
        .returning(
            Message.id, Message.key, Message.channel, Message.payload, Message.learner_ids,
            Message.attempts,
        )
    )  # fmt: skip
    with engine.begin() as connection:
        row = connection.execute(statement).one_or_none()
    return Claim(*row) if row else None


def mark_sent(engine: Engine, claimed: Claim, now: datetime) -> None:
    """Marks a message as sent, and forgets all of it but the key."""
    values = {"sent_at": now, "payload": {}, "learner_ids": [], "error": None}
    with engine.begin() as connection:
        connection.execute(update(Message).where(Message.id == claimed.id).values(**values))


def mark_waiting(engine: Engine, claimed: Claim, until: datetime, error: str) -> None:
    """Marks an attempt as failed: the next one comes later, with what is left in the payload."""
    _mark(engine, claimed, not_before=until, error=error)


def mark_given_up(engine: Engine, claimed: Claim, now: datetime, error: str) -> None:
    """Marks a message as given up: no further attempt is made."""
    _mark(engine, claimed, given_up_at=now, error=error)


def _mark(engine: Engine, claimed: Claim, **values: Any) -> None:
    # A sender whose lease has ended says nothing about what another has sent or tried since.
    is_ours = (Message.id == claimed.id, Message.attempts == claimed.attempts, *_WAITING)
    ours = update(Message).where(*is_ours)
    with engine.begin() as connection:
        if claimed.left is not None:
            # If a learner was erased meanwhile, the shorter payload in the table stays.
            same_learners = Message.learner_ids == claimed.learner_ids
            connection.execute(ours.where(same_learners).values(payload=claimed.left))
        connection.execute(ours.values(**values))


def rest(engine: Engine, channel: str, until: datetime) -> None:
    """Lets all of a channel's messages wait: its receiver takes none for now."""
    statement = (
        update(Message)
        .where(Message.channel == channel, *_WAITING, Message.not_before < until)
        .values(not_before=until)
    )
    with engine.begin() as connection:
        connection.execute(statement)


@dataclass(frozen=True)
class Unsent:
    """A message that has not arrived.

    Attributes:
        not_before: when it is tried again; None if it is given up.
        error: of the last attempt; None if there was none.
    """

    channel: str
    key: str
    created_at: datetime
    attempts: int
    not_before: datetime | None
    error: str | None


def count_unsent(engine: Engine) -> dict[str, tuple[int, int]]:
    """Returns how many messages wait and how many are given up, by channel."""
    given_up = func.count(Message.given_up_at)
    statement = (
        select(Message.channel, func.count() - given_up, given_up)
        .where(or_(and_(*_WAITING), _GIVEN_UP))
        .group_by(Message.channel)
        .order_by(Message.channel)
    )
    with engine.connect() as connection:
        return {name: (waiting, gone) for name, waiting, gone in connection.execute(statement)}


def list_unsent(engine: Engine, most: int, channel: str | None = None) -> list[Unsent]:
    """Returns messages that have not arrived: those given up first, then the oldest."""
    statement = (
        select(
            Message.channel, Message.key, Message.created_at, Message.attempts,
            case((_GIVEN_UP, None), else_=Message.not_before), Message.error,
        )
        .where(or_(and_(*_WAITING), _GIVEN_UP))
        .order_by(Message.given_up_at.is_(None), Message.id)
        .limit(most)
    )  # fmt: skip
    if channel is not None:
        statement = statement.where(Message.channel == channel)
    with engine.connect() as connection:
        return [Unsent(*row) for row in connection.execute(statement)]


def retry(
    engine: Engine, now: datetime, *, channel: str | None = None, key: str | None = None
) -> int:
    """Makes messages that were given up due again, with all their attempts; returns how many.

    Args:
        engine: the answers' database.
        now: when they are due.
        channel: only those of this channel.
        key: only the one of this key.
    """
    statement = update(Message).where(_GIVEN_UP)
    if channel is not None:
        statement = statement.where(Message.channel == channel)
    if key is not None:
        statement = statement.where(Message.key == key)
    with engine.begin() as connection:
        done = connection.execute(statement.values(given_up_at=None, attempts=0, not_before=now))
    return int(done.rowcount)
