"""Reading a file of the log in chunks: the right reader for its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from components.event_log.files import LogFile
from components.event_log.problems import Problem


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, as the file has them.

    Attributes:
        frame: the columns that were asked for and are there.
        numbers: what the file calls each row: row numbers of Parquet, line numbers of text, both from 1.
        header: all columns of the file.
        typed: whether the file says of which type its columns are; otherwise all of them are text.
    """

    frame: pl.DataFrame
    numbers: Sequence[int]
    header: Sequence[str]
    typed: bool


def read_chunks(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a file chunk by chunk, in bounded memory.

    Args:
        file: the file.
        columns: which columns, as the file calls them; those that it has not are left out.

    Yields:
        Chunks in the order of the file (at least one, unless nothing can be read), and what is wrong with the file.
    """
    if file.format == "parquet":
        from components.event_log.parquet_reader import read_parquet

        yield from read_parquet(file, columns)
    elif file.format == "csv":
        from components.event_log.csv_reader import read_csv

        yield from read_csv(file, columns)
    else:
        from components.event_log.jsonl_reader import read_jsonl

        yield from read_jsonl(file, columns)
