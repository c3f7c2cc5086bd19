"""What a run of the parts has found so far, as JSON and as Markdown. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["done", "failed", "skipped", "cut off"]
Row = dict[str, Any]

JSON, MARKDOWN = "results.json", "results.md"
DRY = (
    "**DRY RUN ON A CPU, with sizes that only show that the script works. No figure below says "
    "anything about a GPU.**"
)


@dataclass(frozen=True)
class PartResult:
    """How one part ended, and what it had found by then.

    Attributes:
        name: of the part.
        title: what it looks at.
        state: `cut off` if its share of the time was over.
        reason: why it was skipped, or failed; empty otherwise.
        seconds: how long it took, imports included.
        limit: its share, in seconds.
        notes: sentences, in the order in which they were found.
        tables: rows by the title of their table; the rows of a table have the same keys.
    """

    name: str
    title: str
    state: State
    reason: str
    seconds: float
    limit: float
    notes: Sequence[str] = ()
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All parts that have ended.

    Attributes:
        dry_run: whether it ran on a CPU, with tiny sizes.
        machine: processor, memory and day.
        started: in UTC.
        parts: in the order in which they ran.
    """

    dry_run: bool
    machine: str
    started: str
    parts: list[PartResult] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Replaces `results.json` and `results.md`, each in one step."""
        _replace(folder / JSON, json.dumps(asdict(self), indent=2) + "\n")
        _replace(folder / MARKDOWN, self.as_markdown())

    def as_markdown(self) -> str:
        """Returns the results for people."""
        lines = ["# The GPU benchmark", "", f"{self.machine}; started {self.started}.", ""]
        lines += [DRY, ""] if self.dry_run else []
        overview = [
            {
                "part": part.name,
                "looks at": part.title,
                "state": part.state,
                "seconds": f"{part.seconds:.0f} of {part.limit:.0f}",
                "reason": part.reason,
            }
            for part in self.parts
        ]
        lines += [*markdown_table(overview), ""]

        for part in self.parts:
            if not part.notes and not part.tables:
                continue
            lines += [f"## {part.title}", ""]
            lines += [f"- {note}" for note in part.notes] + ([""] if part.notes else [])
            for title, rows in part.tables.items():
                lines += [f"{title}:", "", *markdown_table(rows), ""]
        return "\n".join(lines)


def markdown_table(rows: Sequence[Row]) -> list[str]:
    """Returns the lines of a table whose columns are the keys of the first row."""
    if not rows:
        return []
    names = list(rows[0])
    body = [[_cell(row.get(name, "")) for name in names] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *body)]


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
