from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.clocks import TIMESTAMP, Clock, clock_of, common_clock, read_clock

NOON = datetime(2024, 7, 1, 10, tzinfo=UTC)  # noon in Zurich, in summer


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01T10:00:00Z", "2024-07-01 10:00:00.000Z", "2024-07-01T12:00:00+02:00", "2024-07-01T12:00+0200",
        "2024-07-01T05:30:00.000000-04:30", "2024-07-01 12:00:00 +02:00", "2024-07-01T12:00:00", "2024-07-01 12:00",
        " 2024-07-01T12:00:00.000 ",
    ],
)  # fmt: skip
def test_timestamps_of_any_zone_become_utc(text: str) -> None:
    values = read_clock(pl.Series([text, None, text]), "Europe/Zurich")
    assert values is not None
    assert values.dtype == TIMESTAMP
    assert values.to_list() == [NOON, None, NOON]


def test_spellings_may_differ_from_row_to_row() -> None:
    values = read_clock(pl.Series(["2024-07-01T10:00:00Z", "2024-07-01", "1 July", "2024-07-01T12:00:00+02:00"]), "UTC")
    assert values is not None
    assert values.to_list() == [NOON, datetime(2024, 7, 1, tzinfo=UTC), None, NOON]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (pl.Datetime("ns"), datetime(2024, 7, 1, 12)),  # noqa: DTZ001 (naive is the case)
        (pl.Datetime("ms", "America/New_York"), NOON),
        (pl.Datetime("us", "UTC"), NOON),
    ],
)
def test_typed_timestamps(dtype: pl.DataType, value: datetime) -> None:
    values = read_clock(pl.Series([value], dtype=dtype), "Europe/Zurich")
    assert values is not None
    assert values.dtype == TIMESTAMP
    assert values.to_list() == [NOON]


def test_a_date_is_its_midnight() -> None:
    values = read_clock(pl.Series([date(2024, 7, 1)]), "Europe/Zurich")
    assert values is not None
    assert values.to_list() == [datetime(2024, 6, 30, 22, tzinfo=UTC)]


def test_a_local_time_that_was_skipped_is_no_time_and_one_that_was_twice_is_the_first() -> None:
    values = read_clock(pl.Series(["2024-03-31T02:30:00", "2024-10-27T02:30:00"]), "Europe/Zurich")
    assert values is not None
    assert values.to_list() == [None, datetime(2024, 10, 27, 0, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (pl.Series([1, None], dtype=pl.UInt8), pl.Series([1, None], dtype=pl.Int64)),
        (pl.Series(["3", "-4"]), pl.Series([3, -4])),
        (pl.Series(["3", "4.5"]), pl.Series([3.0, 4.5])),
        (pl.Series(["3", "4", "x"]), pl.Series([3, 4, None])),
        (pl.Series([1.5, float("nan"), float("inf")]), pl.Series([1.5, None, None])),
        (pl.Series([None, None]), pl.Series([None, None], dtype=pl.Int64)),
    ],
)
def test_numbers(raw: pl.Series, read: pl.Series) -> None:
    values = read_clock(raw, "UTC")
    assert values is not None
    assert values.dtype == read.dtype
    assert values.equals(read)


def test_no_clock_in_other_types() -> None:
    assert read_clock(pl.Series([[1]]), "UTC") is None


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_iso_text_means_the_moment_that_it_says(moment: datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        return  # local mean times of the past, with seconds in their offset, cannot be written in ISO 8601
    values = read_clock(pl.Series([moment.isoformat()]), "Asia/Tokyo")
    assert values is not None
    assert values.to_list() == [moment.astimezone(UTC)]


@pytest.mark.parametrize(
    ("clocks", "common"),
    [
        (["integer", "float"], Clock.FLOAT),
        (["integer"], Clock.INTEGER),
        (["timestamp"], Clock.TIMESTAMP),
        (["timestamp", "integer"], None),
    ],
)
def test_the_clock_of_a_whole_log(clocks: list[str], common: Clock | None) -> None:
    assert common_clock(clocks) is common
    assert common is None or clock_of(common.dtype) is common
