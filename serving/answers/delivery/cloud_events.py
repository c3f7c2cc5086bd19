"""Answers as CloudEvents, for services of the house.

An event's id is made from the answer and the event's type, and its source is the model, so a
receiver that has seen both has seen the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from components import sending
from serving.answers.delivery.channels import address_of, lease_for
from serving.answers.delivery.given import GivenAnswer, timestamp
from serving.answers.delivery.outbox import Claim, message_id

if TYPE_CHECKING:
    from serving.answers.delivery_settings import CloudEvents, EventType

_BATCH = "application/cloudevents-batch+json"


class EventReceiver:
    """A service that takes CloudEvents by POST."""

    in_order = True

    def __init__(self, settings: CloudEvents) -> None:
        self.settings = settings
        self.changes_only = "mastery.answer.given" not in settings.types
        # A request holds one event unless the receiver reads batches; a message is one request.
        self.batch = settings.batch if settings.mode == "batch" else 1
        self.lease = lease_for(settings.timeout_seconds, steps=4)

    def payload(self, answers: Sequence[GivenAnswer]) -> dict[str, Any]:
        """Returns the events about answers."""
        return {
            "events": [
                event(answer, kind)
                for answer in answers
                for kind in self.settings.types
                if answer.changed or kind == "mastery.answer.given"
            ]
        }

    def send(self, claimed: Claim) -> None:
        """Sends the events of a message.

        Raises:
            UndeliveredError: the receiver did not take them, or not all of them.
        """
        events = claimed.payload["events"]
        if self.settings.mode == "batch":
            self._post(_in_one_body(events), claimed.key)
            return
        to_message = to_binary if self.settings.mode == "binary" else to_structured
        for sent, stored in enumerate(events):
            claimed.left = {"events": events[sent:]}
            self._post(to_message(_read(stored), JSONFormat()), claimed.key)

    def _post(self, message: HTTPMessage, key: str) -> None:
        sending.post(
            address_of(self.settings),
            message.body,
            {**message.headers, "Idempotency-Key": message_id(key)},
            timeout=self.settings.timeout_seconds,
        )


def event(answer: GivenAnswer, kind: EventType) -> dict[str, Any]:
    """Returns the event about an answer, its attributes beside its data."""
    learner, unit = quote(answer.learner_id, safe=""), quote(answer.unit_id, safe="")
    return {
        "attributes": {
            "specversion": "1.0",
            "id": answer.identifier(kind),
            "source": f"mastery/models/{quote(answer.model, safe='')}",
            "type": kind,
            "subject": f"learners/{learner}/units/{unit}",
            "time": timestamp(answer.scored_at),
            "datacontenttype": "application/json",
        },
        "data": {
            "learner_id": answer.learner_id,
            "unit_id": answer.unit_id,
            "as_of": timestamp(answer.as_of),
            "class": answer.predicted_class,
            "probabilities": answer.probabilities,
            "prediction": answer.prediction,
            "previous": answer.before,
            "need": answer.need,
            "basis": answer.basis,
            "reasons": answer.reasons,
            **answer.how_sure(),
            "model": answer.model,
            "version": answer.version,
            "run": answer.run,
        },
    }


def _read(stored: dict[str, Any]) -> CloudEvent:
    attributes = dict(stored["attributes"])
    attributes["time"] = datetime.fromisoformat(attributes["time"])
    return CloudEvent(attributes, stored["data"])


def _in_one_body(events: list[dict[str, Any]]) -> HTTPMessage:
    bodies = [JSONFormat().write(_read(stored)) for stored in events]
    return HTTPMessage({"content-type": _BATCH}, b"[" + b",".join(bodies) + b"]")
