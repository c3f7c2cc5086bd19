"""From the columns of a file to the standard columns of a table, and what is wrong with them."""

from __future__ import annotations

import polars as pl

from components.contracts.names import ORDER
from components.event_log.clocks import describe_time
from components.event_log.columns import Read, read_column
from components.event_log.files import LogFile
from components.event_log.hints import hint_at, lookalikes, looks_missing
from components.event_log.problems import Problem, describe, places_of
from components.event_log.readers import Chunk
from components.event_log.tables import Kind, Table
from components.event_log.tally import Tally
from components.event_log.timescales import see

FILE_SHIFT = 40  # bits of ORDER that count rows; those above count files


def convert(file: LogFile, table: Table, chunk: Chunk) -> tuple[pl.DataFrame | None, Tally]:
    """Reads the columns of a chunk as `table` has them.

    Returns:
        The rows that are as expected, with standard names and types and `_order` (a column of kind `ANY` keeps the
        type it has, text where the file does not say; so do times that are numbers), or None where a column
        is of a wrong type; and what was found on the way: problems, times by form, and what is odd.
    """
    columns: dict[str, pl.Series] = {}
    tally = Tally()
    bad = pl.repeat(False, chunk.frame.height, eager=True)
    for name, kind in table.kinds.items():
        source = table.source(name)
        raw = chunk.frame[source]
        read = read_column(kind, raw, table, typed=chunk.typed)
        if read is None:
            tally.problems += [_wrong_type(file, source, kind, raw)] if len(raw) else []
            continue
        columns[name] = read.values.alias(name)
        bad |= _keep_faults(file, source, read, raw, chunk, tally)
        if len(raw):
            _keep_notes(file, table, name, read, raw, chunk, tally)

    if len(columns) < len(table.kinds):
        return (None if tally.problems else pl.DataFrame()), tally
    bad |= columns[table.clock].is_null()
    order = pl.Series(ORDER, chunk.numbers, dtype=pl.Int64) + (file.index << FILE_SHIFT)
    frame = pl.DataFrame([*columns.values(), order])
    return (frame.filter(~bad) if bad.any() else frame), tally


def _keep_faults(
    file: LogFile, source: str, read: Read, raw: pl.Series, chunk: Chunk, tally: Tally
) -> pl.Series:
    """Adds a column's faults to the problems; returns the rows that have one."""
    bad = pl.repeat(False, len(raw), eager=True)
    describe_row = read.clock.describe if read.clock else None
    for fault, expected in read.faults:
        if not (count := int(fault.sum())):
            continue
        places = places_of(fault, raw, chunk.numbers, describe_row)
        where = {"subject": file.path, "column": source, "unit": file.unit}
        tally.problems.append(Problem(**where, expected=expected, places=places, count=count))
        bad |= fault
    return bad


def _keep_notes(
    file: LogFile, table: Table, name: str, read: Read, raw: pl.Series, chunk: Chunk, tally: Tally
) -> None:
    """Adds what only the whole log can judge, and what is odd."""
    kind, source = table.kinds[name], table.source(name)
    where = {"path": file.path, "unit": file.unit}
    if kind is Kind.CLOCK and read.clock:
        forms = see(read.clock, raw, chunk.numbers, timezone=table.timezone, column=source, **where)
        tally.clocks[name] = forms
        if read.clock.moved is not None:
            text = f"dates in {source} without a midnight, which {table.timezone} skipped (their first hour counts)"
            tally.hints += hint_at(read.clock.moved, raw, chunk.numbers, text=text, **where)
        if read.clock.twice is not None:
            text = f"times in {source} that {table.timezone} had twice, as its clocks went back (the first counts)"
            tally.hints += hint_at(read.clock.twice, raw, chunk.numbers, text=text, **where)
    elif kind is Kind.KEY:
        text = f"{table.name} with a {source} that looks like a missing value (it is read as an id)"
        different = read.values.unique()
        if not (missing := different.filter(looks_missing(different))).is_empty():
            rows = read.values.is_in(missing.implode())
            tally.hints += hint_at(rows, read.values, chunk.numbers, text=text, **where)
        if (of_folder := file.partition.get(source)) is not None:
            text = f"{table.name} with another {source} than their folder is named after (the column counts)"
            rows = (read.values != of_folder).fill_null(False)
            tally.hints += hint_at(rows, read.values, chunk.numbers, text=text, **where)
        if found := lookalikes(different):
            tally.lookalikes[name] = found


def _wrong_type(file: LogFile, source: str, kind: Kind, raw: pl.Series) -> Problem:
    expected = {
        Kind.KEY: "text or integers", Kind.CLOCK: "timestamps or numbers", Kind.NUMBER: "numbers",
        Kind.CLASS: "text, integers or booleans", Kind.SCORE: "numbers",
    }.get(kind, "numbers, text, booleans or times")  # fmt: skip
    first = raw.head(100).drop_nulls().head(1)
    is_time = isinstance(raw.dtype, pl.Date | pl.Datetime)
    value = (
        f", such as {describe_time(first, 0) if is_time else describe(first.to_list()[0])}"
        if len(first)
        else ""
    )
    return Problem(subject=file.path, column=source, expected=expected, found=f"{raw.dtype}{value}")
