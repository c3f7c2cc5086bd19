"""What people did about answers, and what turned out to be true."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from serving.answers.tables.base import Id, Table


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


class Assignment(Table):
    """A lot about a learner who would have been named: of whom teachers are told, or not.

    Attributes:
        at: from when on it holds; when the message would leave.
        unit_id: the unit in which the learner would be named; the lot holds in all of them.
        group_id: the learner's group then.
        as_of: with `version_id`, the answer that named the learner.
        rule: the rule of alerts; empty for the worklist alone.
        stratum: within which the share is exact.
        place: number in the stratum, from 0 for each `share`.
        probability: of the lowest class; of a regression, the need.
        share: of the stratum that is held out, at the time.
        held_out: what the lot said.
        until: how long it holds.
        released_at: when the learner was named all the same, because he or she became exempt.
    """

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "stratum"), Index(None, "until"))

    learner_id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    unit_id: Mapped[str]
    group_id: Mapped[str | None]
    as_of: Mapped[datetime]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    rule: Mapped[str]
    stratum: Mapped[str]
    place: Mapped[int]
    probability: Mapped[float]
    share: Mapped[float]
    held_out: Mapped[bool]
    until: Mapped[datetime]
    released_at: Mapped[datetime | None]


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
