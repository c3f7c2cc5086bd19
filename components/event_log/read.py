"""Reading the files of a table, chunk by chunk, with the standard columns and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import polars as pl

from components.event_log.columns import type_of
from components.event_log.convert import convert
from components.event_log.files import LogFile
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sample import Sample
from components.event_log.tables import Kind, Table
from components.event_log.tally import Tally


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
    columns = list(dict.fromkeys(table.source(name) for name in table.kinds))  # one may have two roles
    for chunk in read_chunks(file, columns):
        if isinstance(chunk, Problem):
            yield None, Tally(problems=[chunk])
            continue
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
