"""Finds the answers that a rule is about, and decides of whom it tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Row, Select, func, or_, select

from serving.answers.alerts.condition import parse_condition, texts_in
from serving.answers.alerts.timing import QuietTimes, period_around
from serving.answers.feedback import VERDICTS
from serving.answers.tables import Action, Alert, CurrentAnswer, Group, Learner, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy.orm import Session

    from serving.answers.alert_settings import AlertRule
    from serving.answers.alerts.sql import Reader
    from serving.answers.effect.hold_out import HoldOut

NEAR_MISSES = 20  # of each reason that are kept one by one; all are counted

# Why a learner whose answer fits a rule is not told about; the first that holds is the reason.
Reason = Literal["left out", "cool-down", "somebody acted", "snoozed", "held out", "capacity"]


@dataclass(frozen=True)
class Candidate:
    """A learner with an answer that fits a rule: of several units the one in greatest need.

    Attributes:
        units: how many units of the learner fit.
        lowest: the probability of the lowest class; None for a regression.
    """

    learner_id: str
    unit_id: str
    group_id: str | None
    as_of: datetime
    version_id: int
    need: float
    units: int
    lowest: float | None = None


@dataclass(frozen=True)
class Decision:
    """Of whom a rule tells.

    Attributes:
        told_at: when messages may leave: now, or the end of quiet hours.
        told: the greatest need first.
        near_misses: the first ones who fit, too, and why they are not told about; of each reason
            at most `NEAR_MISSES`. Nobody who is held out is among them: no output names them.
        reasons: how many there are of each reason.
        over_capacity: those of them for whom there is no room, by group.
    """

    rule: AlertRule
    now: datetime
    told_at: datetime
    told: list[Candidate] = field(default_factory=list)
    near_misses: list[tuple[Candidate, Reason]] = field(default_factory=list)
    reasons: Counter[Reason] = field(default_factory=Counter)
    over_capacity: Counter[str | None] = field(default_factory=Counter)

    def leave_out(self, candidate: Candidate, reason: Reason) -> None:
        """Notes that a learner is not told about."""
        self.reasons[reason] += 1
        if reason == "capacity":
            self.over_capacity[candidate.group_id] += 1
        if reason != "held out" and self.reasons[reason] <= NEAR_MISSES:
            self.near_misses.append((candidate, reason))


def decide(
    session: Session,
    rule: AlertRule,
    quiet: QuietTimes,
    reader: Reader,
    now: datetime,
    is_left_out: Callable[[str], bool],
    hold_out: HoldOut | None = None,
) -> Decision:
    """Returns of whom a rule tells now, and of whom not; writes nothing.

    Everything counts at the moment at which the messages may leave: cool-down, snoozes and the
    capacity of a week.

    Args:
        session: reads in one transaction.
        rule: what to tell.
        quiet: when nobody is told.
        reader: of conditions.
        now: when the rule is evaluated.
        is_left_out: whether a learner has opted out.
        hold_out: draws by lot who is not told about; None where nobody is held out.
    """
    decision = Decision(rule, now, quiet.hold(now))
    room = _Room(rule, _told_by_group(session, rule, quiet, decision.told_at))
    waiting: list[Candidate] = []  # for a place of somebody who is held out
    for candidate, handled in _candidates(session, rule, reader, decision.told_at):
        if is_left_out(candidate.learner_id):
            decision.leave_out(candidate, "left out")
        elif handled is not None:
            decision.leave_out(candidate, handled)
        elif hold_out is not None and hold_out.holds(candidate.learner_id):
            decision.leave_out(candidate, "held out")
        elif room.take(candidate.group_id):
            decision.told.append(candidate)
        elif hold_out is not None:
            waiting.append(candidate)
        else:
            decision.leave_out(candidate, "capacity")
    if hold_out is not None:
        _draw(session, decision, room, waiting, hold_out)
    return decision


def _draw(
    session: Session,
    decision: Decision,
    room: _Room,
    waiting: list[Candidate],
    hold_out: HoldOut,
) -> None:
    """Draws lots about those who would be told of; a place of one held out goes to the next."""
    named = [*decision.told]
    decision.told.clear()
    while named:
        drawn = hold_out.draw(session, named, rule=decision.rule.name, at=decision.told_at)
        for candidate in named:
            if candidate.learner_id in drawn:
                decision.leave_out(candidate, "held out")
                room.give_back(candidate.group_id)
            else:
                decision.told.append(candidate)

        named, rest = [], waiting
        if drawn:
            waiting = []
            for candidate in rest:
                (named if room.take(candidate.group_id) else waiting).append(candidate)
    for candidate in waiting:
        decision.leave_out(candidate, "capacity")


class _Room:
    """How many learners a rule may still tell about in this period."""

    def __init__(self, rule: AlertRule, told: Counter[str | None]) -> None:
        self._most = rule.most
        self._taken: Counter[str | None] = Counter()
        for group, count in told.items():
            self._taken[self._key(group)] += count

    def _key(self, group: str | None) -> str | None:
        return group if self._most is not None and self._most.per_group else None

    def take(self, group: str | None) -> bool:
        """Takes a place for a learner of a group; returns false if there is none."""
        if self._most is not None and self._taken[self._key(group)] >= self._most.learners:
            return False
        self._taken[self._key(group)] += 1
        return True

    def give_back(self, group: str | None) -> None:
        """Gives a place back that was taken for a learner of a group."""
        self._taken[self._key(group)] -= 1


def _told_by_group(
    session: Session, rule: AlertRule, quiet: QuietTimes, moment: datetime
) -> Counter[str | None]:
    """Returns of how many learners of each group the rule has told in the period."""
    if rule.most is None:
        return Counter()
    begin, end = period_around(moment, rule.most.period, quiet.zone)
    told = (
        select(Learner.group_id, func.count(Alert.learner_id.distinct()))
        .select_from(Alert)
        .outerjoin(Learner, Learner.learner_id == Alert.learner_id)
        .where(Alert.rule == rule.name, Alert.at >= begin, Alert.at < end)
        .group_by(Learner.group_id)
    )
    return Counter(dict(session.execute(told).all()))


def _candidates(
    session: Session, rule: AlertRule, reader: Reader, moment: datetime
) -> Iterator[tuple[Candidate, Reason | None]]:
    """Yields whoever fits the rule, and why they are not to be told about, if so."""
    rows = session.execute(
        candidates_query(rule, reader, moment), execution_options={"yield_per": 5000}
    )
    for row in rows:
        yield Candidate(*row[:8]), _handled(row)


def _handled(row: Row[Any]) -> Reason | None:
    if row.was_told:
        return "cool-down"
    if row.was_acted_on:
        return "somebody acted"
    return "snoozed" if row.is_snoozed else None


def candidates_query(rule: AlertRule, reader: Reader, moment: datetime) -> Select[Any]:
    """Returns the query for the learners who fit a rule, the greatest need first.

    Args:
        rule: its condition, units and groups.
        reader: of the condition.
        moment: when the messages may leave.
    """
    matching = answers_of(rule, reader).subquery()
    since = moment - rule.peace
    was_told = select(Alert.id).where(
        Alert.rule == rule.name,
        Alert.learner_id == matching.c.learner_id,
        or_(Alert.at > since, Alert.as_of >= matching.c.as_of),
    )
    was_acted_on = select(Action.id).where(
        Action.learner_id == matching.c.learner_id,
        Action.kind.in_(VERDICTS),
        Action.at > since,
    )
    return (
        select(
            matching.c.learner_id, matching.c.unit_id, matching.c.group_id, matching.c.as_of,
            matching.c.version_id, matching.c.need, matching.c.units, matching.c.lowest,
            was_told.exists().label("was_told"),
            was_acted_on.exists().label("was_acted_on"),
            func.coalesce(Learner.snoozed_until > moment, False).label("is_snoozed"),
        )
        .select_from(matching)
        .outerjoin(Learner, Learner.learner_id == matching.c.learner_id)
        .where(matching.c.place == 1)
        .order_by(matching.c.need.desc(), matching.c.learner_id)
    )  # fmt: skip


def answers_of(rule: AlertRule, reader: Reader) -> Select[Any]:
    """Returns the query for all answers that fit a rule, as `matching_answers` does."""
    query = matching_answers(rule.when, reader)
    if rule.units:
        query = query.where(CurrentAnswer.unit_id.in_(rule.units))
    if rule.groups:
        query = query.where(CurrentAnswer.group_id.in_(rule.groups))
    if rule.only_new:
        query = query.where(
            CurrentAnswer.since == CurrentAnswer.as_of, CurrentAnswer.as_of == reader.moment
        )
    return query


def matching_answers(condition: str, reader: Reader) -> Select[Any]:
    """Returns the query for all answers that fit a condition.

    Its columns are those of `Candidate`, and `place`: 1 for the unit in greatest need of those of a
    learner that fit, also after more conditions are added to it.
    """
    by_learner: dict[str, Any] = {"partition_by": CurrentAnswer.learner_id}
    by_need = (CurrentAnswer.need.desc(), CurrentAnswer.unit_id)
    lowest = CurrentAnswer.probabilities[0].as_float()
    return (
        select(
            CurrentAnswer.learner_id, CurrentAnswer.unit_id, CurrentAnswer.group_id,
            CurrentAnswer.as_of, CurrentAnswer.version_id, CurrentAnswer.need,
            func.count().over(**by_learner).label("units"), lowest.label("lowest"),
            func.row_number().over(**by_learner, order_by=by_need).label("place"),
        )
        .outerjoin(Group, Group.group_id == CurrentAnswer.group_id)
        .outerjoin(Unit, Unit.unit_id == CurrentAnswer.unit_id)
        .where(reader.condition(parse_condition(condition)))
    )  # fmt: skip


def unknown_names(session: Session, rule: AlertRule) -> list[tuple[str, str, list[str]]]:
    """Returns the units, groups, courses and regions of a rule that the database does not have.

    Returns:
        What it would be, the name, and the names that there are.
    """
    compared = texts_in(parse_condition(rule.when))
    wanted = {
        "unit": (Unit.unit_id, rule.units),
        "group": (Group.group_id, rule.groups),
        "course": (Unit.course, []),
        "region": (Group.region, []),
    }
    unknown = []
    for kind, (column, listed) in wanted.items():
        names = dict.fromkeys([*listed, *(text for name, text in compared if name == kind)])
        found = {*session.scalars(select(column).where(column.in_([*names])))} if names else set()
        missing = [name for name in names if name not in found]
        if missing:
            query = select(column).where(column.is_not(None)).distinct().order_by(column)
            known = [str(name) for name in session.scalars(query)]
            unknown += [(kind, name, known) for name in missing]
    return unknown
