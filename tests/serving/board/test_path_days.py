from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.board.pages.path_days import MOST_DAYS, ZOOMS, Zoom, day_of, in_days, window

BEGIN = date(2026, 1, 5)


@dataclass(frozen=True)
class Answered:
    as_of: datetime
    version_id: int
    predicted_class: str


@dataclass(frozen=True)
class Arrived:
    received_at: datetime


@given(st.integers(0, 800), st.sampled_from(ZOOMS), st.none() | st.integers(-50, 850))
def test_windows_are_as_long_as_asked_and_say_what_is_beside(
    length: int, zoom: Zoom, until: int | None
) -> None:
    end = BEGIN + timedelta(days=length)
    asked = None if until is None else BEGIN + timedelta(days=until)

    shown = window(BEGIN, end, zoom, asked)

    assert BEGIN <= shown.last <= end
    assert shown.last == end or shown.last in (asked, BEGIN)
    assert shown.earlier == (shown.first > BEGIN)
    assert shown.later == (shown.last < end)
    assert shown.days[0] == shown.first
    assert shown.days[-1] == shown.last
    if zoom == "all":
        assert len(shown.days) == min(MOST_DAYS, (shown.last - BEGIN).days + 1)
    else:
        assert len(shown.days) == int(zoom)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 2), st.sampled_from("abc"))))
def test_answers_keep_their_day_and_changes_are_those_of_a_version(
    drawn: list[tuple[int, int, str]],
) -> None:
    shown = window(BEGIN, BEGIN + timedelta(days=10), "all", None)
    begin = datetime.combine(BEGIN, datetime.min.time(), UTC)
    answers = [
        Answered(begin + timedelta(hours=hours + 1), version, class_)
        for hours, version, class_ in sorted(drawn)
    ]

    days = in_days(
        shown, answers=answers, classes_before={1: "a"}, activity=[], actions=[], outcomes=[]
    )

    said = [(day.day, each) for day in days for each in day.said]
    assert [each.answer for _, each in said] == answers
    assert all(day == day_of(each.answer.as_of) for day, each in said)
    before: dict[int, str] = {1: "a"}
    for _, each in said:
        previous = before.get(each.answer.version_id)
        changed = previous is not None and previous != each.answer.predicted_class
        assert each.changed_from == (previous if changed else None)
        before[each.answer.version_id] = each.answer.predicted_class


def test_a_day_without_a_scoring_has_no_answer() -> None:
    shown = window(BEGIN, BEGIN + timedelta(days=2), "all", None)
    morning = datetime(2026, 1, 5, 6, tzinfo=UTC)
    answers = [Answered(morning, 1, "a"), Answered(morning + timedelta(days=2), 1, "b")]

    days = in_days(shown, answers=answers, classes_before={}, activity=[], actions=[], outcomes=[])

    assert [len(day.said) for day in days] == [1, 0, 1]
    assert days[1].is_empty
    assert days[2].said[0].changed_from == "a"


@pytest.mark.parametrize(
    ("as_of", "day"),
    [
        ("2026-01-05T00:00:00+00:00", "2026-01-04"),
        ("2026-01-05T00:00:00.000001+00:00", "2026-01-05"),
        ("2026-01-05T23:59:59+00:00", "2026-01-05"),
        ("2026-01-05T01:00:00+02:00", "2026-01-04"),
    ],
)
def test_an_answer_belongs_to_the_last_day_that_it_knows(as_of: str, day: str) -> None:
    assert day_of(datetime.fromisoformat(as_of)) == date.fromisoformat(day)


def test_an_outcome_after_the_log_stands_on_the_last_day() -> None:
    shown = window(BEGIN, BEGIN + timedelta(days=2), "all", None)
    outcomes = [
        Arrived(datetime(2026, 1, 6, 12, tzinfo=UTC)),
        Arrived(datetime(2026, 5, 1, tzinfo=UTC)),
    ]

    days = in_days(shown, answers=[], classes_before={}, activity=[], actions=[], outcomes=outcomes)

    assert [day.outcomes for day in days] == [[], outcomes[:1], outcomes[1:]]
