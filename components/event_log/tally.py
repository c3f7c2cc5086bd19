"""What is counted over a log, whether it can be used, and its summary."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

from pydantic import BaseModel, Field

from components.contracts.log_summary import LogSummary
from components.contracts.names import AS_OF, SPLITS, TIME
from components.event_log.clocks import format_moment
from components.event_log.problems import (
    Hint,
    Problem,
    merge_hints,
    merge_lookalikes,
    merge_problems,
)
from components.event_log.timescales import (
    Sightings,
    common_clock,
    extent,
    merge_sightings,
)


class Tally(BaseModel):
    """Counts over a part of a log.

    Attributes:
        rows: rows per table and file.
        lines: what the lines of text files are, per table: `rows`, `header`, `blank`, `within quotes`.
        passed_over: what was found and is not read, per table, in words.
        clocks: the times of `time` and `as_of`, by form.
        types: of outcome columns, `integer`, `float` or `text`; the widest seen so far.
        learners: learners with outcomes.
        units: units with outcomes.
        classes: outcomes per split and class (regression: one class named `""`).
        steps: how many outcomes see how many events.
        truncated: outcomes with more than `max_steps` events before `as_of`.
        too_late: outcomes whose events are all at or after `as_of`.
        used_events: events whose learner and unit have an outcome.
        unused: the learner and unit of one that has none.
        lookalikes: ids that people would take for another, by column; see `hints.lookalikes`.
        twins: which of those others there are, by column.
        hints: what is odd and does not matter to whoever meant it so.
        problems: what is wrong.
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
            total.lookalikes[column] = merge_lookalikes(
                [total.lookalikes.get(column, {}), candidates]
            )
        for column, twins in tally.twins.items():
            total.twins[column] = total.twins.get(column, set()) | twins
        total.hints += tally.hints
        total.problems += tally.problems
    total.hints = merge_hints(total.hints)
    total.problems = merge_problems(total.problems)
    return total


def _wider(one: str, other: str) -> str:
    return max(one, other, key=("integer", "float", "text").index)


LINE_KINDS = ("rows", "header", "blank", "within quotes")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


def summarise(
    total: Tally, classes: list[str], *, spans: list[str] | None = None, version: int | None = None
) -> LogSummary:
    """Returns the summary of a log that can be used.

    Args:
        total: what was counted over all of it.
        classes: the classes, in the order they are shown; none for a regression.
        spans: names of the spans that were read, oldest first.
        version: of the spans.
    """
    clock = common_clock(total.clocks)
    times, moments = (
        extent(total.clocks.get(column, {}), clock) if clock else None for column in (TIME, AS_OF)
    )
    if clock is None or times is None or moments is None:
        raise ValueError("expected the counts of a usable log, which has rows and one clock")
    return LogSummary(
        events=total.count_rows("events"),
        outcomes=total.count_rows("outcomes"),
        learners=total.learners,
        units=len(total.units),
        clock=clock,
        first_event=format_moment(times[0], clock),
        last_event=format_moment(times[1], clock),
        first_outcome=format_moment(moments[0], clock),
        last_outcome=format_moment(moments[1], clock),
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


def _quantiles(total: Tally) -> dict[str, int]:
    values = sorted(total.steps)
    ranks = list(accumulate(total.steps[value] for value in values))
    return {
        f"{quantile:.0%}": values[bisect_left(ranks, quantile * ranks[-1])]
        for quantile in QUANTILES
    }
