"""Decides what the numbers of a log's clock count: dates, seconds since 1970, or its own steps.

No file states it, and a wrong guess leaks the future: `as_of` in milliseconds is after every `time`
in seconds. So while the log is read, times are counted by form, in parts that add up in any order;
what they count is decided once, over both tables and all files. Numbers that fit no known scale are
the log's own (weeks, minutes since the start) and stay as they are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from components.contracts.names import AS_OF, TIME
from components.event_log.clocks import HOURS_YEARS, Clock, ClockRead, read_compact
from components.event_log.problems import Problem, describe

# Forms. Numbers that are not dates are counted by interval between two of `_EDGES`.
TIMESTAMPS = "timestamps"
COMPACT = "compact"  # 20240304, 202403041652, 20240304165235 or 20240304165235123
EITHER = "either"  # 2024030416, an hour, which is also a second of 2034
NEARLY = "nearly"  # in the range of compact dates but not one, such as 20241399
# Counted in addition to the other forms, since most numbers of six or twelve digits are not dates.
SHORT = "short"  # 240304 or 240304165235: a date whose year has two digits
NEARLY_SHORT = "nearly short"
NEGATIVE = "negative"

_1973, _1990, _2100, _9999 = 1e8, 6.3e8, 4.1e9, 2.534024e11  # years as seconds since 1970
_EDGES = (
    _1973, _1990, _2100, 1e11, _9999,
    _1990 * 1e3, _2100 * 1e3, 1e14, _9999 * 1e3,
    _1990 * 1e6, _2100 * 1e6, 1e17, _9999 * 1e6,
    _1990 * 1e9, _2100 * 1e9,
)  # fmt: skip
_NEAR = [(1900 * 10**rest, 2100 * 10**rest) for rest in (4, 8, 10, 13)]  # where compact dates lie

_NEAR_SHORT = [(10 * 10**rest, 40 * 10**rest) for rest in (4, 10)]  # the years 2010 to 2039
_HOURS = (HOURS_YEARS[0] * 10**6, (HOURS_YEARS[1] + 1) * 10**6)

# A counter has at least this share of its values below the years of the scale; times since 1970
# have fewer.
_SHARE_BELOW = 0.03
# Numbers that look like times since 1970 are such times if they are at least this many times as
# large as all numbers of the other column.
_FAR = 30


@dataclass(frozen=True)
class Scale:
    """What a number counts.

    Attributes:
        name: in messages.
        band: the interval of the years 1990 to 2100.
        fits: the intervals of the years 1973 to 9999.
    """

    name: str
    band: int
    fits: range


EPOCHS = (
    Scale("seconds since 1970", 2, range(1, 5)),
    Scale("milliseconds since 1970", 6, range(4, 9)),
    Scale("microseconds since 1970", 10, range(8, 13)),
    Scale("nanoseconds since 1970", 14, range(12, 16)),
)
DATES = Scale("dates such as 20240304 or 20240304165235", -1, range(0))
NO_DATES = Scale("numbers that are not dates, or whose hour the clocks skipped,", -1, range(0))
SHORT_DATES = Scale("numbers that look like dates with a year of two digits", -1, range(0))
STAMPS = Scale("timestamps", -1, range(0))
OWN = Scale("plain numbers", -1, range(0))


class Sighting(BaseModel):
    """Times of one form in one column.

    Attributes:
        count: how many.
        low: the smallest; of timestamps in microseconds since 1970.
        high: the largest.
        moments: for compact dates, the smallest and the largest as timestamps.
        whole: whether all of them are integers.
        path: the first file, by name, that has one.
        row: its first row there; 0 if the source has no rows.
        unit: `row` or `line`.
        column: its name in the log.
        found: the value there.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    low: float
    high: float
    whole: bool
    path: str
    row: int
    unit: str
    column: str
    found: str
    moments: tuple[float, float] | None = None

    def __str__(self) -> str:
        """Returns their number, and the place of the first."""
        where = f"{self.unit} {self.row} of {self.path}" if self.row else self.path
        return f"in {self.column} ({self.count:,}, first {self.found} in {where})"

    def merge(self, other: Sighting) -> Sighting:
        """Returns the sum of both."""
        first = min(self, other, key=lambda item: (item.path, item.row, item.found))
        total = {
            "count": self.count + other.count,
            "low": min(self.low, other.low),
            "high": max(self.high, other.high),
            "whole": self.whole and other.whole,
            "moments": hull(self.moments, other.moments),
        }
        return first.model_copy(update=total)


def hull(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Returns the smallest range that holds both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


Forms = dict[str, Sighting]  # by form
Sightings = dict[str, Forms]  # by column, `time` and `as_of`


def merge_sightings(one: Sightings, other: Sightings) -> Sightings:
    """Returns the sum of both."""
    total = {column: dict(forms) for column, forms in one.items()}
    for column, forms in other.items():
        known = total.setdefault(column, {})
        for form, seen in forms.items():
            known[form] = known[form].merge(seen) if form in known else seen
    return total


def see(
    read: ClockRead, raw: pl.Series, numbers: Sequence[int], *, timezone: str, **where: str
) -> Forms:
    """Counts the times of a chunk by form.

    Args:
        read: the column after reading.
        raw: the column as it was in the file.
        numbers: the number of each row in the file.
        timezone: the zone of compact dates.
        where: `path`, `unit` and `column` of the sightings.
    """
    forms: Forms = {}

    def add(
        form: str, rows: pl.Series, values: pl.Series, moments: pl.Series | None = None
    ) -> None:
        count = int(rows.sum())
        if not count:
            return
        first = int(rows.arg_max())  # type: ignore[arg-type]
        low, high = _range(values, rows)
        forms[form] = Sighting(
            count=count,
            low=low,
            high=high,
            moments=None if moments is None else _range(moments, rows),
            whole=not values.dtype.is_float(),
            row=numbers[first],
            found=read.describe(first) if read.describe else describe(raw[first]),
            **where,
        )

    if read.values.dtype.is_temporal():
        stamps = read.values.is_not_null()
        if read.numbers is not None:
            stamps &= read.numbers.is_null()
        add(TIMESTAMPS, stamps, read.values.to_physical())
    if read.numbers is not None:
        for form, rows, moments in _sort_numbers(read.numbers, timezone):
            add(form, rows, read.numbers, moments)
    return forms


def _range(values: pl.Series, rows: pl.Series) -> tuple[float, float]:
    chosen = values if rows.all() else values.filter(rows)
    return float(chosen.min()), float(chosen.max())  # type: ignore[arg-type]


def _sort_numbers(
    numbers: pl.Series, timezone: str
) -> Iterable[tuple[str, pl.Series, pl.Series | None]]:
    """Yields each form of numbers with its rows, and the timestamps of those that are dates."""
    if numbers.null_count() == len(numbers):
        return
    low: Any = numbers.min()
    high: Any = numbers.max()

    def overlaps(*ranges: tuple[int, int]) -> bool:
        return any(low < last and high >= first for first, last in ranges)

    rest = numbers.is_not_null()
    if overlaps(*_NEAR, _HOURS):
        moments = read_compact(numbers, timezone).to_physical()
        dates = moments.is_not_null()
        hours = _within(numbers, _HOURS)
        near = _within(numbers, *_NEAR)
        yield COMPACT, dates & ~hours, moments
        yield EITHER, dates & hours, moments
        yield NEARLY, near & ~dates, None
        rest &= ~(dates | near)

    if overlaps(*_NEAR_SHORT):
        near = rest & _within(numbers, *_NEAR_SHORT)
        short = near & _has_short_date(numbers)
        yield SHORT, short, None
        yield NEARLY_SHORT, near & ~short, None

    yield NEGATIVE, rest & (numbers < 0).fill_null(False), None
    rest &= (numbers >= 0).fill_null(False)
    for interval, rows in _sort_by_interval(numbers, float(low), float(high)):
        yield interval, rest & rows, None


def _sort_by_interval(
    numbers: pl.Series, low: float, high: float
) -> Iterable[tuple[str, pl.Series]]:
    """Yields each interval between two of `_EDGES` that has numbers, with its rows."""
    lowest = bisect_right(_EDGES, max(low, 0.0))
    if lowest == bisect_right(_EDGES, high):
        yield str(lowest), numbers.is_not_null()
        return
    values = numbers.cast(pl.Float64).fill_null(0.0).to_numpy()
    intervals = pl.Series(np.searchsorted(_EDGES, values, side="right"))
    for interval in intervals.unique().sort():
        yield str(interval), intervals == interval


def _has_short_date(numbers: pl.Series) -> pl.Series:
    """Returns which numbers of six or twelve digits are a date once their year has its century."""
    six = (numbers < 10**6).cast(pl.Int64)
    century = six * (20 * 10**6) + (1 - six) * (20 * 10**12)
    return read_compact(numbers + century, "UTC").is_not_null()


def _within(numbers: pl.Series, *ranges: tuple[int, int]) -> pl.Series:
    found = pl.repeat(False, len(numbers), eager=True)
    for first, last in ranges:
        found |= numbers.is_between(first, last, closed="left").fill_null(False)
    return found


def common_clock(sightings: Sightings) -> Clock | None:
    """Returns the log's clock, None for a mixture. Floats include integers, timestamps dates."""
    if judge_clock(sightings):
        return None
    forms = [form for forms in sightings.values() for form in forms]
    if forms and are_dates(forms):
        return Clock.TIMESTAMP
    whole = all(seen.whole for forms in sightings.values() for seen in forms.values())
    return Clock.INTEGER if whole else Clock.FLOAT


def judge_clock(sightings: Sightings) -> list[Problem]:
    """Returns one problem if the times of a log are not all of one kind.

    Args:
        sightings: of both tables and all files.
    """
    if are_dates(form for forms in sightings.values() for form in forms):
        return []
    groups = {column: scales_of(forms) for column, forms in sightings.items() if forms}
    scales = {scale for by_scale in groups.values() for scale in by_scale}
    if (len(scales) < 2 and SHORT_DATES not in scales) or _is_counter(groups):
        return []

    found = []
    for column in sorted(groups, reverse=True):
        by_place = sorted(groups[column].items(), key=lambda item: (item[1].path, item[1].row))
        found += [f"{scale.name} {seen}" for scale, seen in by_place]
    expected = f"one kind of time in {TIME} and {AS_OF}"
    if SHORT_DATES in scales:
        expected += ", with years of four digits"
    return [Problem(subject="the log", expected=expected, found=" and ".join(found))]


def extent(forms: Forms, clock: Clock) -> tuple[float, float] | None:
    """Returns the first and last time of a column, timestamps in microseconds; None without any."""
    total = None
    for seen in forms.values():
        moments = seen.moments if clock is Clock.TIMESTAMP else None
        total = hull(total, moments or (seen.low, seen.high))
    return total


def are_dates(forms: Iterable[str]) -> bool:
    """Returns whether times of these forms are timestamps, or numbers that are dates."""
    return all(form in (TIMESTAMPS, COMPACT, EITHER) for form in forms)


def scales_of(forms: Forms) -> dict[Scale, Sighting]:
    """Returns the times of a column by scale; times that fit none are on the scale `OWN`."""
    found: dict[Scale, Sighting] = {}
    main = _main_scale(forms)
    if main is SHORT_DATES:
        return {main: forms[SHORT]}
    for form, seen in forms.items():
        if form in (SHORT, NEARLY_SHORT):
            continue
        scale = _scale_of(form, main)
        found[scale] = found[scale].merge(seen) if scale in found else seen
    return found


def _scale_of(form: str, main: Scale) -> Scale:
    if form == TIMESTAMPS:
        return STAMPS
    if main is OWN or form == NEGATIVE:
        return OWN
    if form == COMPACT:
        return DATES
    if form == NEARLY:
        return NO_DATES if main is DATES else OWN
    if form == EITHER:
        return DATES if main is DATES else EPOCHS[0]
    if int(form) in main.fits:
        return main
    return next((scale for scale in EPOCHS if int(form) == scale.band), OWN)


def _main_scale(forms: Forms) -> Scale:
    """Returns the known scale of most numbers of a column, `OWN` if none is recognised.

    A scale is recognised by a cluster of times: more numbers of such a length are dates than not,
    or many are in the years 1990 to 2100, almost none in the years before, and not more in those
    after, as a counter would have. A single value far from the others is not a cluster: it may
    stand for "never".
    """
    counts = _FormCounts(forms)
    if not counts.total:
        return OWN

    sizes = {}
    if counts.has_dates():
        sizes[DATES] = counts.of(COMPACT) + counts.of(EITHER)
    if counts.of(SHORT) > counts.of(NEARLY_SHORT) and counts.is_cluster(SHORT):
        sizes[SHORT_DATES] = counts.of(SHORT)
    for scale in EPOCHS:
        are_seconds = scale is EPOCHS[0] and DATES not in sizes
        names = (scale.band, EITHER) if are_seconds else (scale.band,)
        size = sum(counts.of(name) for name in names)
        few_below = counts.of(scale.band - 1) < _SHARE_BELOW * size
        if few_below and counts.of(scale.band + 1) < size and counts.is_cluster(*names):
            sizes[scale] = size
    return max(sizes, key=lambda scale: sizes[scale], default=OWN)


class _FormCounts:
    """How many numbers of a column have which form."""

    def __init__(self, forms: Forms) -> None:
        self._numbers = {form: seen for form, seen in forms.items() if form != TIMESTAMPS}
        counted_again = (SHORT, NEARLY_SHORT)
        self.total = sum(
            seen.count for form, seen in self._numbers.items() if form not in counted_again
        )

    def of(self, form: str | int) -> int:
        return self._numbers[str(form)].count if str(form) in self._numbers else 0

    def is_cluster(self, *forms: str | int) -> bool:
        """Returns whether there are several different numbers, or most are one."""
        seen = [self._numbers[str(form)] for form in forms if str(form) in self._numbers]
        several = len(seen) > 1 or any(item.low < item.high for item in seen)
        return several or 2 * sum(item.count for item in seen) > self.total

    def has_dates(self) -> bool:
        mostly_dates = self.of(COMPACT) > self.of(NEARLY) and self.is_cluster(COMPACT)
        return mostly_dates or self.of(EITHER) == self.total


def _is_counter(groups: Mapping[str, Mapping[Scale, Sighting]]) -> bool:
    """Returns whether what look like times since 1970 continue the numbers of the other column."""
    if any(len(by_scale) > 1 for by_scale in groups.values()):
        return False
    pairs = [pair for by_scale in groups.values() for pair in by_scale.items()]
    own = [seen for scale, seen in pairs if scale is OWN]
    epochs = [seen for scale, seen in pairs if scale in EPOCHS]
    return len(own) == len(epochs) == 1 and own[0].high * _FAR >= epochs[0].low
