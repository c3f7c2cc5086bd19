"""Who is held out: lots about learners who would be named, kept in the database.

A lot is about a learner, not about a unit or a rule: while it holds, no rule tells of a learner who
is held out, and the worklist does not list him or her. Lots are drawn in the transaction that names
the others, so a run that was killed has drawn none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, insert, or_, select, text, update

from components.contracts.left_out import read_left_out
from components.effect.lots import Lot, draw_lots
from serving.answers.alerts.selection import Candidate, answers_of, matching_answers
from serving.answers.feedback import VERDICTS
from serving.answers.tables import Action, Assignment, Learner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session

    from serving.answers.alerts.sql import Reader
    from serving.answers.settings import AnswersSettings

BINS = 5  # of the probability, in each unit
_LOCK = 0x6C6F7473  # of PostgreSQL: one transaction draws at a time
_ROWS = 500  # of one statement, below SQLite's limit on parameters
_WEEK = timedelta(days=7)  # whoever was called in it is done with on the worklist


class HoldOut:
    """Draws lots, and knows who is held out.

    Call `read` in each transaction before anything else.

    Args:
        settings: the section `effect`, and rules whose learners are exempt.
        is_test: whether nothing is written: lots are then remembered by this object alone.
    """

    def __init__(self, settings: AnswersSettings, *, is_test: bool) -> None:
        self._effect = settings.effect
        self._must_tell = [rule for rule in settings.alerts.rules if rule.must_tell]
        self._is_test = is_test
        self._opted_out = read_left_out(self._effect.opt_out, "effect.opt_out")
        self._drawn: list[dict[str, Any]] = []  # of a test
        self._arms: dict[str, bool] = {}
        self._exempt: set[str] = set()

    def read(self, session: Session, reader: Reader, moment: datetime) -> None:
        """Reads the lots that hold at a moment, and releases those who became exempt.

        Args:
            session: of the transaction in which lots are drawn.
            reader: of conditions.
            moment: when messages may leave.
        """
        if session.get_bind().dialect.name == "postgresql" and not self._is_test:
            session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        self._exempt = {*self._whoever_is_exempt(session, reader)}
        columns = (Assignment.learner_id, Assignment.held_out, Assignment.until)
        known = select(*columns, Assignment.released_at).where(
            Assignment.until > moment - self._effect.period
        )
        rows: list[tuple[str, bool, datetime, datetime | None]] = [
            (row.learner_id, row.held_out, row.until, row.released_at)
            for row in session.execute(known.order_by(Assignment.at))
        ]
        rows += [(row["learner_id"], row["held_out"], row["until"], None) for row in self._drawn]

        self._arms = {}
        released = []
        for learner, is_held_out, until, released_at in rows:
            if is_held_out and until > moment and not released_at and self.is_exempt(learner):
                released.append(learner)
            elif until > moment and not released_at:
                self._arms[learner] = is_held_out
            elif is_held_out:  # named for a while after having been held out
                self._exempt.add(learner)
        self._release(session, released, moment)

    def holds(self, learner_id: str) -> bool:
        """Returns whether a learner is held out."""
        return self._arms.get(learner_id, False)

    def is_exempt(self, learner_id: str) -> bool:
        """Returns whether no lot is drawn about a learner."""
        opted_out = self._opted_out is not None and self._opted_out.holds(learner_id)
        return opted_out or learner_id in self._exempt

    def draw(
        self, session: Session, named: Sequence[Candidate], *, rule: str, at: datetime
    ) -> set[str]:
        """Draws lots about learners who would be named; returns those who are held out.

        Args:
            session: of the transaction that names the others.
            named: whoever has a lot that holds, or is exempt, is passed over.
            rule: the rule that names them; empty for the worklist.
            at: from when on the lots hold.
        """
        new = [
            one
            for one in named
            if one.learner_id not in self._arms and not self.is_exempt(one.learner_id)
        ]
        if not new:
            return set()
        lots = [
            Lot(one.learner_id, one.unit_id, one.as_of.isoformat(), stratum_of(one)) for one in new
        ]
        taken = self._places(session, {lot.stratum for lot in lots})
        held_out = draw_lots(lots, taken, self._effect.share, self._effect.seed)

        rows = []
        for one, lot, is_held_out in zip(new, lots, held_out, strict=True):
            place = taken.get(lot.stratum, 0)
            taken[lot.stratum] = place + 1
            self._arms[one.learner_id] = is_held_out
            rows.append({
                "learner_id": one.learner_id, "at": at, "unit_id": one.unit_id,
                "group_id": one.group_id, "as_of": one.as_of, "version_id": one.version_id,
                "rule": rule, "stratum": lot.stratum, "place": place,
                "probability": _probability(one), "share": self._effect.hold_out,
                "held_out": is_held_out, "until": at + self._effect.period,
            })  # fmt: skip
        if self._is_test:
            self._drawn += rows
        else:
            session.execute(insert(Assignment), rows)
        return {one.learner_id for one, is_out in zip(new, held_out, strict=True) if is_out}

    def draw_for_worklist(
        self,
        session: Session,
        reader: Reader,
        now: datetime,
        is_left_out: Callable[[str], bool],
    ) -> None:
        """Draws lots about whoever fits `effect.who`, is not snoozed, and was not called lately."""
        self.read(session, reader, now)
        if self._effect.who is None:
            return
        fitting = matching_answers(self._effect.who, reader).subquery()
        acted = select(Action.id).where(
            Action.learner_id == fitting.c.learner_id,
            Action.kind.in_(VERDICTS),
            Action.at > now - _WEEK,
        )
        open_ = (
            select(*list(fitting.c)[:8])
            .outerjoin(Learner, Learner.learner_id == fitting.c.learner_id)
            .where(fitting.c.place == 1, ~acted.exists())
            .where(or_(Learner.snoozed_until.is_(None), Learner.snoozed_until <= now))
            .order_by(fitting.c.need.desc(), fitting.c.learner_id)
        )
        listed = [Candidate(*row) for row in session.execute(open_)]
        listed = [one for one in listed if not is_left_out(one.learner_id)]
        self.draw(session, listed, rule="", at=now)

    def _whoever_is_exempt(self, session: Session, reader: Reader) -> list[str]:
        queries = [answers_of(rule, reader) for rule in self._must_tell]
        if self._effect.exempt is not None:
            queries.append(matching_answers(self._effect.exempt, reader))
        learners: list[str] = []
        for query in queries:
            learners += session.scalars(select(query.subquery().c.learner_id).distinct())
        return learners

    def _release(self, session: Session, learners: Sequence[str], moment: datetime) -> None:
        if self._is_test:
            return
        for start in range(0, len(learners), _ROWS):
            change = update(Assignment).where(
                Assignment.learner_id.in_(learners[start : start + _ROWS]), is_held_out(moment)
            )
            session.execute(change.values(released_at=moment))

    def _places(self, session: Session, strata: set[str]) -> dict[str, int]:
        """Returns how many places of each stratum are taken."""
        counted = (
            select(Assignment.stratum, func.max(Assignment.place) + 1)
            .where(Assignment.share == self._effect.hold_out)
            .group_by(Assignment.stratum)
        )
        taken = dict(session.execute(counted).all())
        for row in self._drawn:
            taken[row["stratum"]] = max(taken.get(row["stratum"], 0), row["place"] + 1)
        return {stratum: taken.get(stratum, 0) for stratum in strata}


def is_held_out(moment: datetime, table: Any = Assignment) -> ColumnElement[bool]:
    """Returns the condition that a lot holds somebody out at a moment.

    Args:
        moment: when.
        table: `Assignment`, or those that a viewer may see.
    """
    condition: ColumnElement[bool] = (
        table.held_out & (table.until > moment) & table.released_at.is_(None)
    )
    return condition


def stratum_of(candidate: Candidate) -> str:
    """Returns the unit and the range of the probability, such as `algebra 0.6-0.8`."""
    place = min(int(_probability(candidate) * BINS), BINS - 1)
    return f"{candidate.unit_id} {place / BINS:g}-{(place + 1) / BINS:g}"


def _probability(candidate: Candidate) -> float:
    return candidate.need if candidate.lowest is None else candidate.lowest
