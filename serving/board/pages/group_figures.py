"""What the groups' pages show: sums of answers now and before, and over time.

They come from `daily_counts`, so a page reads some thousand rows, however many learners there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    Subquery,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from serving.board.pages.group_filters import PAGE_ROWS, By, Filters

if TYPE_CHECKING:
    from serving.board.viewer import Visible

_Rows = Select[*tuple[Any, ...]]

PERIOD = timedelta(days=28)  # of changes, lines and actions
ATTENTION = 0.75  # a learner whose greatest need is this high needs attention
_POINTS = 15  # of a line
_SHORTEST = timedelta(days=6)  # a change over less says nothing
_SCORINGS = 1000


@dataclass(frozen=True)
class Moment:
    """When answers were given, and the newest version that gave them."""

    as_of: datetime
    version_id: int


@dataclass(frozen=True)
class Moments:
    """The moments that a page compares.

    Attributes:
        now: the newest.
        before: four weeks earlier, or the oldest if there are only some; None without any.
        line: from then to now, the oldest first.
        classes: of the version that answered now, lowest first; empty for a regression.
    """

    now: Moment
    before: Moment | None
    line: tuple[Moment, ...]
    classes: tuple[str, ...]

    @classmethod
    def read(cls, session: Session, visible: Visible) -> Moments | None:
        """Returns the moments; None if nothing was scored yet."""
        scorings, versions = visible.scorings, visible.model_versions
        newest = func.max(scorings.version_id)
        found = session.execute(
            select(scorings.as_of, newest)
            .where(scorings.finished_at.is_not(None))
            .group_by(scorings.as_of)
            .order_by(scorings.as_of.desc())
            .limit(_SCORINGS)
        )
        moments = [Moment(as_of, version_id) for as_of, version_id in found]
        if not moments:
            return None

        now = moments[0]
        recent = [moment for moment in moments if moment.as_of >= now.as_of - PERIOD]
        earlier = [moment for moment in moments if moment.as_of <= now.as_of - PERIOD]
        before = earlier[0] if earlier else recent[-1]
        classes = session.scalar(select(versions.classes).where(versions.id == now.version_id))
        return cls(
            now=now,
            before=before if now.as_of - before.as_of >= _SHORTEST else None,
            line=tuple(reversed(recent)),
            classes=tuple(classes or ()),
        )

    def thinned(self) -> tuple[Moment, ...]:
        """Returns at most `_POINTS` of the line, evenly spaced, the newest among them."""
        last = len(self.line) - 1
        count = min(_POINTS, len(self.line))
        places = {round(last * step / max(count - 1, 1)) for step in range(count)} | {last}
        return tuple(self.line[place] for place in sorted(places))


@dataclass(frozen=True)
class Sums:
    """Answers by class.

    Attributes:
        answers: all of them.
        need: the sum over them.
        classes: how many of each class, in the order of `Moments.classes`.
    """

    answers: int = 0
    need: float = 0.0
    classes: tuple[int, ...] = ()

    @property
    def shares(self) -> list[float]:
        """Of each class; zeros without answers."""
        return [count / self.answers if self.answers else 0.0 for count in self.classes]

    @property
    def level(self) -> float | None:
        """The share of the lowest class, or the mean need of a regression; None without answers."""
        if not self.answers:
            return None
        return self.classes[0] / self.answers if self.classes else self.need / self.answers


@dataclass
class Row:
    """A group, region, course or unit.

    Attributes:
        key: its id; empty for what belongs to none.
        learners: in it; None where a learner is in several.
        attention: learners with a need of at least `ATTENTION`; for a course, in one of its units.
        actions: that people took in the last four weeks.
        line: levels at the moments of a line, None where there was no answer.
    """

    key: str
    name: str
    region: str | None
    learners: int | None
    attention: int
    actions: int
    now: Sums
    before: Sums
    line: list[float | None] = field(default_factory=list)

    @property
    def change(self) -> float | None:
        """How much the level rose since then; None if it is not known for one of the moments."""
        now, before = self.now.level, self.before.level
        return None if now is None or before is None else now - before


class GroupFigures:
    """Reads sums for a viewer.

    Args:
        session: of the answers' database.
        visible: what the viewer may see.
        moments: what to compare.
    """

    def __init__(self, session: Session, visible: Visible, moments: Moments) -> None:
        self._session = session
        self._visible = visible
        self.moments = moments

    def page(self, filters: Filters) -> tuple[list[Row], int]:
        """Returns the rows of a page, and how many there are on all pages.

        Beyond the last page, those of the first.
        """
        ordered = self._ordered(filters).limit(PAGE_ROWS).offset(filters.offset)
        found = self._session.execute(ordered.add_columns(func.count().over())).all()
        if not found and filters.page > 1:
            return self.page(filters.but())

        rows = [self._row(values[:-1]) for values in found]
        self._add_lines(filters.by, rows)
        return rows, found[0][-1] if found else 0

    def all_rows(self, filters: Filters) -> Iterator[Row]:
        """Yields the rows of all pages, without lines."""
        for values in self._session.execute(self._ordered(filters)).yield_per(1000):
            yield self._row(values)

    def regions(self) -> list[str]:
        """Returns the names of the regions."""
        region = self._visible.groups.region
        known = select(region).where(region.is_not(None)).distinct().order_by(region).limit(500)
        return [name for name in self._session.scalars(known) if name]

    # One row per group, region or course

    def _rows(self, filters: Filters) -> _Rows:
        names = self._names(filters.by)
        now = self._counts(filters.by, self.moments.now)
        before = self._counts(filters.by, self.moments.before or self.moments.now)
        people, actions = self._people(filters.by), self._actions(filters.by)
        rows = select(
            names.c.row_key.label("row_key"),
            names.c.name.label("name"),
            names.c.region.label("region"),
            people.c.learners.label("learners"),
            func.coalesce(people.c.attention, 0).label("attention"),
            func.coalesce(actions.c.actions, 0).label("actions"),
            *self._sums(now, "now"),
            *self._sums(before, "before"),
        ).select_from(names)
        for part in (now, before, people, actions):
            rows = rows.outerjoin(part, part.c.row_key == names.c.row_key)

        rows = rows.where(or_(names.c.row_key != "", now.c.answers > 0))
        if filters.search:
            named = (names.c.name, names.c.row_key)
            rows = rows.where(
                or_(*(text.icontains(filters.search, autoescape=True) for text in named))
            )
        return rows.where(names.c.region == filters.region) if filters.region else rows

    def _sums(self, counts: Subquery, prefix: str) -> list[ColumnElement[Any]]:
        columns = [counts.c.answers, counts.c.need]
        columns += [counts.c[f"class_{place}"] for place, _ in enumerate(self.moments.classes)]
        return [
            func.coalesce(column, 0).label(f"{prefix}_{place}")
            for place, column in enumerate(columns)
        ]

    def _row(self, values: Any) -> Row:
        key, name, region, learners, attention, actions, *sums = values
        half = len(sums) // 2
        now = sums_of(sums[:half])
        before = sums_of(sums[half:]) if self.moments.before else Sums()
        return Row(key, name, region, learners, int(attention), int(actions), now, before)

    def _ordered(self, filters: Filters) -> _Rows:
        rows = self._rows(filters).subquery()
        level = 2 if self.moments.classes else 1  # the lowest class, or the need
        now = _ratio(rows.c[f"now_{level}"], rows.c.now_0)
        before = _ratio(rows.c[f"before_{level}"], rows.c.before_0)
        first: dict[str, Any] = {
            "attention": rows.c.attention.desc(),
            "share": now.desc().nulls_last(),
            "change": (now - before).desc().nulls_last(),
            "learners": rows.c.learners.desc().nulls_last(),
            "actions": rows.c.actions.desc(),
            "name": func.lower(rows.c.name),
        }
        return select(rows).order_by(first[filters.sort], rows.c.row_key)

    # The parts that make a row

    def _names(self, by: By) -> Subquery:
        groups, units = self._visible.groups, self._visible.units
        columns: dict[str, tuple[Any, Any, Any]] = {
            "group": (groups.group_id, groups.name, groups.region),
            "region": (groups.region, groups.region, null()),
            "course": (units.course, units.course, null()),
        }
        key, name, region = columns[by]
        known = _named(key, name, region).where(key.is_not(None)).distinct()
        return union_all(known, _named(literal(""), literal(""), null())).subquery()

    def _counts(self, by: By, moment: Moment) -> Subquery:
        """Returns sums of the answers of a moment: all, need, and by class."""
        counts = self._visible.daily_counts
        sums = select(*class_sums(counts, self.moments.classes)).select_from(counts)
        keyed = self._keyed(by, sums, counts.group_id, counts.unit_id)
        of_moment = (counts.as_of == moment.as_of, counts.version_id == moment.version_id)
        return keyed.where(*of_moment).subquery()

    def _people(self, by: By) -> Subquery:
        """Returns how many learners there are, and how many of them need attention."""
        learners = self._visible.learners
        # A learner is in several courses.
        count = cast(null(), Integer) if by == "course" else func.count()
        attention = func.sum(case((learners.need >= ATTENTION, 1), else_=0))
        counted = select(count.label("learners"), attention.label("attention"))
        rows = counted.select_from(learners)
        return self._keyed(by, rows, learners.group_id, learners.unit_id).subquery()

    def _actions(self, by: By) -> Subquery:
        """Returns how many actions there were in the last four weeks."""
        actions, learners = self._visible.actions, self._visible.learners
        rows = (
            select(func.count().label("actions"))
            .select_from(actions)
            .join(learners, learners.learner_id == actions.learner_id)
            .where(actions.at >= self.moments.now.as_of - PERIOD)
        )
        return self._keyed(by, rows, learners.group_id, actions.unit_id).subquery()

    def _keyed(self, by: By, rows: _Rows, group: Any, unit: Any) -> _Rows:
        """Returns sums by the group, region or course of rows, as the column `row_key`."""
        groups, units = self._visible.groups, self._visible.units
        if by == "group":
            key = group
        elif by == "region":
            key, rows = groups.region, rows.outerjoin(groups, groups.group_id == group)
        else:
            key, rows = units.course, rows.outerjoin(units, units.unit_id == unit)
        return rows.add_columns(func.coalesce(key, "").label("row_key")).group_by("row_key")

    def _add_lines(self, by: By, rows: Sequence[Row]) -> None:
        """Reads the levels of the rows at the moments of a line."""
        moments = self.moments.thinned()
        counts = self._visible.daily_counts
        when = (counts.as_of, counts.version_id)
        sums = select(*when, *class_sums(counts, self.moments.classes)).select_from(counts)
        keyed = self._keyed(by, sums, counts.group_id, counts.unit_id).group_by(*when)
        keyed = keyed.where(counts.as_of.in_([moment.as_of for moment in moments]))
        if by == "group":  # few of them are on a page
            keyed = keyed.where(counts.group_id.in_([row.key for row in rows]))

        levels = {
            (key, Moment(as_of, version_id)): sums_of(sums).level
            for as_of, version_id, *sums, key in self._session.execute(keyed)
        }
        for row in rows:
            row.line = [levels.get((row.key, moment)) for moment in moments]


def _named(key: Any, name: Any, region: Any) -> _Rows:
    return select(key.label("row_key"), name.label("name"), region.label("region"))


def class_sums(counts: Any, classes: Sequence[str]) -> list[ColumnElement[Any]]:
    """Returns sums over rows of `daily_counts`: answers, need, and the answers of each class."""
    of_class = [
        func.sum(case((counts.predicted_class == name, counts.answers), else_=0)).label(
            f"class_{place}"
        )
        for place, name in enumerate(classes)
    ]
    answers, need = func.sum(counts.answers), func.sum(counts.need)
    return [answers.label("answers"), need.label("need"), *of_class]


def sums_of(values: Sequence[Any]) -> Sums:
    """Returns what a row of `class_sums` says."""
    answers, need, *classes = values
    return Sums(int(answers), float(need), tuple(int(count) for count in classes))


def _ratio(count: Any, total: Any) -> ColumnElement[Any]:
    return cast(count, Float) / func.nullif(total, 0)
