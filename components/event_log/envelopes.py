"""Opens the envelopes among lines of JSON: each record of their list becomes a line.

A sensor of Caliper sends `{"sensor": ..., "data": [{...}, {...}]}`, a record store of xAPI answers
`{"statements": [...], "more": ""}`. Records are cut out by their brackets, and their text is left
as it is: Polars would write it anew, and escape neither backslashes nor control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from components.event_log.json_items import (
    COMMAS_OR_MORE,
    RECORD,
    Lines,
    Marks,
    Positions,
    gap_bytes,
)


def open_envelopes(blocks: Iterable[Lines], records: str) -> Iterator[Lines]:
    """Yields the records of lines of which some may be envelopes, each on a line.

    After the first envelope records are counted, not lines. A line that is not JSON, or has no list
    of this key, stays as it is.

    Args:
        blocks: lines of JSON.
        records: the key of the list in an envelope.
    """
    key = f'"{records}"'.encode()
    number = 0  # of the next record, once there are envelopes
    for lines in blocks:
        opened = _open(lines.content, key) if key in lines.content else None
        if opened is None and not number:
            yield lines
            continue
        content = lines.content if opened is None else opened
        number = number or lines.number
        if content:
            yield Lines(number, content, RECORD)
            number += content.count(b"\n") + (not content.endswith(b"\n"))


def _open(content: bytes, key: bytes) -> bytes | None:
    """Returns the records in lines as lines; None if no line is an envelope."""
    found = re.finditer(re.escape(key) + rb"\s*:\s*\[", content)
    candidates = np.fromiter((match.end() - 1 for match in found), np.int64)
    marks = Marks(content)
    rows = np.minimum(np.searchsorted(marks.places, candidates), len(marks.places) - 1)
    is_list = (marks.places[rows] == candidates) & (marks.depths[rows] == 2)
    lists = rows[is_list]
    if not len(lists):
        return None

    parts = _Parts(marks, lists)
    if not (_are_whole(content, marks) and parts.are_clean(content)):
        return _open_one_by_one(content, key)
    starts = np.concatenate([parts.record_starts, parts.line_starts[parts.is_record]])
    ends = np.concatenate([parts.record_ends, parts.line_ends[parts.is_record]])
    order = np.argsort(starts)
    places = zip(starts[order].tolist(), ends[order].tolist(), strict=True)
    return b"\n".join(content[start:end] for start, end in places)


class _Parts:
    """The objects on lines, some of which are envelopes, and the records in these.

    Attributes:
        line_starts: where the objects on lines begin.
        line_ends: the byte after each of them.
        is_record: which of them have no list of records.
        record_starts: where the records in lists begin.
        record_ends: the byte after each of them.
    """

    def __init__(self, marks: Marks, lists: Positions) -> None:
        depths, steps, places = marks.depths, marks.steps, marks.places
        opened = np.flatnonzero((depths == 1) & (steps == 1))
        closed = np.flatnonzero((depths == 0) & (steps == -1))
        self.line_starts = places[opened]
        self.line_ends = places[closed] + 1
        if len(opened) == len(closed):
            counts = np.searchsorted(lists, closed) - np.searchsorted(lists, opened)
            self.is_record: npt.NDArray[np.bool_] = counts == 0

        ends = np.append(np.flatnonzero((depths == 1) & (steps == -1)), len(places) - 1)
        self._list_starts = places[lists] + 1
        self._list_ends = places[ends[np.searchsorted(ends[:-1], lists)]]

        starts = places[(depths == 3) & (steps == 1)]
        stops = places[(depths == 2) & (steps == -1)] + 1
        # Other brackets at this depth are not records: lists in lists, and other keys' objects.
        count = min(len(starts), len(stops))
        self._lists = np.searchsorted(self._list_starts, starts[:count], side="right") - 1
        within = (self._lists >= 0) & (starts[:count] < self._list_ends[self._lists])
        self._lists = self._lists[within]
        self.record_starts = starts[:count][within]
        self.record_ends = stops[:count][within]

    def are_clean(self, content: bytes) -> bool:
        """Returns whether lists hold objects and commas between them, and lines only objects."""
        first = np.ones(len(self._lists), np.bool_)
        first[1:] = self._lists[1:] != self._lists[:-1]
        before = np.empty(len(self._lists), np.int64)
        before[1:] = self.record_ends[:-1]
        before[first] = self._list_starts[self._lists[first]]

        last = self._list_starts.copy()
        last[self._lists] = self.record_ends  # of several, the last counts
        of_lines = np.concatenate([[0], self.line_ends])
        begins = np.concatenate([before, last, of_lines])
        stops = [self.record_starts, self._list_ends, self.line_starts, [len(content)]]
        wanted = np.zeros(len(begins), np.int64)
        wanted[: len(first)] = ~first

        raw = np.frombuffer(content, np.uint8)
        places, gaps = gap_bytes(begins, np.concatenate(stops))
        found = np.bincount(gaps, COMMAS_OR_MORE[raw[places]], minlength=len(begins))
        return bool((found == wanted).all()) and bool((raw[self.record_starts] == ord("{")).all())


def _are_whole(content: bytes, marks: Marks) -> bool:
    """Returns whether each line is whole by its brackets and quotes."""
    breaks = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    depths = np.concatenate([[0], marks.depths])
    open_at_breaks = depths[np.searchsorted(marks.places, breaks)]
    within = np.searchsorted(marks.quotes, breaks) % 2
    is_closed = marks.end is None and depths[-1] == 0 and len(marks.quotes) % 2 == 0
    return is_closed and not open_at_breaks.any() and not within.any()


def _open_one_by_one(content: bytes, key: bytes) -> bytes | None:
    """Opens envelopes among lines of which some are damaged, or hold other things than objects."""
    opened: list[bytes] = []
    found = False
    for line in content.split(b"\n"):
        items = _items_of(line, json.loads(key))
        found = found or items is not None
        if items is not None:
            opened += [json.dumps(item).encode() for item in items]
        elif line.strip():
            opened.append(line)
    return b"\n".join(opened) if found else None


def _items_of(line: bytes, key: str) -> list[Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    items = value.get(key) if isinstance(value, dict) else None
    return items if isinstance(items, list) else None
