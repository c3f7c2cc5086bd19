"""The answers of a scoring as others get them: with names, and with what was answered before."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, select, tuple_
from sqlalchemy.orm import aliased

from serving.answers.tables import Answer, ModelVersion, Unit

_PAGE = 1000  # rows that are in memory at a time
_NAMESPACE = uuid.UUID("6a3f0c0e-0f0b-5c38-8a2f-6f3a6f1f3f52")  # of statements, events


@dataclass(frozen=True)
class GivenAnswer:
    """What a version answered, and whether that differs from the answer before.

    Attributes:
        unit: its title, or its id.
        probabilities: by class; empty for a regression.
        prediction_set: see `serving.answers.tables.Answer`, as for the others of this kind.
        before: the class of the newest earlier answer, the number for a regression; None if there
            is no earlier answer.
        changed: whether it differs from `before`, as a first answer does.
    """

    learner_id: str
    unit_id: str
    unit: str
    as_of: datetime
    scored_at: datetime
    model: str
    version: int
    run: str | None
    predicted_class: str | None
    probabilities: dict[str, float]
    prediction: float | None
    need: float
    basis: str
    reasons: list[dict[str, Any]]
    prediction_set: list[str] | None
    answer_text: str | None
    prediction_interval: list[float] | None
    unfamiliar: str | None
    decisions: list[str] | None
    before: str | float | None

    @property
    def changed(self) -> bool:
        """Whether it differs from the answer before, as a first answer does."""
        said = self.prediction if self.predicted_class is None else self.predicted_class
        return said != self.before

    def how_sure(self) -> dict[str, Any]:
        """Returns how sure the answer is and what it leads to, by the names in messages."""
        return {
            "answer": self.answer_text,
            "prediction_set": self.prediction_set,
            "prediction_interval": self.prediction_interval,
            "unfamiliar": self.unfamiliar,
            "decisions": self.decisions,
        }

    def identifier(self, kind: str) -> str:
        """Returns a UUID that is the same whenever this answer is sent as this kind of message."""
        key = [kind, self.model, self.version, self.learner_id, self.unit_id, timestamp(self.as_of)]
        return str(uuid.uuid5(_NAMESPACE, json.dumps(key)))


def timestamp(moment: datetime) -> str:
    """Returns a moment as RFC 3339 writes it, in UTC.

    >>> timestamp(datetime(2026, 3, 2, 6, tzinfo=UTC))
    '2026-03-02T06:00:00+00:00'
    """
    return moment.astimezone(UTC).isoformat()


def given_answers(
    connection: Connection, version_id: int, as_of: datetime, *, changes_only: bool
) -> Iterator[GivenAnswer]:
    """Yields what a version answered as of a moment, in an order that never changes.

    Args:
        connection: its rows are read as they are needed.
        version_id: of `ModelVersion`.
        as_of: the moment that the scoring asked about.
        changes_only: leave out answers that say what the answer before said.
    """
    version = connection.execute(
        select(ModelVersion.model, ModelVersion.version, ModelVersion.run, ModelVersion.classes)
        .where(ModelVersion.id == version_id)
    ).one()  # fmt: skip
    statement = _answers(version_id, as_of, bool(version.classes), changes_only=changes_only)

    for row in connection.execute(statement, execution_options={"yield_per": _PAGE}):
        yield GivenAnswer(
            learner_id=row.learner_id,
            unit_id=row.unit_id,
            unit=row.title or row.unit_id,
            as_of=row.as_of,
            scored_at=row.scored_at,
            model=version.model,
            version=version.version,
            run=version.run,
            predicted_class=row.predicted_class,
            probabilities=dict(zip(version.classes, row.probabilities, strict=False)),
            prediction=row.prediction,
            need=row.need,
            basis=row.basis,
            reasons=row.reasons,
            prediction_set=row.prediction_set,
            answer_text=row.answer_text,
            prediction_interval=row.prediction_interval,
            unfamiliar=row.unfamiliar,
            decisions=row.decisions,
            before=row.before,
        )


def _answers(
    version_id: int, as_of: datetime, has_classes: bool, *, changes_only: bool
) -> Select[Any]:
    earlier = aliased(Answer)
    value = "predicted_class" if has_classes else "prediction"
    before = (
        select(getattr(earlier, value))
        .where(
            earlier.learner_id == Answer.learner_id,
            earlier.unit_id == Answer.unit_id,
            tuple_(earlier.as_of, earlier.version_id) < tuple_(Answer.as_of, Answer.version_id),
        )
        .order_by(earlier.as_of.desc(), earlier.version_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        select(
            Answer.learner_id, Answer.unit_id, Answer.as_of, Answer.scored_at,
            Answer.predicted_class, Answer.probabilities, Answer.prediction, Answer.need,
            Answer.basis, Answer.reasons, Answer.prediction_set, Answer.answer_text,
            Answer.prediction_interval, Answer.unfamiliar, Answer.decisions, Unit.title,
            before.label("before"),
        )
        .outerjoin(Unit, Unit.unit_id == Answer.unit_id)
        .where(Answer.version_id == version_id, Answer.as_of == as_of)
        # A later scoring of the same moment only adds answers, so earlier batches stay the same.
        .order_by(Answer.scoring_id, Answer.learner_id, Answer.unit_id)
    )  # fmt: skip
    if changes_only:
        statement = statement.where(getattr(Answer, value).is_distinct_from(before))
    return statement
