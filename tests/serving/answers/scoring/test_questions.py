"""Moments, and the row that says what a learner is at one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import MasteryError
from serving.answers.need import expected_need, expected_needs
from serving.answers.scoring.job import newest_rows
from serving.answers.scoring.moments import parse_moments

NOW = datetime(2026, 3, 10, 12, 30, 0, 5, tzinfo=UTC)


def _day(number: int) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)


def test_now_is_a_whole_second() -> None:
    assert parse_moments([], "UTC", now=NOW) == [NOW.replace(microsecond=0)]


def test_times_are_in_the_zone_of_the_log() -> None:
    moments = parse_moments(
        ["2026-03-02T06:00", "2026-03-01", "20260301"], "Europe/Berlin", now=NOW
    )
    assert moments == [
        datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 2, 5, tzinfo=UTC),
    ]  # fmt: skip


def test_days_are_counted_back_from_the_newest() -> None:
    moments = parse_moments(["2026-03-05 06:00"], "UTC", every="1d", since="2026-03-02", now=NOW)
    assert [moment.day for moment in moments] == [2, 3, 4, 5]
    assert {moment.hour for moment in moments} == {6}


@pytest.mark.parametrize(
    ("as_of", "more", "message"),
    [
        (["2026-04-01"], {}, "not in the future"),
        (["soon"], {}, "as_of: expected"),
        ([], {"every": "1d"}, "--every and --since together"),
        ([], {"every": "1m", "since": "2026-03-01"}, "such as 1d, 12h or 2w, found '1m'"),
        ([], {"every": "1h", "since": "2020-03-01"}, "at most 1000 moments"),
        (["2026-03-01"], {"every": "1d", "since": "2026-03-05"}, "a time before --as-of"),
    ],
)
def test_what_is_no_moment_is_refused(as_of: list[str], more: dict[str, str], message: str) -> None:
    with pytest.raises(MasteryError, match=message):
        parse_moments(as_of, "UTC", now=NOW, **more)


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4)))


@given(asked=ROWS, rows=ROWS)
def test_a_row_of_the_unit_goes_first_then_the_newest_that_was_known(
    asked: list[tuple[str, str, int]], rows: list[tuple[str, str, int]]
) -> None:
    found = newest_rows(_table(asked), _table(rows)).to_list()
    for (learner, unit, day), place in zip(asked, found, strict=True):
        of_learner = [(number, *row) for number, row in enumerate(rows) if row[0] == learner]
        of_unit = [row for row in of_learner if row[2] == unit]
        expected = None
        for candidates in (of_unit, of_learner):
            known = [row for row in candidates if row[3] <= day]
            later = [row for row in candidates if row[3] > day]
            if known:
                expected = max(known, key=lambda row: (row[3], row[0]))[3]
                break
            if later:
                expected = min(row[3] for row in later)
                break
        assert (None if place is None else rows[place][2]) == expected
        assert place is None or rows[place][0] == learner


def _table(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    data = {
        "learner_id": [row[0] for row in rows],
        "unit_id": [row[1] for row in rows],
        "as_of": [_day(row[2]) for row in rows],
    }
    times = pl.Datetime("us", "UTC")
    schema = {"learner_id": pl.String, "unit_id": pl.String, "as_of": times}
    return pl.DataFrame(data, schema=schema)


def test_without_moments_the_last_row_counts() -> None:
    rows = pl.DataFrame({"learner_id": ["a", "b", "a"]})
    asked = _table([("a", "x", 1), ("c", "x", 1)])
    assert newest_rows(asked, rows).to_list() == [2, None]


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1))
def test_needs_of_many_are_those_of_each(weights: list[list[float]]) -> None:
    probabilities = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    expected = [expected_need(row) for row in probabilities.tolist()]
    assert expected_needs(probabilities).tolist() == pytest.approx(expected)
