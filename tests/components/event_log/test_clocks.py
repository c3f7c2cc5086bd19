from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.clocks import (
    TIMESTAMP,
    Clock,
    ClockRead,
    format_moment,
    read_clock,
    read_compact,
    to_clock,
)

NOON = datetime(2024, 7, 1, 10, tzinfo=UTC)  # noon in Zurich, in summer


def read_values(raw: pl.Series, timezone: str) -> pl.Series:
    read = read_clock(raw, timezone)
    assert read is not None
    return read.values


def faults(read: ClockRead | None) -> list[tuple[list[int], str]]:
    """Returns the rows of each fault, and the first words of what was expected."""
    assert read is not None
    return [(rows.arg_true().to_list(), expected) for rows, expected in read.faults if rows.any()]


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01T10:00:00Z",
        "2024-07-01 10:00:00.000Z",
        "2024-07-01T12:00:00+02:00",
        "2024-07-01T12:00+0200",
        "2024-07-01T05:30:00.000000-04:30",
        "2024-07-01 12:00:00 +02:00",
        "2024-07-01T12:00:00",
        "2024-07-01 12:00",
        " 2024-07-01T12:00:00.000 ",
    ],
)
def test_timestamps_of_any_zone_become_utc(text: str) -> None:
    values = read_values(pl.Series([text, None, text]), "Europe/Zurich")
    assert values.dtype == TIMESTAMP
    assert values.to_list() == [NOON, None, NOON]


def test_spellings_may_differ_from_row_to_row() -> None:
    values = read_values(
        pl.Series(["2024-07-01T10:00:00Z", "2024-07-01", "1 July", "2024-07-01T12:00:00+02:00"]),
        "UTC",
    )
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
    values = read_values(pl.Series([value], dtype=dtype), "Europe/Zurich")
    assert values.dtype == TIMESTAMP
    assert values.to_list() == [NOON]


def test_a_date_is_its_midnight() -> None:
    values = read_values(pl.Series([date(2024, 7, 1)]), "Europe/Zurich")
    assert values.to_list() == [datetime(2024, 6, 30, 22, tzinfo=UTC)]


def test_a_local_time_that_was_skipped_is_no_time_and_one_that_was_twice_is_the_first() -> None:
    values = read_values(pl.Series(["2024-03-31T02:30:00", "2024-10-27T02:30:00"]), "Europe/Zurich")
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
    values = read_values(raw, "UTC")
    assert values.dtype == read.dtype
    assert values.equals(read)


def test_no_clock_in_other_types() -> None:
    assert read_clock(pl.Series([[1]]), "UTC") is None


@settings(deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.timezones(),
    )
)
def test_iso_text_means_the_moment_that_it_says(moment: datetime) -> None:
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() % 60:
        return  # ISO 8601 has no seconds in offsets, as local mean times of the past do
    values = read_values(pl.Series([moment.isoformat()]), "Asia/Tokyo")
    assert values.to_list() == [moment.astimezone(UTC)]


@pytest.mark.parametrize(
    "text",
    [
        "24-07-01",
        "01-07-24 12:00",
        "01/07/2024",
        "1 July 2024",
        "2024-W27-1",
        "2024-183",
        "2024-07-01 24:00:00",
        "07/01/2024 12:00 PM",
        "2024-07-01 12:00 PM",
        "2024-07-01 12:00:00,123",
        "12024-07-01",
        "0001-01-01 00:00:00",
        "1899-12-30",
        "0000-00-00 00:00:00",
        "2024-02-30",
        "infinity",
        "NaT",
        "NULL",
        "{}",
        "2024-07-01T12:00+25:00",
        "45474.5 days",
        "२०२४-०७-०१",
    ],
)
def test_text_that_is_no_time(text: str) -> None:
    read = read_clock(pl.Series([text, "2024-07-01T10:00:00Z"]), "UTC")
    assert read is not None
    assert read.values.to_list() == [None, NOON]
    [(rows, expected)] = faults(read)
    assert rows == [0]
    assert "with a year of four digits" in expected


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20240701T100000Z", NOON),
        ("20240701T120000+0200", NOON),
        ("2024-07-01 10:00:00 UTC", NOON),
        ("2024-07-01t10:00:00z", NOON),
        ("2024-07-01T15:30:00+0530", NOON),
        ("2024-07-01T10:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),  # a leap second
        ("1965-05-01T00:00:00Z", datetime(1965, 5, 1, tzinfo=UTC)),
        (
            "9999-12-31 23:59:59-08:00",
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),  # Python's last
    ],
)
def test_other_spellings_of_a_moment(text: str, moment: datetime) -> None:
    assert read_values(pl.Series([text]), "Europe/Zurich").to_list() == [moment]


@pytest.mark.parametrize(
    ("dtype", "physical", "found"),
    [
        (pl.Datetime("ms"), 1709571155000000, "a time of the year 56144 (1709571155000000 in ms)"),
        (pl.Datetime("ns"), -(2**63), "-9223372036854775808, which stands for no time (NaT)"),
        (pl.Datetime("us", "UTC"), -62135596800000000, "0001-01-01T00:00:00.000000"),
        (pl.Date(), 2_000_000, "a time of the year 7445 (2000000 in D)"),
        (pl.Date(), -(2**31), "a time of the year -5877641 (-2147483648 in D)"),
        (pl.Datetime("ms"), 2**63 - 1, "a time of the year 292278994 (9223372036854775807 in ms)"),
    ],
)
def test_a_typed_time_of_an_impossible_year_is_named(
    dtype: pl.DataType, physical: int, found: str
) -> None:
    read = read_clock(
        pl.Series([0, physical], dtype=pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype),
        "UTC",
    )
    assert read is not None
    if dtype == pl.Date and physical > 0:  # 7445 is far, not impossible
        assert not faults(read)
        return
    assert faults(read) == [([1], "a time from 1900 to 9999")]
    assert read.describe is not None
    assert read.describe(1) == found


def test_a_time_that_clocks_skipped_is_said_to_be_one() -> None:
    read = read_clock(pl.Series(["2024-03-31T02:30:00", "2024-03-31T03:30:00"]), "Europe/Zurich")
    [(rows, expected)] = faults(read)
    assert rows == [0]
    assert expected == (
        "a time that exists in Europe/Zurich, whose clocks skipped this hour (data.timezone)"
    )


@pytest.mark.parametrize("raw", [pl.Series(["2018-11-04"]), pl.Series([date(2018, 11, 4)])])
def test_a_date_without_midnight_is_its_first_moment(raw: pl.Series) -> None:
    read = read_clock(raw, "America/Sao_Paulo")
    assert read is not None
    assert read.values.to_list() == [
        datetime(2018, 11, 4, 3, tzinfo=UTC)
    ]  # 01:00 there, right after 23:59
    assert read.moved is not None
    assert read.moved.to_list() == [True]
    assert not faults(read)


def test_a_midnight_in_so_many_words_that_clocks_skipped_is_no_time() -> None:
    assert faults(read_clock(pl.Series(["2018-11-04 00:00:00"]), "America/Sao_Paulo"))


def test_a_day_that_a_zone_never_had_is_no_time() -> None:
    assert faults(read_clock(pl.Series(["2011-12-30"]), "Pacific/Apia"))


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (20240701, datetime(2024, 6, 30, 22, tzinfo=UTC)),
        (2024070112, NOON),
        (202407011200, NOON),
        (20240701120000, NOON),
        (20240701120000123, NOON.replace(microsecond=123000)),
        (20240701120000.5, NOON.replace(microsecond=500000)),
        (20240701.0, datetime(2024, 6, 30, 22, tzinfo=UTC)),
        (20240701.5, None),
        (20241301, None),
        (20240701240000, None),
        (20240331023000, None),  # skipped
        (18991231, None),
        (21000101, None),
        (1719828000, None),
        (500, None),
        (-20240701, None),
    ],
)
def test_compact_dates(raw: float, moment: datetime | None) -> None:
    values = read_compact(pl.Series([raw]), "Europe/Zurich")
    assert values.dtype == TIMESTAMP
    assert values.to_list() == [moment]


def test_a_column_of_timestamps_and_compact_dates_is_read_as_both() -> None:
    read = read_clock(
        pl.Series(["2024-07-01T10:00:00Z", "20240701", None, "x", "1719828000"]), "UTC"
    )
    assert read is not None
    assert read.values.to_list() == [NOON, datetime(2024, 7, 1, tzinfo=UTC), None, None, None]
    assert read.numbers is not None
    assert read.numbers.to_list() == [None, 20240701, None, None, 1719828000]
    assert [rows for rows, _ in faults(read)] == [[2], [3]]  # what the last is, the whole log says


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series([-(2**63)]),
        pl.Series([2**63 - 1]),
        pl.Series([2**64 - 1], dtype=pl.UInt64),
        pl.Series(["-9223372036854775808"]),
        pl.Series([1e300]),
        pl.Series(["1e300"]),
    ],
)
def test_no_difference_of_two_numbers_can_overflow(raw: pl.Series) -> None:
    [(rows, expected)] = faults(read_clock(raw, "UTC"))
    assert rows == [0]
    assert expected == "a number from -4.6e+18 to 4.6e+18"


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series(["2024-07-01T10:00:00Z"], dtype=pl.Categorical),
        pl.Series(["2024-07-01T10:00:00Z"], dtype=pl.Enum(["2024-07-01T10:00:00Z"])),
    ],
)
def test_text_of_any_type(raw: pl.Series) -> None:
    assert read_values(raw, "UTC").to_list() == [NOON]


def test_whole_decimals_are_integers() -> None:
    assert read_values(
        pl.Series([Decimal(1719828000)], dtype=pl.Decimal(38, 0)), "UTC"
    ).to_list() == [1719828000]
    assert read_values(pl.Series([Decimal("1.5")], dtype=pl.Decimal(38, 6)), "UTC").to_list() == [
        1.5
    ]


@pytest.mark.parametrize("clock", list(Clock))
def test_times_become_those_of_the_log(clock: Clock) -> None:
    values = to_clock(pl.Series([20240701]), clock, "UTC")
    assert values.dtype == clock.dtype
    assert values[0] == (datetime(2024, 7, 1, tzinfo=UTC) if clock is Clock.TIMESTAMP else 20240701)


@pytest.mark.parametrize(
    ("moment", "clock", "text"),
    [
        (0, Clock.TIMESTAMP, "1970-01-01T00:00:00+00:00"),
        (-2208988800000000.0, Clock.TIMESTAMP, "1900-01-01T00:00:00+00:00"),
        (253402387200000000.0, Clock.TIMESTAMP, "9999-12-31T23:59:59+00:00"),
        (12.0, Clock.INTEGER, "12"),
        (12.5, Clock.FLOAT, "12.5"),
    ],
)
def test_times_as_people_read_them(moment: float, clock: Clock, text: str) -> None:
    assert format_moment(moment, clock) == text


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        (pl.Series([1_709_544_600, 1.5, None], dtype=pl.Float32), [0]),
        (pl.Series([2**24 - 1, 2**24], dtype=pl.Float32), [1]),
        (pl.Series([2047, 2048, -4096], dtype=pl.Float16), [1, 2]),
        (pl.Series([1_709_544_600.5]), []),
    ],
)
def test_a_time_that_its_file_has_rounded_is_none(raw: pl.Series, rows: list[int]) -> None:
    assert [
        found for found, expected in faults(read_clock(raw, "UTC")) if "rounded" in expected
    ] == [rows] * bool(rows)
