"""Reads JSON: many lines at once, and doubtful ones one by one.

A file `.json`, which is an array or an envelope, becomes lines first; see `json_items`.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from components.event_log.json_line import (
    OBJECT,
    ONCE,
    LineFault,
    Pairs,
    as_plain,
    check_once,
    decode,
)
from components.event_log.nested_json import mended, without_halves, without_starts
from components.event_log.problems import (
    SHOWN_PLACES,
    Place,
    Problem,
    describe_fault,
    excerpt,
    explain_unreadable,
)

if TYPE_CHECKING:
    from components.event_log.sources import LogFile

_OBJECTS = "JSON objects in UTF-8, in an array or one after the other"
_FLAT = "text, a number or a boolean (put a field of it into a column of its own)"
_TEXT = "text in Unicode"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_ .:()-]+")  # has one spelling in JSON, escapes aside
# Escapes of ASCII, which may hide a key, and of surrogates.
_ESCAPED = re.compile(rb"\\u(?:00[2-7]|[dD][89a-fA-F])")
_FEW_BYTES = 64 << 10  # as little as a line with a fault makes slow
_CHECKED_LINES = 1000  # of a file, whose writer repeats keys in all lines or in none


class _Faults:
    """Lines that cannot be used, by column and expected value."""

    def __init__(self, unit: str) -> None:
        self.unit = unit  # what is counted
        self._places: dict[tuple[str, str], list[Place]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, line: int, fault: LineFault) -> None:
        key = (fault.column, fault.expected)
        self._counts[key] += 1
        if self._counts[key] <= SHOWN_PLACES:
            self._places.setdefault(key, []).append(Place(row=line, found=fault.found))

    def explain(self, file: LogFile) -> Iterator[Problem]:
        for (column, expected), places in self._places.items():
            count = self._counts[column, expected]
            if expected == OBJECT and self.unit == RECORD:
                expected = _OBJECTS
            yield Problem(
                subject=file.path,
                column=column,
                expected=expected,
                unit=self.unit,
                places=tuple(places),
                count=count,
            )


@dataclass(frozen=True)
class _Lines:
    """How the lines of a file are read.

    Attributes:
        columns: the keys whose values are wanted.
        nested: whether objects and lists are values.
        faults: what is wrong with lines.
    """

    columns: Sequence[str]
    nested: bool
    faults: _Faults


def read_jsonl(
    file: LogFile,
    columns: Sequence[str],
    *,
    nested: bool = False,
    records: str | None = None,
    line_start: str | None = None,
) -> Iterator[Chunk | Problem]:
    """Reads JSON lines as text: one object per line, `null` or no key for a missing value.

    Numbers and booleans become their text, so lines may differ in type. A requested key that occurs
    twice in a line is an error, and so is an object or list as its value. With `nested` objects and
    lists become their JSON; keys that are repeated are found in the first lines of the file, and
    below them one of them counts. See `readers.read_chunks`.

    Args:
        file: JSON lines, or an array, envelope or objects in a file `.json`.
        columns: the keys whose values are wanted.
        nested: whether objects and lists are values.
        records: the key of the list of records in an object that is an envelope of them.
        line_start: regular expression for what a line may have before its object.
    """
    start = None if line_start is None else re.compile(rb"(?m)^(?:%b)(?=\{)" % line_start.encode())
    faults = _Faults(file.unit)
    lines = _Lines(columns, nested, faults)
    try:
        with open_text(file.path) as source:
            blocks = read_blocks(source)
            first = next(blocks, b"")
            if name := foreign_format(first):
                expected = "JSON in UTF-8" if file.format == "json" else "JSON lines in UTF-8"
                yield Problem(subject=file.path, expected=expected, found=name)
            else:
                found = _lines_of(file, chain([first], blocks), records, start)
                yield from _read_lines(found, lines)
    except TextFault as fault:
        faults.add(fault.line, LineFault(OBJECT, describe_fault(fault)))
    except READ_ERRORS as error:
        yield explain_unreadable(file.path, error)
    yield from faults.explain(file)


def _lines_of(
    file: LogFile, blocks: Iterable[bytes], records: str | None, start: re.Pattern[bytes] | None
) -> Iterator[Lines]:
    is_one = file.format == "json"
    lines = split_items(blocks, records) if is_one else _whole_lines(blocks, start)
    return lines if records is None else open_envelopes(lines, records)


def _read_lines(blocks: Iterator[Lines], lines: _Lines) -> Iterator[Chunk]:
    header: list[str] | None = None
    for line, block, unit in blocks:
        lines.faults.unit = unit
        if header is None and lines.nested:
            _find_repeated_keys(block, line, lines)
        frame, numbers, blank = _parse(block, line, lines)
        if header is None and not frame.height:
            if blank == _count_lines(block):
                continue
            return  # every line has a fault, which is reported
        header = _keys(frame, block) if header is None else header

        # Records of platforms differ: a key of later ones need not be in the first block.
        known = [name for name in lines.columns if lines.nested or name in header]
        counts = Counter({"rows": frame.height, "blank": blank})
        yield Chunk(frame.select(known), numbers, header, typed=False, unit=unit, lines=counts)


def _whole_lines(blocks: Iterable[bytes], start: re.Pattern[bytes] | None) -> Iterator[Lines]:
    """Yields blocks of whole lines, without what matches `start` before the object of each.

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
            yield Lines(line, without_starts(whole, start))
            line += whole.count(b"\n")
        if len(rest) > MAX_RECORD_BYTES:
            raise TextFault(line, f"a line of more than {MAX_RECORD_BYTES >> 20} MiB", rest)
    if rest:
        yield Lines(line, without_starts(rest, start))


def _count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _find_repeated_keys(block: bytes, line: int, lines: _Lines) -> None:
    """Adds the first lines that have a key twice to the faults."""
    for number, text in enumerate(block.split(b"\n", _CHECKED_LINES)[:_CHECKED_LINES], line):
        try:
            check_once(decode(text), lines.columns)
        except LineFault as fault:
            if fault.expected == ONCE:
                lines.faults.add(number, fault)


def _parse(block: bytes, line: int, lines: _Lines) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Returns a block's rows as text, the line of each, and the number of blank lines."""
    height = _count_lines(block)
    frame = _parse_at_once(block, lines.columns)
    if frame is None or frame.height != height:
        middle = block.rfind(b"\n", 0, len(block) // 2) + 1
        if middle and len(block) > _FEW_BYTES:
            return _join(block[:middle], block[middle:], line, lines)
        return _parse_one_by_one(block, line, lines)

    if lines.nested:
        frame = mended(frame, lambda: block.split(b"\n")) if b"\\" in block else frame
        return frame, range(line, line + height), 0
    doubtful = _doubtful_lines(block, frame, lines.columns)
    bad = set(_find_faults(block, line, doubtful, lines))
    if not bad:
        return frame, range(line, line + height), 0
    good = [row for row in range(height) if row not in bad]
    return frame[good], [line + row for row in good], 0


def _join(
    one: bytes, other: bytes, line: int, lines: _Lines
) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Parses two halves of a block: the one without a fault is parsed at once."""
    frame, numbers, blank = _parse(one, line, lines)
    below, numbers_below, blank_below = _parse(other, line + _count_lines(one), lines)
    return pl.concat([frame, below]), [*numbers, *numbers_below], blank + blank_below


def _parse_one_by_one(
    block: bytes, line: int, lines: _Lines
) -> tuple[pl.DataFrame, Sequence[int], int]:
    """Parses a block in which some line is blank or no object."""
    columns, faults = lines.columns, lines.faults
    texts: list[str] = []
    numbers: list[int] = []
    blank = 0
    for number, text in enumerate(block.split(b"\n", _count_lines(block) - 1), start=line):
        if not text.strip():
            blank += 1
            continue
        try:
            value = _parse_nested(text, columns) if lines.nested else _parse_line(text, columns)
            texts.append(json.dumps(value))
            numbers.append(number)
        except LineFault as fault:
            faults.add(number, fault)
    if not texts:
        return pl.DataFrame(schema=_schema(columns)), [], blank
    frame = _parse_at_once("\n".join(texts).encode(), columns)
    if frame is None or frame.height != len(texts):
        raise TextFault(line, f"lines that cannot be parsed, up to line {numbers[-1]}")
    if lines.nested:
        frame = mended(frame, lambda: [text.encode() for text in texts])
    return frame, numbers, blank


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


def _find_faults(block: bytes, line: int, rows: set[int], lines: _Lines) -> Iterator[int]:
    """Yields which of the rows cannot be used, and adds the reasons to `faults`."""
    texts = block.split(b"\n") if rows else []
    for row in sorted(rows):
        try:
            _parse_line(texts[row], lines.columns)
        except LineFault as fault:
            lines.faults.add(line + row, fault)
            yield row


def _parse_line(text: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """Returns the values that a line has for the columns.

    Raises:
        LineFault: it is not an object, or one that cannot be used.
    """
    pairs = decode(text)
    check_once(pairs, columns)
    values = dict(pairs)
    wanted = {name: values[name] for name in columns if name in values}
    for name, value in wanted.items():
        if isinstance(value, list):
            kind = "an object" if isinstance(value, Pairs) else "a list"
            raise LineFault(_FLAT, f"{kind} in {excerpt(text)}", name)
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            raise LineFault(_TEXT, f"half a character in {excerpt(text)}", name)
    return wanted


def _parse_nested(text: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """Returns the values that a line has for the columns, objects and lists as they are.

    Of keys that are repeated the first one counts, as for the parser of many lines.

    Raises:
        LineFault: it is not an object.
    """
    pairs = decode(without_halves(text))
    return {key: as_plain(value) for key, value in reversed(pairs) if key in columns}


def _keys(frame: pl.DataFrame, block: bytes) -> list[str]:
    """Returns the keys of the first block: those of its first object, and those with a value."""
    filled = [name for name in frame.columns if frame[name].null_count() < frame.height]
    for text in block.split(b"\n", 1000)[:1000]:
        try:
            return list(dict.fromkeys([*(key for key, _ in decode(text)), *filled]))
        except LineFault:
            continue
    return filled
