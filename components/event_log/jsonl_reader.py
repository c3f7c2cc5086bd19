"""Reads JSON: many lines at once, and doubtful ones one by one.

A file `.json`, which is an array or an envelope, becomes lines first; see `json_items`.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from components.event_log.chunks import (
    MAX_RECORD_BYTES,
    READ_ERRORS,
    Chunk,
    TextFault,
    foreign_format,
    may_be_nested,
    open_text,
    read_blocks,
)
from components.event_log.envelopes import open_envelopes
from components.event_log.json_items import RECORD, Lines, split_items
from components.event_log.problems import (
    SHOWN_PLACES,
    Place,
    Problem,
    describe,
    describe_fault,
    excerpt,
    explain_unreadable,
)

if TYPE_CHECKING:
    from components.event_log.sources import LogFile

_OBJECT = "a JSON object in UTF-8 on each line"
_OBJECTS = "JSON objects in UTF-8, in an array or one after the other"
_ONCE = "each key once in an object"
_FLAT = "text, a number or a boolean (put a field of it into a column of its own)"
_TEXT = "text in Unicode"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_ .:()-]+")  # has one spelling in JSON, escapes aside
# Escapes of ASCII, which may hide a key, and of surrogates.
_ESCAPED = re.compile(rb"\\u(?:00[2-7]|[dD][89a-fA-F])")
# Escapes of backslashes, control characters and surrogates, and any in a key.
_LOST_ESCAPES = re.compile(rb'\\(?:[\\tbf]|u00[01]|u005[cC]|u[dD][89a-fA-F]|.[^"\\]*"\s*:)')
_LONGEST_INTEGER = 38  # digits that the parser keeps


class _LineFault(Exception):
    """A line that cannot be used."""

    def __init__(self, expected: str, found: str, column: str = "") -> None:
        super().__init__(found)
        self.expected = expected
        self.found = found
        self.column = column


class _Faults:
    """Lines that cannot be used, by column and expected value."""

    def __init__(self, *, nested: bool, unit: str) -> None:
        self.nested = nested  # whether objects and lists are values
        self.unit = unit  # what is counted
        self._places: dict[tuple[str, str], list[Place]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, line: int, fault: _LineFault) -> None:
        key = (fault.column, fault.expected)
        self._counts[key] += 1
        if self._counts[key] <= SHOWN_PLACES:
            self._places.setdefault(key, []).append(Place(row=line, found=fault.found))

    def explain(self, file: LogFile) -> Iterator[Problem]:
        for (column, expected), places in self._places.items():
            count = self._counts[column, expected]
            if expected == _OBJECT and self.unit == RECORD:
                expected = _OBJECTS
            yield Problem(
                subject=file.path,
                column=column,
                expected=expected,
                unit=self.unit,
                places=tuple(places),
                count=count,
            )


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of an object, repeated keys included."""


def read_jsonl(
    file: LogFile, columns: Sequence[str], *, nested: bool = False, records: str | None = None
) -> Iterator[Chunk | Problem]:
    """Reads JSON lines as text: one object per line, `null` or no key for a missing value.

    Numbers and booleans become their text, so lines may differ in type. A requested key that occurs
    twice in a line is an error, and so is an object or list as its value; with `nested` the last
    one counts, and objects and lists become their JSON. See `readers.read_chunks`.

    Args:
        file: JSON lines, or an array, envelope or objects in a file `.json`.
        columns: the keys to read.
        nested: whether objects and lists are values.
        records: the key of the list of records in an object that is an envelope of them.
    """
    faults = _Faults(nested=nested, unit=file.unit)
    try:
        with open_text(file.path) as source:
            blocks = read_blocks(source)
            start = next(blocks, b"")
            if name := foreign_format(start):
                expected = "JSON in UTF-8" if file.format == "json" else "JSON lines in UTF-8"
                yield Problem(subject=file.path, expected=expected, found=name)
            else:
                lines = _lines_of(file, chain([start], blocks), records)
                yield from _read_lines(lines, columns, faults)
    except TextFault as fault:
        faults.add(fault.line, _LineFault(_OBJECT, describe_fault(fault)))
    except READ_ERRORS as error:
        yield explain_unreadable(file.path, error)
    yield from faults.explain(file)


def _lines_of(file: LogFile, blocks: Iterable[bytes], records: str | None) -> Iterator[Lines]:
    lines = split_items(blocks, records) if file.format == "json" else _whole_lines(blocks)
    return lines if records is None else open_envelopes(lines, records)


def _read_lines(
    blocks: Iterator[Lines], columns: Sequence[str], faults: _Faults
) -> Iterator[Chunk]:
    header: list[str] | None = None
    for line, block, unit in blocks:
        faults.unit = unit
        frame, numbers, blank = _parse(block, line, columns, faults)
        if header is None and not frame.height:
            if blank == _count_lines(block):
                continue
            return  # every line has a fault, which is reported
        header = _keys(frame, block) if header is None else header

        known = [name for name in columns if name in header]
        lines = Counter({"rows": frame.height, "blank": blank})
        yield Chunk(frame.select(known), numbers, header, typed=False, unit=unit, lines=lines)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[Lines]:
    """Yields blocks of whole lines.

    Raises:
        TextFault: a line is longer than `MAX_RECORD_BYTES`.
    """
    line = 1
    rest = b""
    for block in blocks:
        data = rest + block
        cut = data.rfind(b"\n") + 1
        whole = data[:cut]
        rest = data[cut:]
        if whole:
            yield Lines(line, whole)
            line += whole.count(b"\n")
        if len(rest) > MAX_RECORD_BYTES:
            raise TextFault(line, f"a line of more than {MAX_RECORD_BYTES >> 20} MiB", rest)
    if rest:
        yield Lines(line, rest)


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _parse(
    block: bytes, line: int, columns: Sequence[str], faults: _Faults
) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Returns a block's rows as text, the line of each, and the number of blank lines."""
    lines = _count_lines(block)
    frame = _parse_at_once(block, columns)
    if frame is None or frame.height != lines:
        return _parse_one_by_one(block, line, columns, faults)

    if faults.nested:
        return _with_escapes(frame, block, columns), range(line, line + lines), 0
    doubtful = _doubtful_lines(block, frame, columns)
    bad = set(_find_faults(block, line, doubtful, columns, faults))
    if not bad:
        return frame, range(line, line + lines), 0
    good = [row for row in range(lines) if row not in bad]
    return frame[good], [line + row for row in good], 0


def _parse_one_by_one(
    block: bytes, line: int, columns: Sequence[str], faults: _Faults
) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Parses a block in which some line is blank or no object."""
    values: list[dict[str, Any]] = []
    numbers: list[int] = []
    blank = 0
    for number, text in enumerate(block.split(b"\n", _count_lines(block) - 1), start=line):
        if not text.strip():
            blank += 1
            continue
        try:
            values.append((_parse_nested if faults.nested else _parse_line)(text, columns))
            numbers.append(number)
        except _LineFault as fault:
            faults.add(number, fault)
    if faults.nested or not values:
        return _frame_of(values, columns), numbers, blank
    texts = [json.dumps(value) for value in values]
    frame = _parse_at_once("\n".join(texts).encode(), columns)
    if frame is None or frame.height != len(texts):
        raise TextFault(line, f"lines that cannot be parsed, up to line {numbers[-1]}")
    return frame, numbers, blank


def _with_escapes(frame: pl.DataFrame, block: bytes, columns: Sequence[str]) -> pl.DataFrame:
    """Returns rows whose objects and lists keep what is escaped in them.

    Polars writes them anew, but leaves backslashes and control characters in them as they are.
    """
    if b"\\" not in block:
        return frame
    starts = [match.start() for match in _LOST_ESCAPES.finditer(block)]
    if not starts:
        return frame
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    rows = np.unique(np.searchsorted(ends, starts)).tolist()
    texts = block.split(b"\n")
    again = _frame_of([_parse_nested(texts[row], columns) for row in rows], columns)
    return frame.with_columns(frame[name].scatter(rows, again[name]) for name in columns)


def _frame_of(rows: list[dict[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    """Returns values as text, objects and lists as their JSON."""
    texts = {name: [_text_of(row.get(name)) for row in rows] for name in columns}
    return pl.DataFrame(texts, schema=_schema(columns))


def _text_of(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Half a character, which UTF-8 cannot hold, becomes a question mark.
    return text.encode(errors="replace").decode()


def _schema(columns: Sequence[str]) -> dict[str, type[pl.String]]:
    return dict.fromkeys(columns, pl.String)


def _parse_at_once(block: bytes, columns: Sequence[str]) -> pl.DataFrame | None:
    """Parses many lines; returns None if one of them cannot be parsed."""
    try:
        return pl.read_ndjson(io.BytesIO(block), schema=_schema(columns))
    except pl.exceptions.PolarsError:
        return None


def _doubtful_lines(block: bytes, frame: pl.DataFrame, columns: Sequence[str]) -> set[int]:
    """Returns the lines that may hold a key twice, an object as a value, or half a character.

    The parser does not report these. The search is fast and returns few lines, to be parsed again.
    """
    if not all(_PLAIN_NAME.fullmatch(name) for name in columns):
        return set(range(frame.height))
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))

    def lines_of(pattern: re.Pattern[bytes]) -> list[int]:
        starts = [match.start() for match in pattern.finditer(block)]
        return np.searchsorted(ends, starts).tolist()  # type: ignore[no-any-return]

    doubtful = set(lines_of(_ESCAPED)) if b"\\u" in block else set()
    for name in columns:
        key = f'"{name}"'.encode()
        # If the key occurs as often as there are values, it occurs once in each line with a value.
        if block.count(key) != frame.height - frame[name].null_count():
            counts = Counter(lines_of(re.compile(re.escape(key))))
            doubtful.update(row for row, count in counts.items() if count > 1)
        doubtful.update(may_be_nested(frame[name]).arg_true().to_list())
    return doubtful


def _find_faults(
    block: bytes, line: int, rows: set[int], columns: Sequence[str], faults: _Faults
) -> Iterator[int]:
    """Yields which of the rows cannot be used, and adds the reasons to `faults`."""
    texts = block.split(b"\n") if rows else []
    for row in sorted(rows):
        try:
            _parse_line(texts[row], columns)
        except _LineFault as fault:
            faults.add(line + row, fault)
            yield row


def _parse_line(text: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """Returns the values that a line has for the columns.

    Raises:
        _LineFault: it is not an object, or one that cannot be used.
    """
    pairs = _decode(text)
    values = dict(pairs)
    wanted = {name: values[name] for name in columns if name in values}
    for name, value in wanted.items():
        given = [json.dumps(item) for key, item in pairs if key == name]
        if len(given) > 1:
            found = f"{name!r} {len(given)} times, with {describe(', '.join(given))}"
            raise _LineFault(_ONCE, found, name)
        if isinstance(value, list):
            kind = "an object" if isinstance(value, _Pairs) else "a list"
            raise _LineFault(_FLAT, f"{kind} in {excerpt(text)}", name)
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise _LineFault(_TEXT, f"half a character in {excerpt(text)}", name)
    return wanted


def _parse_nested(text: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """Returns the values that a line has for the columns, objects and lists as they are."""
    _decode(text)  # the one place that explains what is wrong with a line
    values = json.loads(text)
    return {name: values[name] for name in columns if name in values}


def _decode(text: bytes) -> _Pairs:
    try:
        value = _DECODER.decode(text.decode())
    except UnicodeDecodeError as error:
        around = text[max(error.start - 20, 0) : error.end + 20]
        raise _LineFault(_OBJECT, f"{describe(around)}, which is not UTF-8") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.colno}"
        if advice := _advice(text):
            reason += f"; {advice}"
        raise _LineFault(_OBJECT, f"{excerpt(text)} ({reason})") from None
    except RecursionError:
        raise _LineFault(_OBJECT, f"{excerpt(text)} (nested too deeply)") from None
    if not isinstance(value, _Pairs):
        advice = _advice(text)
        raise _LineFault(_OBJECT, f"{excerpt(text)} ({advice})" if advice else excerpt(text))
    return value


def _advice(text: bytes) -> str:
    """Returns advice against JSON of several lines, empty if the text is not of that kind."""
    if text.lstrip().startswith(b"["):
        return "turn an array into lines with jq -c '.[]', or let the file's name end in .json"
    if text.strip() == b"{":
        return "put each object on one line with jq -c ., or let the file's name end in .json"
    return ""


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _LONGEST_INTEGER else text


def _float(text: str) -> float | str:
    """Returns the number, or its text if it is out of range, for the message about it."""
    return float(text) if np.isfinite(float(text)) else text


# Python's writers use NaN and Infinity, which are not JSON.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_Pairs, parse_constant=str, parse_int=_integer, parse_float=_float
)


def _keys(frame: pl.DataFrame, block: bytes) -> list[str]:
    """Returns the keys of the first block: those of its first object, and those with a value."""
    filled = [name for name in frame.columns if frame[name].null_count() < frame.height]
    for text in block.split(b"\n", 1000)[:1000]:
        try:
            return list(dict.fromkeys([*(key for key, _ in _decode(text)), *filled]))
        except _LineFault:
            continue
    return filled
