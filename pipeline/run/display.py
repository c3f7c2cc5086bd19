"""Shows runs to people: the progress of a run, its summary at the end, lists of runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.command.console import PlainConsole
from components.command.escape import for_terminal
from components.config.metrics import Level, metrics_of
from components.contracts.evaluation import (
    SHOWN_GAP,
    Evaluation,
    GateVerdict,
    Interval,
    describe_slice,
    format_confidence,
    format_metric,
)

if TYPE_CHECKING:
    from components.contracts.run_record import NodeRecord, NodeState, RunRecord

_PAUSE = 1.0  # seconds between two lines of progress where a line cannot be overwritten
_NEVER = datetime.max.replace(tzinfo=UTC)
_PIPE = 1000  # columns of a table that goes into a pipe, which has no width
_MARKS: dict[NodeState, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "done": ("✓", "green"),
    "cached": ("✓", "dim green"),
    "failed": ("✗", "bold red"),
    "interrupted": ("✗", "yellow"),
}
_ENDINGS = {
    "passed": "completed",
    "gates failed": "completed, but a gate failed,",
    "failed": "failed",
    "interrupted": "was interrupted",
}


class RunDisplay:
    """Progress of a run: a live table on a terminal, elsewhere one line per node that ends."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._began = time.monotonic()
        self._printed: dict[str, NodeState] = {}
        self._progress: dict[str, str] = {}
        self._quiet_until = 0.0

    def __enter__(self) -> RunDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, nodes: Sequence[NodeRecord], progress: Mapping[str, str]) -> None:
        """Shows the nodes' states.

        Args:
            nodes: the nodes of the run; none while TFX is loading.
            progress: the latest line of each node that runs, empty if there is none.
        """
        if self._live:
            loading = time.monotonic() - self._began
            self._live.update(_progress_table(nodes, progress, loading))
        else:
            self._print_news(nodes, progress)

    def _print_news(self, nodes: Sequence[NodeRecord], progress: Mapping[str, str]) -> None:
        for node in sorted(nodes, key=_end_of):
            if node.state in ("waiting", "running") or self._printed.get(node.id) == node.state:
                continue
            self._printed[node.id] = node.state
            mark, _ = _MARKS[node.state]
            self._console.print(f"{mark} {node.id:<18}{node.state:<8}{node.seconds or 0:>8.1f} s")

        news = {node: line for node, line in progress.items() if line != self._progress.get(node)}
        if any(news.values()) and time.monotonic() > self._quiet_until:
            self._progress |= news
            self._quiet_until = time.monotonic() + _PAUSE
            for line in filter(None, news.values()):
                self._console.print(f"    {line}", soft_wrap=True)


def print_summary(record: RunRecord, console: PlainConsole) -> None:
    """Prints the gate table, the version pushed, the report's path, and how the run ended."""
    console.print()
    if record.error:
        node = next((node.id for node in record.nodes if node.state == "failed"), "The run")
        console.print(f"{node} failed.", style="bold red")
        console.print(record.error, soft_wrap=True)
    if record.metrics:
        gates = Evaluation.read_file(Path(record.metrics)).gates
        console.print(_gate_table(gates))
        for gate in gates:
            if gate.reason:
                remark = f"{_describe_gate(gate)}, {_describe_threshold(gate)}: {gate.reason}"
                console.print(f"  {for_terminal(remark)}", soft_wrap=True)

    _print_pushed(record, console)
    if record.data and record.data.spans:
        console.print(f"Data     {record.data.describe()}")
    if record.retraining:
        console.print(f"Because  {record.retraining.why}", soft_wrap=True)
    if record.report:
        console.print(f"Report   {record.report}", soft_wrap=True)
    for warning in record.warnings:
        console.print(f"Warning  {warning}", style="yellow", soft_wrap=True)
    console.print(f"Run      {record.run} {_describe_ending(record)}", soft_wrap=True)


def print_metrics(evaluation: Evaluation) -> None:
    """Prints metrics overall, per class and per decision."""
    console = PlainConsole()
    overall = evaluation.overall
    everything = evaluation.sampled_from
    of = f", a sample of the test split's {everything:,}" if everything else ""
    console.print(f"{overall.examples:,} examples{of}")
    for name, value in overall.metrics.items():
        reach = _describe_interval(overall.interval_of(name))
        console.print(f"  {name:<20}{format_metric(value, '.4f')}{reach and f'  ({reach})'}")
    for name, of_class in overall.classes.items():
        numbers = "  ".join(
            f"{metric} {format_metric(overall.value_of(metric, name), '.4f')}"
            for metric in metrics_of(Level.CLASS)
        )
        line = f"  {name:<20}{numbers}  support {of_class.support:,}"
        console.print(line, soft_wrap=True)

    for name, decision in overall.decisions.items():
        numbers = "  ".join(
            f"{metric} {format_metric(overall.value_of(metric, decision=name), '.4f')}"
            for metric in metrics_of(Level.DECISION)
        )
        line = f"  decision {name:<11}{numbers}  named {decision.named:,}"
        console.print(line, soft_wrap=True)
    for result in evaluation.decisions:
        if result.early_warning is not None:
            console.print(f"  {result.early_warning.headline}", soft_wrap=True)


def print_runs(records: Sequence[RunRecord]) -> None:
    """Prints a table of runs, the latest last; ids are never cut, however narrow the terminal."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: closed before we began
    console = PlainConsole(width=None if on_terminal else _PIPE)
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


def _progress_table(
    nodes: Sequence[NodeRecord], progress: Mapping[str, str], loading: float
) -> Table:
    table = Table.grid(padding=(0, 2))
    if not nodes:
        table.add_row(Text("▶", "bold cyan"), "loading TFX", "", f"{loading:.0f} s")
    for node in nodes:
        mark, style = _MARKS[node.state]
        seconds = node.seconds
        if node.state == "running" and node.started:
            seconds = (datetime.now(UTC) - node.started).total_seconds()
        spent = "" if seconds is None else f"{seconds:.1f} s"
        note = progress.get(node.id, "")
        table.add_row(Text(mark, style), Text(node.id, style), node.state, f"{spent:>8}", note)
    return table


def _end_of(node: NodeRecord) -> datetime:
    """Returns when a node ended; for one that has not, or is of an older run, a late date."""
    if node.started is None or node.seconds is None:
        return _NEVER
    return node.started + timedelta(seconds=node.seconds)


def _print_pushed(record: RunRecord, console: PlainConsole) -> None:
    if record.state == "gates failed":
        console.print("Pushed   nothing: a gate failed", style="bold red")
    if record.state != "passed":
        return
    if record.pushed_version:
        there = Path(record.pushed_version).exists()
        gone = "" if there else " (no longer there: --from Pusher pushes it again)"
        console.print(f"Pushed   {record.pushed_version}{gone}", soft_wrap=True)
    elif record.report:
        console.print("Pushed   nothing: push.enabled is false")


def _describe_ending(record: RunRecord) -> str:
    seconds = f"{record.seconds or 0:.1f} s"
    if record.seen_before:
        seen = record.seen_before
        pushed = seen.pushed_version or "nothing"
        return f"ended after {seconds}: no new data since run {seen.run}, which pushed {pushed}"

    cached = sum(node.state == "cached" for node in record.nodes)
    nodes = f"{len(record.nodes)} nodes, {cached} of them from the cache"
    hint = "; the same command resumes it" if record.state == "interrupted" else ""
    return f"{_ENDINGS[record.state]} after {seconds} ({nodes}){hint}"


def _gate_table(gates: Sequence[GateVerdict]) -> Table:
    """Returns the gates as a table; numbers are never broken, however narrow the terminal."""
    columns = ["Gate", "Threshold", "Value", ""]
    has_intervals = any(gate.interval for gate in gates)
    if has_intervals:
        columns.insert(3, "Interval")
    table = Table(*columns, title="Gates", title_justify="left", title_style="bold")
    for column in table.columns[1:-1]:
        column.no_wrap = True

    for gate in gates:
        passed = Text("passed", "green") if gate.passed else Text("FAILED", "bold red")
        value = gate.value if gate.over is None else gate.measured
        table.add_row(
            _describe_gate(gate),
            _describe_threshold(gate),
            format_metric(value, ".4f"),
            *([_describe_interval(gate.interval)] if has_intervals else []),
            passed,
        )

    return table


def _describe_interval(interval: Interval | None) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def _describe_threshold(gate: GateVerdict) -> str:
    sure = f" at {format_confidence(gate.confidence)}" if gate.confidence else ""
    return f"{gate.bound.removesuffix('_over')} {gate.threshold:g}{sure}"


def _describe_gate(gate: GateVerdict) -> str:
    parts = [gate.metric]
    if gate.class_:
        parts.append(f"of {gate.class_}")
    if gate.decision:
        parts.append(f"of decision {gate.decision}")
    if gate.bound == SHOWN_GAP:
        parts.append("between groups")
    if gate.over:
        parts.append(f"over {gate.over}")
    if isinstance(gate.slice, dict):
        parts.append(f"where {describe_slice(gate.slice)}")
    elif gate.slice and gate.bound == "max_gap":
        parts.append(f"between slices of {gate.slice}")
    elif gate.slice:
        parts.append(f"in every slice of {gate.slice}")
    return " ".join(parts)
