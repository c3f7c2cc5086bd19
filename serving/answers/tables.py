"""The tables of the answers' database, in one place for SQLite and PostgreSQL.

Ids of learners, units and groups are the log's own text. Times are in UTC. What a page shows for
many learners at once is kept ready: `current_answers` holds the newest answer of each learner and
unit, `learners` the unit in which help is expected to bring most, `daily_counts` the sums that
managers read. `serving.answers.store` derives these three from `answers`. `unit_sums` and
`component_sums` are derived from what is current (`serving.answers.current_sums`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = JSON().with_variant(JSONB(), "postgresql")
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only of this type


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no zone, so one of another zone is refused instead of shifted."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Returns the moment in UTC, as the database keeps it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a time with its zone, found {value}")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Returns the moment with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        str: Text,
        datetime: UtcTime,
        dict[str, Any]: Json,
        list[str]: Json,
        list[float]: Json,
        list[dict[str, Any]]: Json,
    }


# What the model answered.


class ModelVersion(Table):
    """A version of a model that answered.

    Attributes:
        run: id of the pipeline run that pushed it.
        classes: lowest mastery first; empty for a regression.
        metrics: on the test split, by name.
        report: path or address of the run's report; None if it is not known.
        card: the same of the model card.
    """

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model", "version"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    model: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
    run: Mapped[str | None]
    pushed_at: Mapped[datetime | None]
    classes: Mapped[list[str]]
    metrics: Mapped[dict[str, Any]]
    report: Mapped[str | None]
    card: Mapped[str | None]


class Scoring(Table):
    """One call of `mastery score`.

    Attributes:
        as_of: the moment that it asked about.
        finished_at: None while it runs, and for one that was killed.
        answers: how many it wrote or found.
    """

    __tablename__ = "scorings"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    as_of: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    answers: Mapped[int] = mapped_column(default=0)


class Answer(Table):
    """What a version answered about a learner in a unit, as of a moment.

    Attributes:
        predicted_class: the most probable class; None for a regression.
        probabilities: in the order of the version's classes; empty for a regression.
        prediction: the predicted number; None for a classification.
        need: the expected benefit of help, 0 to 1; see `serving.answers.need`.
        basis: `sequence`, or `prior` for a learner with too few events.
        reasons: where the model gives them, the most important first: `feature`, `direction`
            (`high` or `low`), `weight`, and `text` by language.
    """

    __tablename__ = "answers"
    __table_args__ = (Index(None, "version_id", "as_of"),)

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    scoring_id: Mapped[int] = mapped_column(ForeignKey("scorings.id"))
    predicted_class: Mapped[str | None]
    probabilities: Mapped[list[float]]
    prediction: Mapped[float | None]
    need: Mapped[float]
    basis: Mapped[str]
    reasons: Mapped[list[dict[str, Any]]]
    scored_at: Mapped[datetime]


class CurrentAnswer(Table):
    """The newest answer about a learner in a unit.

    Attributes:
        since: the first of the uninterrupted answers, up to the newest, with this class.
        previous_class: the class before `since`; None if there was none.
        group_id: the learner's group, repeated here for the index.
        first_event_at: the learner's first event in the unit, as far as the log goes back.
        last_event_at: the last one before `as_of`.
    """

    __tablename__ = "current_answers"
    __table_args__ = (
        Index(None, "group_id", "need"),
        Index(None, "group_id", "unit_id", "need"),
        Index(None, "unit_id", "need"),
        Index(None, "need"),
    )

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    predicted_class: Mapped[str | None]
    probabilities: Mapped[list[float]]
    prediction: Mapped[float | None]
    need: Mapped[float]
    basis: Mapped[str]
    reasons: Mapped[list[dict[str, Any]]]
    scored_at: Mapped[datetime]
    since: Mapped[datetime]
    previous_class: Mapped[str | None]
    group_id: Mapped[str | None]
    first_event_at: Mapped[datetime | None]
    last_event_at: Mapped[datetime | None]


class UnitSum(Table):
    """How many current answers of a class a group has in a unit: a heat map's column in short.

    Attributes:
        group_id: empty for learners without a group.
        predicted_class: empty for a regression.
        need: the sum over the answers.
    """

    __tablename__ = "unit_sums"

    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    predicted_class: Mapped[str] = mapped_column(primary_key=True)
    answers: Mapped[int]
    need: Mapped[float]


class DailyCount(Table):
    """How many answers of a class a version gave for a moment, by group and unit.

    Attributes:
        group_id: empty for learners without a group.
        predicted_class: empty for a regression.
        need: the sum over the answers.
    """

    __tablename__ = "daily_counts"

    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    predicted_class: Mapped[str] = mapped_column(primary_key=True)
    answers: Mapped[int]
    need: Mapped[float]


# What learners did.


class DailyActivity(Table):
    """The events of one type that a learner had in a unit on one day (UTC).

    Attributes:
        answered: events with an answer, right or wrong.
        correct: right ones among them.
        seconds: the sum of the dwell times that the log gives.
    """

    __tablename__ = "daily_activity"

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    event_type: Mapped[str] = mapped_column(primary_key=True)
    events: Mapped[int]
    answered: Mapped[int]
    correct: Mapped[int]
    seconds: Mapped[float]


class ComponentResult(Table):
    """How a learner did in the exercises of a knowledge component of a unit, in the whole log.

    Attributes:
        mastery: the share of right answers, 0 to 1, drawn towards that of all learners where
            there are few.
        group_id: the learner's group, repeated here for the index.
    """

    __tablename__ = "component_results"
    __table_args__ = (
        Index(None, "group_id", "component"),
        Index(None, "unit_id", "component", "mastery"),
    )

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    component: Mapped[str] = mapped_column(primary_key=True)
    answered: Mapped[int]
    correct: Mapped[int]
    mastery: Mapped[float]
    group_id: Mapped[str | None]
    updated_at: Mapped[datetime]


class ComponentSum(Table):
    """How a group did in a knowledge component of a unit: a heat map's column in short.

    Attributes:
        group_id: empty for learners without a group.
        learners: who have a result.
        mastery: the sum over them.
    """

    __tablename__ = "component_sums"
    __table_args__ = (Index(None, "unit_id", "component"),)

    group_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    component: Mapped[str] = mapped_column(primary_key=True)
    learners: Mapped[int]
    mastery: Mapped[float]


# Who is who.


class Group(Table):
    """Learners whom the same people look after: a class, a site, a department."""

    __tablename__ = "groups"

    group_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    region: Mapped[str | None]


class Learner(Table):
    """A learner, and where help is expected to bring most.

    Attributes:
        name: what the board shows; None shows the id.
        unit_id: the unit with the greatest `need` among the current answers.
        predicted_class: of that answer; None for a regression, and without an answer.
        need: that need, 0 without an answer.
        units: how many units there are answers about.
        last_event_at: in any unit.
        snoozed_until: the worklist leaves the learner out until then.
    """

    __tablename__ = "learners"
    __table_args__ = (
        Index(None, "group_id", "need"),
        Index(None, "predicted_class", "need"),
        Index(None, "need"),
    )

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    group_id: Mapped[str | None] = mapped_column(ForeignKey("groups.group_id"))
    unit_id: Mapped[str | None]
    predicted_class: Mapped[str | None]
    need: Mapped[float] = mapped_column(default=0.0)
    units: Mapped[int] = mapped_column(default=0)
    last_event_at: Mapped[datetime | None]
    snoozed_until: Mapped[datetime | None]


class Unit(Table):
    """A unit, as people call it.

    Attributes:
        prerequisites: units to master before this one.
    """

    __tablename__ = "units"

    unit_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    course: Mapped[str | None]
    prerequisites: Mapped[list[str]]


class User(Table):
    """Somebody who may see the board.

    Attributes:
        user: the name that the proxy or the identity provider gives.
        role: `teacher`, `manager` or `admin`.
        capacity: learners whom the user can call in a week; None for the board's default.
    """

    __tablename__ = "users"

    user: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    capacity: Mapped[int | None]


class Membership(Table):
    """A group that a user may see; an admin sees all of them without any."""

    __tablename__ = "memberships"

    user: Mapped[str] = mapped_column(
        ForeignKey("users.user", ondelete="CASCADE"), primary_key=True
    )
    group_id: Mapped[str] = mapped_column(
        ForeignKey("groups.group_id", ondelete="CASCADE"), primary_key=True
    )


class Session(Table):
    """A login; the cookie holds a random token, the table its SHA-256.

    Attributes:
        data: what a login in progress needs, such as OpenID Connect's state.
    """

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str | None]
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]


# What people did, and what came after.


class Action(Table):
    """What somebody did about an answer, or thinks of it.

    Attributes:
        kind: `called`, `helped`, `not_applicable`, `wrong` or `snooze`.
        as_of: with `version_id` and `predicted_class`, the answer that the user saw.
        label: the class that is true, if the user said so.
        snooze_until: of a `snooze`.
        key: idempotency key of the form; a second click stores nothing.
    """

    __tablename__ = "actions"
    __table_args__ = (
        UniqueConstraint("key"),
        Index(None, "learner_id", "at"),
        Index(None, "user", "at"),
        Index(None, "version_id", "kind"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    learner_id: Mapped[str]
    unit_id: Mapped[str]
    kind: Mapped[str]
    note: Mapped[str] = mapped_column(default="")
    user: Mapped[str]
    at: Mapped[datetime]
    as_of: Mapped[datetime]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    predicted_class: Mapped[str | None]
    label: Mapped[str | None]
    snooze_until: Mapped[datetime | None]
    key: Mapped[str] = mapped_column(default=lambda: uuid4().hex)


class Outcome(Table):
    """What turned out to be true, beside what had been answered before.

    Attributes:
        label: the true class; None for a regression.
        value: the true number; None for a classification.
        version_id: the version of the last answer before `as_of`; None if there was none.
        answered_as_of: when that answer was given.
        predicted_class: what it said.
        prediction: the number it said.
        lowest_probability: the probability that it gave to the lowest class; None for a regression.
        rule_warned: whether the learner had no event in the unit on the 7 days (UTC) before the
            day of `answered_as_of`.
        group_id: the learner's group, repeated here for sums.
    """

    __tablename__ = "outcomes"
    __table_args__ = (Index(None, "version_id", "as_of"), Index(None, "group_id", "as_of"))

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    unit_id: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    label: Mapped[str | None]
    value: Mapped[float | None]
    received_at: Mapped[datetime]
    version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    answered_as_of: Mapped[datetime | None]
    predicted_class: Mapped[str | None]
    prediction: Mapped[float | None]
    lowest_probability: Mapped[float | None]
    rule_warned: Mapped[bool | None]
    group_id: Mapped[str | None]


class OutcomeSum(Table):
    """Sums over the outcomes of a version, a group and a month: what managers read of them.

    They hold no learner's id, and those of several groups can be added, because a learner is in one
    group. Those of several months cannot: a learner has outcomes in several; hence the row of all.

    Attributes:
        group_id: empty for learners without a group.
        month: of `Outcome.as_of`, such as `2026-03`; empty for all of them.
        totals: sums of the cells in `serving.answers.outcome_sums`, [K].
        products: sums over learners of products of two of their cells, the upper triangle of
            [K, K] row by row: how much learners differ, for intervals.
        learners: how many have a case of each base of that module, [B].
        confusion: outcomes by true and answered class, [C, C] row by row; empty for a regression.
        calibration: outcomes, of them those of the lowest class, and the sum of the probabilities
            given to it, by bins of this probability, [bins, 3] row by row.
    """

    __tablename__ = "outcome_sums"

    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    group_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(primary_key=True)
    totals: Mapped[list[float]]
    products: Mapped[list[float]]
    learners: Mapped[list[float]]
    confusion: Mapped[list[float]]
    calibration: Mapped[list[float]]


# What is sent to others.


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
    """

    __tablename__ = "served_answers"
    __table_args__ = (Index(None, "at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    model: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str | None]
    input_hash: Mapped[str]
    answer: Mapped[dict[str, Any]]
    latency: Mapped[float]
