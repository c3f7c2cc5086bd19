"""Times of a log: timestamps of any zone, or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import polars as pl

TIMESTAMP = pl.Datetime("us", "UTC")
WITH_OFFSET = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z")
WITHOUT_OFFSET = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


class Clock(StrEnum):
    """What a log's times are."""

    TIMESTAMP = "timestamp"
    INTEGER = "integer"
    FLOAT = "float"

    @property
    def dtype(self) -> pl.DataType:
        """The type of `time` and `as_of` inside the pipeline."""
        return {Clock.TIMESTAMP: TIMESTAMP, Clock.INTEGER: pl.Int64(), Clock.FLOAT: pl.Float64()}[self]


def clock_of(dtype: pl.DataType) -> Clock:
    """Returns what a column of times is that `read_clock` has read."""
    return next(clock for clock in Clock if clock.dtype == dtype)


def common_clock(clocks: Iterable[str]) -> Clock | None:
    """Returns the clock that all of them are (floats take in integers), None where timestamps meet numbers."""
    found = {Clock(clock) for clock in clocks}
    if Clock.TIMESTAMP in found:
        return Clock.TIMESTAMP if len(found) == 1 else None
    return Clock.FLOAT if Clock.FLOAT in found else Clock.INTEGER


def read_clock(values: pl.Series, timezone: str) -> pl.Series | None:
    """Reads a column of times.

    Args:
        values: timestamps, dates, numbers, or text that holds ISO 8601 or numbers.
        timezone: the zone of timestamps that name none.

    Returns:
        UTC timestamps in microseconds, int64 or float64, null where a value is no time; None for any other type.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Date | pl.Datetime):
        return _to_utc(values.cast(pl.Datetime("us", getattr(dtype, "time_zone", None))), timezone)
    if dtype.is_integer():
        return values.cast(pl.Int64, strict=False)
    if dtype.is_float() or dtype.is_decimal():
        return _finite(values.cast(pl.Float64))
    if isinstance(dtype, pl.Null):
        return values.cast(pl.Int64)
    return _parse(values, timezone) if isinstance(dtype, pl.String) else None


def _finite(values: pl.Series) -> pl.Series:
    return values.set(~values.is_finite(), None)


def _parse(text: pl.Series, timezone: str) -> pl.Series:
    """Reads text as numbers or as timestamps, whichever more of it is."""
    floats = _finite(text.cast(pl.Float64, strict=False))
    numbers = len(floats) - floats.null_count()
    if numbers + text.null_count() == len(text) or numbers * 2 > len(text):
        integers = text.cast(pl.Int64, strict=False)
        return integers if integers.null_count() == floats.null_count() else floats
    return _parse_timestamps(text, timezone)


def _parse_timestamps(text: pl.Series, timezone: str) -> pl.Series:
    plain = text.str.strip_chars().str.replace("T", " ", literal=True).str.replace("[Zz]$", "+00:00")
    parsed = pl.Series(text.name, [None], dtype=TIMESTAMP).new_from_index(0, len(text))
    for layout in (*WITH_OFFSET, *WITHOUT_OFFSET):
        if parsed.null_count() == text.null_count():
            break
        zone = "UTC" if layout in WITH_OFFSET else None
        found = plain.str.to_datetime(layout, time_unit="us", time_zone=zone, strict=False)
        parsed = parsed.zip_with(parsed.is_not_null(), _to_utc(found, timezone))
    return parsed


def _to_utc(values: pl.Series, timezone: str) -> pl.Series:
    if values.dtype.time_zone is None:  # type: ignore[attr-defined]
        values = values.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return values.dt.convert_time_zone("UTC")
