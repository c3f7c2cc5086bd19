"""Reading the files of a table, chunk by chunk, with the standard columns and what is wrong with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from components.contracts.names import LEARNER, UNIT
from components.event_log.columns import type_of
from components.event_log.convert import convert
from components.event_log.files import LogFile
from components.event_log.problems import Problem, near_misses
from components.event_log.readers import read_chunks
from components.event_log.sample import Sample
from components.event_log.tables import Kind, Table
from components.event_log.tally import Tally

SHOWN_COLUMNS = 30
SHOWN_LETTERS = (
    60  # of a column's name: what is no table at all may have a first line of a megabyte
)


def read_table(
    file: LogFile, table: Table, sample: Sample | None = None
) -> Iterator[tuple[pl.DataFrame | None, Tally]]:
    """Reads a file of a table in bounded memory.

    Args:
        file: the file.
        table: what it should hold.
        sample: the learners whose rows are wanted, None for all. Rows of others are looked at for what is wrong with
            them, and are neither yielded nor counted.

    Yields:
        For every chunk its usable rows, if there are any, as `convert` describes them; and what was counted.
        A missing column or one of a wrong type ends it.
    """
    columns = list(
        dict.fromkeys(table.source(name) for name in table.kinds)
    )  # one may have two roles
    for chunk in read_chunks(file, columns):
        if isinstance(chunk, Problem):
            yield None, Tally(problems=[chunk])
            continue
        if missing := [name for name in columns if name not in chunk.frame.columns]:
            yield None, Tally(problems=[_explain_missing(file, table, missing, chunk.header)])
            return
        if chunk.lines:
            yield None, Tally(lines={table.name: chunk.lines})
        frame, tally = convert(file, table, chunk)
        if frame is None:
            yield None, tally
            return
        if sample is not None and not frame.is_empty():
            frame = sample.of(frame)
        if frame.is_empty():
            yield None, tally
        else:
            tally.rows[table.name] = Counter({file.path: frame.height})
            tally.types = {
                name: type_
                for name, kind in table.kinds.items()
                if kind is Kind.ANY and (type_ := type_of(frame[name], typed=chunk.typed))
            }
            yield frame, tally


def _explain_missing(
    file: LogFile, table: Table, missing: list[str], header: Sequence[str]
) -> Problem:
    """Returns one problem for all missing columns of a file, with its likely cause."""
    names = ", ".join(repr(name) for name in missing)
    header = [
        name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}..." for name in header
    ]
    expected = (
        f"a column {names} in {table.name}"
        if len(missing) == 1
        else f"the columns {names} in {table.name}"
    )
    close = near_misses(missing, header)
    more = f" and {len(header) - SHOWN_COLUMNS} more" if len(header) > SHOWN_COLUMNS else ""
    found = (
        f"the columns {', '.join(header[:SHOWN_COLUMNS])}{more}{close}" if header else "no columns"
    )

    if file.format == "csv":
        if header[0].startswith("sep="):
            found += "; remove this line, which is Excel's own"
        elif any(mark in name for name in header for mark in ";\t|") and len(missing) > 1:
            found += "; separate the fields by commas"
        elif len(missing) > 2 and any(
            re.fullmatch(r"[+-]?\d[\d.:T Z/+-]*", name) for name in header
        ):
            found += "; the first line has to name the columns"
    keys = [name for name in missing if name in (table.source(LEARNER), table.source(UNIT))]
    advice = (
        f"; if {' and '.join(keys)} is in the names of the files, write it into a column"
        if keys
        else ""
    )
    return Problem(subject=file.path, expected=expected, found=found, advice=advice)
