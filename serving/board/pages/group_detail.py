"""One group: its answers over time and by unit, and the learners whose need is greatest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, case, exists, func, select
from sqlalchemy.orm import Session

from serving.answers.effect.hold_out import is_held_out
from serving.board.pages.group_figures import (
    ATTENTION,
    PERIOD,
    Moment,
    Moments,
    Sums,
    class_sums,
    sums_of,
)

if TYPE_CHECKING:
    from serving.board.viewer import Visible

_Rows = Select[*tuple[Any, ...]]

NEEDIEST = 10


@dataclass(frozen=True)
class UnitRow:
    """A unit of a group: its answers now and before."""

    unit_id: str
    title: str
    course: str | None
    now: Sums
    before: Sums

    @property
    def change(self) -> float | None:
        """How much the level rose; None if it is not known for one of the moments."""
        now, before = self.now.level, self.before.level
        return None if now is None or before is None else now - before


@dataclass(frozen=True)
class NeedyLearner:
    """A learner of a group, with the answer about the unit in which need is greatest."""

    learner_id: str
    name: str
    unit_id: str | None
    unit: str | None
    need: float
    predicted_class: str | None
    probability: float | None
    prediction: float | None
    last_event_at: datetime | None


@dataclass(frozen=True)
class People:
    """How many learners a group has, how many need attention, and what was done in four weeks."""

    learners: int
    attention: int
    actions: int


class GroupDetail:
    """Reads a group for a viewer.

    Args:
        session: of the answers' database.
        visible: what the viewer may see.
        moments: what to compare.
        group_id: the group.
        held_out_at: when learners who are held out are not listed; None where nobody is.
    """

    def __init__(
        self,
        session: Session,
        visible: Visible,
        moments: Moments,
        group_id: str,
        *,
        held_out_at: datetime | None = None,
    ) -> None:
        self._session = session
        self._visible = visible
        self.moments = moments
        self.group_id = group_id
        self._held_out_at = held_out_at

    def within(self, session: Session) -> GroupDetail:
        """Returns the same in another session."""
        return GroupDetail(session, self._visible, self.moments, self.group_id)

    def people(self) -> People:
        """Returns counts of learners and actions."""
        learners, actions = self._visible.learners, self._visible.actions
        in_group = learners.group_id == self.group_id
        attention = func.sum(case((learners.need >= ATTENTION, 1), else_=0))
        count, needy = self._session.execute(
            select(func.count(), func.coalesce(attention, 0)).select_from(learners).where(in_group)
        ).one()
        done = (
            select(func.count())
            .select_from(actions)
            .join(learners, learners.learner_id == actions.learner_id)
            .where(in_group, actions.at >= self.moments.now.as_of - PERIOD)
        )
        return People(count, int(needy), self._session.scalar(done) or 0)

    def over_time(self) -> list[tuple[Moment, Sums]]:
        """Returns the sums of all units at each moment, the oldest first."""
        counts = self._visible.daily_counts
        when = (counts.as_of, counts.version_id)
        found = self._session.execute(
            select(*when, *class_sums(counts, self.moments.classes))
            .where(counts.as_of.in_([moment.as_of for moment in self.moments.line]))
            .where(counts.group_id == self.group_id)
            .group_by(*when)
        )
        sums = {Moment(as_of, version_id): sums_of(values) for as_of, version_id, *values in found}
        return [(moment, sums[moment]) for moment in self.moments.line if moment in sums]

    def by_unit(self) -> list[UnitRow]:
        """Returns the units of the newest answers, those that need most first."""
        counts, units = self._visible.daily_counts, self._visible.units
        before, now = self.moments.before, self.moments.now
        when = (counts.as_of, counts.version_id)
        found = self._session.execute(
            select(*when, counts.unit_id, *class_sums(counts, self.moments.classes))
            .where(counts.as_of.in_([moment.as_of for moment in (now, before) if moment]))
            .where(counts.group_id == self.group_id)
            .group_by(*when, counts.unit_id)
        )
        sums = {
            (Moment(as_of, version_id), unit): sums_of(values)
            for as_of, version_id, unit, *values in found
        }
        named = select(units.unit_id, units.title, units.course)
        names = {unit: (title, course) for unit, title, course in self._session.execute(named)}

        rows = []
        for moment, unit in sums:
            if moment == now:
                title, course = names.get(unit, (unit, None))
                earlier = sums.get((before, unit), Sums()) if before else Sums()
                rows.append(UnitRow(unit, title, course, sums[now, unit], earlier))
        return sorted(rows, key=lambda row: (-(row.now.level or 0.0), row.title))

    def neediest(self) -> list[NeedyLearner]:
        """Returns the first few learners by need, as the worklist would name them."""
        chosen = self._learners(NEEDIEST)
        if self._held_out_at is not None:
            lots, learners = self._visible.assignments, self._visible.learners
            of_learner = lots.learner_id == learners.learner_id
            chosen = chosen.where(~exists().where(of_learner, is_held_out(self._held_out_at, lots)))
        return [self._learner(values) for values in self._session.execute(chosen)]

    def all_learners(self) -> Iterator[NeedyLearner]:
        """Yields all learners by need."""
        for values in self._session.execute(self._learners(None)).yield_per(1000):
            yield self._learner(values)

    def _learners(self, limit: int | None) -> _Rows:
        learners, answers = self._visible.learners, self._visible.current_answers
        units = self._visible.units
        here = (answers.learner_id == learners.learner_id) & (answers.unit_id == learners.unit_id)
        return (
            select(
                learners.learner_id, learners.name, learners.unit_id, units.title, learners.need,
                answers.predicted_class, answers.probabilities, answers.prediction,
                learners.last_event_at,
            )
            .select_from(learners)
            .outerjoin(answers, here)
            .outerjoin(units, units.unit_id == learners.unit_id)
            .where(learners.group_id == self.group_id)
            .order_by(learners.need.desc(), learners.learner_id)
            .limit(limit)
        )  # fmt: skip

    def _learner(self, values: Any) -> NeedyLearner:
        learner_id, name, unit_id, title, need, class_, probabilities, prediction, last = values
        return NeedyLearner(
            learner_id=learner_id,
            name=name or learner_id,
            unit_id=unit_id,
            unit=title or unit_id,
            need=need,
            predicted_class=class_,
            probability=max(probabilities, default=None) if probabilities else None,
            prediction=prediction,
            last_event_at=last,
        )
