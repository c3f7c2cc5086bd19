"""From the columns of a file to the standard columns of a table, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from components.event_log.columns import read_column
from components.event_log.files import LogFile
from components.event_log.problems import Problem, describe, near_miss, places_of
from components.event_log.readers import Chunk
from components.event_log.tables import Kind, Table
from components.event_log.windows import ORDER

FILE_SHIFT = 40  # bits of ORDER that count rows; those above count files


def convert(file: LogFile, table: Table, chunk: Chunk) -> tuple[pl.DataFrame | None, list[Problem]]:
    """Reads the columns of a chunk as `table` has them.

    Returns:
        The rows that are as expected, with standard names and types and `_order` (a column of kind `ANY` keeps the
        type it has, text where the file does not say), or None where a column is missing or of a wrong type;
        and what is wrong.
    """
    columns: dict[str, pl.Series] = {}
    problems: list[Problem] = []
    bad = pl.repeat(False, chunk.frame.height, eager=True)
    for name, kind in table.kinds.items():
        source = table.source(name)
        if source not in chunk.frame.columns:
            problems.append(_missing(file, table, source, chunk.header))
            continue
        raw = chunk.frame[source]
        read = read_column(kind, raw, table, typed=chunk.typed)
        if read is None:
            problems += [_wrong_type(file, source, kind, raw)] if len(raw) else []
            continue
        columns[name] = read.values.alias(name)
        for fault, expected in read.faults:
            if count := int(fault.sum()):
                places = places_of(fault, raw, chunk.numbers)
                where = {"subject": file.path, "column": source, "unit": file.unit}
                problems.append(Problem(**where, expected=expected, places=places, count=count))
                bad |= fault
    if len(columns) < len(table.kinds):
        return (None if problems else pl.DataFrame()), problems
    order = pl.Series(ORDER, chunk.numbers, dtype=pl.Int64) + (file.index << FILE_SHIFT)
    frame = pl.DataFrame([*columns.values(), order])
    return (frame.filter(~bad) if bad.any() else frame), problems


def _missing(file: LogFile, table: Table, source: str, header: Sequence[str]) -> Problem:
    found = f"the columns {', '.join(header)}{near_miss(source, header)}" if header else "no columns"
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        found += "; separate the fields by commas"
    return Problem(subject=file.path, expected=f"a column {source!r} in {table.name}", found=found)


def _wrong_type(file: LogFile, source: str, kind: Kind, raw: pl.Series) -> Problem:
    expected = {
        Kind.KEY: "text or integers", Kind.CLOCK: "timestamps or numbers", Kind.TEXT: "text, integers or booleans",
        Kind.NUMBER: "numbers", Kind.CLASS: "text, integers or booleans", Kind.SCORE: "numbers",
        Kind.ANY: "numbers, text, booleans or times",
    }[kind]  # fmt: skip
    value = next((f", such as {describe(item)}" for item in raw.head(100).drop_nulls().to_list()), "")
    return Problem(subject=file.path, column=source, expected=expected, found=f"{raw.dtype}{value}")
