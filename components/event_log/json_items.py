"""Cuts a file of JSON into its records, each on a line of its own.

Such a file is an array, `[{...}, {...}]`; or one object after the other, each on a line or on many;
or an envelope, an object whose list holds the records: `{"statements": [...], "more": ""}`, the
answer of a record store. Envelopes may also be the items of an array; `envelopes` opens them.

A file of one array is one line, in which no parser of lines finds its way. So the brackets outside
of strings are counted, block by block and on arrays: where the depth comes back to that of the
items, an item ends. Line ends inside an item are white space (JSON strings hold none) and become
blanks, and the comma behind it becomes a line end. What is within an item is left to the parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from components.event_log.chunks import BLOCK_BYTES, MAX_RECORD_BYTES, TextFault

Positions = npt.NDArray[np.int64]

RECORD = "record"

_NO_OBJECT = "something that is not an object"
_QUOTE, _BACKSLASH, _LF, _CR, _BLANK, _COMMA, _OPENING = b'"\\\n\r ,{'
_SPACE = b" \t\n\r"
_STEPS = np.zeros(256, np.int8)  # how the depth changes at each character
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_IS_MARK = np.isin(np.arange(256), list(b'"[]{}'))
COMMAS_OR_MORE = np.full(256, 1 << 20)  # 0 for white space, 1 for a comma, a lot for all else
COMMAS_OR_MORE[list(_SPACE)] = 0
COMMAS_OR_MORE[_COMMA] = 1


class Lines(NamedTuple):
    """Some whole lines of JSON.

    Attributes:
        number: of the first line or record, from 1.
        content: the lines.
        unit: what is counted, `line` or `record`.
    """

    number: int
    content: bytes
    unit: str = "line"


def split_items(blocks: Iterable[bytes], records: str | None = None) -> Iterator[Lines]:
    r"""Yields the items of a file, each on a line.

    Args:
        blocks: the file's content, in pieces of any size.
        records: the key of the list in an envelope. Of one that is longer than a block, the items
            are its records.

    Raises:
        TextFault: brackets do not fit together, something other than items is between them, or an
            item is longer than `MAX_RECORD_BYTES`. Its line is the number of the item.

    >>> [lines.content for lines in split_items([b'[{"a": [1]},\n {"a', b'":\n 2}]'])]
    [b'{"a": [1]}', b'{"a":  2}']
    """
    number = 1
    rest = b""
    cutter: _Cutter | None = None
    for block in blocks:
        rest += block
        if cutter is None:
            start = rest.lstrip(_SPACE)
            if not start:
                continue
            cutter = _Cutter(in_array=start.startswith(b"["), records=records)
            rest = start[cutter.in_array :]

        items, rest = cutter.cut(rest, number)
        if items:
            yield Lines(number, items, RECORD)
            number += items.count(b"\n") + 1
        if len(rest) > MAX_RECORD_BYTES:
            reason = f"a record of more than {MAX_RECORD_BYTES >> 20} MiB"
            raise TextFault(number, reason, rest)
    if cutter is not None:
        cutter.check_end(rest, number)


@dataclass
class _Cutter:
    """Cuts content that begins between two items.

    Attributes:
        in_array: whether the items are those of an array, separated by commas.
        records: the key of the list in an envelope.
        ended: whether the array has ended.
        first: whether the next item is the first.
    """

    in_array: bool
    records: str | None
    ended: bool = False
    first: bool = True

    def cut(self, data: bytes, number: int) -> tuple[bytes, bytes]:
        """Returns the whole items of `data` as lines, and the rest of it."""
        if self.ended:
            return b"", data
        marks = Marks(data)
        starts = marks.places[(marks.depths == 1) & (marks.steps == 1)]
        ends = marks.places[(marks.depths == 0) & (marks.steps == -1)] + 1
        if marks.end is not None and not self.in_array:
            raise TextFault(number + len(ends), "a bracket too many", data[marks.end :])

        count = len(ends)
        stop = int(ends[-1]) if count else 0
        if len(starts):
            before = np.concatenate([[0], ends[: len(starts) - 1]])
            commas = np.full(len(starts), self.in_array)
            commas[0] &= not self.first
            _check_gaps(data, before, starts, commas, number)
        if marks.end is not None:
            self.ended = True
            between = data[stop : marks.end].strip(_SPACE)
            if between:
                raise TextFault(number + count, _NO_OBJECT, between)
            rest = data[marks.end + 1 :]
        else:
            rest = data[stop:]
        lines = _as_lines(data, starts[:count], ends, marks.quotes) if count else b""
        self.first = self.first and not count

        if len(starts) > count and len(rest) > BLOCK_BYTES and self.records is not None:
            part, rest = _cut_envelope(data, marks, int(starts[-1]), self.records, number + count)
            lines = b"\n".join(filter(None, (lines, part)))
            self.first = True  # the rest begins an item, and the comma before it is gone
        return lines, rest

    def check_end(self, rest: bytes, number: int) -> None:
        """Checks what is left at the end of the file."""
        left = rest.strip(_SPACE)
        if self.in_array and not self.ended:
            raise TextFault(number, _explain_end(left.lstrip(b","), "its array is not closed"))
        if not left:
            return
        if self.ended:
            raise TextFault(number, "something after the end of the array", left)
        raise TextFault(number, _explain_end(left, "its last object is not complete"))


def _check_gaps(
    data: bytes,
    before: Positions,
    starts: Positions,
    commas: npt.NDArray[np.bool_],
    number: int,
) -> None:
    """Checks that between objects there is what separates them, and nothing else.

    Args:
        data: what they are in.
        before: where the gap before each object begins.
        starts: where the objects begin.
        commas: which of the gaps hold a comma.
        number: of the first object.
    """
    raw = np.frombuffer(data, np.uint8)
    places, gaps = gap_bytes(before, starts)
    found = np.bincount(gaps, COMMAS_OR_MORE[raw[places]], minlength=len(starts))
    is_list = raw[starts] != _OPENING
    bad = np.flatnonzero((found != commas) | is_list)
    if len(bad):
        row = int(bad[0])
        text = data[int(before[row]) : int(starts[row]) + 30]
        is_comma_missing = commas.any() and not is_list[row]
        reason = "no single comma before an object"
        raise TextFault(number + row, reason if is_comma_missing else _NO_OBJECT, text)


def _explain_end(text: bytes, otherwise: str) -> str:
    """Returns why a file ends within an item: it is damaged somewhere, or it is cut off."""
    text = text.strip(_SPACE)
    try:
        json.JSONDecoder().raw_decode(text.decode(errors="replace"))
    except json.JSONDecodeError as error:
        # A writer that was stopped leaves text that is right up to its end.
        if text and error.pos < len(error.doc) - 20 and "Unterminated" not in error.msg:
            around = error.doc[max(error.pos - 20, 0) : error.pos + 20]
            return f"{error.msg} at {around!r}"
    except RecursionError:
        return "JSON that is nested too deeply"
    return f"the end of the file, but {otherwise}: it was cut off; write it again"


class Marks:
    """The brackets outside of strings in content that begins between two items.

    Attributes:
        places: where they are.
        steps: 1 for an opening bracket, -1 for a closing one.
        depths: how many are open after each.
        end: where the bracket is that closes what the items are in; None if it is not there.
        quotes: where strings begin and end.
    """

    def __init__(self, data: bytes) -> None:
        raw = np.frombuffer(data, np.uint8)
        places = np.flatnonzero(_IS_MARK[raw])
        marks = raw[places]
        is_quote = marks == _QUOTE
        if b'\\"' in data:
            kept = ~is_quote
            kept[is_quote] = ~_are_escaped(raw, places[is_quote])
            places, marks, is_quote = places[kept], marks[kept], is_quote[kept]

        self.quotes: Positions = places[is_quote]
        within = np.cumsum(is_quote, dtype=np.uint8) % 2 == 1  # a sum that wraps keeps its parity
        kept = ~(within | is_quote)
        self.places: Positions = places[kept]
        self.steps = _STEPS[marks[kept]]
        self.depths = np.cumsum(self.steps, dtype=np.int32)

        below = self.depths < 0
        self.end = None
        if below.any():
            first = int(below.argmax())
            self.end = int(self.places[first])
            self.places = self.places[:first]
            self.steps = self.steps[:first]
            self.depths = self.depths[:first]


def _are_escaped(raw: npt.NDArray[np.uint8], quotes: Positions) -> npt.NDArray[np.bool_]:
    """Returns which quotes follow an odd number of backslashes."""
    escaped = np.zeros(len(quotes), np.bool_)
    rows = np.arange(len(quotes))
    back = 1
    while len(rows):
        rows = rows[quotes[rows] >= back]
        rows = rows[raw[quotes[rows] - back] == _BACKSLASH]
        escaped[rows] ^= True
        back += 1
    return escaped


def gap_bytes(before: Positions, starts: Positions) -> tuple[Positions, Positions]:
    """Returns the places of all bytes between items, and before which item each of them is."""
    lengths = starts - before
    gaps = np.repeat(np.arange(len(starts)), lengths)
    first = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(before - first, lengths), gaps


def _as_lines(data: bytes, starts: Positions, ends: Positions, quotes: Positions) -> bytes:
    """Returns items as lines, without one at the end."""
    before = ends[:-1]
    if (starts[1:] == before).any():  # no byte between two items could become a line end
        items = zip(starts.tolist(), ends.tolist(), strict=True)
        return b"\n".join(
            _as_lines(data, np.array([start]), np.array([end]), quotes) for start, end in items
        )

    content = bytearray(data[int(starts[0]) : int(ends[-1])])
    raw = np.frombuffer(content, np.uint8)
    for mark in (_LF, _CR):
        if mark in content:
            found = np.flatnonzero(raw == mark)
            within = np.searchsorted(quotes, found + int(starts[0])) % 2 == 1
            raw[found] = np.where(within, 1, _BLANK)  # a parser refuses 1 in a string, as it should
    places, _ = gap_bytes(before, starts[1:])
    raw[places - int(starts[0])] = _BLANK
    raw[starts[1:] - 1 - int(starts[0])] = _LF
    return bytes(content)


def _cut_envelope(
    data: bytes, marks: Marks, start: int, records: str, number: int
) -> tuple[bytes, bytes]:
    """Returns the first records of an envelope that is not complete, and an envelope of the others.

    There are no first ones if `data` from `start` is no envelope, or has less than two records.

    Args:
        data: what the envelope is in.
        marks: its brackets.
        start: where the envelope begins.
        records: the key of its list.
        number: of the first record.
    """
    inside = marks.places > start
    places, depths, steps = marks.places[inside], marks.depths[inside], marks.steps[inside]
    key = re.compile(rb'"%b"\s*:\s*$' % re.escape(records.encode()))
    lists = places[(depths == 2) & (steps == 1)].tolist()
    lists = [place + 1 for place in lists if key.search(data[max(place - 200, 0) : place])]
    if not lists:
        return b"", data[start:]

    within = places >= lists[0]
    starts = places[within & (depths == 3) & (steps == 1)]
    ends = places[within & (depths == 2) & (steps == -1)] + 1
    is_closed = (depths[within] < 2).any()
    if is_closed or len(starts) < 2:
        return b"", data[start:]
    before = np.concatenate([[lists[0]], ends[: len(starts) - 1]])
    _check_gaps(data, before, starts, np.arange(len(starts)) > 0, number)
    first = _as_lines(data, starts[:-1], ends[: len(starts) - 1], marks.quotes)
    return first, data[start : lists[0]] + data[int(starts[-1]) :]
