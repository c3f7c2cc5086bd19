"""The rows and columns of the heat map: a constant number of queries, whatever the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from serving.board.pages.heat_map_filters import PAGE_COLUMNS, PAGE_ROWS, MapFilters

if TYPE_CHECKING:
    from serving.board.viewer import Visible


@dataclass(frozen=True)
class Column:
    """A unit or a component, and its sums over all learners of the viewer's, or of one group.

    Attributes:
        key: the id of the unit, or the component.
        title: what people call it.
        learners: who have an answer or a result.
        need: its mean over them; of a component, what is missing from full mastery.
        counts: answers by class; empty for components and regressions.
    """

    key: str
    title: str
    learners: int
    need: float
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitChoice:
    """A unit in the filters."""

    unit_id: str
    title: str
    course: str | None


@dataclass(frozen=True)
class MapRows:
    """A page of learners with what stands in their cells.

    Attributes:
        learners: rows with `learner_id`, `name`, `need` and `group`.
        answers: by learner and unit.
        results: by learner and component.
        more: whether there is a further page.
    """

    learners: Sequence[Any]
    answers: dict[tuple[str, str], Any]
    results: dict[tuple[str, str], Any]
    more: bool


class HeatMap:
    """Reads the heat map of a viewer.

    Args:
        session: of the answers' database.
        visible: what the viewer may see.
    """

    def __init__(self, session: Session, visible: Visible) -> None:
        self._session = session
        self._visible = visible

    # Columns

    def units(self) -> list[UnitChoice]:
        """Returns the units with answers about learners of the viewer's, in their natural order."""
        sums, units = self._visible.unit_sums, self._visible.units
        with_answers = select(sums.unit_id).distinct().subquery()
        found = self._session.execute(
            select(with_answers.c.unit_id, units.title, units.course).outerjoin_from(
                with_answers, units, units.unit_id == with_answers.c.unit_id
            )
        )
        choices = [UnitChoice(unit, title or unit, course) for unit, title, course in found]
        return sorted(choices, key=lambda unit: (unit.course or "", natural(unit.title)))

    def columns(self, filters: MapFilters, units: Iterable[UnitChoice]) -> list[Column]:
        """Returns the columns that the filters leave, with their sums."""
        if filters.by == "component":
            return self._component_columns(filters)
        return self._unit_columns(filters, units)

    def _unit_columns(self, filters: MapFilters, units: Iterable[UnitChoice]) -> list[Column]:
        sums = self._visible.unit_sums
        counted = select(
            sums.unit_id, sums.predicted_class, func.sum(sums.answers), func.sum(sums.need)
        ).where(*_in_group(sums, filters))
        by_unit: dict[str, dict[str, tuple[int, float]]] = {}
        for unit_id, class_, answers, need in self._session.execute(
            counted.group_by(sums.unit_id, sums.predicted_class)
        ):
            by_unit.setdefault(unit_id, {})[class_] = (int(answers), float(need))

        columns = []
        for unit in units:
            if (filters.course and unit.course != filters.course) or (
                filters.unit and unit.unit_id != filters.unit
            ):
                continue
            counts = by_unit.get(unit.unit_id, {})
            learners = sum(answers for answers, _ in counts.values())
            total = sum(need for _, need in counts.values())
            by_class = {class_: answers for class_, (answers, _) in counts.items() if class_}
            columns.append(
                Column(unit.unit_id, unit.title, learners, total / max(1, learners), by_class)
            )
        return columns

    def _component_columns(self, filters: MapFilters) -> list[Column]:
        sums = self._visible.component_sums
        counted = select(sums.component, func.sum(sums.learners), func.sum(sums.mastery)).where(
            sums.unit_id == filters.unit, *_in_group(sums, filters)
        )
        columns = [
            Column(component, component, int(learners), 1 - float(mastery) / int(learners))
            for component, learners, mastery in self._session.execute(
                counted.group_by(sums.component)
            )
        ]
        return sorted(columns, key=lambda column: natural(column.title))

    # Rows

    def rows(self, filters: MapFilters, columns: Sequence[Column]) -> MapRows:
        """Returns a page of learners, with the cells of these columns."""
        learners, groups = self._visible.learners, self._visible.groups
        chosen = self._ordered(filters).limit(PAGE_ROWS + 1).offset(filters.offset)
        found = self._session.execute(
            chosen.add_columns(groups.name.label("group")).outerjoin(
                groups, groups.group_id == learners.group_id
            )
        ).all()
        shown = found[:PAGE_ROWS]
        ids = [row.learner_id for row in shown]

        if not shown:
            return MapRows([], {}, {}, more=False)
        keys = [column.key for column in columns]
        by_component = filters.by == "component"
        answers = self._answers(ids, [filters.unit] if by_component else keys)
        results = self._results(filters.unit, ids, keys) if by_component else {}
        return MapRows(shown, answers, results, more=len(found) > PAGE_ROWS)

    def _answers(self, learners: Sequence[str], units: Sequence[str]) -> dict[Any, Any]:
        answers = self._visible.current_answers
        wanted = select(
            answers.learner_id, answers.unit_id, answers.predicted_class, answers.probabilities,
            answers.prediction, answers.need, answers.basis, answers.version_id,
        ).where(answers.learner_id.in_(learners), answers.unit_id.in_(units))  # fmt: skip
        return {(row.learner_id, row.unit_id): row for row in self._session.execute(wanted)}

    def _results(
        self, unit: str, learners: Sequence[str], components: Sequence[str]
    ) -> dict[Any, Any]:
        results = self._visible.component_results
        wanted = select(
            results.learner_id, results.component, results.answered, results.correct,
            results.mastery,
        ).where(
            results.learner_id.in_(learners),
            results.unit_id == unit,
            results.component.in_(components),
        )  # fmt: skip
        return {(row.learner_id, row.component): row for row in self._session.execute(wanted)}

    def _ordered(self, filters: MapFilters) -> Any:
        """Returns the learners in order; where a unit is chosen, those with an answer in it."""
        learners = self._visible.learners
        rows: Any = select(learners.learner_id, learners.name, learners.need)
        ordering, value, here = self._ordering(filters)
        if here is not None:
            rows = rows.join(ordering, (ordering.learner_id == learners.learner_id) & here)
        elif filters.course:
            rows = rows.where(self._in_course(filters.course))
        rows = rows.where(*_in_group(ordering, filters), *self._named(filters.search))

        if filters.sort == "name":
            order = [func.coalesce(learners.name, learners.learner_id), learners.learner_id]
            return rows.order_by(*(each.desc() if filters.reverse else each for each in order))
        is_mastery = filters.by == "component" and filters.column != ""
        lowest_first = is_mastery != filters.reverse  # so that who needs most comes first
        return rows.order_by(value.asc() if lowest_first else value.desc(), ordering.learner_id)

    def _ordering(self, filters: MapFilters) -> tuple[Any, Any, ColumnElement[bool] | None]:
        """Returns what decides the order: a table, its need or mastery, and which of its rows."""
        if filters.by == "component" and filters.column:
            results = self._visible.component_results
            here = (results.unit_id == filters.unit) & (results.component == filters.column)
            return results, results.mastery, here

        unit = filters.column or filters.unit
        if not unit:
            return self._visible.learners, self._visible.learners.need, None
        answers = self._visible.current_answers
        return answers, answers.need, answers.unit_id == unit

    def _in_course(self, course: str) -> ColumnElement[bool]:
        learners, answers = self._visible.learners, self._visible.current_answers
        units = self._visible.units
        of_course = select(units.unit_id).where(units.course == course)
        condition: ColumnElement[bool] = exists().where(
            answers.learner_id == learners.learner_id, answers.unit_id.in_(of_course)
        )
        return condition

    def _named(self, search: str) -> list[ColumnElement[bool]]:
        learners = self._visible.learners
        if not search:
            return []
        name: ColumnElement[bool] = learners.name.icontains(search, autoescape=True)
        return [or_(name, learners.learner_id.icontains(search, autoescape=True))]


def _in_group(table: Any, filters: MapFilters) -> list[ColumnElement[bool]]:
    return [table.group_id == filters.group] if filters.group else []


def page_of(columns: Sequence[Column], number: int) -> Sequence[Column]:
    """Returns the columns of a page, the last one for a number beyond it."""
    last = max(0, (len(columns) - 1) // PAGE_COLUMNS)
    begin = min(number - 1, last) * PAGE_COLUMNS
    return columns[begin : begin + PAGE_COLUMNS]


def natural(text: str) -> list[tuple[int, str]]:
    """Returns a key by which "Unit 2" comes before "Unit 10".

    >>> sorted(["Unit 10", "Unit 2", "unit 1"], key=natural)
    ['unit 1', 'Unit 2', 'Unit 10']
    """
    parts = re.split(r"([0-9]+)", text.casefold())
    digits = [part.lstrip("0") if place % 2 else part for place, part in enumerate(parts)]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(digits)]
