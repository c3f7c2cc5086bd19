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


def print_drift(report: DriftReport, console: PlainConsole) -> None:
    """Prints a report: what was compared, a line per column, and what follows."""
    spans = f" of {describe_spans(report.spans)}" if report.spans else ""
    before = f" of {describe_spans(report.reference_spans)}" if report.reference_spans else ""
    served = " in served traffic" if report.compared == "served" else ""
    console.print(
        f"{report.learners:,} learners{spans}{served} beside {report.reference_learners:,}{before} "
        f"that version {report.version} was made with"
    )

    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("", "left"), ("What", "left"), ("Moved", "right"), ("Interval", "right"),
        ("Allowed", "right"), ("Change", "left"),
    ):  # fmt: skip
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for column in report.columns:
        table.add_row(*_row(column))
    console.print(table)

    for note in report.notes:
        console.print(f"Note: {note}.")
    console.print(report.headline, style="yellow" if report.calls_for_retraining else "green")


def _row(column: ColumnDrift) -> list[Text]:
    mark = "✗" if column.drifted else "✓" if column.threshold is not None else "·"
    is_share = column.distance != "jensen_shannon_divergence"
    interval = ""
    if column.low is not None and column.high is not None:
        interval = f"{_size(column.low, is_share)} to {_size(column.high, is_share)}"
    cells = [
        mark,
        column.kind,
        "" if column.size is None else _with_unit(column.size, is_share),
        interval,
        "" if column.threshold is None else _with_unit(column.threshold, is_share),
        column.words,
    ]
    return [Text(for_terminal(cell), style="yellow" if column.drifted else "") for cell in cells]


def _size(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f}" if is_share else f"{value:.3f}"


def _with_unit(value: float, is_share: bool) -> str:
    return f"{_size(value, is_share)}{'%' if is_share else ' bit'}"
