"""Explains which columns a file of a log lacks, with the likely cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.command.escape import shorten
from components.command.suggest import did_you_mean
from components.contracts.names import LEARNER, UNIT
from components.event_log.problems import SHOWN_COLUMNS, SHOWN_LETTERS, Problem

if TYPE_CHECKING:
    from components.event_log.column_kinds import Table
    from components.event_log.sources import LogFile


def explain_missing(
    file: LogFile, table: Table, missing: list[str], header: Sequence[str]
) -> Problem:
    """Returns one problem for all missing columns of a file, with its likely cause."""
    names = ", ".join(repr(name) for name in missing)
    expected = f"a column {names}" if len(missing) == 1 else f"the columns {names}"

    found = "no columns"
    if header:
        header = [shorten(name, SHOWN_LETTERS) for name in header]
        more = len(header) - SHOWN_COLUMNS
        found = f"the columns {', '.join(header[:SHOWN_COLUMNS])}"
        found += f" and {more} more" if more > 0 else ""
        found += _likely_cause(file, table, missing, header)

    keys = [name for name in missing if name in (table.source(LEARNER), table.source(UNIT))]
    advice = ""
    if keys:
        ids = " and ".join(keys)
        advice = f"; if {ids} is in the names of the files, write it into a column"
    return Problem(
        subject=file.path, expected=f"{expected} in {table.name}", found=found, advice=advice
    )


def _likely_cause(file: LogFile, table: Table, missing: list[str], header: Sequence[str]) -> str:
    if file.format == "csv":
        key = "data.csv.delimiter" if table.name == "events" else "data.outcomes_csv.delimiter"
        if len(missing) > 1 and any(mark in name for name in header for mark in ";\t|"):
            return f"; separate the fields by commas, or name what separates them ({key})"
        is_value = re.compile(r"[+-]?\d[\d.:T Z/+-]*").fullmatch
        if len(missing) > 2 and any(is_value(name) for name in header):
            return "; the first line has to name the columns"
    suggestions = dict.fromkeys(did_you_mean(name, header) for name in missing)
    return "".join(suggestions)
