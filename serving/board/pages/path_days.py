"""A learner's path through a unit, day by day: what was done, and what was said at the time.

Days are those of UTC, as the sums of events are. An answer belongs to the last day of whose events
it knows: one as of midnight to the day before. A day without a scoring has no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Select, func, select, union_all
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from serving.board.viewer import Visible

Zoom = Literal["14", "28", "90", "all"]
ZOOMS: tuple[Zoom, ...] = ("14", "28", "90", "all")
MOST_DAYS = 366  # on one page; the earlier ones are on the page before


@dataclass(frozen=True)
class Said:
    """An answer at its time.

    Attributes:
        answer: a row of `answers`.
        changed_from: the class that the same version answered before; None if it is the same one,
            or if this is the version's first answer.
    """

    answer: Any
    changed_from: str | None


@dataclass
class Day:
    """What happened on a day; rows of the tables, in the order of time."""

    day: date
    said: list[Said] = field(default_factory=list)
    activity: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Events of all types."""
        return sum(row.events for row in self.activity)

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened and nothing was said."""
        return not (self.said or self.activity or self.actions or self.outcomes)


@dataclass(frozen=True)
class Window:
    """The days of a page.

    Attributes:
        first: day.
        last: day.
        earlier: whether there is something before.
        later: whether there is something after.
    """

    first: date
    last: date
    earlier: bool
    later: bool

    @property
    def days(self) -> list[date]:
        """All of them."""
        number = (self.last - self.first).days + 1
        return [self.first + timedelta(days=days) for days in range(number)]


def day_of(as_of: datetime) -> date:
    """Returns the last day (UTC) of whose events an answer as of a moment knows.

    >>> day_of(datetime(2026, 3, 2, 6, tzinfo=UTC)), day_of(datetime(2026, 3, 2, tzinfo=UTC))
    (datetime.date(2026, 3, 2), datetime.date(2026, 3, 1))
    """
    return (as_of.astimezone(UTC) - timedelta(microseconds=1)).date()


def window(begin: date, end: date, zoom: Zoom, until: date | None) -> Window:
    """Returns the days to show.

    Args:
        begin: the first day with anything.
        end: today, or a later day with anything.
        zoom: how many days, or all of them (at most `MOST_DAYS`).
        until: the last day to show; None for `end`.
    """
    last = end if until is None else max(begin, min(until, end))
    length = MOST_DAYS if zoom == "all" else int(zoom)
    first = last - timedelta(days=length - 1)
    if zoom == "all":
        first = max(first, begin)
    return Window(first, last, earlier=begin < first, later=last < end)


def in_days(
    shown: Window,
    *,
    answers: Iterable[Any],
    classes_before: Mapping[int, str | None],
    activity: Iterable[Any],
    actions: Iterable[Any],
    outcomes: Iterable[Any],
) -> list[Day]:
    """Returns the days of a window with what belongs to each.

    Args:
        shown: the window.
        answers: of its days, in the order of time.
        classes_before: by version, the class of its last answer before the window.
        activity: sums of events of its days.
        actions: what people did in its days.
        outcomes: what came in until its end; one that came in after it stands on its last day,
            for a log that is older than its outcomes.
    """
    days = {day: Day(day) for day in shown.days}
    before = dict(classes_before)
    for answer in answers:
        previous = before.get(answer.version_id, answer.predicted_class)
        changed = previous if previous != answer.predicted_class else None
        days[day_of(answer.as_of)].said.append(Said(answer, changed))
        before[answer.version_id] = answer.predicted_class

    for row in activity:
        days[row.day].activity.append(row)
    for row in actions:
        days[row.at.astimezone(UTC).date()].actions.append(row)
    for row in outcomes:
        days[min(row.received_at.astimezone(UTC).date(), shown.last)].outcomes.append(row)
    return list(days.values())


class PathReader:
    """Reads one learner's path through one unit: a constant number of queries.

    Args:
        session: of the answers' database.
        visible: what the viewer may see.
        learner_id: the learner.
        unit_id: the unit.
    """

    def __init__(self, session: Session, visible: Visible, learner_id: str, unit_id: str) -> None:
        self._session = session
        self._visible = visible
        self._learner_id = learner_id
        self._unit_id = unit_id

    def bounds(self, today: date) -> tuple[date, date] | None:
        """Returns the first day with anything and the last one or today; None without anything."""
        visible = self._visible
        times = [
            self._of_path(visible.answers, visible.answers.as_of),
            self._of_path(visible.actions, visible.actions.at),
            self._of_path(visible.outcomes, visible.outcomes.as_of),
        ]
        moments = [
            moment
            for row in self._session.execute(union_all(*times))
            for moment in row
            if moment is not None
        ]
        activity = visible.daily_activity
        days = self._session.execute(self._of_path(activity, activity.day)).one()
        found = [day_of(moment) for moment in moments] + [day for day in days if day is not None]
        return (min(found), max([today, *found])) if found else None

    def days(self, shown: Window) -> list[Day]:
        """Returns the days of a window."""
        visible = self._visible
        begin, end = _midnight(shown.first), _midnight(shown.last + timedelta(days=1))
        answers, activity = visible.answers, visible.daily_activity
        actions, outcomes = visible.actions, visible.outcomes

        of_days = self._rows(answers).where(answers.as_of > begin, answers.as_of <= end)
        done = self._rows(activity).where(activity.day.between(shown.first, shown.last))
        acted = self._rows(actions).where(actions.at >= begin, actions.at < end)
        arrived = self._rows(outcomes).where(outcomes.received_at >= begin)
        if shown.later:
            arrived = arrived.where(outcomes.received_at < end)
        return in_days(
            shown,
            answers=self._session.scalars(of_days.order_by(answers.as_of, answers.version_id)),
            classes_before=self._classes_before(begin),
            activity=self._session.scalars(done.order_by(activity.day, activity.event_type)),
            actions=self._session.scalars(acted.order_by(actions.at, actions.id)),
            outcomes=self._session.scalars(arrived.order_by(outcomes.received_at)),
        )

    def _classes_before(self, begin: datetime) -> dict[int, str | None]:
        answers = self._visible.answers
        newest = func.row_number().over(
            partition_by=answers.version_id, order_by=answers.as_of.desc()
        )
        ranked = (
            select(answers.version_id, answers.predicted_class, newest.label("place"))
            .where(*self._is_of_path(answers), answers.as_of <= begin)
            .subquery()
        )
        found = select(ranked.c.version_id, ranked.c.predicted_class).where(ranked.c.place == 1)
        return {row.version_id: row.predicted_class for row in self._session.execute(found)}

    def _rows(self, table: Any) -> Select[Any]:
        return select(table).where(*self._is_of_path(table))

    def _of_path(self, table: Any, time_: Any) -> Any:
        return select(func.min(time_), func.max(time_)).where(*self._is_of_path(table))

    def _is_of_path(self, table: Any) -> Sequence[Any]:
        return (table.learner_id == self._learner_id, table.unit_id == self._unit_id)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
