"""From a scoring to the outbox: every answer that somebody wants becomes part of a message."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from serving.answers.delivery.channels import receiver_of
from serving.answers.delivery.cloud_events import EventReceiver
from serving.answers.delivery.given import GivenAnswer, given_answers
from serving.answers.delivery.outbox import enqueue_all
from serving.answers.delivery.sender import Receiver
from serving.answers.delivery.xapi import StatementStore

if TYPE_CHECKING:
    from serving.answers.settings import AnswersSettings

_NAMESPACE = uuid.UUID("0b6f5d1e-3c64-5a8e-9e0c-2f5a3e9d4c11")  # of the keys of messages
_TRANSACTION = 100  # messages that are written together, at most


class Destination(Receiver, Protocol):
    """A receiver of answers.

    Attributes:
        batch: how many answers one message holds, at most.
        changes_only: whether it gets only answers that differ from the one before.
    """

    batch: int
    changes_only: bool

    def payload(self, answers: Sequence[GivenAnswer]) -> dict[str, Any]:
        """Returns the payload of a message about answers."""
        ...


def receivers(settings: AnswersSettings) -> dict[str, Receiver]:
    """Returns everybody who gets messages, by the name of their channel in the outbox."""
    channels = {name: receiver_of(channel) for name, channel in settings.channels.items()}
    return {**channels, **destinations(settings)}


def destinations(settings: AnswersSettings) -> dict[str, Destination]:
    """Returns who gets answers; their names hold a full stop, which names of channels cannot."""
    found: dict[str, Destination] = {}
    delivery = settings.delivery
    if delivery.xapi:
        found["delivery.xapi"] = StatementStore(delivery.xapi)
    for name, service in delivery.cloud_events.items():
        found[f"delivery.cloud_events.{name}"] = EventReceiver(service)
    return found


def deliver_answers(
    engine: Engine, settings: AnswersSettings, version_id: int, as_of: datetime
) -> int:
    """Writes the messages about a finished scoring into the outbox; returns how many were new.

    The same answers make the same messages, so a call that was killed is repeated without harm.

    Args:
        engine: the answers' database.
        settings: who gets what.
        version_id: of `ModelVersion`: who answered.
        as_of: the moment that the scoring asked about.
    """
    wanted = destinations(settings)
    if not wanted:
        return 0

    changes_only = all(destination.changes_only for destination in wanted.values())
    written = 0
    with engine.connect() as reading, Session(engine) as session:
        answers = given_answers(reading, version_id, as_of, changes_only=changes_only)
        for messages in _chunks(_messages(wanted, answers), _TRANSACTION):
            written += enqueue_all(session, messages)
            session.commit()
    return written


def _messages(
    wanted: dict[str, Destination], answers: Iterable[GivenAnswer]
) -> Iterator[dict[str, Any]]:
    """Yields messages as soon as they are full, and at the end those that are not."""
    waiting: dict[str, list[GivenAnswer]] = {name: [] for name in wanted}
    for answer in answers:
        for name, destination in wanted.items():
            if destination.changes_only and not answer.changed:
                continue
            waiting[name].append(answer)
            if len(waiting[name]) == destination.batch:
                yield _message(name, destination, waiting[name])
                waiting[name] = []
    for name, rest in waiting.items():
        if rest:
            yield _message(name, wanted[name], rest)


def _message(name: str, destination: Destination, answers: list[GivenAnswer]) -> dict[str, Any]:
    now = datetime.now(UTC)
    contents = " ".join(answer.identifier(name) for answer in answers)
    return {
        "key": f"{name}/{uuid.uuid5(_NAMESPACE, contents)}",
        "channel": name,
        "payload": destination.payload(answers),
        "learner_ids": list(dict.fromkeys(answer.learner_id for answer in answers)),
        "created_at": now,
        "not_before": now,
        "attempts": 0,
    }


def _chunks(messages: Iterator[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(messages, most)):
        yield chunk
