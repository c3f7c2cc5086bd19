"""Prints how records become events, as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from components.command.console import PlainConsole
from components.platforms.reference import parts_of

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.platforms.reference import Line


def print_mapping(mapping: EventMapping) -> None:
    """Prints the columns of events and the rules of a mapping, for each kind of records."""
    console = PlainConsole()
    console.print(mapping.title or "events")
    parts = [*parts_of(mapping)]
    if not parts:
        console.print("Columns are read under their own names (data.columns, data.mapping).")
    for part in parts:
        if part.title:
            console.print(f"\n{part.title}")
        for heading, lines in (("column", part.columns), ("left out", part.rules)):
            if lines:
                console.print(_table(heading, lines))
    for name, lookup in mapping.lookups.items():
        console.print(f"lookup {name}: {lookup.path} in {lookup.key} of {lookup.table}")


def _table(heading: str, lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(heading, min_width=14, overflow="fold")
    what = "where its value is found" if heading == "column" else "what these records have"
    table.add_column(what, overflow="fold")
    for name, ways in lines:
        for index, way in enumerate(ways):
            table.add_row("" if index else name, way.replace("`", ""))
    return table
