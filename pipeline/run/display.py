"""Shows a run as it goes: one line a node."""

from __future__ import annotations

import time
from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.command.console import PlainConsole
from pipeline.run.record import NodeRecord

_PAUSE = 1.0  # seconds between two words of progress where lines cannot be written over
_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "done": ("✓", "green"),
    "cached": ("✓", "dim green"),
    "failed": ("✗", "bold red"),
    "interrupted": ("✗", "yellow"),
}


class RunDisplay:
    """Live table on a terminal; elsewhere a line when a node ends and one for each word of progress."""

    def __init__(self, console: PlainConsole) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=8, transient=False)
            if console.is_terminal
            else None
        )
        self._printed: dict[str, str] = {}
        self._progress = ""
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

    def update(self, nodes: list[NodeRecord], progress: str, elapsed: float) -> None:
        """Shows the nodes' states; `progress` belongs to the running node, `elapsed` seconds to it too."""
        if self._live:
            self._live.update(self._table(nodes, progress, elapsed))
        else:
            self._print_news(nodes, progress)

    def _table(self, nodes: list[NodeRecord], progress: str, elapsed: float) -> Table:
        table = Table.grid(padding=(0, 2))
        if not nodes:
            table.add_row(Text("▶", "bold cyan"), "loading TFX", "", f"{elapsed:.0f} s")
        for node in nodes:
            mark, style = _MARKS[node.state]
            seconds = elapsed if node.state == "running" else node.seconds
            spent = "" if seconds is None else f"{seconds:.1f} s"
            note = progress if node.state == "running" else ""
            table.add_row(Text(mark, style), Text(node.id, style), node.state, f"{spent:>8}", note)
        return table

    def _print_news(self, nodes: list[NodeRecord], progress: str) -> None:
        for node in nodes:
            if node.state in ("waiting", "running") or self._printed.get(node.id) == node.state:
                continue
            self._printed[node.id] = node.state
            mark = _MARKS[node.state][0]
            self._console.print(f"{mark} {node.id:<18}{node.state:<8}{node.seconds or 0:>8.1f} s")
        if progress != self._progress and time.monotonic() > self._quiet_until:
            self._progress, self._quiet_until = progress, time.monotonic() + _PAUSE
            self._console.print(f"    {progress}", soft_wrap=True)
