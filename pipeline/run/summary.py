"""What a person reads at the end of a run, and in lists of runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from components.command.console import PlainConsole
from components.command.escape import for_terminal
from pipeline.run.record import RunRecord

_PIPE = 1000  # columns of a table that no terminal shows
_EXIT_CODES = {"passed": 0, "no new data": 0, "gates failed": 1, "failed": 2, "interrupted": 130}


def exit_code(record: RunRecord) -> int:
    """Returns the exit code of `mastery run`: 0 passed or no new data, 1 a gate failed, 2 an error, 130 interrupted."""
    return _EXIT_CODES[record.state]


def print_summary(record: RunRecord, console: PlainConsole) -> None:
    """Prints the gate table, the version pushed, the report's path, and how the run ended."""
    console.print()
    if record.error:
        node = next((node.id for node in record.nodes if node.state == "failed"), "The run")
        console.print(f"{node} failed.", style="bold red")
        console.print(record.error, soft_wrap=True)
    if record.metrics:
        metrics = json.loads(Path(record.metrics).read_text(encoding="utf-8"))
        console.print(_gate_table(metrics["gates"]))
    if record.state == "passed" and record.pushed_version:
        gone = (
            ""
            if Path(record.pushed_version).exists()
            else " (no longer there: --from Pusher pushes it again)"
        )
        console.print(f"Pushed   {record.pushed_version}{gone}", soft_wrap=True)
    elif record.state == "passed" and record.report:
        console.print("Pushed   nothing: push.enabled is false")
    elif record.state == "gates failed":
        console.print("Pushed   nothing: a gate failed", style="bold red")
    if record.data and record.data.spans:
        console.print(f"Data     {record.data.describe()}")
    if record.report:
        console.print(f"Report   {record.report}", soft_wrap=True)
    for warning in record.warnings:
        console.print(f"Warning  {warning}", style="yellow", soft_wrap=True)
    console.print(f"Run      {record.run} {_ending(record)}", soft_wrap=True)


def _ending(record: RunRecord) -> str:
    if record.seen_before:
        seen = record.seen_before
        what = (
            f"which pushed {seen.pushed_version}" if seen.pushed_version else "which pushed nothing"
        )
        return f"ended after {record.seconds or 0:.1f} s: no new data since run {seen.run}, {what}"
    cached = sum(node.state == "cached" for node in record.nodes)
    nodes = f"{len(record.nodes)} nodes, {cached} of them from the cache"
    ending = {
        "passed": "completed",
        "gates failed": "completed, but a gate failed,",
        "failed": "failed",
        "interrupted": "was interrupted; the same command goes on from here;",
    }[record.state]
    return f"{ending} after {record.seconds or 0:.1f} s ({nodes})"


def _gate_table(gates: list[dict[str, Any]]) -> Table:
    table = Table(
        "Gate", "Threshold", "Value", "", title="Gates", title_justify="left", title_style="bold"
    )
    for gate in gates:
        verdict = Text("passed", "green") if gate["passed"] else Text("FAILED", "bold red")
        value = "–" if gate["value"] is None else f"{gate['value']:.4f}"
        what = " ".join(
            part
            for part in (gate["metric"], _of("of", gate["class"]), _of("where", gate["slice"]))
            if part
        )
        reason = f" ({gate['reason']})" if gate["reason"] else ""
        table.add_row(
            what,
            f"{gate['bound']} {gate['threshold']:g}",
            value,
            Text.assemble(verdict, for_terminal(reason)),
        )
    return table


def _of(word: str, value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{key} = {item}" for key, item in value.items())
    return f"{word} {value}" if value else ""


def print_metrics(metrics: dict[str, Any]) -> None:
    """Prints the metrics of `mastery evaluate`, overall and per class."""
    console = PlainConsole()
    overall = metrics["overall"]
    console.print(f"{overall['examples']:,} examples")
    for name, value in overall["metrics"].items():
        console.print(f"  {name:<20}{'–' if value is None else f'{value:.4f}'}")
    for name, values in (overall.get("classes") or {}).items():
        numbers = "  ".join(
            f"{key} {'–' if value is None else f'{value:.4g}'}" for key, value in values.items()
        )
        console.print(f"  {name:<20}{numbers}")


def print_runs(records: list[RunRecord]) -> None:
    """Prints a table of runs, the latest last; what people copy from it is never cut, however narrow the terminal."""
    # Whoever reads a pipe has no width.
    console = PlainConsole(width=None if sys.stdout.isatty() else _PIPE)
    if not records:
        console.print("No runs here yet.")
        return

    table = Table()
    table.add_column("Run", no_wrap=True, min_width=max(len(record.run) for record in records))
    table.add_column("Pipeline", overflow="fold")
    table.add_column("State", no_wrap=True)
    table.add_column("Seconds", justify="right", no_wrap=True)
    table.add_column("Pushed", overflow="fold")
    for record in records:
        seconds = "" if record.seconds is None else f"{record.seconds:.1f}"
        pushed = Path(record.pushed_version).name if record.pushed_version else ""
        table.add_row(record.run, record.name, record.state, seconds, pushed)
    console.print(table)
    console.print("`mastery report RUN` prints the path of a run's report.")
