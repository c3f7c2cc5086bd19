"""The rows of the worklist: a constant number of queries for a page, whatever it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from serving.answers.effect.hold_out import is_held_out
from serving.answers.feedback import HELP, VERDICTS, user_names
from serving.answers.words import reasons_in
from serving.board.pages.worklist_filters import LAST_PAGE, PAGE_ROWS, Filters

if TYPE_CHECKING:
    from serving.board.viewer import Visible

_Rows = Select[*tuple[Any, ...]]

EXPORTED = 10_000  # rows of a file
COUNTED = LAST_PAGE * PAGE_ROWS  # a longer list is "more than"
TREND = timedelta(days=14)
_STEADY = 0.05  # a smaller change is no trend
_SURE, _FAIRLY_SURE = 0.5, 0.2  # how much more probable than the next class the first one is


@dataclass(frozen=True)
class Point:
    """A point of a trend: the probability of the lowest class."""

    as_of: datetime
    value: float


@dataclass(frozen=True)
class Trend:
    """How the answers about a learner in a unit changed in the last two weeks.

    Attributes:
        points: at least two, the earliest first.
    """

    points: tuple[Point, ...]

    @property
    def days(self) -> int:
        """From the first to the last point."""
        return (self.points[-1].as_of - self.points[0].as_of).days

    @property
    def direction(self) -> str:
        """`rising`, `falling` or `steady`."""
        change = self.points[-1].value - self.points[0].value
        if abs(change) < _STEADY:
            return "steady"
        return "rising" if change > 0 else "falling"

    def line(self, width: int, height: int) -> str:
        """Returns the points of an SVG polyline; 1 is at the top."""
        begin, end = self.points[0].as_of, self.points[-1].as_of
        span = (end - begin).total_seconds() or 1.0
        places = (
            ((point.as_of - begin).total_seconds() / span * width, (1 - point.value) * height)
            for point in self.points
        )
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


@dataclass(frozen=True)
class Component:
    """The knowledge component of the unit in which the learner did worst."""

    name: str
    answered: int
    correct: int


@dataclass
class Row:
    """A learner on the worklist, with the answer that is shown.

    Attributes:
        learner: a row of `learners`.
        answer: a row of `current_answers`.
        version: a row of `model_versions`: whose answer it is.
        group: the group's name; None without a group.
        unit: the unit's title, or its id.
        trend: None with a single answer, and for a regression.
        weakest: None if the log names no components.
        action: the newest action, None if there is none.
        by: name of the user who did that.
        handled: whether somebody called, helped or judged this week.
        place: in the whole list, from 1.
    """

    learner: Any
    answer: Any
    version: Any
    group: str | None
    unit: str
    place: int = 0
    trend: Trend | None = None
    weakest: Component | None = None
    action: Any = None
    by: str = ""
    handled: bool = False

    @property
    def name(self) -> str:
        """What the page calls the learner."""
        name: str = self.learner.name or self.learner.learner_id
        return name

    @property
    def sureness(self) -> str:
        """`sure`, `fairly sure` or `unsure`: how far the next class is behind the first."""
        first, second, *_ = [*sorted(self.answer.probabilities, reverse=True), 0.0, 0.0]
        lead = first - second
        return "sure" if lead >= _SURE else "fairly sure" if lead >= _FAIRLY_SURE else "unsure"

    @property
    def next_class(self) -> str | None:
        """The second most probable class."""
        ranked = sorted(
            zip(self.answer.probabilities, self.version.classes, strict=True), reverse=True
        )
        return ranked[1][1] if len(ranked) > 1 else None

    def reasons(self, language: str) -> list[str]:
        """Returns the model's reasons in a language, the most important first."""
        return reasons_in(self.answer.reasons, language)


@dataclass(frozen=True)
class Rows:
    """A page of the worklist.

    Attributes:
        total: rows on all pages, at most `COUNTED` of them counted.
        more: whether there are more than `total`.
    """

    rows: list[Row] = field(default_factory=list)
    total: int = 0
    more: bool = False

    @property
    def pages(self) -> int:
        """At least one."""
        return max(1, -(-self.total // PAGE_ROWS))


class Worklist:
    """Reads the worklist of a viewer.

    Args:
        session: of the answers' database.
        visible: what the viewer may see.
        now: the time.
        week: when this calendar week began.
        holds_out: whether learners are held out by lot; they are on no list of whom to attend to.
    """

    def __init__(
        self,
        session: Session,
        visible: Visible,
        now: datetime,
        week: datetime,
        *,
        holds_out: bool = False,
    ) -> None:
        self._session = session
        self._visible = visible
        self._now = now
        self._week = week
        self._holds_out = holds_out

    def page(self, filters: Filters) -> Rows:
        """Returns a page of the list.

        The learners are chosen before their answers are joined: a deep page of a large list would
        join thousands of rows to show fifty.
        """
        learner_ids = self._learner_ids(filters)
        counted = learner_ids.limit(COUNTED + 1).subquery()
        total = self._session.scalar(select(func.count()).select_from(counted)) or 0

        on_page = learner_ids.order_by(*self._order(filters))
        shown = self._session.scalars(on_page.limit(PAGE_ROWS).offset(filters.offset)).all()
        chosen = self._ordered(filters).where(self._visible.learners.learner_id.in_(shown))
        rows = self._read(chosen, filters) if shown else []
        return Rows(rows, min(total, COUNTED), total > COUNTED)

    def one(self, learner_id: str, filters: Filters) -> Row | None:
        """Returns the row of a learner, whether the filters show it or not; None without one."""
        learners = self._visible.learners
        rows = self._joined(filters.unit or learners.unit_id)
        rows = rows.where(learners.learner_id == learner_id)
        found = self._read(rows, Filters(unit=filters.unit, show="all"))
        return found[0] if found else None

    def batches(self, filters: Filters, size: int = 1000) -> Iterator[list[Row]]:
        """Yields the first `EXPORTED` rows, without trends and components, for a file."""
        for offset in range(0, EXPORTED, size):
            rows = self._rows(self._ordered(filters).limit(size).offset(offset), offset)
            self._add_actions(rows)
            if rows:
                yield rows
            if len(rows) < size:
                return

    def called(self) -> int:
        """Returns how many learners the viewer has called or helped this week."""
        actions = self._visible.actions
        mine = (actions.user == self._visible.viewer.user) & (actions.at >= self._week)
        count = select(func.count(actions.learner_id.distinct()))
        return self._session.scalar(count.where(mine, actions.kind.in_(HELP))) or 0

    # Which learners, in which order.

    def _matching(self, filters: Filters) -> _Rows:
        answers = self._visible.current_answers
        rows = self._joined(filters.unit or self._visible.learners.unit_id)
        if filters.unit and filters.answered:
            rows = rows.where(answers.predicted_class == filters.answered)
        if filters.unit and filters.decision:
            rows = rows.where(_leads_to(answers.decisions, filters.decision))
        return rows.where(*self._conditions(filters))

    def _joined(self, unit: Any) -> _Rows:
        """Returns the query for learners with their answers in a unit."""
        learners, answers = self._visible.learners, self._visible.current_answers
        here = (answers.learner_id == learners.learner_id) & (answers.unit_id == unit)
        rows: _Rows = select(learners, answers).select_from(learners).join(answers, here)
        return rows

    def _learner_ids(self, filters: Filters) -> Select[str]:
        learners = self._visible.learners
        if filters.unit:
            return self._matching(filters).with_only_columns(learners.learner_id)
        # Whoever has a unit has an answer about it.
        answered = learners.unit_id.is_not(None)
        return select(learners.learner_id).where(answered, *self._conditions(filters))

    def _conditions(self, filters: Filters) -> list[ColumnElement[bool]]:
        """Returns which learners are shown, as far as answers in a chosen unit do not matter."""
        conditions = self._shown(filters)
        if filters.answered and not filters.unit:
            conditions.append(self._visible.learners.predicted_class == filters.answered)
        if filters.decision and not filters.unit:
            conditions.append(_leads_to(self._visible.learners.decisions, filters.decision))
        if filters.group:
            conditions.append(self._visible.learners.group_id == filters.group)
        if filters.search:
            conditions.append(self._named(filters.search))
        return conditions

    def _named(self, search: str) -> ColumnElement[bool]:
        learners = self._visible.learners
        name: ColumnElement[bool] = learners.name.icontains(search, autoescape=True)
        return or_(name, learners.learner_id.icontains(search, autoescape=True))

    def _shown(self, filters: Filters) -> list[ColumnElement[bool]]:
        learners, actions = self._visible.learners, self._visible.actions
        done = exists().where(
            actions.learner_id == learners.learner_id,
            actions.at >= self._week,
            actions.kind.in_(VERDICTS),
        )
        awake = or_(learners.snoozed_until.is_(None), learners.snoozed_until <= self._now)
        chosen: dict[str, list[ColumnElement[bool]]] = {
            "open": [awake, ~done],
            "done": [done],
            "snoozed": [learners.snoozed_until > self._now],
            "all": [],
        }
        if self._holds_out and filters.show in ("open", "all"):
            lots = self._visible.assignments
            of_learner = lots.learner_id == learners.learner_id
            return [
                *chosen[filters.show],
                ~exists().where(of_learner, is_held_out(self._now, lots)),
            ]
        return chosen[filters.show]

    def _ordered(self, filters: Filters) -> _Rows:
        return self._matching(filters).order_by(*self._order(filters))

    def _order(self, filters: Filters) -> tuple[Any, Any]:
        learners = self._visible.learners
        need = self._visible.current_answers.need if filters.unit else learners.need
        order: dict[str, Any] = {
            "need": need.desc(),
            "name": func.lower(func.coalesce(learners.name, learners.learner_id)),
            "visit": learners.last_event_at.nulls_first(),
        }
        return order[filters.sort], learners.learner_id

    # What is shown of each.

    def _read(self, chosen: _Rows, filters: Filters) -> list[Row]:
        rows = self._rows(chosen, filters.offset)
        if rows:
            self._add_actions(rows)
            self._add_trends(rows)
            self._add_components(rows)
        return rows

    def _rows(self, chosen: _Rows, offset: int) -> list[Row]:
        learners, answers = self._visible.learners, self._visible.current_answers
        versions, groups = self._visible.model_versions, self._visible.groups
        units = self._visible.units
        complete = (
            chosen.add_columns(versions, groups.name, units.title)
            .join(versions, versions.id == answers.version_id)
            .outerjoin(groups, groups.group_id == learners.group_id)
            .outerjoin(units, units.unit_id == answers.unit_id)
        )
        found = enumerate(self._session.execute(complete), start=offset + 1)
        return [
            Row(learner, answer, version, group, title or answer.unit_id, place)
            for place, (learner, answer, version, group, title) in found
        ]

    def _add_actions(self, rows: Sequence[Row]) -> None:
        actions = self._visible.actions
        newest = func.row_number().over(
            partition_by=actions.learner_id, order_by=(actions.at.desc(), actions.id.desc())
        )
        judged = case((actions.kind.in_(VERDICTS), actions.at))
        last = func.max(judged).over(partition_by=actions.learner_id)
        ranked = (
            select(actions.id, newest.label("place"), (last >= self._week).label("handled"))
            .where(actions.learner_id.in_([row.learner.learner_id for row in rows]))
            .subquery()
        )
        found = select(actions, ranked.c.handled).join(ranked, ranked.c.id == actions.id)
        by_learner = {
            action.learner_id: (action, bool(handled))
            for action, handled in self._session.execute(found.where(ranked.c.place == 1))
        }
        names = user_names(self._session, {action.user for action, _ in by_learner.values()})
        for row in rows:
            row.action, row.handled = by_learner.get(row.learner.learner_id, (None, False))
            if row.action is not None:
                row.by = names.get(row.action.user, row.action.user)

    def _add_trends(self, rows: Sequence[Row]) -> None:
        answers = self._visible.answers
        begin = min(row.answer.as_of for row in rows) - TREND
        found = select(
            answers.learner_id, answers.unit_id, answers.as_of, answers.probabilities
        ).where(self._is_of(answers, rows), answers.as_of >= begin)

        points: dict[tuple[str, str], dict[datetime, Point]] = {}
        for learner, unit, as_of, probabilities in self._session.execute(
            found.order_by(answers.as_of, answers.version_id)
        ):
            if probabilities:  # of several versions' answers of a moment the newest one's stays
                points.setdefault((learner, unit), {})[as_of] = Point(as_of, probabilities[0])
        for row in rows:
            of_row = points.get((row.answer.learner_id, row.answer.unit_id), {}).values()
            recent = tuple(point for point in of_row if point.as_of >= row.answer.as_of - TREND)
            row.trend = Trend(recent) if len(recent) > 1 else None

    def _add_components(self, rows: Sequence[Row]) -> None:
        results = self._visible.component_results
        rank = func.row_number().over(
            partition_by=(results.learner_id, results.unit_id),
            order_by=(results.mastery, results.component),
        )
        ranked = (
            select(
                results.learner_id, results.unit_id, results.component, results.answered,
                results.correct, rank.label("rank"),
            )
            .where(self._is_of(results, rows))
            .subquery()
        )  # fmt: skip
        weakest = {
            (learner, unit): Component(name, answered, correct)
            for learner, unit, name, answered, correct, _ in self._session.execute(
                select(ranked).where(ranked.c.rank == 1)
            )
        }
        for row in rows:
            row.weakest = weakest.get((row.answer.learner_id, row.answer.unit_id))

    @staticmethod
    def _is_of(table: Any, rows: Sequence[Row]) -> ColumnElement[bool]:
        pairs = [(row.answer.learner_id, row.answer.unit_id) for row in rows]
        condition: ColumnElement[bool] = tuple_(table.learner_id, table.unit_id).in_(pairs)
        return condition


def _leads_to(decisions: Any, name: str) -> ColumnElement[bool]:
    """Returns whether a column of decisions, a list as JSON, holds one of this name."""
    condition: ColumnElement[bool] = cast(decisions, Text).contains(f'"{name}"', autoescape=True)
    return condition
