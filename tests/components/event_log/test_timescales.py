"""What the numbers of a log's clock count, however the log is cut into files and chunks."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.names import AS_OF, TIME
from components.event_log.clocks import Clock, read_clock
from components.event_log.timescales import (
    Sightings,
    common_clock,
    extent,
    judge_clock,
    merge_sightings,
    see,
)

SECONDS = [1_709_540_327 + 977 * step for step in range(40)]
MILLISECONDS = [moment * 1000 for moment in SECONDS]
MICROSECONDS = [moment * 10**6 for moment in SECONDS]
NANOSECONDS = [moment * 10**9 for moment in SECONDS]
DAYS = [20240301 + day for day in range(28)]
STAMPS = [20240304081847, 20240304165235, 20240311000000]
ISO = ["2024-03-04T16:52:35Z", "2024-03-05"]
WEEKS = list(range(1, 41))
SINCE_START = [
    step * 2_000_003 for step in range(2000)
]  # milliseconds: they pass through the seconds since 1970
EXCEL = [45355.70 + step for step in range(20)]


def sightings(
    time: list[object], as_of: list[object], parts: int = 1, shuffle: int | None = None
) -> Sightings:
    """Returns what is seen in a log whose rows lie in chunks of several files."""
    chunks = []
    for column, values in ((TIME, time), (AS_OF, as_of)):
        size = -(-len(values) // parts)
        for start in range(0, len(values), size):
            part = values[start : start + size]
            chunks.append((column, part, range(start + 2, start + 2 + len(part))))
    if shuffle is not None:
        random.Random(shuffle).shuffle(chunks)

    total: Sightings = {}
    for column, values, numbers in chunks:
        if any(isinstance(value, str) for value in values):
            raw = pl.Series([str(value) for value in values])
        else:
            raw = pl.Series(values, strict=False)
        read = read_clock(raw, "UTC")
        assert read is not None
        forms = see(
            read, raw, numbers, timezone="UTC", path=f"{column}.csv", unit="line", column=column
        )
        total = merge_sightings(total, {column: forms})
    return total


@pytest.mark.parametrize(
    ("time", "as_of", "clock"),
    [
        (SECONDS, SECONDS[-1:], Clock.INTEGER),
        (MILLISECONDS, MILLISECONDS, Clock.INTEGER),
        (NANOSECONDS, NANOSECONDS, Clock.INTEGER),
        ([moment + 0.25 for moment in SECONDS], SECONDS, Clock.FLOAT),
        ([*SECONDS, 253402300799], SECONDS, Clock.INTEGER),  # the year 9999: not finished
        ([*SECONDS, 2147483647], SECONDS, Clock.INTEGER),  # 2038
        ([*MILLISECONDS, 253402300799000], MILLISECONDS, Clock.INTEGER),
        (WEEKS, [4], Clock.INTEGER),
        (list(range(500)), [501] * 9, Clock.INTEGER),
        ([*WEEKS, 2147483647], WEEKS, Clock.INTEGER),
        (SINCE_START, SINCE_START[-1:], Clock.INTEGER),
        (SINCE_START, [14 * 86_400_000], Clock.INTEGER),
        (
            [value * 1000 for value in SINCE_START],
            [value * 1000 for value in SINCE_START[-2:]],
            Clock.INTEGER,
        ),
        ([step * 10_007 for step in range(3000)], [30_020_000], Clock.INTEGER),  # seconds of a year
        ([-5, -3, 0, 5], [0], Clock.INTEGER),
        (EXCEL, EXCEL[:1], Clock.FLOAT),
        (STAMPS, STAMPS[-1:], Clock.TIMESTAMP),
        (DAYS, STAMPS, Clock.TIMESTAMP),
        (STAMPS, ISO, Clock.TIMESTAMP),
        ([*ISO, *map(str, DAYS)], ISO, Clock.TIMESTAMP),
        ([2024030416, 2024030417], [2024030500], Clock.TIMESTAMP),
        (ISO, ISO, Clock.TIMESTAMP),
        ([float(day) for day in DAYS], DAYS, Clock.TIMESTAMP),
    ],
)
@pytest.mark.parametrize("parts", [1, 7])
def test_a_log_of_one_scale(
    time: list[object], as_of: list[object], clock: Clock, parts: int
) -> None:
    seen = sightings(time, as_of, parts)
    assert judge_clock(seen) == []
    assert common_clock(seen) is clock


@pytest.mark.parametrize(
    ("time", "as_of", "scales"),
    [
        (SECONDS, MILLISECONDS, ["seconds since 1970 in time", "milliseconds since 1970 in as_of"]),
        (
            MILLISECONDS,
            SECONDS[:1],
            ["milliseconds since 1970 in time", "seconds since 1970 in as_of"],
        ),
        (
            NANOSECONDS,
            MICROSECONDS,
            ["nanoseconds since 1970 in time", "microseconds since 1970 in as_of"],
        ),
        ([*SECONDS, *MILLISECONDS[:1]], SECONDS, ["milliseconds since 1970 in time (1, first"]),
        (
            SECONDS,
            [*SECONDS, MILLISECONDS[3]],
            ["milliseconds since 1970 in as_of (1, first 1709543258000"],
        ),
        (WEEKS, SECONDS[:1], ["plain numbers in time", "seconds since 1970 in as_of"]),
        (EXCEL, SECONDS[:1], ["plain numbers in time", "seconds since 1970 in as_of"]),
        (
            [moment // 60 for moment in SECONDS],
            SECONDS,
            ["plain numbers in time", "seconds since 1970 in as_of"],
        ),
        ([*SECONDS, 0], SECONDS, ["plain numbers in time (1, first 0 in line 42 of time.csv)"]),
        ([*SECONDS, -1], SECONDS, ["plain numbers in time (1, first -1"]),
        (
            [*WEEKS, *SECONDS[:15]],
            WEEKS,
            ["plain numbers in time (40", "seconds since 1970 in time (15"],
        ),
        (
            DAYS,
            SECONDS,
            ["dates such as 20240304 or 20240304165235 in time", "seconds since 1970 in as_of"],
        ),
        (
            SECONDS,
            DAYS[:1],
            ["seconds since 1970 in time", "dates such as 20240304 or 20240304165235 in as_of"],
        ),
        (
            WEEKS,
            DAYS[:1],
            ["plain numbers in time", "dates such as 20240304 or 20240304165235 in as_of"],
        ),
        (
            [*STAMPS, 20240304240000],
            STAMPS,
            ["numbers that are not dates", "first 20240304240000 in line 5"],
        ),
        ([*SECONDS, *DAYS[:5]], SECONDS, ["dates such as 20240304 or 20240304165235 in time (5"]),
        (SECONDS, [2024030416], ["seconds since 1970 in time", "dates such as"]),
        (ISO, SECONDS, ["timestamps in time", "seconds since 1970 in as_of"]),
        (
            [*ISO, *map(str, MILLISECONDS)],
            ISO,
            [
                "timestamps in time (2, first '2024-03-04T16:52:35Z' in line 2",
                "milliseconds since 1970 in time (40, first '1709540327000' in line 4",
            ],
        ),
        ([*ISO, "0"], ISO, ["timestamps in time", "plain numbers in time (1, first '0' in line 4"]),
        (
            [240301 + day for day in range(20)],
            [240306],
            ["dates with a year of two digits in time (20, first 240301"],
        ),
        (
            [240304165235, 240305101010],
            [240306000000, 240307000000],
            ["with years of four digits", "dates with a year of two digits in as_of"],
        ),
        (ISO, WEEKS, ["timestamps in time", "plain numbers in as_of"]),
    ],
)
@pytest.mark.parametrize("parts", [1, 3, 50])
def test_a_log_of_several_scales_is_one_problem_that_says_which_is_which(
    time: list[object], as_of: list[object], scales: list[str], parts: int
) -> None:
    seen = sightings(time, as_of, parts)
    [problem] = judge_clock(seen)
    assert common_clock(seen) is None
    assert str(problem).startswith("the log: expected one kind of time in time and as_of")
    for scale in scales:
        assert scale in str(problem)


NUMBERS = st.sampled_from(
    [*SECONDS[:3], *MILLISECONDS[:2], *DAYS[:3], *STAMPS, 0, 7, -3, 20241399, 2024030416, 3.5]
)
TIMES = st.one_of(
    st.lists(NUMBERS, min_size=1, max_size=12),
    st.lists(NUMBERS.map(str) | st.sampled_from(ISO), min_size=1),
)


@settings(deadline=None, max_examples=150)
@given(TIMES, TIMES, st.integers(1, 12), st.integers())
def test_files_chunks_and_their_order_change_nothing(
    time: list[object], as_of: list[object], parts: int, order: int
) -> None:
    whole, cut = sightings(time, as_of), sightings(time, as_of, parts, shuffle=order)
    assert common_clock(cut) is common_clock(whole)
    assert {
        column: {form: seen.count for form, seen in forms.items()} for column, forms in cut.items()
    } == {
        column: {form: seen.count for form, seen in forms.items()}
        for column, forms in whole.items()
    }
    assert bool(judge_clock(cut)) == bool(judge_clock(whole))


def test_the_first_and_last_time_of_compact_dates_are_moments() -> None:
    seen = sightings(DAYS, STAMPS)
    low, high = extent(seen[TIME], Clock.TIMESTAMP) or (0, 0)
    assert (low, high) == (1709251200 * 1e6, 1711584000 * 1e6)
    assert extent(seen[TIME], Clock.INTEGER) == (DAYS[0], DAYS[-1])
    assert extent({}, Clock.INTEGER) is None
