"""Looks at the files of a log: the beginnings and ends of some of them, whatever their size."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.config.mapping import EventMapping
from components.errors import MasteryError
from components.event_log.chunks import BOM, READ_ERRORS, foreign_format, open_text
from components.event_log.problems import raise_if_any
from components.event_log.sources import LogFile, find_files
from components.platforms.formats import PLATFORMS, mapping_of

HEAD_BYTES = 2 << 20  # of a file's beginning, decompressed
TAIL_BYTES = 1 << 20  # of its end
MOST_FILES = 8  # whose records are looked at, spread over all
MOST_TABLES = 200  # files whose first lines are looked at, to tell tables apart
MOST_ROWS = 20_000  # of a file
MOST_OBJECTS = 4_000  # JSON is read by Python

MISSING = ("NULL", r"\N", "?", "N/A", "n/a", "NaN", "nan", "#N/A")
ENCODINGS = ("utf-8", "gb18030", "cp1252")  # the last reads nearly anything
DELIMITERS = (",", ";", "\t", "|")
ENVELOPES = ("statements", "data", "records", "events")  # keys of lists of records


@dataclass(frozen=True)
class Dialect:
    """How the text of a CSV file is written.

    Attributes:
        delimiter: between fields.
        encoding: of the text.
        decimal: the mark in front of a number's fraction.
        missing: words that stand for no value.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is the dialect that is read without being told."""
        return self == Dialect()


@dataclass(frozen=True)
class Look:
    """What was seen of a table.

    Attributes:
        patterns: its files, as a configuration names them.
        files: those that were found.
        frame: some of its records, all values as text, objects and lists as JSON.
        dialect: of CSV.
    """

    patterns: tuple[str, ...]
    files: tuple[LogFile, ...]
    frame: pl.DataFrame
    dialect: Dialect = field(default_factory=Dialect)

    @property
    def kind(self) -> str:
        """The format of its files, such as `csv`."""
        return self.files[0].format

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(Path(file.path).stat().st_size for file in self.files)


def look_at(patterns: Sequence[str]) -> list[Look]:
    """Returns a look at each table that some files hold: those of one header are of one table.

    Args:
        patterns: files, folders or patterns, as in `data.events`.

    Raises:
        LogError: there are no such files, or none of a known format.
        MasteryError: none of them has records.
    """
    found = find_files("events", patterns, _any_platform())
    raise_if_any(found.problems)
    tables: list[tuple[set[str], list[LogFile]]] = []
    for file in _spread(found.files, MOST_TABLES):
        columns = _columns_of(file)
        alike = [files for known, files in tables if _alike(known, columns)]
        if alike:
            alike[0].append(file)
        else:
            tables.append((columns, [file]))

    if len(tables) == 1:
        return [_look(tuple(patterns), found.files)]
    return [_look(tuple(file.path for file in files), files) for _, files in tables]


def _any_platform() -> EventMapping:
    """Returns a mapping under which files of any platform are found, whatever they are called."""
    names = [mapping_of(name).file_names for name in PLATFORMS]
    return EventMapping(file_names="|".join(f"(?:{name})" for name in names if name) or None)


def look_at_table(patterns: Sequence[str]) -> Look:
    """Returns a look at files that are one table."""
    found = find_files("outcomes", patterns)
    raise_if_any(found.problems)
    return _look(tuple(patterns), found.files)


def _look(patterns: tuple[str, ...], files: Sequence[LogFile]) -> Look:
    dialect = Dialect()
    frames: list[pl.DataFrame] = []
    for file in _spread(files, MOST_FILES):
        if file.format == "csv":
            frame, dialect = _read_csv(file)
        else:
            frame = _read_parquet(file) if file.format == "parquet" else _read_json(file)
        of_path = [pl.lit(value, pl.String).alias(key) for key, value in file.partition.items()]
        frames.append(
            frame.with_columns(
                item for item in of_path if item.meta.output_name() not in frame.columns
            )
        )

    records = pl.concat(frames, how="diagonal")
    if records.is_empty():
        raise MasteryError(
            f"{files[0].path}: expected records to look at, found none; name a log with events."
        )
    return Look(patterns, tuple(files), records, dialect)


def _spread(files: Sequence[LogFile], most: int) -> list[LogFile]:
    """Returns at most some of the files: the first, the last and others evenly between them."""
    if len(files) <= most:
        return [*files]
    return [files[round(place * (len(files) - 1) / (most - 1))] for place in range(most)]


def _alike(one: set[str], other: set[str]) -> bool:
    """Returns whether columns are those of one table, in which a file may lack one or another."""
    return 2 * len(one & other) >= len(one | other)


def _columns_of(file: LogFile) -> set[str]:
    """Returns the columns of a file, or the keys in its first records."""
    if file.format == "parquet":
        return {*_read_parquet(file, rows=1).columns}
    if file.format == "csv":
        text, dialect = _decode(_head(file))
        return {*_fields(text.splitlines()[:1], dialect.delimiter)[0]}
    return {
        key for item in islice(_objects(_head(file).decode(errors="replace")), 200) for key in item
    }


# Text


def _head(file: LogFile) -> bytes:
    """Returns the first bytes of a file; of a larger one, up to the end of a line.

    Raises:
        MasteryError: it cannot be read, or holds another format than its name says.
    """
    try:
        with open_text(file.path) as source:
            head = source.read(HEAD_BYTES).removeprefix(BOM)
    except READ_ERRORS as error:
        raise MasteryError(
            f"{file.path}: could not be read ({error}). Name another file."
        ) from None
    other = foreign_format(head)
    if other and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MasteryError(f"{file.path}: expected {file.format}, found {other}.")
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head
    return head


def _tail(file: LogFile) -> bytes:
    """Returns the last lines of a file, without those in `_head`; none of a compressed one."""
    path = Path(file.path)
    size = path.stat().st_size
    if path.suffix.lower() == ".gz" or size <= HEAD_BYTES:
        return b""
    with path.open("rb") as source:
        source.seek(max(HEAD_BYTES, size - TAIL_BYTES))
        return source.read().partition(b"\n")[2]


def _decode(head: bytes) -> tuple[str, Dialect]:
    """Returns the text of a CSV file's beginning, and how it is written."""
    text = ""
    encodings = ("utf-16",) if head.startswith((b"\xff\xfe", b"\xfe\xff")) else ENCODINGS
    for encoding in encodings:
        try:
            text = head.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding != "gb18030" or _is_chinese(text):
            break
    else:
        encoding = encodings[-1]
        text = head.decode(encoding, errors="replace")

    delimiter = _find_delimiter(text.splitlines()[:50])
    decimal = "."
    cells = [cell for row in _fields(text.splitlines()[1:500], delimiter) for cell in row]
    missing = tuple(word for word in MISSING if word in cells)
    if delimiter != ",":
        commas = sum(bool(re.fullmatch(r"-?\d+,\d+", cell)) for cell in cells)
        points = sum(bool(re.fullmatch(r"-?\d+\.\d+", cell)) for cell in cells)
        decimal = "," if commas > points else "."
    return text, Dialect(delimiter, encoding, decimal, missing)


def _is_chinese(text: str) -> bool:
    """Returns whether few characters are rare, as those that other bytes make in GB 18030 are."""
    marks = "".join(mark for mark in text if not mark.isascii())
    leads = marks.encode("gb2312", errors="ignore")[::2]  # up to 0xD7 of the common ones
    return sum(lead <= 0xD7 for lead in leads) >= 0.8 * len(marks)


def _find_delimiter(lines: Sequence[str]) -> str:
    """Returns what divides all lines into equally many fields, two or more."""

    def fit(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _fields(lines, delimiter) if row]
        if not widths or widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    best = max(DELIMITERS, key=fit)
    return best if fit(best)[1] else ","


def _fields(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return [[]]


def _read_csv(file: LogFile) -> tuple[pl.DataFrame, Dialect]:
    text, dialect = _decode(_head(file))
    header = text.splitlines(keepends=True)[:1]
    frames = [_parse_csv(text, dialect)]
    if tail := _tail(file):
        frames.append(
            _parse_csv("".join(header) + tail.decode(dialect.encoding, "replace"), dialect)
        )
    frame = pl.concat(frames, how="diagonal")
    return frame.with_columns(pl.all().replace(dict.fromkeys(dialect.missing))), dialect


def _parse_csv(text: str, dialect: Dialect) -> pl.DataFrame:
    try:
        return pl.read_csv(
            io.BytesIO(text.encode()),
            separator=dialect.delimiter,
            infer_schema=False,
            n_rows=MOST_ROWS,
            truncate_ragged_lines=True,
            ignore_errors=True,
        )
    except pl.exceptions.PolarsError:
        return pl.DataFrame()


# JSON


def _read_json(file: LogFile) -> pl.DataFrame:
    """Returns records of JSON lines, or of a file that is one list or an envelope of one."""
    head = _head(file).decode(errors="replace")
    objects = [*_objects(head)]
    if not objects:
        raise MasteryError(
            f"{file.path}: expected one JSON object per line, found "
            f"{head[:60].strip()!r}; name a file of JSON lines, CSV or Parquet."
        )
    tail = _tail(file).decode(errors="replace").splitlines()
    objects += [item for line in tail[:MOST_OBJECTS] for item in _object_in(line)]
    rows = [{key: _text(value) for key, value in item.items()} for item in objects]
    keys = dict.fromkeys(key for row in rows for key in row)
    return pl.DataFrame(rows, schema=dict.fromkeys(keys, pl.String), strict=False)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yields the records in a text that may end within one: in lines, a list or an envelope."""
    decoder = json.JSONDecoder()
    opened = re.match(
        r'\s*(?:\[|\{\s*(?:"[^"]*"\s*:\s*"[^"]*"\s*,\s*)*"(?:'
        + "|".join(ENVELOPES)
        + r')"\s*:\s*\[)',
        text,
    )
    place = opened.end() if opened else 0
    count = 0
    while count < MOST_OBJECTS and (start := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, start)
        except ValueError:
            following = text.find("\n", start)  # a broken line, or the end of what was read
            if opened or following < 0:
                return
            place = following
            continue
        for item in _records_in(value):
            count += 1
            yield item


def _object_in(line: str) -> Iterator[dict[str, Any]]:
    try:
        yield from _records_in(json.loads(line))
    except ValueError:
        return


def _records_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yields an object, or the objects of the list in it if it is an envelope."""
    if not isinstance(value, dict):
        return
    for key in ENVELOPES:
        inner = value.get(key)
        if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            yield from inner
            return
    yield value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)


# Parquet


def _read_parquet(file: LogFile, rows: int = MOST_ROWS) -> pl.DataFrame:
    try:
        with pq.ParquetFile(file.path, coerce_int96_timestamp_unit="us") as source:
            groups = source.num_row_groups
            frames = [source.schema_arrow.empty_table()]
            for group in sorted({0, groups - 1}) if groups else []:
                batches = source.iter_batches(rows, row_groups=[group])
                frames.append(
                    pa.Table.from_batches([next(batches)])
                    if source.metadata.row_group(group).num_rows
                    else frames[0]
                )
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise MasteryError(f"{file.path}: expected a Parquet file ({reason}).") from None
    table = pa.concat_tables(frames)
    frame = pl.DataFrame([pl.Series(name, _plain(table[name])) for name in table.column_names])
    return frame.select(_as_text(column) for column in frame.iter_columns())


def _plain(column: pa.ChunkedArray) -> Any:
    dtype = column.type
    if pa.types.is_timestamp(dtype) and dtype.tz:
        return column.cast(pa.timestamp(dtype.unit, "UTC"))
    return column


def _as_text(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Struct):
        return column.struct.json_encode()
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return column.dt.to_string("iso:strict")
    if isinstance(column.dtype, pl.List | pl.Array | pl.Binary | pl.Object):
        return pl.Series(column.name, [None] * len(column), pl.String)
    if column.dtype.is_float():
        # As text of any format would say it: pandas writes whole numbers with gaps as floats.
        whole = column.drop_nulls()
        if whole.is_finite().all() and (whole == whole.floor()).all():
            column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String)
