"""Counts of a log: made while it is read, and added up over its parts in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, Field

from components.event_log.clocks import Clock
from components.event_log.odd_ids import merge_lookalikes
from components.event_log.problems import Hint, Problem, merge_hints, merge_problems
from components.event_log.timescales import Sightings, hull, merge_sightings


class Start(BaseModel):
    """The earliest of some times: timestamps (and dates written as numbers), and numbers.

    Attributes:
        stamp: in microseconds since 1970.
        number: as it is in the log.
    """

    stamp: int | None = None
    number: int | float | None = None

    def merge(self, other: Start) -> Start:
        """Returns the earlier of both."""
        return Start(
            stamp=_smallest(self.stamp, other.stamp), number=_smallest(self.number, other.number)
        )

    def on(self, clock: Clock) -> int | float:
        """Returns the time on the log's clock, timestamps in microseconds.

        Raises:
            ValueError: there is no time of that kind.
        """
        found = self.stamp if clock is Clock.TIMESTAMP else self.number
        if found is None:
            raise ValueError(f"expected a time of the kind {clock}, found none")
        return found


Value = TypeVar("Value", int, float)


def _smallest(one: Value | None, other: Value | None) -> Value | None:
    return min((value for value in (one, other) if value is not None), default=None)


class Tally(BaseModel):
    """Counts over a part of a log.

    Attributes:
        rows: rows per table and file.
        lines: number of lines of text files per table and kind; see `conclusion.LINE_KINDS`.
        passed_over: files that were found and not read, per table, in words.
        clocks: the times of `time` and `as_of`, by form.
        types: of outcome columns, `integer`, `float` or `text`; the widest so far.
        learners: learners with outcomes.
        units: units with outcomes.
        classes: outcomes per split and class (regression: one class named `""`).
        folds: with `data.splits.column`, the folds of every unit with outcomes; or, if learners are
            held out, of learners that have several.
        steps: number of outcomes by the number of events that they see.
        unit_starts: where outcomes are asked for after it, the first event of anybody in each unit.
        unasked: where outcomes are derived, questions without one, by the reason.
        asked: there, too, the earliest and the latest `as_of`, timestamps in microseconds.
        truncated: outcomes with more than `max_steps` events before `as_of`.
        too_late: outcomes whose events are all at or after `as_of`.
        used_events: events of learners, or of learners and units, that have an outcome.
        unused: learner, or learner and unit, of one event without an outcome.
        lookalikes: ids that people would read as another, by column; see `odd_ids.lookalikes`.
        twins: those other ids, if they are in the log, by column.
        hints: oddities that do not stop a run.
        problems: errors that do.
        older: the counts of reading older spans, of which some learners are replayed; None without.
        replayed: what of them is trained on once more: `learners` and `outcomes`, and the outcomes
            by class (`class <name>`).
    """

    rows: dict[str, Counter[str]] = Field(default_factory=dict)
    lines: dict[str, Counter[str]] = Field(default_factory=dict)
    passed_over: dict[str, str] = Field(default_factory=dict)
    clocks: Sightings = Field(default_factory=dict)
    types: dict[str, str] = Field(default_factory=dict)
    learners: int = 0
    units: set[str] = Field(default_factory=set)
    classes: dict[str, Counter[str]] = Field(default_factory=dict)
    folds: dict[str, set[int]] = Field(default_factory=dict)
    steps: Counter[int] = Field(default_factory=Counter)
    unit_starts: dict[str, Start] = Field(default_factory=dict)
    unasked: Counter[str] = Field(default_factory=Counter)
    asked: tuple[float, float] | None = None
    truncated: int = 0
    too_late: int = 0
    used_events: int = 0
    unused: str = ""
    lookalikes: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    twins: dict[str, set[str]] = Field(default_factory=dict)
    hints: list[Hint] = Field(default_factory=list)
    problems: list[Problem] = Field(default_factory=list)
    older: Tally | None = None
    replayed: Counter[str] = Field(default_factory=Counter)

    def count_rows(self, table: str) -> int:
        """Returns the number of usable rows of a table."""
        return self.rows.get(table, Counter()).total()

    def count_class(self, split: str, name: str) -> int:
        """Returns the number of outcomes of a class in a split."""
        return self.classes.get(split, Counter())[name]


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Returns the sum, which is the same in any order."""
    total = Tally()
    for tally in tallies:
        _add(total, tally)
    total.hints = merge_hints(total.hints)
    total.problems = merge_problems(total.problems)
    return total


def _add(total: Tally, tally: Tally) -> None:
    _add_counts(total.rows, tally.rows)
    _add_counts(total.lines, tally.lines)
    _add_counts(total.classes, tally.classes)
    total.passed_over.update(tally.passed_over)
    total.clocks = merge_sightings(total.clocks, tally.clocks)
    for column, type_ in tally.types.items():
        total.types[column] = _wider(type_, total.types.get(column, type_))

    for name, folds in tally.folds.items():
        total.folds[name] = total.folds.get(name, set()) | folds

    for unit, start in tally.unit_starts.items():
        known = total.unit_starts.get(unit)
        total.unit_starts[unit] = start if known is None else known.merge(start)
    total.unasked.update(tally.unasked)
    total.asked = hull(total.asked, tally.asked)

    total.learners += tally.learners
    total.units |= tally.units
    total.steps.update(tally.steps)
    total.truncated += tally.truncated
    total.too_late += tally.too_late
    total.used_events += tally.used_events
    total.unused = min(filter(None, (total.unused, tally.unused)), default="")

    for column, candidates in tally.lookalikes.items():
        before = total.lookalikes.get(column, {})
        total.lookalikes[column] = merge_lookalikes([before, candidates])
    for column, twins in tally.twins.items():
        total.twins[column] = total.twins.get(column, set()) | twins
    total.hints += tally.hints
    total.problems += tally.problems
    total.replayed.update(tally.replayed)
    if tally.older is not None:
        known_older = [] if total.older is None else [total.older]
        total.older = merge_tallies([*known_older, tally.older])


def _add_counts(total: dict[str, Counter[str]], counts: dict[str, Counter[str]]) -> None:
    for key, added in counts.items():
        total.setdefault(key, Counter()).update(added)


def _wider(one: str, other: str) -> str:
    return max(one, other, key=("integer", "float", "text").index)
