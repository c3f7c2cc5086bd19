"""Shows to people what a watch found."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table

from components.command.escape import for_terminal
from pipeline.watch.findings import age_in_days

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.quality_report import Measurement, QualityReport
    from components.contracts.watch_report import WatchReport


def print_watch(report: WatchReport, now: datetime, console: PlainConsole) -> None:
    """Prints a report: versions, the log's age, drift, quality, and what calls for attention."""
    for item in report.versions:
        share = "" if item.share is None else f", {item.share}% of the requests"
        number = "all" if item.version is None else item.version
        console.print(f"Version {number}: {item.label}{share}")

    age = age_in_days(report.log, now)
    span = f"; newest delivery {report.log.newest_span}" if report.log.newest_span else ""
    if age is None:
        console.print(f"The log's age is not known: {report.log.note}{span}")
    else:
        console.print(f"The newest event is {age:.1f} days old{span}")

    if report.drift is not None:
        console.print(report.drift.headline)
    if report.quality is not None:
        _print_quality(report.quality, console)
    for note in report.notes:
        console.print(f"Note: {note}.")

    if not report.findings:
        console.print("Nothing calls for attention.", style="green")
    for finding in report.findings:
        console.print(f"✗ {finding.kind}: {finding.text}", style="yellow")


def _print_quality(report: QualityReport, console: PlainConsole) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("Version", "Answers", "Measure", "Expected", "Interval", "Outcomes", "Realised"):
        table.add_column(title, justify="left" if title in ("Version", "Measure") else "right")
    for quality in report.versions:
        whole = quality.whole
        for item in whole.expected or whole.realised:
            known = whole.find(item.measure, item.class_, realised=True)
            name = item.measure if item.class_ is None else f"{item.measure}, {item.class_}"
            expected = item if whole.expected else None
            table.add_row(
                str(quality.version), f"{whole.answers:,}", for_terminal(name), _value(expected),
                _interval(expected), f"{whole.outcomes:,}", _value(known),
            )  # fmt: skip
    console.print(table)
    console.print(report.assumes)


def _value(item: Measurement | None) -> str:
    return "" if item is None or item.value is None else f"{item.value:.3f}"


def _interval(item: Measurement | None) -> str:
    if item is None or item.low is None or item.high is None:
        return ""
    return f"{item.low:.3f} to {item.high:.3f}"
