"""Reading CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from components.event_log.chunks import (
    READ_ERRORS,
    Chunk,
    TextFault,
    excerpt,
    explain_unreadable,
    find_not_utf8,
    foreign_format,
    open_text,
    read_blocks,
    repeated_column,
)
from components.event_log.csv_records import Records, check_folded, split_records
from components.event_log.problems import SHOWN_PLACES, Place, Problem, describe
from components.event_log.sources import LogFile

HEADER_BYTES = 1 << 20
_STRICT = "CSV as in RFC 4180 (quotes around a field that holds quotes or line breaks, and those in it doubled)"


@dataclass
class _Ragged:
    """Rows with more or fewer fields than the header."""

    expected: int
    places: list[Place] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, row: pc.InvalidRow) -> None:
        self.count += 1
        if len(self.places) < SHOWN_PLACES:
            self.places.append(Place(row=line, found=f"{row.actual_columns}: {describe(row.text)}"))

    def explain(self, file: LogFile) -> Problem:
        expected = f"{self.expected} fields as in the header"
        return Problem(
            subject=file.path,
            expected=expected,
            unit="line",
            places=tuple(self.places),
            count=self.count,
        )


def read_csv(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads a CSV file as text: UTF-8, commas, a header, an empty field for a missing value; see `readers.read_chunks`.

    Lines are counted as an editor counts them: blank lines, and line breaks within quotes, are
    lines. A file that breaks RFC 4180 is read up to there. What the parser reads is held against
    what `csv_records` has seen.
    """
    try:
        with open_text(file.path) as source:
            blocks = read_blocks(source)
            start = next(blocks, b"")
            if name := foreign_format(start):
                yield Problem(subject=file.path, expected="CSV in UTF-8", found=name)
            else:
                yield from _read(file, split_records(chain([start], blocks)), columns)
    except TextFault as fault:
        yield _problem(file, _STRICT, Place(row=fault.line, found=fault.found))
    except READ_ERRORS as error:
        yield explain_unreadable(file, error, "a readable CSV file")


def _read(
    file: LogFile, blocks: Iterator[Records], columns: Sequence[str]
) -> Iterator[Chunk | Problem]:
    first = next((records for records in blocks if records.lines), None)
    if first is None:
        return  # no rows, and no columns either
    head, body = _split_header(first)
    if len(head) > HEADER_BYTES:
        raise TextFault(
            first.line, f"a header of more than {HEADER_BYTES >> 20} MiB: {excerpt(head)}"
        )
    if place := find_not_utf8(head, first.line):
        yield _problem(file, "UTF-8 text", place)
        return

    csv.field_size_limit(HEADER_BYTES)  # of the process; the module's own limit is an eighth of it
    header = next(csv.reader([head.decode().strip("\r\n")], strict=True))
    if problem := repeated_column(file, header, columns):
        yield problem
        return
    known = [name for name in columns if name in header]
    yield Chunk(pl.DataFrame(schema=dict.fromkeys(known, pl.String)), [], header, typed=False)
    for item in _read_rows(file, chain([body], blocks), header, known or header[:1]):
        yield item if isinstance(item, Problem) or known else replace(item, frame=pl.DataFrame())


def _read_rows(
    file: LogFile, blocks: Iterable[Records], header: list[str], known: list[str]
) -> Iterator[Chunk | Problem]:
    ragged = _Ragged(len(header))
    lines = Counter({"header": 1})
    for records in blocks:
        check_folded(records, len(header))
        try:
            frame, numbers, blank = _parse(records, header, known, ragged)
        except pa.ArrowInvalid as error:
            place = find_not_utf8(bytes(records.content), records.line)
            yield (
                _problem(file, "UTF-8 text", place)
                if place
                else explain_unreadable(file, error, _STRICT)
            )
            break
        if places := _header_again(frame, numbers):
            expected = "values in every row (were files joined end to end?)"
            yield Problem(
                subject=file.path,
                expected=expected,
                unit="line",
                places=places[:SHOWN_PLACES],
                count=len(places),
            )
            break
        lines.update(
            {"rows": frame.height, "blank": records.blank + blank, "within quotes": records.within}
        )
        yield Chunk(frame, numbers, header, typed=False, lines=lines)
        lines = Counter()
    if ragged.count:
        yield ragged.explain(file)


def _split_header(first: Records) -> tuple[bytes, Records]:
    """Returns the header with blank lines around it, and the other records of its block."""
    head = bytes(first.content[: HEADER_BYTES + 1])
    if len(first.lines) > 1:
        head = b"".join(head.splitlines(keepends=True)[: first.lines[1] - first.line])
    body = replace(
        first,
        content=first.content[len(head) :],
        line=first.line + len(head.splitlines()),
        lines=first.lines[1:],
        folded=tuple(
            (row - 1, start - len(head), stop - len(head))
            for row, start, stop in first.folded
            if row
        ),
    )
    return head, body


def _parse(
    records: Records, header: list[str], known: list[str], ragged: _Ragged
) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Returns the rows that fit the header, the line of each, and how many lines are blank.

    Raises:
        pa.ArrowInvalid: a column that is wanted is not UTF-8.
        TextFault: the parser takes other bytes for rows than `csv_records` does.
    """
    skipped: list[int] = []
    blank = 0

    def skip(row: pc.InvalidRow) -> str:
        nonlocal blank
        skipped.append(row.number - 1)
        if row.text.strip():
            ragged.add(records.lines[row.number - 1], row)
        else:
            blank += 1
        return "skip"

    if not records.lines:
        return pl.DataFrame(schema=dict.fromkeys(known, pl.String)), [], 0
    places = {str(header.index(name)): name for name in known}
    table = pc.read_csv(
        pa.BufferReader(records.content),
        # All of it is one block, so that the parser cuts no record, and counts the rows.
        pc.ReadOptions(
            use_threads=False,
            block_size=len(records.content),
            column_names=[*map(str, range(len(header)))],
        ),
        pc.ParseOptions(invalid_row_handler=skip),
        pc.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()),
            include_columns=list(places),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if len(table) + len(skipped) != len(records.lines):
        found = f"{len(records.lines):,} rows by their line ends and {len(table) + len(skipped):,} by the parser"
        raise TextFault(records.line, found)
    numbers = records.lines
    if skipped:
        left_out = set(skipped)
        numbers = [line for row, line in enumerate(numbers) if row not in left_out]
    frame = pl.DataFrame(table.rename_columns([*places.values()]))
    if empty := _empty_rows(frame, numbers, records):
        frame = frame.with_row_index("_row").filter(~pl.col("_row").is_in(empty)).drop("_row")
        numbers = [line for row, line in enumerate(numbers) if row not in empty]
    return frame, numbers, blank + len(empty)


def _empty_rows(frame: pl.DataFrame, numbers: Sequence[int], records: Records) -> set[int]:
    """Returns the rows of commas only, as spreadsheets write them below a table."""
    if not all(frame[name].null_count() for name in frame.columns):
        return set()
    rows = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().arg_true().to_list()
    lines = bytes(records.content).splitlines() if rows else []
    return {row for row in rows if not lines[numbers[row] - records.line].strip(b", ")}


def _header_again(frame: pl.DataFrame, numbers: Sequence[int]) -> tuple[Place, ...]:
    """Returns the rows that hold the names of their columns, maybe with a byte order mark."""
    last = frame.columns[-1]
    if not (frame[last] == last).any():
        return ()
    is_header = pl.all_horizontal(
        pl.col(name).str.strip_prefix("\ufeff") == name for name in frame.columns
    )
    rows = frame.select(is_header).to_series().arg_true().to_list()
    return tuple(Place(row=numbers[row], found="the header again") for row in rows)


def _problem(file: LogFile, expected: str, place: Place) -> Problem:
    return Problem(subject=file.path, expected=expected, unit="line", places=(place,), count=1)
