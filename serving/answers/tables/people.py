"""Who is who: groups, learners, units, and the users of the board."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from serving.answers.tables.base import MaybeJson, Table


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
        decisions: that are taken by that answer; None where its version has none.
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
    decisions: Mapped[list[str] | None] = mapped_column(MaybeJson)
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
