"""Adds up what came in beside what had been answered, so that a page need not read every outcome.

A version's quality is made of ratios of a few sums, its cells: recall, for example, is `low_told`
divided by `low`. How far chance reaches needs one thing more, because a learner with twenty
outcomes is not twenty learners: the sums over learners of products of two of their cells
(`serving.answers.track_record` makes intervals of them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    SQLColumnExpression,
    Subquery,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Text

from serving.answers.tables import ModelVersion, Outcome, OutcomeSum

# Outcomes; of them those answered right, truly of the lowest class, answered so (told), without a
# visit for 7 days (warned), and two of these at once.
CLASS_CELLS = ("outcomes", "right", "low", "told", "warned", "low_told", "low_warned")
NUMBER_CELLS = ("outcomes", "error", "absolute_error", "squared_error")
BINS = 10  # of the probability of the lowest class

EVERY_MONTH = ""
_Key = tuple[str, str]  # group and month


class _Month(FunctionElement[str]):
    """The month of a time in UTC, such as `2026-03`."""

    type = Text()
    inherit_cache = True


@compiles(_Month, "sqlite")
def _month_in_sqlite(element: _Month, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, 7)"


@compiles(_Month, "postgresql")
def _month_in_postgresql(element: _Month, compiler: SQLCompiler, **options: Any) -> str:
    return (
        f"to_char(({compiler.process(element.clauses, **options)}) AT TIME ZONE 'UTC', 'YYYY-MM')"
    )


def cells_of(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the cells of a version with these classes; none for a regression."""
    return CLASS_CELLS if classes else NUMBER_CELLS


def refresh_sums(connection: Connection, version_ids: Iterable[int]) -> None:
    """Writes the sums of some versions anew, within the connection's transaction."""
    known = select(ModelVersion.id, ModelVersion.classes).where(
        ModelVersion.id.in_(sorted(version_ids))
    )
    for version_id, classes in connection.execute(known).all():
        connection.execute(delete(OutcomeSum).where(OutcomeSum.version_id == version_id))
        rows = _sums(connection, version_id, classes)
        if rows:
            connection.execute(insert(OutcomeSum), rows)


def _sums(connection: Connection, version_id: int, classes: list[str]) -> list[dict[str, Any]]:
    """Returns the rows of a version: of every group and month, and of all months."""
    names = cells_of(classes)
    found = _moments(connection, version_id, classes, by_month=True)
    found |= _moments(connection, version_id, classes, by_month=False)
    confusion = _confusion(connection, version_id, classes)
    calibration = _calibration(connection, version_id, classes)

    rows = []
    for (group, month), values in found.items():
        count = len(names)
        rows.append(
            {
                "version_id": version_id,
                "group_id": group,
                "month": month,
                "totals": values[:count],
                "learners": values[count : 2 * count],
                "products": values[2 * count :],
                "confusion": confusion.get((group, month), [0.0] * len(classes) ** 2),
                "calibration": calibration.get(
                    (group, month), [0.0] * (3 * BINS if classes else 0)
                ),
            }
        )
    return rows


def _moments(
    connection: Connection, version_id: int, classes: list[str], *, by_month: bool
) -> dict[_Key, list[float]]:
    """Returns totals, learners and products, one after the other, by group and month."""
    names = cells_of(classes)
    cells = _class_cells(classes[0]) if classes else _number_cells()
    rows = _outcomes(version_id, cells, by_month=by_month).c
    keys = (rows.group_id, rows.month)
    per_learner = (
        select(*keys, *(func.sum(rows[name]).label(name) for name in names))
        .group_by(rows.learner_id, *keys)
        .subquery()
    )

    columns = [per_learner.c[name] for name in names]
    sums = [func.sum(column) for column in columns]
    sums += [func.sum(case((column != 0, 1), else_=0)) for column in columns]
    sums += [func.sum(one * other) for one, other in combinations_with_replacement(columns, 2)]
    keys = (per_learner.c.group_id, per_learner.c.month)
    found = connection.execute(select(*keys, *sums).group_by(*keys))
    return {(group, month): [float(value) for value in values] for group, month, *values in found}


def _class_cells(lowest: str) -> dict[str, ColumnElement[int]]:
    """Returns each cell as a column that is 0 or 1."""
    low, told = Outcome.label == lowest, Outcome.predicted_class == lowest
    warned = Outcome.rule_warned.is_(True)
    conditions = {
        "outcomes": Outcome.label.is_not(None),
        "right": Outcome.label == Outcome.predicted_class,
        "low": low,
        "told": told,
        "warned": warned,
        "low_told": and_(low, told),
        "low_warned": and_(low, warned),
    }
    return {name: case((condition, 1), else_=0) for name, condition in conditions.items()}


def _number_cells() -> dict[str, ColumnElement[Any]]:
    error = Outcome.prediction - Outcome.value
    return {
        "outcomes": case((error.is_not(None), 1), else_=0),
        "error": error,
        "absolute_error": func.abs(error),
        "squared_error": error * error,
    }


def _confusion(
    connection: Connection, version_id: int, classes: list[str]
) -> dict[_Key, list[float]]:
    """Returns how many outcomes have which true and answered class, [C, C] row by row."""
    size = len(classes)
    places = {name: place for place, name in enumerate(classes)}
    pair = {"label": Outcome.label, "predicted": Outcome.predicted_class}
    rows = _outcomes(version_id, pair, by_month=True).c
    keys = (rows.group_id, rows.month, rows.label, rows.predicted)
    found = connection.execute(select(*keys, func.count()).group_by(*keys))

    counts: dict[_Key, list[float]] = {}
    for group, month, label, predicted, count in found:
        if label in places and predicted in places:
            cell = places[label] * size + places[predicted]
            for key in ((group, month), (group, EVERY_MONTH)):
                counts.setdefault(key, [0.0] * size**2)[cell] += count
    return counts


def _calibration(
    connection: Connection, version_id: int, classes: list[str]
) -> dict[_Key, list[float]]:
    """Returns outcomes, those of the lowest class, and the probability given to it, [BINS, 3]."""
    if not classes:
        return {}
    probability = Outcome.lowest_probability
    # `floor` is not in every SQLite, and a cast rounds in PostgreSQL.
    edges = [case((probability >= place / BINS, 1), else_=0) for place in range(1, BINS)]
    columns = {
        "place": cast(sum(edges[1:], edges[0]), Integer),
        "low": case((Outcome.label == classes[0], 1), else_=0),
        "said": probability,
    }
    rows = _outcomes(version_id, columns, by_month=True).c
    keys = (rows.group_id, rows.month, rows.place)
    found = connection.execute(
        select(*keys, func.count(), func.sum(rows.low), func.sum(rows.said))
        .where(rows.said.is_not(None))
        .group_by(*keys)
    )

    sums: dict[_Key, list[float]] = {}
    for group, month, place, *values in found:
        for key in ((group, month), (group, EVERY_MONTH)):
            cells = sums.setdefault(key, [0.0] * (3 * BINS))
            for offset, value in enumerate(values):
                cells[3 * place + offset] += float(value)
    return sums


def _outcomes(
    version_id: int, columns: Mapping[str, SQLColumnExpression[Any]], *, by_month: bool
) -> Subquery:
    """Returns the outcomes of a version: learner, group, month, and some columns."""
    return (
        select(
            Outcome.learner_id,
            func.coalesce(Outcome.group_id, "").label("group_id"),
            (_Month(Outcome.as_of) if by_month else literal(EVERY_MONTH)).label("month"),
            *(column.label(name) for name, column in columns.items()),
        )
        .where(Outcome.version_id == version_id)
        .subquery()
    )
