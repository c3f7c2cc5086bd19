"""Reading CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from components.event_log.files import LogFile
from components.event_log.problems import SHOWN_PLACES, Place, Problem, describe
from components.event_log.readers import Chunk

BLOCK_BYTES = 16 << 20


def read_csv(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a CSV file as text: UTF-8, commas, a header, an empty field for a missing value; see `readers.read_chunks`.

    Lines are counted as records: an editor counts more where there are blank lines, or line breaks within quotes.
    """
    ragged: list[pc.InvalidRow] = []
    try:
        header = _read_header(file.path)
        known = [name for name in columns if name in header]
        yield Chunk(pl.DataFrame(schema=dict.fromkeys(known, pl.String)), [], header, typed=False)
        if known:
            yield from _read_records(file.path, known, header, ragged)
    except (UnicodeDecodeError, pa.ArrowException, OSError, EOFError, csv.Error) as error:
        yield _explain(file, error)
    if rows := [row for row in ragged if row.text.strip()]:
        yield _explain_ragged(file, rows)


def _read_header(path: str) -> list[str]:
    with pa.input_stream(path) as source, io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
        return next(csv.reader(text), [])


def _read_records(path: str, known: list[str], header: list[str], ragged: list[pc.InvalidRow]) -> Iterator[Chunk]:
    def skip(row: pc.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    with (
        pa.input_stream(path) as source,
        pc.open_csv(
            source,
            pc.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            pc.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pc.ConvertOptions(
                column_types=dict.fromkeys(known, pa.string()),
                include_columns=known,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as reader,
    ):
        row = 0
        for batch in reader:
            numbers = _line_numbers(row, len(batch), [item.number for item in ragged])
            yield Chunk(pl.DataFrame(pa.Table.from_batches([batch])), numbers, header, typed=False)
            row += len(batch)


def _line_numbers(row: int, count: int, skipped: list[int]) -> Sequence[int]:
    """Returns the lines of records `row` to `row + count` of those that were kept; the header is line 1."""
    if not skipped:
        return range(row + 2, row + 2 + count)
    last = row + 2 + count + len(skipped)
    kept = sorted(set(range(2, last)) - set(skipped))
    return kept[row : row + count]


def _explain(file: LogFile, error: Exception) -> Problem:
    text = str(error).strip().splitlines()[0]
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in text:
        places = _first_not_utf8(file.path)
        return Problem(subject=file.path, expected="UTF-8 text", unit="line", places=places, count=1)
    if "Empty CSV" in text:
        return Problem(subject=file.path, expected="a header and rows", found="an empty file")
    return Problem(subject=file.path, expected="a readable CSV file", found=text)


def _first_not_utf8(path: str) -> tuple[Place, ...]:
    with pa.input_stream(path) as source:
        for number, line in enumerate(io.BufferedReader(source), start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                around = line[max(error.start - 20, 0) : error.end + 20]
                return (Place(row=number, found=describe(around)),)
    return ()


def _explain_ragged(file: LogFile, rows: list[pc.InvalidRow]) -> Problem:
    shown = [Place(row=row.number, found=f"{row.actual_columns}: {describe(row.text)}") for row in rows[:SHOWN_PLACES]]
    expected = f"{rows[0].expected_columns} fields as in the header"
    return Problem(subject=file.path, expected=expected, unit="line", places=tuple(shown), count=len(rows))
