"""Reads CSV: `csv_records` finds where rows begin and end, Arrow parses them, both must agree."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from components.config.csv_dialect import CsvDialect
from components.event_log.chunks import (
    BOM,
    READ_ERRORS,
    Chunk,
    TextFault,
    foreign_format,
    open_text,
    read_blocks,
)
from components.event_log.csv_records import Records, check_folded, split_records
from components.event_log.problems import (
    SHOWN_PLACES,
    Hint,
    Place,
    Problem,
    describe,
    describe_fault,
    explain_unreadable,
    find_not_utf8,
    hint_at,
    repeated_column,
)

if TYPE_CHECKING:
    from components.event_log.sources import LogFile

HEADER_BYTES = 1 << 20
_STRICT = (
    "CSV as in RFC 4180 (quotes around a field that holds quotes or line breaks, "
    "and quotes inside it doubled)"
)
_KEY = "`encoding` of data.csv or data.outcomes_csv"
_UTF8 = f"UTF-8 text, or another encoding by its name ({_KEY})"
_STANDARD = CsvDialect()
_DECIMAL_COMMA = r"^([+-]?\d*),(\d+)$"
_THOUSANDS = r"^[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?$"


def read_csv(
    file: LogFile, columns: Sequence[str], dialect: CsvDialect = _STANDARD
) -> Iterator[Chunk | Problem]:
    """Reads a CSV file as text: a header, and an empty field for a missing value.

    Lines are counted as an editor counts them: blank lines and line breaks within quotes count. A
    file that breaks RFC 4180 is read up to the first violation. See `readers.read_chunks`.

    Args:
        file: the file.
        columns: which columns.
        dialect: how the file is written.
    """
    try:
        with open_text(file.path) as source:
            blocks = _in_utf8(read_blocks(source), dialect.encoding)
            start = next(blocks, b"")
            if name := foreign_format(start):
                if name.startswith("UTF-16"):
                    name += f"; or name the encoding: {_KEY}"
                expected = f"CSV in {dialect.encoding.upper()}"
                yield Problem(subject=file.path, expected=expected, found=name)
            else:
                records = split_records(chain([start], blocks), ord(dialect.delimiter))
                yield from _read_records(file, records, columns, dialect)
    except TextFault as fault:
        yield _problem_at(file, _STRICT, Place(row=fault.line, found=describe_fault(fault)))
    except _NotInEncoding as fault:
        yield _problem_at(file, fault.expected, Place(row=fault.line, found=fault.found))
    except READ_ERRORS as error:
        yield explain_unreadable(file.path, error)


class _NotInEncoding(Exception):
    """A place where a file is not text in the encoding that was named."""

    def __init__(self, encoding: str, line: int, found: bytes) -> None:
        super().__init__(f"line {line}")
        self.expected = f"text in {encoding} ({_KEY})"
        self.line = line
        self.found = f"the bytes {found.hex(' ')}"


def _in_utf8(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yields the content of a file in UTF-8, whatever it is stored in, without a byte order mark.

    Raises:
        _NotInEncoding: some bytes stand for nothing in the encoding.
    """
    if encoding == "utf-8":
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    is_first = True
    for block in chain(blocks, [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            before = bytes(error.object[: error.start]).decode(encoding, "replace")
            wrong = bytes(error.object[error.start : error.end])
            raise _NotInEncoding(encoding, line + before.count("\n"), wrong) from None
        line += text.count("\n")
        content = text.encode()
        yield content.removeprefix(BOM) if is_first else content
        is_first = is_first and not content


def _read_records(
    file: LogFile, blocks: Iterator[Records], columns: Sequence[str], dialect: CsvDialect
) -> Iterator[Chunk | Problem]:
    first = next((records for records in blocks if records.lines), None)
    if first is None:
        return  # no rows, and no columns either

    head, body = _split_header(first)
    if len(head) > HEADER_BYTES:
        raise TextFault(first.line, f"a header of more than {HEADER_BYTES >> 20} MiB", head)
    if place := find_not_utf8(head, first.line):
        yield _problem_at(file, _UTF8, place)
        return
    header = _parse_header(head, dialect)
    if problem := repeated_column(file.path, header, columns):
        yield problem
        return

    # A chunk without rows first: it names the columns, also of a file without rows.
    known = [name for name in columns if name in header]
    yield Chunk(pl.DataFrame(schema=dict.fromkeys(known, pl.String)), [], header, typed=False)

    # Rows are counted even if none of the columns is requested: read the first one then.
    for item in _read_rows(file, chain([body], blocks), header, known or header[:1], dialect):
        if isinstance(item, Problem):
            yield item
        elif not known:
            yield replace(item, frame=pl.DataFrame())
        else:
            yield item if dialect == _STANDARD else _in_plain_values(file, item, dialect)


def _in_plain_values(file: LogFile, chunk: Chunk, dialect: CsvDialect) -> Chunk:
    """Returns a chunk with missing values and numbers as they are in standard files."""
    frame = chunk.frame
    hints: list[Hint] = []
    if dialect.missing:
        frame = frame.with_columns(pl.when(~pl.all().is_in(dialect.missing)).then(pl.all()))
    if dialect.decimal == ",":
        for column in frame.iter_columns():
            text = f"values of {column.name} with points between thousands (read as they are)"
            found = column.str.contains(_THOUSANDS).fill_null(False)
            where = {"path": file.path, "unit": file.unit}
            hints += hint_at(found, column, chunk.numbers, text=text, **where)
        frame = frame.with_columns(pl.all().str.replace(_DECIMAL_COMMA, "${1}.${2}"))
    return replace(chunk, frame=frame, hints=[*chunk.hints, *hints])


def _split_header(first: Records) -> tuple[bytes, Records]:
    """Returns the header with blank lines around it, and the other records of its block."""
    head = bytes(first.content[: HEADER_BYTES + 1])
    if len(first.lines) > 1:
        head = b"".join(head.splitlines(keepends=True)[: first.lines[1] - first.line])
    folded = [
        (row - 1, start - len(head), stop - len(head)) for row, start, stop in first.folded if row
    ]
    body = replace(
        first,
        content=first.content[len(head) :],
        line=first.line + len(head.splitlines()),
        lines=first.lines[1:],
        folded=tuple(folded),
    )
    return head, body


def _parse_header(head: bytes, dialect: CsvDialect) -> list[str]:
    csv.field_size_limit(HEADER_BYTES)  # of the process; the module's own limit is an eighth of it
    lines = [head.decode().strip("\r\n")]
    return next(csv.reader(lines, delimiter=dialect.delimiter, strict=True))


def _read_rows(
    file: LogFile,
    blocks: Iterable[Records],
    header: list[str],
    known: list[str],
    dialect: CsvDialect,
) -> Iterator[Chunk | Problem]:
    ragged = _RaggedRows(len(header))
    lines = Counter({"header": 1})
    for records in blocks:
        check_folded(records, len(header), ord(dialect.delimiter))
        try:
            rows = _parse(records, header, known, ragged, dialect.delimiter)
        except pa.ArrowInvalid as error:
            yield _explain_unparsable(file, records, error)
            break
        if places := _find_repeated_header(rows.frame, rows.numbers):
            yield Problem(
                subject=file.path,
                expected="values in every row (were files joined end to end?)",
                unit="line",
                places=places[:SHOWN_PLACES],
                count=len(places),
            )
            break

        blank = records.blank + rows.blank
        lines.update({"rows": rows.frame.height, "blank": blank, "within quotes": records.within})
        yield Chunk(rows.frame, rows.numbers, header, typed=False, lines=lines)
        lines = Counter()
    if ragged.count:
        yield ragged.explain(file)


def _explain_unparsable(file: LogFile, records: Records, error: pa.ArrowInvalid) -> Problem:
    if place := find_not_utf8(bytes(records.content), records.line):
        return _problem_at(file, _UTF8, place)
    return Problem(subject=file.path, expected=_STRICT, found=str(error).splitlines()[0])


@dataclass
class _RaggedRows:
    """Rows with more or fewer fields than the header."""

    expected: int
    places: list[Place] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, row: pc.InvalidRow) -> None:
        self.count += 1
        if len(self.places) < SHOWN_PLACES:
            self.places.append(Place(row=line, found=f"{row.actual_columns}: {describe(row.text)}"))

    def explain(self, file: LogFile) -> Problem:
        return Problem(
            subject=file.path,
            expected=f"{self.expected} fields as in the header",
            unit="line",
            places=tuple(self.places),
            count=self.count,
        )


@dataclass(frozen=True)
class _Rows:
    """The rows of some records that fit the header.

    Attributes:
        frame: their values as text.
        numbers: the line of each row.
        blank: number of rows that are left out because they are blank.
    """

    frame: pl.DataFrame
    numbers: Sequence[int]
    blank: int


def _parse(
    records: Records, header: list[str], known: list[str], ragged: _RaggedRows, delimiter: str
) -> _Rows:
    """Returns the rows that fit the header; the others are added to `ragged`.

    Raises:
        pa.ArrowInvalid: a requested column is not UTF-8.
        TextFault: the parser finds other rows than `csv_records`.
    """
    if not records.lines:
        return _Rows(pl.DataFrame(schema=dict.fromkeys(known, pl.String)), [], blank=0)

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

    options = pc.ParseOptions(delimiter=delimiter, invalid_row_handler=skip)
    table = _parse_columns(records, header, known, options)
    parsed = len(table) + len(skipped)
    if parsed != len(records.lines):
        reason = f"{len(records.lines):,} rows by their line ends and {parsed:,} by the parser"
        raise TextFault(records.line, reason)

    numbers = _without(records.lines, set(skipped))
    frame = pl.DataFrame(table)
    if empty := _empty_rows(frame, numbers, records, delimiter):
        frame = frame.with_row_index("_row").filter(~pl.col("_row").is_in(empty)).drop("_row")
        numbers = _without(numbers, empty)
    return _Rows(frame, numbers, blank + len(empty))


def _parse_columns(
    records: Records, header: list[str], known: list[str], options: pc.ParseOptions
) -> pa.Table:
    # Columns are read by their position, since columns that nobody requests may share a name.
    names = {str(header.index(name)): name for name in known}
    read_options = pc.ReadOptions(
        use_threads=False,
        # All of it is one block, so that the parser cuts no record, and counts the rows.
        block_size=len(records.content),
        column_names=[str(position) for position in range(len(header))],
    )
    convert_options = pc.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=list(names),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    source = pa.BufferReader(records.content)
    table = pc.read_csv(source, read_options, options, convert_options)
    return table.rename_columns(list(names.values()))


def _without(numbers: Sequence[int], left_out: set[int]) -> Sequence[int]:
    if not left_out:
        return numbers
    return [number for row, number in enumerate(numbers) if row not in left_out]


def _empty_rows(
    frame: pl.DataFrame, numbers: Sequence[int], records: Records, delimiter: str
) -> set[int]:
    """Returns the rows of separators only, as spreadsheets write them below a table."""
    if not all(frame[name].null_count() for name in frame.columns):
        return set()
    rows = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().arg_true().to_list()
    lines = bytes(records.content).splitlines() if rows else []
    marks = f"{delimiter} ".encode()
    return {row for row in rows if not lines[numbers[row] - records.line].strip(marks)}


def _find_repeated_header(frame: pl.DataFrame, numbers: Sequence[int]) -> tuple[Place, ...]:
    """Returns the rows that hold the names of their columns, maybe with a byte order mark."""
    last = frame.columns[-1]
    if not (frame[last] == last).any():
        return ()
    is_header = pl.all_horizontal(
        pl.col(name).str.strip_prefix("\ufeff") == name for name in frame.columns
    )
    rows = frame.select(is_header).to_series().arg_true().to_list()
    return tuple(Place(row=numbers[row], found="the header again") for row in rows)


def _problem_at(file: LogFile, expected: str, place: Place) -> Problem:
    return Problem(subject=file.path, expected=expected, unit="line", places=(place,), count=1)
