"""Reading a file of the log in chunks: the right reader for its format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from components.event_log.files import LogFile
from components.event_log.problems import Problem


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, as the file has them.

    Attributes:
        frame: the columns that were asked for and are there.
        numbers: what the file calls each row: row numbers of Parquet, line numbers of text, both
            from 1.
        header: all columns of the file.
        typed: whether the file says of which type its columns are; otherwise all of them are text.
        lines: what the lines of a text file are that this chunk covers: `rows`, `header`, `blank`,
            `within quotes`.
    """

    frame: pl.DataFrame
    numbers: Sequence[int]
    header: Sequence[str]
    typed: bool
    lines: Counter[str] = field(default_factory=Counter)


def read_chunks(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a file chunk by chunk, in bounded memory.

    Args:
        file: the file.
        columns: which columns, as the file calls them; those that neither it nor its path has are
            left out.

    Yields:
        Chunks in the order of the file (none for a text file without rows and header), and what is
        wrong with it.
    """
    for item in _read(file, columns):
        yield item if isinstance(item, Problem) else _with_partition(item, file, columns)


def repeated_column(file: LogFile, header: Sequence[str], columns: Sequence[str]) -> Problem | None:
    """Returns the problem of a file that has a wanted column twice: which one is meant?"""
    names = [name for name in dict.fromkeys(columns) if header.count(name) > 1]
    if not names:
        return None
    places = [number for number, name in enumerate(header, start=1) if name == names[0]]
    found = f"{len(places)} of them, in the places {', '.join(map(str, places))}"
    return Problem(
        subject=file.path, column=names[0], expected="one column of this name", found=found
    )


def _read(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    if file.format == "parquet":
        from components.event_log.parquet_reader import read_parquet

        yield from read_parquet(file, columns)
    elif file.format == "csv":
        from components.event_log.csv_reader import read_csv

        yield from read_csv(file, columns)
    else:
        from components.event_log.jsonl_reader import read_jsonl

        yield from read_jsonl(file, columns)


def _with_partition(chunk: Chunk, file: LogFile, columns: Sequence[str]) -> Chunk:
    """Adds columns that only the path holds, as in `unit_id=algebra/part-0.csv`."""
    added = {name: value for name, value in file.partition.items() if name not in chunk.header}
    if not added:
        return chunk
    wanted = [
        _constant(value, chunk).alias(name) for name, value in added.items() if name in columns
    ]
    return replace(
        chunk,
        frame=pl.DataFrame([*chunk.frame.get_columns(), *wanted]),
        header=[*chunk.header, *added],
    )


def _constant(value: str | None, chunk: Chunk) -> pl.Series:
    rows = len(chunk.numbers)
    # What would be an integer in a file that says of which type its columns are, is one here as
    # well.
    if chunk.typed and value is not None and re.fullmatch(r"0|-?[1-9]\d{0,17}", value):
        return pl.repeat(int(value), rows, dtype=pl.Int64, eager=True)
    return pl.repeat(value, rows, dtype=pl.String, eager=True)
