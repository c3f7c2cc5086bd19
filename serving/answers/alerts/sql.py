"""Turns the condition of an alert into SQL over the current answers.

A comparison with something that is missing is neither true nor false, as in SQL: `not` leaves it
so, `or` with something true is true, and nobody is told unless the whole condition is true.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Double,
    and_,
    case,
    cast,
    literal,
    not_,
    null,
    or_,
    types,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from components.contracts.names import NOT_SURE
from serving.answers.alerts.tree import (
    All,
    Comparison,
    Condition,
    Either,
    Field,
    Flag,
    Missing,
    Negation,
    Number,
    Operand,
    Probability,
    Text,
)
from serving.answers.tables import CurrentAnswer, Group, Unit, UtcTime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.sql.compiler import SQLCompiler

SECONDS_PER_DAY = 86400.0

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


class whole_seconds(FunctionElement[float]):
    """Seconds from 1970 to a moment, rounded down."""

    type = Double()
    inherit_cache = True


@compiles(whole_seconds, "postgresql")
def _on_postgresql(element: whole_seconds, compiler: SQLCompiler, **options: Any) -> str:
    moment = compiler.process(element.clauses, **options)
    return f"CAST(floor(extract(epoch FROM {moment})) AS double precision)"


@compiles(whole_seconds, "sqlite")
def _on_sqlite(element: whole_seconds, compiler: SQLCompiler, **options: Any) -> str:
    # Text such as 2026-03-02 06:00:00.000000, in UTC; SQLite itself would round to milliseconds.
    moment = compiler.process(element.clauses, **options)
    return f"CAST(strftime('%s', substr({moment}, 1, 19)) AS REAL)"


@dataclass(frozen=True)
class Reader:
    """What a condition reads, for the answers of versions whose classes may differ.

    Attributes:
        classes: of each version, by its row's id.
        moment: the end of all days that are counted: when the newest scoring asked about.
    """

    classes: Mapping[int, Sequence[str]]
    moment: datetime

    def condition(self, tree: Condition) -> ColumnElement[bool]:
        """Returns a condition on `current_answers`, joined with `groups` and `units`."""
        match tree:
            case Comparison(left, sign, right):
                return _OPERATORS[sign](self._operand(left), self._operand(right))  # type: ignore[no-any-return]
            case Missing(operand, negated):
                value = self._operand(operand)
                return value.is_not(None) if negated else value.is_(None)
            case Flag():
                return self._flag(tree)
            case Negation(part):
                return not_(self.condition(part))
            case All(parts):
                return and_(*map(self.condition, parts))
            case Either(parts):
                return or_(*map(self.condition, parts))

    @staticmethod
    def _flag(flag: Flag) -> ColumnElement[bool]:
        """Returns a flag; neither true nor false for an answer whose version does not say it."""
        if flag.decision is not None:
            listed = cast(CurrentAnswer.decisions, types.Text)
            return listed.contains(f'"{flag.decision}"', autoescape=True)
        if flag.name == "not_sure":
            return CurrentAnswer.answer_text == NOT_SURE
        return CurrentAnswer.unfamiliar != ""

    def _operand(self, operand: Operand) -> ColumnElement[Any]:
        match operand:
            case Number(value):
                return literal(value, Double())
            case Text(value):
                return literal(value)
            case Probability(of):
                return self.probability(of)
            case Field(name):
                return self._field(name)

    def probability(self, of: str) -> ColumnElement[float]:
        """Returns the probability of a class; missing where the version does not have the class."""
        versions: dict[int, list[int]] = {}
        for version, classes in self.classes.items():
            if of in classes:
                versions.setdefault([*classes].index(of), []).append(version)
        if not versions:
            return cast(null(), Double())
        return case(
            *(
                (CurrentAnswer.version_id.in_(ids), CurrentAnswer.probabilities[place].as_float())
                for place, ids in versions.items()
            )
        )

    def _field(self, name: str) -> ColumnElement[Any]:
        columns: dict[str, Any] = {
            "need": CurrentAnswer.need,
            "prediction": CurrentAnswer.prediction,
            "class": CurrentAnswer.predicted_class,
            "previous_class": CurrentAnswer.previous_class,
            "basis": CurrentAnswer.basis,
            "unit": CurrentAnswer.unit_id,
            "course": Unit.course,
            "group": CurrentAnswer.group_id,
            "region": Group.region,
        }
        if name in columns:
            return columns[name]  # type: ignore[no-any-return]
        since = {
            "horizon": CurrentAnswer.first_event_at,
            "days_since_visit": CurrentAnswer.last_event_at,
            "days_in_class": CurrentAnswer.since,
        }
        seconds = whole_seconds(literal(self.moment, UtcTime())) - whole_seconds(since[name])
        return seconds / SECONDS_PER_DAY
