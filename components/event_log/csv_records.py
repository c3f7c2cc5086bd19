"""Finds where the rows of a CSV file begin and end, strictly by RFC 4180.

Parsers of CSV are lenient, each in its own way: a quote that is not closed silently swallows the
rest of a file, and one that is escaped by a backslash swaps the cells of neighbouring rows. So
every quote is checked before a parser sees it. A field is quoted as a whole or not at all, and
quotes inside it are doubled. Hence quotes alternate between opening and closing; an opening quote
follows a separator or a line end, a closing quote precedes one, and two adjacent quotes are a
doubled one. A violation is an error with its line.

The work is done block by block, on arrays: one pass for each of three bytes, and little more if
there are no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.event_log.chunks import MAX_RECORD_BYTES, TextFault

Positions = npt.NDArray[np.int64]

_QUOTE, _LF, _CR = b'"\n\r'
_COMMA = ord(",")
_NUMBER = re.compile(rb'\s*"?[+-]?\d')


@dataclass(frozen=True)
class Records:
    """Some whole records of a CSV file.

    Attributes:
        content: their bytes.
        line: the line where the content begins, from 1.
        lines: the line where each record begins; a blank line is no record.
        blank: number of blank lines.
        within: number of line breaks inside quoted fields.
        folded: the records of several lines: position in `lines`, first byte, byte after the last.
    """

    content: memoryview
    line: int
    lines: Sequence[int]
    blank: int = 0
    within: int = 0
    folded: tuple[tuple[int, int, int], ...] = ()


def split_records(blocks: Iterable[bytes], delimiter: int = _COMMA) -> Iterator[Records]:
    r"""Splits a file into whole records.

    Args:
        blocks: the file's content, in pieces of any size.
        delimiter: the byte that separates fields.

    Raises:
        TextFault: a quote is misplaced or never closed, or a line is longer than
            `MAX_RECORD_BYTES`.

    >>> [records.lines for records in split_records([b'a,b\n1,"x\ny"\n2,z\n'])]
    [[1, 2, 4]]
    """
    line = 1
    rest = b""
    for block in blocks:
        data = rest + block
        marks = _Marks(data, line, last=False)
        marks.check_quotes(delimiter)
        records = marks.records()
        rest = data[len(records.content) :]
        if len(records.content):
            yield records
            line += len(records.lines) + records.blank + records.within
        if len(rest) > MAX_RECORD_BYTES:
            raise _too_long(rest, line)
    if rest:
        marks = _Marks(rest, line, last=True)
        marks.check_quotes(delimiter)
        yield marks.records()


def check_folded(records: Records, columns: int, delimiter: int = _COMMA) -> None:
    """Checks that no record is several rows that stray quotes have joined.

    A record is several rows if each of its lines has as many fields as the header, and one field
    begins with digits in all of them.

    Args:
        records: as `split_records` yields them.
        columns: fields of the header.
        delimiter: the byte that separates fields.

    Raises:
        TextFault: a record is likely to be several rows.
    """
    separator = bytes([delimiter])
    for position, start, stop in records.folded:
        record = bytes(records.content[start:stop])
        if record.count(separator) < 2 * (columns - 1):
            continue
        rows = [row.split(separator) for row in record.splitlines()]
        if any(len(row) != columns for row in rows):
            continue
        numbers = [[_NUMBER.match(field) is not None for field in row] for row in rows]
        if any(all(row[column] for row in numbers) for column in range(columns)):
            reason = f"a quoted field of {len(rows)} lines, each of which looks like a row"
            raise TextFault(records.lines[position], reason, record)


class _Marks:
    """The quotes and line ends of some content."""

    def __init__(self, data: bytes, line: int, *, last: bool) -> None:
        """Finds them.

        Args:
            data: content that begins where a record begins.
            line: the line where it begins.
            last: whether the file ends with it; if not, a carriage return at its end may be half a
                line end.
        """
        self.data = data
        self.line = line
        self.last = last
        self.bytes = np.frombuffer(data, np.uint8)

        self.quotes: Positions = self._find(_QUOTE)
        self.breaks: Positions = self._find(_LF)
        returns = self._find(_CR)
        if len(returns):
            alone = self.bytes[np.minimum(returns + 1, len(data) - 1)] != _LF
            alone[-1] &= last or returns[-1] < len(data) - 1
            self.breaks = np.union1d(self.breaks, returns[alone])

        self.within = np.searchsorted(self.quotes, self.breaks) % 2 == 1

    def _find(self, mark: int) -> Positions:
        return np.flatnonzero(self.bytes == mark)

    def check_quotes(self, delimiter: int) -> None:
        """Raises a `TextFault` for the first misplaced quote."""
        beside_quotes = np.isin(np.arange(256), [delimiter, _LF, _CR, _QUOTE])
        opening = self.quotes[0::2]
        closing = self.quotes[1::2]

        # At the very start and the very end a quote has no neighbour, and is compared with itself.
        before = self.bytes[np.maximum(opening - 1, 0)]
        after = self.bytes[np.minimum(closing + 1, len(self.data) - 1)]
        stray = opening[~beside_quotes[before]][:1].tolist()
        unescaped = closing[~beside_quotes[after]][:1].tolist()

        if stray and (not unescaped or stray < unescaped):
            begin = max(self.data.rfind(b"\n", 0, stray[0]) + 1, stray[0] - 30)
            text = self.data[begin : stray[0] + 30]
            reason = "a quote inside a field that is not quoted"
            raise TextFault(self.line_of(stray[0]), reason, text)
        if unescaped:
            raise self._explain(unescaped[0])
        if self.last and len(self.quotes) % 2:
            start = self.field_start(int(self.quotes[-1]))
            reason = "a quote that is never closed"
            raise TextFault(self.line_of(start), reason, self.data[start:])

    def _explain(self, quote: int) -> TextFault:
        """Returns the fault of a field whose next quote does not end it, at its first line."""
        start = self.field_start(quote)
        line = self.line_of(start)
        end = self.line_of(quote)

        if end == line:
            cause = "it is closed in the middle"
        else:
            cause = f"the next quote, in line {end}, does not end it"
        if b'\\"' in self.data[start : quote + 1]:
            cause += "; a quote inside a field is doubled, not escaped by a backslash"
        reason = f"a quoted field that does not end properly ({cause})"
        return TextFault(line, reason, self.data[start:])

    def records(self) -> Records:
        """Returns the whole records: up to the last line end outside quotes, or the file's end."""
        ends = np.flatnonzero(~self.within)
        stop = len(self.data) if self.last else self._last_end(ends)
        breaks = self.breaks[self.breaks < stop]
        within = self.within[self.breaks < stop]

        # A record begins where the content does, and after every line end outside quotes.
        starts = np.concatenate([[0], breaks[ends] + 1])
        stops = np.append(breaks[ends], stop)
        lines = np.concatenate([[0], ends + 1, [len(breaks) + 1]]) + self.line
        if starts[-1] == stop:
            starts, stops, lines = starts[:-1], stops[:-1], lines[:-1]
        returns = (stops > starts) & (self.bytes[np.maximum(stops - 1, 0)] == _CR)
        blank = stops - returns == starts
        content = memoryview(self.data)[:stop]
        if not blank.any() and not within.any():
            return Records(content, self.line, range(self.line, self.line + len(starts)))

        position = np.cumsum(~blank) - 1
        tall = np.flatnonzero(np.diff(lines) > 1)
        folded = [(int(position[row]), int(starts[row]), int(stops[row])) for row in tall]
        numbers = lines[:-1][~blank].tolist()
        return Records(
            content, self.line, numbers, int(blank.sum()), int(within.sum()), tuple(folded)
        )

    def _last_end(self, ends: Positions) -> int:
        """Returns the byte after the last line end outside quotes, 0 if there is none."""
        return int(self.breaks[ends[-1]]) + 1 if len(ends) else 0

    def field_start(self, quote: int) -> int:
        """Returns the opening quote of the field that a quote belongs to."""
        index = int(np.searchsorted(self.quotes, quote)) // 2 * 2
        while index >= 2 and self.quotes[index] - 1 == self.quotes[index - 1]:
            index -= 2
        return int(self.quotes[index])

    def line_of(self, place: int) -> int:
        """Returns the line where a byte is."""
        return self.line + int(np.searchsorted(self.breaks, place))


def _too_long(data: bytes, line: int) -> TextFault:
    limit = f"{MAX_RECORD_BYTES >> 20} MiB"
    marks = _Marks(data, line, last=False)
    if not len(marks.quotes):
        return TextFault(line, f"a line of more than {limit}", data)
    start = marks.field_start(int(marks.quotes[-1]))
    reason = f"a quote that is not closed within {limit}"
    return TextFault(marks.line_of(start), reason, data[start:])
