"""Shows to people what watching a version found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from components.command.escape import for_terminal
from components.config.spans import describe_spans

if TYPE_CHECKING:
    from components.command.console import PlainConsole
    from components.contracts.drift_report import ColumnDrift, DriftReport

_DISTANCES = {
    "infinity_norm": "L-infinity",
    "jensen_shannon_divergence": "Jensen-Shannon",
    "share": "share",
}


def print_drift(report: DriftReport, console: PlainConsole) -> None:
    """Prints a report: what was compared, a line per column, and what follows."""
    spans = f" of {describe_spans(report.spans)}" if report.spans else ""
    before = f" of {describe_spans(report.reference_spans)}" if report.reference_spans else ""
    console.print(
        f"{report.learners:,} learners{spans} beside {report.reference_learners:,}{before} that "
        f"version {report.version} was made with"
    )

    table = Table(box=None, pad_edge=False)
    for title, right in (
        ("", False), ("What", False), ("Distance", False), ("Size", True), ("Interval", True),
        ("Allowed", True), ("Change", False),
    ):  # fmt: skip
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for column in report.columns:
        table.add_row(*_row(column))
    console.print(table)

    for note in report.notes:
        console.print(f"Note: {note}.")
    console.print(report.headline, style="yellow" if report.calls_for_retraining else "green")


def _row(column: ColumnDrift) -> list[Text]:
    mark = "✗" if column.drifted else "✓" if column.threshold is not None else "·"
    style = "yellow" if column.drifted else ""
    interval = "" if column.low is None else f"{column.low:.3f} to {column.high:.3f}"
    cells = [
        mark,
        column.kind,
        _DISTANCES[column.distance],
        "" if column.size is None else f"{column.size:.3f}",
        interval,
        "" if column.threshold is None else f"{column.threshold:.3g}",
        column.words,
    ]
    return [Text(for_terminal(cell), style=style) for cell in cells]
