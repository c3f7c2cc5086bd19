"""Counts of a log: made while it is read, added up over its parts, and summarised at the end."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

from pydantic import BaseModel, Field

from components.contracts.log_summary import LogSummary
from components.contracts.names import AS_OF, SPLITS, TIME
from components.event_log.clocks import Clock, format_moment
from components.event_log.problems import (
    Hint,
    Problem,
    merge_hints,
    merge_lookalikes,
    merge_problems,
)
from components.event_log.timescales import Sightings, common_clock, extent, merge_sightings

LINE_KINDS = ("rows", "header", "blank", "within quotes")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


class Tally(BaseModel):
    """Counts over a part of a log.

    Attributes:
        rows: rows per table and file.
        lines: number of lines of text files per table and kind; see `LINE_KINDS`.
        passed_over: files that were found and not read, per table, in words.
        clocks: the times of `time` and `as_of`, by form.
        types: of outcome columns, `integer`, `float` or `text`; the widest so far.
        learners: learners with outcomes.
        units: units with outcomes.
        classes: outcomes per split and class (regression: one class named `""`).
        steps: number of outcomes by the number of events that they see.
        truncated: outcomes with more than `max_steps` events before `as_of`.
        too_late: outcomes whose events are all at or after `as_of`.
        used_events: events whose learner and unit have an outcome.
        unused: learner and unit of one event that has no outcome.
        lookalikes: ids that people would read as another, by column; see `problems.lookalikes`.
        twins: those other ids, if they are in the log, by column.
        hints: oddities that do not stop a run.
        problems: errors that do.
    """

    rows: dict[str, Counter[str]] = Field(default_factory=dict)
    lines: dict[str, Counter[str]] = Field(default_factory=dict)
    passed_over: dict[str, str] = Field(default_factory=dict)
    clocks: Sightings = Field(default_factory=dict)
    types: dict[str, str] = Field(default_factory=dict)
    learners: int = 0
    units: set[str] = Field(default_factory=set)
    classes: dict[str, Counter[str]] = Field(default_factory=dict)
    steps: Counter[int] = Field(default_factory=Counter)
    truncated: int = 0
    too_late: int = 0
    used_events: int = 0
    unused: str = ""
    lookalikes: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    twins: dict[str, set[str]] = Field(default_factory=dict)
    hints: list[Hint] = Field(default_factory=list)
    problems: list[Problem] = Field(default_factory=list)

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

    total.learners += tally.learners
    total.units |= tally.units
    total.steps.update(tally.steps)
    total.truncated += tally.truncated
    total.too_late += tally.too_late
    total.used_events += tally.used_events
    total.unused = min(filter(None, (total.unused, tally.unused)), default="")

    for column, candidates in tally.lookalikes.items():
        known = total.lookalikes.get(column, {})
        total.lookalikes[column] = merge_lookalikes([known, candidates])
    for column, twins in tally.twins.items():
        total.twins[column] = total.twins.get(column, set()) | twins
    total.hints += tally.hints
    total.problems += tally.problems


def _add_counts(total: dict[str, Counter[str]], counts: dict[str, Counter[str]]) -> None:
    for key, added in counts.items():
        total.setdefault(key, Counter()).update(added)


def _wider(one: str, other: str) -> str:
    return max(one, other, key=("integer", "float", "text").index)


def summarise(
    total: Tally, classes: list[str], *, spans: list[str] | None = None, version: int | None = None
) -> LogSummary:
    """Returns the summary of a usable log.

    Args:
        total: the counts over all of it.
        classes: the classes, in the order they are shown; empty for a regression.
        spans: names of the spans that were read, oldest first.
        version: of the spans.

    Raises:
        ValueError: the log has no rows, or no common clock.
    """
    clock = common_clock(total.clocks)
    if clock is None:
        raise ValueError("expected the counts of a log with one clock")
    first_event, last_event = _describe_extent(total, TIME, clock)
    first_outcome, last_outcome = _describe_extent(total, AS_OF, clock)
    return LogSummary(
        events=total.count_rows("events"),
        outcomes=total.count_rows("outcomes"),
        learners=total.learners,
        units=len(total.units),
        clock=clock,
        first_event=first_event,
        last_event=last_event,
        first_outcome=first_outcome,
        last_outcome=last_outcome,
        cold_starts=total.steps[0],
        truncated=total.truncated,
        steps=_quantiles(total),
        splits={
            split: {name: total.count_class(split, name) for name in classes or [""]}
            for split in SPLITS
        },
        files={table: dict(sorted(rows.items())) for table, rows in sorted(total.rows.items())},
        lines={
            table: {kind: kinds[kind] for kind in LINE_KINDS if kinds[kind]}
            for table, kinds in sorted(total.lines.items())
        },
        passed_over=dict(sorted(total.passed_over.items())),
        spans=spans or [],
        version=version,
        warnings=[str(hint) for hint in total.hints],
    )


def _describe_extent(total: Tally, column: str, clock: Clock) -> tuple[str, str]:
    """Returns the first and the last time of a column in words."""
    times = extent(total.clocks.get(column, {}), clock)
    if times is None:
        raise ValueError(f"expected the counts of a log with rows, found no {column}")
    return format_moment(times[0], clock), format_moment(times[1], clock)


def _quantiles(total: Tally) -> dict[str, int]:
    """Returns the number of events that outcomes see, at each of `QUANTILES`."""
    values = sorted(total.steps)
    ranks = list(accumulate(total.steps[value] for value in values))
    return {
        f"{quantile:.0%}": values[bisect_left(ranks, quantile * ranks[-1])]
        for quantile in QUANTILES
    }
