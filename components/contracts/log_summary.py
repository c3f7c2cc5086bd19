"""`log_summary.json`: what a log holds, for people and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from components.config.spans import describe_spans
from components.contracts.contract import Contract, Part
from components.html_table import HtmlTable, join_html


class ReplayedLog(Part):
    """What of older spans is in the train split, beside the spans that were read.

    Attributes:
        spans: names of the older spans, oldest first.
        learners: learners with outcomes there that are trained on once more.
        outcomes: their outcomes, all in the train split.
        classes: the outcomes by class; empty for a regression.
    """

    spans: list[str]
    learners: int
    outcomes: int
    classes: dict[str, int] = {}

    def describe(self) -> str:
        """Returns what is replayed, in a line."""
        return (
            f"{self.outcomes:,} outcomes of {self.learners:,} learners of "
            f"{describe_spans(self.spans)}, to train on once more"
        )


class LogSummary(Contract):
    """What a log holds.

    Attributes:
        events: rows of events.
        outcomes: rows of outcomes, which is the number of examples.
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
        unasked: where outcomes are derived, how many questions have none, by the reason.
        lines: number of lines of text files per table and kind: `rows`, `header`, `blank`,
            `within quotes`.
        passed_over: files that were found and not read, per table, in words.
        spans: names of the spans that were read, oldest first; empty if no pattern has
            placeholders.
        version: version of the spans.
        replayed: what of older spans is trained on beside them, in none of the counts above; None
            where nothing is.
        warnings: oddities of the log that do not stop a run, one line each.
    """

    FILE: ClassVar[str] = "log_summary.json"

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
    unasked: dict[str, int] = {}
    lines: dict[str, dict[str, int]] = {}
    passed_over: dict[str, str] = {}
    spans: list[str] = []
    version: int | None = None
    replayed: ReplayedLog | None = None
    warnings: list[str] = []

    def _repr_html_(self) -> str:
        sizes = HtmlTable(
            "The log",
            ["What", "Number", "From", "To"],
            [
                ["events", f"{self.events:,}", self.first_event, self.last_event],
                ["outcomes", f"{self.outcomes:,}", self.first_outcome, self.last_outcome],
                ["learners", f"{self.learners:,}", "", ""],
                ["units", f"{self.units:,}", "", ""],
                ["outcomes without an event before", f"{self.cold_starts:,}", "", ""],
            ],
            {1},
        )
        names = [*dict.fromkeys(name for classes in self.splits.values() for name in classes)]
        rows = [
            [split, f"{sum(of.values()):,}", *(f"{of.get(name, 0):,}" for name in names if name)]
            for split, of in self.splits.items()
        ]
        header = ["Split", "Examples", *filter(None, names)]
        splits = HtmlTable("Examples by split", header, rows, range(1, len(header)))
        return join_html(sizes, splits, *self.warnings)

    def describe(self) -> str:
        """Returns the summary as a few lines of text."""
        lines = [f"spans     {describe_spans(self.spans)}"] if self.spans else []
        lines += self._describe_size()
        lines += self._describe_splits()
        lines += [f"replayed  {self.replayed.describe()}"] if self.replayed else []
        lines += self._describe_files()
        lines += [f"warning   {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _describe_size(self) -> list[str]:
        share = self.cold_starts / self.outcomes
        steps = ", ".join(f"{quantile} {count}" for quantile, count in self.steps.items())
        return [
            f"events    {self.events:>12,}   {self.first_event} to {self.last_event}",
            f"outcomes  {self.outcomes:>12,}   as of {self.first_outcome} to {self.last_outcome}",
            *self._describe_unasked(),
            f"learners  {self.learners:>12,}   with outcomes",
            f"units     {self.units:>12,}   with outcomes",
            f"steps     {steps}",
            f"          {self.cold_starts:,} outcomes ({share:.1%}) have no event before as_of, "
            f"{self.truncated:,} have more than are kept",
        ]

    def _describe_unasked(self) -> list[str]:
        if not self.unasked:
            return []
        return [f"          derived; none for {describe_unasked(self.unasked)}"]

    def _describe_splits(self) -> list[str]:
        lines = []
        for split, classes in self.splits.items():
            counts = ", ".join(f"{name} {count:,}" for name, count in classes.items() if name)
            lines.append(f"{split:<9} {sum(classes.values()):>12,}   {counts}".rstrip())
        return lines

    def _describe_files(self) -> list[str]:
        lines = []
        for table, kinds in self.lines.items():
            counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
            lines.append(f"lines     {sum(kinds.values()):>12,}   of {table}: {counts}")
        if self.passed_over:
            reasons = "; ".join(f"of {table}: {text}" for table, text in self.passed_over.items())
            lines.append(f"not read  {reasons}")
        return lines


def describe_unasked(unasked: Mapping[str, int]) -> str:
    """Returns how many questions have no outcome, and why.

    >>> describe_unasked({"no grade": 4})
    '4 questions: no grade'
    """
    return ", ".join(
        f"{count:,} question{'s' if count > 1 else ''}: {reason}"
        for reason, count in unasked.items()
    )
