"""Answers as xAPI statements, for a learning record store.

An answer becomes "learner was predicted unit": the learner is an account of the platform that the
ids belong to, the unit an activity, the answer a result. A statement's id is made from the answer,
so a store keeps a repeated one once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from components import sending
from components.sending import UndeliveredError
from serving.answers.delivery.channels import lease_for
from serving.answers.delivery.given import GivenAnswer, timestamp

if TYPE_CHECKING:
    from serving.answers.delivery.outbox import Claim
    from serving.answers.delivery_settings import Xapi

VOCABULARY = "tag:mastery,2026:xapi/"  # of names that xAPI does not have; never to be resolved
VERB = f"{VOCABULARY}verbs/predicted"
EXTENSIONS = f"{VOCABULARY}extensions/"
ACTIVITY_TYPE = "http://adlnet.gov/expapi/activities/module"

_VERB_WORDS = {"en": "was predicted", "de": "wurde eingeschätzt", "zh": "被预测"}
_CONFLICT = 409
_ONE_BY_ONE = {400, _CONFLICT, 413}  # a store refuses all statements for one of them, or their size


class StatementStore:
    """A learning record store."""

    in_order = True

    def __init__(self, settings: Xapi) -> None:
        self.settings = settings
        self.batch = settings.batch
        self.changes_only = settings.changes_only
        # A batch; then statements on their own for as long as one step, and the last of them.
        self.lease = lease_for(settings.timeout_seconds, steps=4 + 1 + 4)

    def payload(self, answers: Sequence[GivenAnswer]) -> dict[str, Any]:
        """Returns the statements about answers."""
        return {"statements": [statement(answer, self.settings) for answer in answers]}

    def send(self, claimed: Claim) -> None:
        """Sends statements in one request; those that the store has already count as sent.

        A store takes a batch whole or not at all. One that refuses a batch gets its statements one
        by one, so that a single one does not stop the others.

        Raises:
            UndeliveredError: the store did not take them, or not all of them.
        """
        statements = claimed.payload["statements"]
        try:
            self._post(statements)
        except UndeliveredError as error:
            if error.status not in _ONE_BY_ONE:
                raise
            self._post_one_by_one(claimed, statements)

    def _post_one_by_one(self, claimed: Claim, statements: list[dict[str, Any]]) -> None:
        refused: list[dict[str, Any]] = []
        reason = ""
        end = time.monotonic() + self.settings.timeout_seconds
        for place, one in enumerate(statements):
            try:
                if time.monotonic() > end:
                    raise UndeliveredError("the store is slow; the rest follows", temporary=True)
                self._post([one])
            except UndeliveredError as error:
                if error.temporary:
                    claimed.left = {"statements": refused + statements[place:]}
                    raise
                if error.status != _CONFLICT:
                    refused.append(one)
                    reason = str(error)

        if refused:
            claimed.left = {"statements": refused}
            raise UndeliveredError(
                f"the store refused {len(refused)} of {len(statements)} statements ({reason})"
            )

    def _post(self, statements: list[dict[str, Any]]) -> None:
        settings = self.settings
        login = None
        if settings.user_env and settings.password_env:
            login = sending.secret(settings.user_env), sending.secret(settings.password_env)
        address = settings.url or sending.secret(settings.url_env or "")
        sending.post(
            f"{address.rstrip('/')}/statements",
            json.dumps(statements, ensure_ascii=False).encode(),
            {
                "Content-Type": "application/json",
                "X-Experience-API-Version": settings.version,
            },
            timeout=settings.timeout_seconds,
            login=login,
        )


def statement(answer: GivenAnswer, settings: Xapi) -> dict[str, Any]:
    """Returns the statement about an answer."""
    units = settings.units or f"{settings.home_page.rstrip('/')}/units/"
    account = {"homePage": settings.home_page, "name": answer.learner_id}
    return {
        "id": answer.identifier(f"xapi {settings.home_page}"),  # a store may hold other platforms
        "actor": {"objectType": "Agent", "account": account},
        "verb": {"id": VERB, "display": _VERB_WORDS},
        "object": {
            "objectType": "Activity",
            "id": units + quote(answer.unit_id, safe=""),
            "definition": {"type": ACTIVITY_TYPE, "name": {"und": answer.unit}},
        },
        "result": {
            "score": {"scaled": round(1 - answer.need, 6)},
            "extensions": _extensions(
                {
                    "class": answer.predicted_class,
                    "previous": answer.before,
                    "probabilities": answer.probabilities or None,
                    "prediction": answer.prediction,
                    "need": answer.need,
                    "basis": answer.basis,
                    "reasons": answer.reasons or None,
                    **answer.how_sure(),
                }
            ),
        },
        "context": {
            "platform": "Mastery",
            "extensions": _extensions(
                {
                    "model": answer.model,
                    "version": answer.version,
                    "run": answer.run,
                    "as_of": timestamp(answer.as_of),
                }
            ),
        },
        "timestamp": timestamp(answer.scored_at),
    }


def _extensions(values: dict[str, Any]) -> dict[str, Any]:
    return {f"{EXTENSIONS}{name}": value for name, value in values.items() if value is not None}
