"""Durations, capacities and quiet hours, also on days of 23 and 25 hours."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.answers.alerts import timing
from serving.answers.alerts.timing import (
    Capacity,
    Period,
    QuietTimes,
    parse_duration,
    parse_hours,
    period_around,
)

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietTimes(time(20), time(7), False, BERLIN)
SHORT_NIGHT = QuietTimes(time(22), time(2, 30), False, BERLIN)
WEEKEND = QuietTimes(time(20), time(7), True, BERLIN)

moments = st.integers(0, 365 * 86_400_000_000).map(
    lambda offset: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=offset)
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_examples_hold() -> None:
    assert doctest.testmod(timing).failed == 0


@pytest.mark.parametrize(
    ("quiet", "now", "held"),
    [
        (NIGHT, "2026-03-02T19:59:59+01:00", "2026-03-02T19:59:59+01:00"),
        (NIGHT, "2026-03-02T20:00:00+01:00", "2026-03-03T07:00:00+01:00"),
        (NIGHT, "2026-03-02T06:59:30+01:00", "2026-03-02T07:00:00+01:00"),
        (NIGHT, "2026-03-02T07:00:00+01:00", "2026-03-02T07:00:00+01:00"),
        # The night before summer time has an hour less, the one after it an hour more.
        (NIGHT, "2026-03-28T21:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        (NIGHT, "2026-10-24T21:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        # 02:30 does not exist in March, so they end when the clock passes it; in October there are
        # two, and they end at the first.
        (SHORT_NIGHT, "2026-03-28T23:00:00+01:00", "2026-03-29T03:00:00+02:00"),
        (SHORT_NIGHT, "2026-10-24T23:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        (WEEKEND, "2026-03-06T19:00:00+01:00", "2026-03-06T19:00:00+01:00"),
        (WEEKEND, "2026-03-06T21:00:00+01:00", "2026-03-09T07:00:00+01:00"),
        (WEEKEND, "2026-03-07T12:00:00+01:00", "2026-03-09T07:00:00+01:00"),
        (QuietTimes(None, None, True, BERLIN), "2026-03-07T12:00:00+01:00",
         "2026-03-09T00:00:00+01:00"),
        (QuietTimes(time(12), time(13), False, BERLIN), "2026-07-01T10:30:00+00:00",
         "2026-07-01T11:00:00+00:00"),
    ],
)  # fmt: skip
def test_quiet_hours_end_by_the_wall_clock(quiet: QuietTimes, now: str, held: str) -> None:
    assert quiet.hold(at(now)) == at(held)


@settings(max_examples=30)  # a hold looks at up to 5,000 minutes
@given(
    moment=moments,
    begin=st.integers(0, 1439),
    length=st.integers(1, 1439),
    weekends=st.booleans(),
)
def test_a_held_moment_is_the_first_that_is_not_quiet(
    moment: datetime, begin: int, length: int, weekends: bool
) -> None:
    first, last = (
        time(*divmod(minute % 1440, 60)) for minute in (begin, begin + length)
    )  # fmt: skip
    quiet = QuietTimes(first, last, weekends, BERLIN)
    held = quiet.hold(moment)

    assert held >= moment
    assert quiet.hold(held) == held
    if held > moment:
        assert quiet.hold(held - timedelta(microseconds=1)) == held
        assert quiet.hold(moment + (held - moment) / 2) == held


@pytest.mark.parametrize(
    ("moment", "period", "begin", "end"),
    [
        # Sunday night in Berlin is still Sunday in UTC.
        ("2026-03-01T23:30:00+00:00", "week", "2026-03-02T00:00:00+01:00",
         "2026-03-09T00:00:00+01:00"),
        ("2026-03-27T12:00:00+01:00", "week", "2026-03-23T00:00:00+01:00",
         "2026-03-30T00:00:00+02:00"),
        ("2026-10-25T12:00:00+01:00", "day", "2026-10-25T00:00:00+02:00",
         "2026-10-26T00:00:00+01:00"),
        ("2026-12-31T12:00:00+01:00", "month", "2026-12-01T00:00:00+01:00",
         "2027-01-01T00:00:00+01:00"),
        ("2027-01-01T12:00:00+01:00", "week", "2026-12-28T00:00:00+01:00",
         "2027-01-04T00:00:00+01:00"),
    ],
)  # fmt: skip
def test_periods_are_those_of_the_calendar(
    moment: str, period: Period, begin: str, end: str
) -> None:
    assert period_around(at(moment), period, BERLIN) == (at(begin), at(end))


@given(
    moments,
    st.sampled_from(["day", "week", "month"]),
)
def test_periods_follow_one_another(moment: datetime, period: Period) -> None:
    begin, end = period_around(moment, period, BERLIN)
    assert begin <= moment < end
    assert period_around(end, period, BERLIN)[0] == end


def test_what_people_write_is_read() -> None:
    assert parse_duration("36h") == timedelta(hours=36)
    assert parse_duration(" 2w") == timedelta(days=14)
    assert parse_hours("7:30 - 20:00") == (time(7, 30), time(20))
    assert Capacity.parse("20  per week") == Capacity(20, "week", per_group=False)
    assert Capacity.parse("3 per month and group") == Capacity(3, "month", per_group=True)


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (parse_duration, "14", "expected hours, days or weeks such as 36h, 14d or 2w, found '14'"),
        (parse_duration, "-3d", "expected hours"),
        (parse_hours, "20-7", "expected hours such as 20:00-07:00, found '20-7'"),
        (parse_hours, "24:00-07:00", "expected hours such as"),
        (parse_hours, "07:00-07:00", "nobody would ever be told"),
        (Capacity.parse, "20 per year", "expected a number per day, week or month"),
        (Capacity.parse, "0 per week", "found '0 per week'"),
        (Capacity.parse, "twenty per week", "expected a number per day, week or month"),
    ],
)
def test_other_texts_are_errors(read, text: str, expected: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=expected):
        read(text)
