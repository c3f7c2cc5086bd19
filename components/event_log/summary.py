"""What is in a log, for people and for the report."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from pydantic import BaseModel

from components.config.data import describe_spans
from components.contracts.names import AS_OF, SPLITS, TIME
from components.event_log.clocks import format_moment
from components.event_log.tally import Tally
from components.event_log.timescales import common_clock, extent

LINE_KINDS = ("rows", "header", "blank", "within quotes")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


class LogSummary(BaseModel):
    """What is in a log.

    Attributes:
        events: rows of events.
        outcomes: rows of outcomes, and so examples.
        learners: learners with outcomes.
        units: units with outcomes.
        clock: `timestamp`, `integer` or `float`.
        first_event: the earliest `time`; ISO 8601 in UTC where it is a timestamp.
        last_event: the latest `time`.
        first_outcome: the earliest `as_of`.
        last_outcome: the latest `as_of`.
        cold_starts: outcomes with no event before `as_of`.
        truncated: outcomes with more events than `steps.max_steps` before `as_of`.
        steps: events per example at some quantiles, e.g. `{"50%": 12}`.
        splits: examples per split and class; the class of a regression is `""`.
        files: rows per table and file.
        lines: what the lines of text files are, per table: `rows`, `header`, `blank`, `within quotes`.
        passed_over: what was found and is not read, per table, in words.
        spans: names of the spans that were read, oldest first; none where no pattern has placeholders.
        version: of the spans.
        warnings: what is odd in the log and does not stop it, a line each.
    """

    events: int
    outcomes: int
    learners: int
    units: int
    clock: str
    first_event: str
    last_event: str
    first_outcome: str
    last_outcome: str
    cold_starts: int
    truncated: int
    steps: dict[str, int]
    splits: dict[str, dict[str, int]]
    files: dict[str, dict[str, int]]
    lines: dict[str, dict[str, int]] = {}
    passed_over: dict[str, str] = {}
    spans: list[str] = []
    version: int | None = None
    warnings: list[str] = []

    def describe(self) -> str:
        """Returns the summary as a few lines of text."""
        share = self.cold_starts / self.outcomes
        lines = [
            f"events    {self.events:>12,}   {self.first_event} to {self.last_event}",
            f"outcomes  {self.outcomes:>12,}   as of {self.first_outcome} to {self.last_outcome}",
            f"learners  {self.learners:>12,}   with outcomes",
            f"units     {self.units:>12,}   with outcomes",
            "steps     " + ", ".join(f"{name} {steps}" for name, steps in self.steps.items()),
            f"          {self.cold_starts:,} outcomes ({share:.1%}) have no event before as_of, "
            f"{self.truncated:,} have more than are kept",
        ]
        for split, classes in self.splits.items():
            counts = ", ".join(f"{name} {count:,}" for name, count in classes.items() if name)
            lines.append(f"{split:<9} {sum(classes.values()):>12,}   {counts}".rstrip())
        for table, kinds in self.lines.items():
            counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
            lines.append(f"lines     {sum(kinds.values()):>12,}   of {table}: {counts}")
        if self.passed_over:
            told = "; ".join(
                f"of {table}: {reasons}" for table, reasons in self.passed_over.items()
            )
            lines.append(f"not read  {told}")
        if self.spans:
            lines.insert(0, f"spans     {describe_spans(self.spans)}")
        lines += [f"warning   {warning}" for warning in self.warnings]
        return "\n".join(lines)


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
