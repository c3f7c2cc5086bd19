"""What is counted while a log goes by: parts of it are counted apart and added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, Field

from components.event_log.problems import Problem, merge_problems


class Tally(BaseModel):
    """Counts over a part of a log.

    Attributes:
        rows: rows per table and file.
        lines: what the lines of text files are, per table: `rows`, `header`, `blank`, `within quotes`.
        passed_over: what was found and is not read, per table, in words.
        clocks: which clocks there are, each with a file that has it.
        types: of outcome columns, `integer`, `float` or `text`; the widest seen so far.
        times: first and last `time` of events, in microseconds where they are timestamps.
        moments: the same for `as_of`.
        learners: learners with outcomes.
        units: units with outcomes.
        classes: outcomes per split and class (regression: one class named `""`).
        steps: how many outcomes see how many events.
        truncated: outcomes with more than `max_steps` events before `as_of`.
        too_late: outcomes whose events are all at or after `as_of`.
        problems: what is wrong.
    """

    rows: dict[str, Counter[str]] = Field(default_factory=dict)
    lines: dict[str, Counter[str]] = Field(default_factory=dict)
    passed_over: dict[str, str] = Field(default_factory=dict)
    clocks: dict[str, str] = Field(default_factory=dict)
    types: dict[str, str] = Field(default_factory=dict)
    times: tuple[float, float] | None = None
    moments: tuple[float, float] | None = None
    learners: int = 0
    units: set[str] = Field(default_factory=set)
    classes: dict[str, Counter[str]] = Field(default_factory=dict)
    steps: Counter[int] = Field(default_factory=Counter)
    truncated: int = 0
    too_late: int = 0
    problems: list[Problem] = Field(default_factory=list)

    def count_rows(self, table: str) -> int:
        """Returns how many usable rows a table has."""
        return self.rows.get(table, Counter()).total()

    def count_class(self, split: str, name: str) -> int:
        """Returns how many outcomes of a split have a class."""
        return self.classes.get(split, Counter())[name]


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Returns the sum, the same in whatever order they come."""
    total = Tally()
    for tally in tallies:
        for table, rows in tally.rows.items():
            total.rows.setdefault(table, Counter()).update(rows)
        for table, lines in tally.lines.items():
            total.lines.setdefault(table, Counter()).update(lines)
        total.passed_over.update(tally.passed_over)
        for split, classes in tally.classes.items():
            total.classes.setdefault(split, Counter()).update(classes)
        for clock, file in tally.clocks.items():
            total.clocks[clock] = min(file, total.clocks.get(clock, file))
        for column, type_ in tally.types.items():
            total.types[column] = _wider(type_, total.types.get(column, type_))
        total.times = _hull(total.times, tally.times)
        total.moments = _hull(total.moments, tally.moments)
        total.learners += tally.learners
        total.units |= tally.units
        total.steps.update(tally.steps)
        total.truncated += tally.truncated
        total.too_late += tally.too_late
        total.problems += tally.problems
    total.problems = merge_problems(total.problems)
    return total


def _wider(one: str, other: str) -> str:
    return max(one, other, key=("integer", "float", "text").index)


def _hull(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])
