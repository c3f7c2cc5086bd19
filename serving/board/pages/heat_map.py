"""The heat map: learners by unit and by knowledge component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.answers.words import class_name, translations
from serving.board.links import learner_link
from serving.board.pages.heat_map_filters import LAST_PAGE, PAGE_COLUMNS, MapFilters, Sort
from serving.board.pages.heat_map_rows import Column, HeatMap, MapRows, UnitChoice, page_of
from serving.board.rendering import language_of, render
from serving.board.shown_answer import SYMBOLS, Level, level_of, shade_of, show_answer

CHOICES = 500  # groups in a filter


@dataclass(frozen=True)
class Cell:
    """One field of the map.

    Attributes:
        shade: of the colour, by need.
        symbol: of the level, which says what the colour says.
        number: what stands beside it.
        words: all of it in words.
        link: to the learner's path through the unit.
    """

    shade: int
    symbol: str
    number: str
    words: str
    link: str


@dataclass(frozen=True)
class Line:
    """One learner of the map.

    Attributes:
        need: in the chosen unit, or the greatest one in any, 0 to 1; None without an answer.
        mean: of the needs in the cells shown; None without any.
        cells: one per column; None where there is neither an answer nor a result.
    """

    name: str
    group: str | None
    link: str
    need: float | None
    mean: float | None
    cells: list[Cell | None]


@dataclass(frozen=True)
class Share:
    """How many of a column's learners have a class; `begin` and `width` in percent."""

    level: Level
    words: str
    share: float
    begin: float
    width: float


@dataclass(frozen=True)
class Heading:
    """A column with its sums over all learners."""

    column: Column
    sort: str
    direction: str | None
    shares: list[Share]
    components: str | None


def show(request: Request) -> Response:
    """Returns the page."""
    filters = MapFilters.of(request.query_params)
    language = language_of(request)
    with Session(request.app.state.engine) as session:
        heat_map = HeatMap(session, request.state.visible)
        units = heat_map.units()
        filters = _with_a_unit(filters, units)
        columns = heat_map.columns(filters, units)
        if filters.column not in {column.key for column in columns}:
            filters = replace(filters, sort=_without_column(filters), column="")
        shown = page_of(columns, filters.columns)
        rows = heat_map.rows(filters, shown)
        classes = _classes(request, session)
        groups = _groups(request, session)

    newest = classes[max(classes)] if classes else []
    return render(
        request,
        "heat_map.html.j2",
        filters=filters,
        units=units,
        courses=sorted({unit.course for unit in units if unit.course}),
        groups=groups[:CHOICES],
        more_groups=len(groups) > CHOICES,
        headings=[_heading(filters, column, newest, language) for column in shown],
        lines=_lines(filters, shown, rows, classes, language),
        unit=next((unit for unit in units if unit.unit_id == filters.unit), None),
        more=rows.more,
        last_page=LAST_PAGE,
        column_pages=-(-len(columns) // PAGE_COLUMNS),
        classes=[(SYMBOLS[level_of(name, newest, 0.0)], class_name(name, language))
                 for name in newest],
        symbols=SYMBOLS,
        shade_of=shade_of,
    )  # fmt: skip


def _with_a_unit(filters: MapFilters, units: Sequence[UnitChoice]) -> MapFilters:
    """Returns the filters with a unit that the course has, or none; components need one."""
    of_course = [
        unit.unit_id for unit in units if not filters.course or unit.course == filters.course
    ]
    if filters.unit in of_course:
        return filters
    first = of_course[0] if of_course and filters.by == "component" else ""
    return replace(filters, unit=first)


def _without_column(filters: MapFilters) -> Sort:
    return "need" if filters.sort == "column" else filters.sort


def _classes(request: Request, session: Session) -> dict[int, list[str]]:
    """Returns the classes of each version."""
    versions = request.state.visible.model_versions
    found = session.execute(select(versions.id, versions.classes))
    return {row.id: row.classes for row in found}


def _groups(request: Request, session: Session) -> Sequence[Any]:
    groups = request.state.visible.groups
    found = select(groups.group_id, groups.name).order_by(groups.name, groups.group_id)
    return session.execute(found.limit(CHOICES + 1)).all()


def _heading(filters: MapFilters, column: Column, classes: Sequence[str], language: str) -> Heading:
    shares: list[Share] = []
    begin = 0.0
    known = [*classes, *sorted(set(column.counts) - set(classes))]
    for name in known:
        count = column.counts.get(name, 0)
        if not count:
            continue
        width = 100 * count / column.learners
        level = level_of(name, classes, 0.5)
        shares.append(Share(level, class_name(name, language), width / 100, begin, width))
        begin += width
    by_unit = filters.by == "unit"
    return Heading(
        column,
        sort=filters.sorted_by("column", column.key),
        direction=filters.direction("column", column.key),
        shares=shares,
        components=(
            filters.link(by="component", unit=column.key, sort="need", column="", columns=1)
            if by_unit
            else None
        ),
    )


def _lines(
    filters: MapFilters,
    columns: Sequence[Column],
    rows: MapRows,
    classes: Mapping[int, Sequence[str]],
    language: str,
) -> list[Line]:
    texts = translations(language)
    lines = []
    for learner in rows.learners:
        learner_id = learner.learner_id
        cells: list[Cell | None] = []
        needs: list[float] = []
        for column in columns:
            if filters.by == "component":
                result = rows.results.get((learner_id, column.key))
                cells.append(result and _result_cell(result, filters.unit, texts.gettext))
                needs += [1 - result.mastery] if result else []
            else:
                answer = rows.answers.get((learner_id, column.key))
                cells.append(answer and _answer_cell(answer, classes, language))
                needs += [answer.need] if answer else []
        lines.append(
            Line(
                learner.name or learner_id, learner.group, learner_link(learner_id),
                _need(filters, learner, rows), sum(needs) / len(needs) if needs else None, cells,
            )
        )  # fmt: skip
    return lines


def _need(filters: MapFilters, learner: Any, rows: MapRows) -> float | None:
    if not filters.unit:
        return float(learner.need)
    answer = rows.answers.get((learner.learner_id, filters.unit))
    return answer.need if answer else None


def _answer_cell(answer: Any, classes: Mapping[int, Sequence[str]], language: str) -> Cell:
    shown = show_answer(answer, classes.get(answer.version_id, ()), language)
    link = learner_link(answer.learner_id, answer.unit_id)
    return Cell(shown.shade, shown.symbol, shown.number, shown.words, link)


def _result_cell(result: Any, unit_id: str, gettext: Any) -> Cell:
    need = 1 - result.mastery
    words = gettext("%(correct)s of %(answered)s right") % {
        "correct": result.correct, "answered": result.answered,
    }  # fmt: skip
    return Cell(
        shade_of(need), SYMBOLS[level_of(None, (), need)], f"{result.correct}/{result.answered}",
        words, learner_link(result.learner_id, unit_id),
    )  # fmt: skip


ROUTES = [Route("/map", show)]
