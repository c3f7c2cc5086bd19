"""Who looks at a page, and what he or she may see: the only place that limits rows.

Pages select from the tables of a `Visible`, never from `serving.answers.tables` (import-linter
holds that). So a page cannot show a row of a group that its viewer does not look after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, false, select, true
from sqlalchemy.orm import Session, aliased

from serving.answers.tables import (
    Action,
    Answer,
    Assignment,
    ComponentResult,
    ComponentSum,
    CurrentAnswer,
    DailyActivity,
    DailyCount,
    Group,
    Learner,
    Membership,
    ModelVersion,
    Outcome,
    OutcomeSum,
    Scoring,
    Table,
    Unit,
    UnitSum,
    User,
)

AnyTable = TypeVar("AnyTable", bound=Table)
Role = Literal["teacher", "manager", "admin"]
ROLES: tuple[Role, ...] = ("teacher", "manager", "admin")  # each has the pages of those before it


@dataclass(frozen=True)
class Viewer:
    """Somebody who is logged in.

    Attributes:
        user: the key of the table `users`.
        name: as shown on pages.
        role: what kinds of pages there are for the viewer.
        groups: the groups whose learners the viewer may see; None for all of them.
        capacity: learners whom the viewer can call in a week.
        csrf: what forms of this login carry.
    """

    user: str
    name: str
    role: Role
    groups: frozenset[str] | None
    capacity: int
    csrf: str


def find_viewer(engine: Engine, user: str, *, csrf: str, capacity: int) -> Viewer | None:
    """Returns a user as a viewer, as of now; None if there is no such user.

    Args:
        engine: the answers' database.
        user: the key of the table `users`.
        csrf: what forms of this login carry.
        capacity: for a user whose row has none.

    Raises:
        ValueError: the user's role is none of `ROLES`.
    """
    with Session(engine) as session:
        found = session.get(User, user)
        if found is None:
            return None
        groups = session.scalars(select(Membership.group_id).where(Membership.user == user)).all()

    if found.role not in ROLES:
        raise ValueError(f"user {user!r}: expected a role of {ROLES}, found {found.role!r}")
    return Viewer(
        user=found.user,
        name=found.name,
        role=found.role,
        groups=None if found.role == "admin" else frozenset(groups),
        capacity=found.capacity if found.capacity is not None else capacity,
        csrf=csrf,
    )


class Visible:
    """The tables, without the rows that a viewer may not see.

    Each attribute is used like a table's class:
    `select(visible.learners).order_by(visible.learners.need)`.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    # What belongs to a group.

    @cached_property
    def learners(self) -> type[Learner]:
        """Learners of the viewer's groups."""
        return self._limited(Learner, self._in_groups(Learner.group_id))

    @cached_property
    def current_answers(self) -> type[CurrentAnswer]:
        """Their newest answers."""
        return self._limited(CurrentAnswer, self._in_groups(CurrentAnswer.group_id))

    @cached_property
    def component_results(self) -> type[ComponentResult]:
        """Their results by knowledge component."""
        return self._limited(ComponentResult, self._in_groups(ComponentResult.group_id))

    @cached_property
    def outcomes(self) -> type[Outcome]:
        """What turned out to be true of them."""
        return self._limited(Outcome, self._in_groups(Outcome.group_id))

    @cached_property
    def outcome_sums(self) -> type[OutcomeSum]:
        """Sums over that, by version, group and month."""
        return self._limited(OutcomeSum, self._in_groups(OutcomeSum.group_id))

    @cached_property
    def daily_counts(self) -> type[DailyCount]:
        """Sums of answers by group."""
        return self._limited(DailyCount, self._in_groups(DailyCount.group_id))

    @cached_property
    def unit_sums(self) -> type[UnitSum]:
        """Sums of current answers by group and unit."""
        return self._limited(UnitSum, self._in_groups(UnitSum.group_id))

    @cached_property
    def component_sums(self) -> type[ComponentSum]:
        """Sums of results by group and knowledge component."""
        return self._limited(ComponentSum, self._in_groups(ComponentSum.group_id))

    @cached_property
    def groups(self) -> type[Group]:
        """The viewer's groups."""
        return self._limited(Group, self._in_groups(Group.group_id))

    # What belongs to a learner.

    @cached_property
    def answers(self) -> type[Answer]:
        """All answers about the learners, the earlier ones, too."""
        return self._limited(Answer, self._of_learners(Answer.learner_id))

    @cached_property
    def daily_activity(self) -> type[DailyActivity]:
        """What the learners did, day by day."""
        return self._limited(DailyActivity, self._of_learners(DailyActivity.learner_id))

    @cached_property
    def actions(self) -> type[Action]:
        """What was done about the learners, by whomever."""
        return self._limited(Action, self._of_learners(Action.learner_id))

    @cached_property
    def assignments(self) -> type[Assignment]:
        """Lots about the learners: who is held out. For counts and lists; no page says of whom."""
        return self._limited(Assignment, self._of_learners(Assignment.learner_id))

    # What everybody may see.

    @cached_property
    def units(self) -> type[Unit]:
        """Titles and prerequisites."""
        return self._limited(Unit, true())

    @cached_property
    def model_versions(self) -> type[ModelVersion]:
        """The versions that answered."""
        return self._limited(ModelVersion, true())

    @cached_property
    def scorings(self) -> type[Scoring]:
        """When answers were given."""
        return self._limited(Scoring, true())

    # What only an admin may see.

    @cached_property
    def users(self) -> type[User]:
        """Everybody who may see the board."""
        return unlimited(User, self.viewer)

    @cached_property
    def memberships(self) -> type[Membership]:
        """Who sees which groups."""
        return unlimited(Membership, self.viewer)

    def _limited(self, table: type[Any], condition: ColumnElement[bool]) -> type[Any]:
        rows: Select[Any] = select(table)
        if self.viewer.groups is not None:
            rows = rows.where(condition)
        return aliased(table, rows.subquery(), adapt_on_names=True)

    def _in_groups(self, group: Any) -> ColumnElement[bool]:
        groups = self.viewer.groups
        condition: ColumnElement[bool] = group.in_(sorted(groups)) if groups else false()
        return condition

    def _of_learners(self, learner: Any) -> ColumnElement[bool]:
        mine = select(Learner.learner_id).where(self._in_groups(Learner.group_id))
        condition: ColumnElement[bool] = learner.in_(mine)
        return condition


def unlimited(table: type[AnyTable], viewer: Viewer) -> type[AnyTable]:
    """Returns a table that only an admin may see whole: users, memberships, sessions, alerts.

    Raises:
        PermissionError: the viewer is not an admin.
    """
    if viewer.role != "admin":
        raise PermissionError(table.__tablename__)
    return table
