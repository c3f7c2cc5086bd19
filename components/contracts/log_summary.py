"""`log_summary.json`: what is in a log, for people and for the report."""

from __future__ import annotations

from typing import ClassVar

from components.contracts.contract import Contract


class LogSummary(Contract):
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
        warnings: what is odd in the log and does not stop it, one line per finding.
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
    lines: dict[str, dict[str, int]] = {}
    passed_over: dict[str, str] = {}
    spans: list[str] = []
    version: int | None = None
    warnings: list[str] = []
