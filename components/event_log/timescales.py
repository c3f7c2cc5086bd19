"""What the numbers of a log's clock are: dates, seconds since 1970, milliseconds, or its own steps.

Nothing in a file says so, and a wrong guess lets the future in: `as_of` in milliseconds is after
every `time` in seconds. So while the log goes by, times are counted by form, in parts that add up
in any order; what they are is decided once, over both tables and all files. Numbers that fit no
known scale are the log's own (weeks, minutes since the start) and stay as they are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from components.contracts.names import AS_OF, TIME
from components.event_log.clocks import HOURS_YEARS, Clock, ClockRead, read_compact
from components.event_log.problems import Problem, describe

# Forms. Numbers that are no date are counted by the interval between two of `_EDGES` that they lie
# in.
TIMESTAMPS = "timestamps"
COMPACT = "compact"  # 20240304, 202403041652, 20240304165235 or 20240304165235123
EITHER = "either"  # 2024030416, an hour, which is a second of 2034 too
NEARLY = "nearly"  # in the range of compact dates, such as 20241399, and none
# Counted beside the other forms, since most numbers of six or twelve digits are no dates.
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

# Below its scale's years a counter has values, where times since 1970 have next to none: at least
# this share.
_SHARE_BELOW = 0.03
# What looks like a time since 1970 and is at least so many times as large as all of the other
# column is one.
_FAR = 30


@dataclass(frozen=True)
class Scale:
    """What a number counts.

    Attributes:
        name: as messages say it.
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
NO_DATES = Scale("numbers that are no date, or whose hour the clocks skipped,", -1, range(0))
SHORT_DATES = Scale("numbers that look like dates with a year of two digits", -1, range(0))
STAMPS = Scale("timestamps", -1, range(0))
OWN = Scale("plain numbers", -1, range(0))


class Sighting(BaseModel):
    """Times of one form in one column.

    Attributes:
        count: how many.
        low: the smallest; of timestamps in microseconds since 1970.
        high: the largest.
        moments: of compact dates, the same as timestamps.
        whole: whether all of them are integers.
        path: the first file, by name, that has one.
        row: the first row there; 0 where there are no rows.
        unit: `row` or `line`.
        column: what the log calls the column.
        found: what is written there.
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
        """Returns how many, and where the first is."""
        where = f"{self.unit} {self.row} of {self.path}" if self.row else self.path
        return f"in {self.column} ({self.count:,}, first {self.found} in {where})"

    def merge(self, other: Sighting) -> Sighting:
        """Returns both as one."""
        first = min(self, other, key=lambda item: (item.path, item.row, item.found))
        return first.model_copy(
            update={
                "count": self.count + other.count,
                "low": min(self.low, other.low),
                "high": max(self.high, other.high),
                "whole": self.whole and other.whole,
                "moments": hull(self.moments, other.moments),
            }
        )


def hull(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Returns the range that holds both."""
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
        read: the column, read.
        raw: the column as it was in the file.
        numbers: what the file calls each row.
        timezone: the zone of compact dates.
        where: `path`, `unit` and `column` of the sightings.
    """
    forms: Forms = {}

    def add(
        form: str, rows: pl.Series, values: pl.Series, moments: pl.Series | None = None
    ) -> None:
        if not (count := int(rows.sum())):
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
    """Yields each form that numbers have, with its rows; of dates, what they are as timestamps."""
    low, high = numbers.min(), numbers.max()
    if low is None:
        return
    rest = numbers.is_not_null()
    if any(low < last and high >= first for first, last in (*_NEAR, _HOURS)):  # type: ignore[operator]
        moments = read_compact(numbers, timezone).to_physical()
        dates, hours, near = (
            moments.is_not_null(),
            _within(numbers, _HOURS),
            _within(numbers, *_NEAR),
        )
        yield COMPACT, dates & ~hours, moments
        yield EITHER, dates & hours, moments
        yield NEARLY, near & ~dates, None
        rest &= ~(dates | near)
    if any(low < last and high >= first for first, last in _NEAR_SHORT):  # type: ignore[operator]
        near = rest & _within(numbers, *_NEAR_SHORT)
        short = near & _has_short_date(numbers)
        yield SHORT, short, None
        yield NEARLY_SHORT, near & ~short, None
    yield NEGATIVE, rest & (numbers < 0).fill_null(False), None
    rest &= (numbers >= 0).fill_null(False)
    if (place := bisect_right(_EDGES, max(float(low), 0.0))) == bisect_right(_EDGES, float(high)):  # type: ignore[arg-type]
        yield str(place), rest, None
        return
    places = pl.Series(
        np.searchsorted(_EDGES, numbers.cast(pl.Float64).fill_null(0.0).to_numpy(), side="right")
    )
    for place in places.filter(rest).unique().sort():
        yield str(place), rest & (places == place), None


def _has_short_date(numbers: pl.Series) -> pl.Series:
    """Says which numbers of six or twelve digits are a date once their year has its century."""
    six = (numbers < 10**6).cast(pl.Int64)
    century = six * (20 * 10**6) + (1 - six) * (20 * 10**12)
    return read_compact(numbers + century, "UTC").is_not_null()


def _within(numbers: pl.Series, *ranges: tuple[int, int]) -> pl.Series:
    found = pl.repeat(False, len(numbers), eager=True)
    for first, last in ranges:
        found |= numbers.is_between(first, last, closed="left").fill_null(False)
    return found


def common_clock(sightings: Sightings) -> Clock | None:
    """Returns the log's clock: floats take in integers, dates are timestamps; None for a mixture."""
    if judge_clock(sightings):
        return None
    forms = [form for forms in sightings.values() for form in forms]
    if forms and _are_dates(forms):
        return Clock.TIMESTAMP
    whole = all(seen.whole for forms in sightings.values() for seen in forms.values())
    return Clock.INTEGER if whole else Clock.FLOAT


def judge_clock(sightings: Sightings) -> list[Problem]:
    """Returns one problem where the times of a log are not all of one kind, however many rows it has.

    Args:
        sightings: of both tables and all files.
    """
    if _are_dates(form for forms in sightings.values() for form in forms):
        return []
    groups = {column: _by_scale(forms) for column, forms in sightings.items() if forms}
    scales = {scale for by_scale in groups.values() for scale in by_scale}
    if (len(scales) < 2 and SHORT_DATES not in scales) or _is_counter(groups):
        return []
    found = [
        f"{scale.name} {seen}"
        for column in sorted(groups, reverse=True)
        for scale, seen in sorted(
            groups[column].items(), key=lambda item: (item[1].path, item[1].row)
        )
    ]
    expected = f"one kind of time in {TIME} and {AS_OF}" + (
        ", with years of four digits" if SHORT_DATES in scales else ""
    )
    return [Problem(subject="the log", expected=expected, found=" and ".join(found))]


def extent(forms: Forms, clock: Clock) -> tuple[float, float] | None:
    """Returns the first and last time of a column, None without any; timestamps in microseconds."""
    total = None
    for seen in forms.values():
        moments = seen.moments if clock is Clock.TIMESTAMP else None
        total = hull(total, moments or (seen.low, seen.high))
    return total


def _are_dates(forms: Iterable[str]) -> bool:
    return all(form in (TIMESTAMPS, COMPACT, EITHER) for form in forms)


def _by_scale(forms: Forms) -> dict[Scale, Sighting]:
    """Returns the times of a column by what they count; those that do not fit as `OWN`."""
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
    """Returns the known scale that most numbers of a column are on, `OWN` without a sign of one.

    A scale is there where times cluster: where more numbers of such a length are dates than not, or
    where there are many from 1990 to 2100, next to none of the years before and not more of those
    after, as a counter would have. A single value far from the others is no cluster: it may stand
    for "never".
    """
    numbers = {form: seen for form, seen in forms.items() if form != TIMESTAMPS}
    total = sum(seen.count for form, seen in numbers.items() if form not in (SHORT, NEARLY_SHORT))
    if not total:
        return OWN

    def count(form: str | int) -> int:
        return numbers[str(form)].count if str(form) in numbers else 0

    def is_cluster(*names: str | int) -> bool:
        seen = [numbers[str(name)] for name in names if str(name) in numbers]
        several = len(seen) > 1 or any(item.low < item.high for item in seen)
        return several or 2 * sum(item.count for item in seen) > total

    sizes = {}
    if (count(COMPACT) > count(NEARLY) and is_cluster(COMPACT)) or count(EITHER) == total:
        sizes[DATES] = count(COMPACT) + count(EITHER)
    if count(SHORT) > count(NEARLY_SHORT) and is_cluster(SHORT):
        sizes[SHORT_DATES] = count(SHORT)
    for scale in EPOCHS:
        names = (scale.band, EITHER) if scale is EPOCHS[0] and DATES not in sizes else (scale.band,)
        size = sum(count(name) for name in names)
        alone = count(scale.band - 1) < _SHARE_BELOW * size and count(scale.band + 1) < size
        if alone and is_cluster(*names):
            sizes[scale] = size
    return max(sizes, key=lambda scale: sizes[scale], default=OWN)


def _is_counter(groups: Mapping[str, Mapping[Scale, Sighting]]) -> bool:
    """Says whether what looks like times since 1970 goes on from plain numbers in the other column."""
    if any(len(by_scale) > 1 for by_scale in groups.values()):
        return False
    pairs = [pair for by_scale in groups.values() for pair in by_scale.items()]
    own = [seen for scale, seen in pairs if scale is OWN]
    epochs = [seen for scale, seen in pairs if scale in EPOCHS]
    return len(own) == len(epochs) == 1 and own[0].high * _FAR >= epochs[0].low
