"""How early a decision is right, counted by hand on small tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from components.contracts.decision_results import (
    DecisionMetrics,
    DecisionResults,
    EarlyWarningResults,
    WarningDay,
)
from components.contracts.names import DAYS_SEEN
from components.evaluator.early_warning import add_early_warning
from components.evaluator.warning_words import warning_sentence
from tests.components.evaluator.test_decisions import CALL, settings

RESULT = DecisionResults(
    name="call", class_="low", who="those who fall behind", threshold=0.5, purpose="cost"
)
# Learner, day, whether the learner is of the class, whether the learner is named on that day.
ROWS = [
    ("ann", 7, True, True), ("ann", 14, True, False), ("ann", 21, True, True),
    ("ben", 7, True, False), ("ben", 14, True, True), ("ben", 21, True, True),
    ("cem", 7, True, False), ("cem", 14, True, False), ("cem", 21, True, False),
    ("dan", 7, False, True), ("dan", 14, False, False), ("dan", 21, False, False),
    ("eve", 14, False, False), ("eve", 21, False, False),
]  # fmt: skip


def find(
    folder: Path,
    rows: list[tuple[str, Any, bool, bool]],
    *,
    day: str = "week_day",
    columns: dict[str, list[Any]] | None = None,
    **early: Any,
) -> EarlyWarningResults | None:
    """Returns the early warning of the decision `call`."""
    learner, days, is_low, named = zip(*rows, strict=True)
    table = pl.DataFrame(
        {
            "learner_id": learner,
            "unit_id": ["u"] * len(rows),
            "label": ["low" if low else "high" for low in is_low],
            "decision_call": named,
            day: days,
            **(columns or {}),
        }
    )
    table.write_parquet(folder / "predictions.parquet")
    rules = settings(
        decisions=[CALL],
        evaluation={"draws": 300, "early_warning": early or None},
        steps={"features": {"time_to_as_of": {"type": "numeric"}}},
    )
    [result] = add_early_warning([RESULT], folder / "predictions.parquet", rules)
    return result.early_warning


def numbers(day: WarningDay) -> tuple[Any, ...]:
    return (day.day, day.learners, day.of_class, day.named, day.right, day.lead_days)


def test_learners_are_found_from_the_day_on_which_they_are_first_named(tmp_path: Path) -> None:
    found = find(tmp_path, ROWS, by="week_day", outcome_day=30)
    assert found is not None
    first, second, third = found.days
    # By day 7: ann rightly, 23 days ahead, and dan wrongly; nobody asked about eve.
    assert numbers(first) == (7, 4, 3, 2, 1, 23)
    # By day 14: ben, too, 16 days ahead. That ann is not named on day 14 changes nothing.
    assert numbers(second) == (14, 5, 3, 3, 2, (23 + 16) / 2)
    # On day 21 ann and ben are named again, which is not earlier.
    assert numbers(third) == (21, 5, 3, 3, 2, (23 + 16) / 2)
    assert (second.recall, second.precision) == (2 / 3, 2 / 3)
    assert found.has_lead
    assert found.notes == []

    on_day = [(day.on_day.examples, day.on_day.named, day.on_day.right) for day in found.days]
    assert on_day == [(4, 2, 1), (5, 1, 1), (5, 2, 2)]
    # One of the two that it finds in the end is half of them.
    assert found.headline == first.sentence
    assert second.sentence == (
        "By day 14 it finds 67% of those who fall behind, two in three alarms right, 20 days ahead."
    )
    assert first.intervals == {}  # four learners are too few


def test_without_the_outcome_day_there_are_no_lead_times(tmp_path: Path) -> None:
    found = find(tmp_path, ROWS, by="week_day")
    assert found is not None
    assert not found.has_lead
    assert [day.lead_days for day in found.days] == [None, None, None]
    assert "ahead" not in found.headline


def test_the_outcome_day_may_be_a_column_and_later_answers_are_left_out(tmp_path: Path) -> None:
    known = ["10" if row[0] == "ann" else "30" for row in ROWS]
    found = find(
        tmp_path, ROWS, columns={"known": known}, by="week_day", outcome_day="known", days=[7, 14]
    )
    assert found is not None
    # Ann's outcome was known three days after the first warning.
    assert numbers(found.days[0]) == (7, 4, 3, 2, 1, 3)
    assert numbers(found.days[1]) == (14, 5, 3, 3, 2, (3 + 16) / 2)
    assert found.notes == [
        "5 of 14 answers are left out: their day is after the last one reported.",
        "1 of 14 answers are left out: they were asked for after the outcome was known.",
    ]


def test_lead_times_are_of_learners_whose_outcome_day_is_known(tmp_path: Path) -> None:
    known = ["" if row[0] == "ann" else "30" for row in ROWS]
    found = find(tmp_path, ROWS, columns={"known": known}, by="week_day", outcome_day="known")
    assert found is not None
    assert [day.lead_days for day in found.days] == [None, 16, 16]  # of ben alone
    assert [day.right for day in found.days] == [1, 2, 2]


def test_learners_whose_outcome_changes_are_left_out(tmp_path: Path) -> None:
    changing = [*ROWS, ("fay", 7, True, True), ("fay", 14, False, True)]
    found = find(tmp_path, changing, by="week_day", outcome_day=30)
    plain = find(tmp_path, ROWS, by="week_day", outcome_day=30)
    assert found is not None
    assert plain is not None
    assert found.days == plain.days
    assert found.notes == [
        "2 of 16 answers are left out: the outcome of the learner in the unit is not the same on "
        "all days."
    ]


def test_days_from_the_first_event_count_for_the_next_day_reported(tmp_path: Path) -> None:
    rows = [
        ("ann", 0.2, True, True), ("ben", 3.0, True, False), ("cem", 3.5, False, False),
        ("dan", 12.0, True, True), ("eve", None, True, True),
    ]  # fmt: skip
    found = find(tmp_path, rows, day=DAYS_SEEN)
    assert found is not None
    assert found.by is None
    assert [numbers(day) for day in found.days] == [
        (3, 2, 2, 1, 1, None),
        (7, 3, 2, 1, 1, None),
        (14, 4, 3, 2, 2, None),
    ]
    assert found.notes == ["1 of 5 answers are left out: their day is not known."]
    assert found.days[0].sentence == (
        "By day 3, with 50% of all asked about, it finds 50% of those who fall behind among them, "
        "all alarms right."
    )


def test_a_log_without_days_has_no_early_warning(tmp_path: Path) -> None:
    assert find(tmp_path, ROWS) is None  # neither a column nor days from the first event
    assert find(tmp_path, [("ann", None, True, True)], day=DAYS_SEEN) is None


def test_intervals_come_from_drawing_learners(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    rows = []
    for index in range(400):
        is_low = bool(random.random() < 0.5)
        named = random.random(2) < 0.2 + 0.4 * is_low
        rows += [(f"{index:03}", day, is_low, bool(named[day // 14])) for day in (7, 14)]
    found = find(tmp_path, rows, by="week_day", outcome_day=20)
    again = find(tmp_path, rows[::-1], by="week_day", outcome_day=20)
    assert found is not None
    assert again is not None

    for day, same in zip(found.days, again.days, strict=True):
        assert day.intervals == same.intervals  # whatever the order of rows
        assert {*day.intervals} == {"recall", "precision", "lead_days"}
        low, high = day.intervals["recall"]
        assert day.recall is not None
        error = (day.recall * (1 - day.recall) / day.of_class) ** 0.5
        assert low < day.recall < high
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.2)
        assert {*day.on_day.intervals} == {"recall", "precision", "alarm_rate", "cost"}
    assert found.days[0].intervals["lead_days"] == (13, 13)  # there is no other day before


def warned(**changes: Any) -> WarningDay:
    alone = DecisionMetrics.of(1, 1, 1, 1, None)
    values = {"of_class": 50, "named": 40, "right": 24, "recall": 0.48, "precision": 0.6}
    return WarningDay.model_validate(
        {"day": 3, "learners": 90, **values, "on_day": alone} | changes
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "By day 3 it finds 48% of them, three in five alarms right."),
        ({"lead_days": 0.4}, "By day 3 it finds 48% of them, three in five alarms right, on the "
         "day itself."),
        ({"lead_days": 1.2, "precision": 0.7}, "By day 3 it finds 48% of them, 70% of alarms "
         "right, 1 day ahead."),
        ({"intervals": {"recall": (0.4, 0.5), "precision": (0.5, 0.7)}}, "By day 3 it finds about "
         "48% of them, about three in five alarms right."),
        ({"recall": 1.0, "precision": 1.0}, "By day 3 it finds all of them, all alarms right."),
        ({"recall": 0.9996}, "By day 3 it finds >99% of them, three in five alarms right."),
        ({"right": 0, "recall": 0.0, "precision": 0.0}, "By day 3 it finds none of them; all 40 "
         "alarms are false."),
        ({"named": 0, "right": 0, "recall": 0.0, "precision": None}, "By day 3 it names nobody."),
        ({"of_class": 0, "recall": None}, "By day 3 there are none of them."),
    ],
)  # fmt: skip
def test_a_sentence_says_no_more_than_is_known(changes: dict[str, Any], expected: str) -> None:
    assert warning_sentence(warned(**changes), "them", asked_share=1) == expected
