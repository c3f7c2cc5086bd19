"""Reads times of a log: timestamps of any zone, dates written as numbers, or plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

TIMESTAMP = pl.Datetime("us", "UTC")
DATE = "%Y-%m-%d"
LAYOUTS = (  # the common ones first: reading stops as soon as every row is read
    "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", DATE,
    "%Y%m%d %H%M%S%.f%#z", "%Y%m%d %H%M%#z", "%Y%m%d %H%M%S%.f", "%Y%m%d %H%M",
)  # fmt: skip

_DAY = 86_400_000_000  # in microseconds
# The years 1900 to 9999 in any zone, in microseconds. Earlier times are how systems write "unknown"
# (0001-01-01 in .NET, 1753 and 1899 elsewhere), or years of two digits.
EARLIEST = -2_208_988_800_000_000 - _DAY
LATEST = 253_402_300_800_000_000 + _DAY
_END = 253_402_300_799_999_999  # the last microsecond of Python's `datetime`

# The difference of two numbers up to this fits into an int64. pandas casts a missing time to the
# smallest int64.
LARGEST_NUMBER = 2**62

# Dates written as a number: the layout after the day, by the number of digits.
_COMPACT = {8: "", 10: " %H", 12: " %H%M", 14: " %H%M%S", 17: " %H%M%S%3f"}
COMPACT_YEARS = (1900, 2099)
HOURS_YEARS = (1990, 2030)  # ten digits are seconds of the years 2033 and 2034 too


class Clock(StrEnum):
    """The kind of a log's times."""

    TIMESTAMP = "timestamp"
    INTEGER = "integer"
    FLOAT = "float"

    @property
    def dtype(self) -> pl.DataType:
        """The type of `time` and `as_of` inside the pipeline."""
        if self is Clock.TIMESTAMP:
            return TIMESTAMP
        return pl.Int64() if self is Clock.INTEGER else pl.Float64()


@dataclass
class ClockRead:
    """A column of times after reading.

    Attributes:
        values: UTC timestamps in microseconds, int64 or float64; null if there is no time.
        numbers: of the same length, the rows that are numbers as int64 or float64; None if there
            are none.
        faults: rows that are not a time, one boolean per row, each with the expected value.
        moved: rows with a date whose midnight the zone's clocks skipped; read as the day's first
            moment.
        twice: rows with a local time that the zone had twice; read as the first.
        describe: returns the value of a row as text, if Python cannot show the raw value.
    """

    values: pl.Series
    numbers: pl.Series | None = None
    faults: list[tuple[pl.Series, str]] = field(default_factory=list)
    moved: pl.Series | None = None
    twice: pl.Series | None = None
    describe: Callable[[int], str] | None = None


def read_clock(values: pl.Series, timezone: str) -> ClockRead | None:
    """Reads a column of times.

    Numbers stay numbers: only the whole log shows what they count (see `timescales`). If a column
    of text has both timestamps and numbers, numbers that are compact dates become timestamps, and
    other numbers null.

    Args:
        values: timestamps, dates, numbers, or text of ISO 8601 or numbers.
        timezone: the zone of timestamps without one.

    Returns:
        None for any other type.

    >>> read = read_clock(pl.Series(["2024-05-01", "2024-05-01T12:00+02:00"]), "UTC")
    >>> read.values.dt.hour().to_list()
    [0, 10]
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Date):
        return _read_typed(values, timezone, ticks=1 / _DAY)
    if isinstance(dtype, pl.Datetime):
        ticks = {"ms": 1e-3, "us": 1, "ns": 1e3}[dtype.time_unit]
        return _read_typed(values, timezone, ticks)
    if dtype.is_numeric() or isinstance(dtype, pl.Null):
        return _read_numbers(values)
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _read_text(values.cast(pl.String), timezone)
    return None


def to_clock(values: pl.Series, clock: Clock, timezone: str) -> pl.Series:
    """Returns times in the type of the log's clock; compact dates become timestamps."""
    if clock is Clock.TIMESTAMP and values.dtype.is_numeric():
        values = read_compact(values, timezone)
    return values.cast(clock.dtype)


def read_compact(numbers: pl.Series, timezone: str) -> pl.Series:
    """Reads numbers such as 20240304 and 20240304165235 as dates, others as null."""
    return _localize(_compact_parts(numbers), timezone).values


def format_moment(moment: float, clock: Clock) -> str:
    """Returns a time as people read it: ISO 8601 in UTC, up to the year 9999, or the number."""
    if clock is Clock.FLOAT:
        return str(moment)
    if clock is Clock.INTEGER:
        return f"{moment:.0f}"
    # By numpy, because the system's C library does not know all of these years.
    seconds = np.datetime64(min(int(moment), _END), "us").astype("datetime64[s]")
    return datetime.fromisoformat(f"{seconds}+00:00").isoformat()


@dataclass(frozen=True)
class _Parsed:
    """Times without a zone.

    Attributes:
        naive: datetimes in microseconds, null if there is none.
        dates: rows with a date only.
    """

    naive: pl.Series
    dates: pl.Series


def _read_typed(values: pl.Series, timezone: str, ticks: float) -> ClockRead:
    """Reads dates and timestamps.

    Args:
        values: of any type of time.
        timezone: the zone of times without one.
        ticks: units of the type per microsecond.
    """
    # Bounds come first, since Polars fails on years beyond its own. They are compared as floats,
    # which cannot overflow and are exact enough.
    possible = (values.to_physical().cast(pl.Float64) / ticks).is_between(EARLIEST, LATEST)
    impossible = ~possible.fill_null(True)
    kept = values.set(impossible, None) if impossible.any() else values

    zone = getattr(values.dtype, "time_zone", None)
    kept = kept.cast(pl.Datetime("us", zone))
    if zone is None:
        is_date = pl.repeat(isinstance(values.dtype, pl.Date), len(values), eager=True)
        read = _localize(_Parsed(kept, is_date), timezone)
    else:
        read = ClockRead(_bounded(kept.dt.convert_time_zone("UTC")))

    read.faults = [
        *_no_time(values.is_null()),
        (impossible, "a time from 1900 to 9999"),
        *read.faults,
    ]
    read.describe = lambda row: describe_time(values, row)
    return read


def beyond_calendar(values: pl.Series) -> pl.Series:
    """Returns which times are outside the years 1 to 9999, which Polars and Python cannot show."""
    if isinstance(values.dtype, pl.Datetime):
        per_second = {"ms": 1e3, "us": 1e6, "ns": 1e9}[values.dtype.time_unit]
    else:
        per_second = 1 / 86_400
    seconds = values.to_physical().cast(pl.Float64) / per_second
    return ~seconds.is_between(-62_135_596_800, 253_402_300_800, closed="left").fill_null(True)


def describe_time(values: pl.Series, row: int) -> str:
    """Returns a date or timestamp of any year as an error message shows it."""
    count = values.to_physical()[row]
    if count is None:
        return "nothing"
    if count == -(2**63):
        return f"{count}, which stands for no time (NaT)"
    unit = values.dtype.time_unit if isinstance(values.dtype, pl.Datetime) else "D"
    moment = np.datetime64(count, unit)
    year = int(moment.astype("datetime64[Y]").astype(int)) + 1970
    return str(moment) if 1 <= year <= 9999 else f"a time of the year {year} ({count} in {unit})"


def _read_numbers(raw: pl.Series) -> ClockRead:
    dtype = raw.dtype
    is_whole_decimal = getattr(dtype, "scale", None) == 0
    if dtype.is_integer() or isinstance(dtype, pl.Null) or is_whole_decimal:
        values = raw.cast(pl.Int64, strict=False)
    else:
        values = raw.cast(pl.Float64)
        values = values.set(~values.is_finite(), None)

    read = _bounded_numbers(values, missing=raw.is_null())
    coarse = _too_coarse(raw) & values.is_not_null()
    expected = "a number that was not rounded (write times as integers or 64-bit floats)"
    read.faults.append((coarse, expected))
    return read


def _bounded_numbers(values: pl.Series, missing: pl.Series) -> ClockRead:
    too_large = ~values.is_between(-LARGEST_NUMBER, LARGEST_NUMBER).fill_null(True)
    if too_large.any():
        values = values.set(too_large, None)
    expected = f"a number from {-LARGEST_NUMBER:.2g} to {LARGEST_NUMBER:.2g}"
    faults = [*_no_time(missing), (values.is_null() & ~missing, expected)]
    return ClockRead(values, values, faults)


def _too_coarse(raw: pl.Series) -> pl.Series:
    """Returns which numbers have too few bits for a fraction.

    32 bits hold seconds since 1970 to two minutes.
    """
    if raw.dtype == pl.Float16:
        exact = 2.0**11
    elif raw.dtype == pl.Float32:
        exact = 2.0**24
    else:
        return pl.repeat(False, len(raw), eager=True)
    return (raw.cast(pl.Float64).abs() >= exact).fill_null(False)


def _read_text(text: pl.Series, timezone: str) -> ClockRead:
    """Reads each row as a number or as a timestamp, whichever it is."""
    missing = text.is_null() | (text == "").fill_null(False)
    if missing.all():
        nothing = pl.Series(text.name, [None], pl.Int64).new_from_index(0, len(text))
        return ClockRead(nothing, faults=_no_time(missing))
    floats = text.cast(pl.Float64, strict=False)
    floats = floats.set(~floats.is_finite(), None)
    if floats.null_count() == missing.sum():
        return _bounded_numbers(_as_integers(text, floats), missing)
    if floats.null_count() == len(text):
        return _read_timestamps(text, missing, timezone)

    # Both numbers and other text.
    is_number = floats.is_not_null()
    numbers = _bounded_numbers(_as_integers(text, floats), ~is_number)
    read = _read_timestamps(text.set(is_number, None), missing | is_number, timezone)
    if read.values.null_count() == len(text):  # the other text is not a time
        read.values = numbers.values
    else:
        compact = read_compact(numbers.values, timezone)
        read.values = read.values.zip_with(read.values.is_not_null(), compact)
    read.numbers = numbers.values
    read.faults = [*_no_time(missing), *numbers.faults[1:], *read.faults[1:]]
    return read


def _as_integers(text: pl.Series, floats: pl.Series) -> pl.Series:
    integers = text.cast(pl.Int64, strict=False)
    return integers if integers.null_count() == floats.null_count() else floats


def _no_time(missing: pl.Series) -> list[tuple[pl.Series, str]]:
    return [(missing, "a time in every row")]


def _read_timestamps(text: pl.Series, missing: pl.Series, timezone: str) -> ClockRead:
    rest = text.str.strip_chars().str.replace(" ?([Zz]|UTC|GMT)$", "+00:00")
    rest = rest.str.replace("[Tt]", " ")
    utc = pl.Series(text.name, [None], dtype=TIMESTAMP).new_from_index(0, len(text))
    naive = utc.dt.replace_time_zone(None)
    dates = pl.repeat(False, len(text), eager=True)
    for layout in LAYOUTS:
        if rest.null_count() == len(rest):
            break
        zone = "UTC" if layout.endswith("z") else None
        found = rest.str.to_datetime(layout, time_unit="us", time_zone=zone, strict=False)
        if zone:
            utc = utc.zip_with(utc.is_not_null(), found)
        else:
            naive = naive.zip_with(naive.is_not_null(), found)
        if layout == DATE:
            dates = found.is_not_null()
        rest = rest.set(found.is_not_null(), None)

    read = _localize(_Parsed(_bounded(naive), dates), timezone)
    read.values = read.values.zip_with(read.values.is_not_null(), _bounded(utc))
    [(skipped, _)] = read.faults
    unreadable = read.values.is_null() & ~missing & ~skipped
    expected = (
        f"a number, or a timestamp such as 2024-05-01T12:00:00+02:00 with a year of four digits "
        f"(without offset: {timezone} time)"
    )
    read.faults = [*_no_time(missing), (unreadable, expected), *read.faults]
    return read


def _bounded(values: pl.Series) -> pl.Series:
    """Removes times of impossible years, such as a year of two digits."""
    physical = values.to_physical()
    possible = physical.is_between(EARLIEST, LATEST).fill_null(True)
    values = values if possible.all() else values.set(~possible, None)
    late = (physical > _END).fill_null(False)
    return values.set(late, _END) if late.any() else values


def _localize(parsed: _Parsed, timezone: str) -> ClockRead:
    """Gives local times their zone; a time that the zone had twice becomes the first."""
    naive = parsed.naive
    local = naive.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    twice = None
    if local.null_count() > naive.null_count():
        first = naive.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
        twice = local.is_null() & first.is_not_null()
        local = first

    utc = local.dt.convert_time_zone("UTC")
    skipped = utc.is_null() & naive.is_not_null()
    moved = skipped & parsed.dates
    if moved.any():
        for midnight in naive.filter(moved).unique():
            utc = utc.set(moved & (naive == midnight), _first_moment(midnight, timezone))
        moved = moved & utc.is_not_null()
        skipped = skipped & ~moved

    expected = f"a time that exists in {timezone}, whose clocks skipped this hour (data.timezone)"
    return ClockRead(_bounded(utc), faults=[(skipped, expected)], moved=moved, twice=twice)


def _first_moment(midnight: datetime, timezone: str) -> datetime | None:
    """Returns the first moment of a day without a midnight, None if the whole day was skipped."""
    moment = midnight.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    return moment if moment.astimezone(ZoneInfo(timezone)).date() == midnight.date() else None


def _compact_parts(numbers: pl.Series) -> _Parsed:
    """Reads the digits of each number as year, month, day and time."""
    whole = numbers.cast(pl.Int64, strict=False)
    fraction = (numbers - whole).fill_null(0.0) if numbers.dtype.is_float() else None
    naive = pl.Series(numbers.name, [None], dtype=pl.Datetime("us")).new_from_index(0, len(numbers))
    dates = pl.repeat(False, len(numbers), eager=True)
    for digits, layout in _COMPACT.items():
        first, last = HOURS_YEARS if digits == 10 else COMPACT_YEARS
        unit = 10 ** (digits - 4)  # of a year
        near = whole.is_between(first * unit, (last + 1) * unit - 1).fill_null(False)
        if digits != 14 and fraction is not None:
            near &= fraction == 0
        if not near.any():
            continue

        found = _parse_digits(whole.set(~near, None), layout)
        if digits == 14 and fraction is not None:
            found += ((fraction * 1e3).round() * 1e3).cast(pl.Int64).cast(pl.Duration("us"))
        naive = naive.zip_with(naive.is_not_null(), found)
        if digits == 8:
            dates = found.is_not_null()
    return _Parsed(naive, dates)


def _parse_digits(whole: pl.Series, layout: str) -> pl.Series:
    text = whole.cast(pl.String)
    if layout == " %H":  # Polars reads no hours without minutes
        text = text + "00"
        layout = " %H%M"
    spaced = (text.str.slice(0, 8) + " " + text.str.slice(8)).str.strip_chars()
    return spaced.str.to_datetime(f"%Y%m%d{layout}", time_unit="us", strict=False)
