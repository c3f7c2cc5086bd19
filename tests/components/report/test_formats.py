from __future__ import annotations

import doctest
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.report import formats
from components.report.formats import (
    category,
    count,
    deviations,
    duration,
    exact,
    moment,
    number,
    percent,
    points,
    rough,
    signed,
    told_apart,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8934, "0.893"),
        (0.0, "0.000"),
        (1.0, "1.000"),
        (-0.0447, "−0.045"),
        (12.3456, "12.346"),
        (123.456, "123.5"),
        (84_076.2, "84,076"),
        (0.00012, "0.00012"),
        (-0.0, "0.000"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (48.2, "48 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (133.2, "2 min 13 s"),
        (3599.7, "1 h"),
        (3840, "1 h 4 min"),
        (183_600, "2 d 3 h"),
        (None, "–"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50.0%"),
        (0.1234, "12.3%"),
        (0.0001, "<0.1%"),
        (0.99999, ">99.9%"),
        (None, "–"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"),
        (3.561, "3.56"),
        (33.14, "33.1"),
        (84_076.4, "84,076"),
        (-2, "−2"),
        (0, "0"),
    ],
)
def test_rough(value: float, text: str) -> None:
    assert rough(value) == text


def test_exact_keeps_all_digits() -> None:
    assert [exact(value) for value in (0.88, 0.8765432, 12_000, -0.005)] == [
        "0.88",
        "0.8765432",
        "12,000",
        "−0.005",
    ]


def test_changes_have_a_sign() -> None:
    assert [signed(value) for value in (0.0123, -0.2, 0.0, None)] == ["+0.012", "−0.200", "±0", "–"]


def test_differences_of_splits() -> None:
    assert [deviations(value) for value in (0.034, -0.5, math.inf)] == [
        "+0.03 SD",
        "−0.50 SD",
        "+∞ SD",
    ]
    assert [points(value) for value in (0.0123, -0.2)] == ["1.2 pts", "−20.0 pts"]


def test_counts_have_thousands_separators() -> None:
    assert [count(value) for value in (1_234_567, 0, None)] == ["1,234,567", "0", "–"]


def test_moment() -> None:
    assert moment(datetime(2026, 11, 2, 4, 12, tzinfo=UTC)) == "2 November 2026, 04:12 UTC"


def test_a_value_just_below_its_threshold_does_not_look_equal() -> None:
    assert told_apart(0.8796, 0.88) == "0.8796"
    assert told_apart(0.91, 0.88) == "0.910"
    assert told_apart(0.88, 0.88) == "0.880"


@given(st.floats(0, 1), st.floats(0, 1))
def test_values_a_hundred_thousandth_apart_never_look_equal(value: float, other: float) -> None:
    if abs(value - other) > 1e-5:
        assert told_apart(value, other) != told_apart(other, value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("quiz", "quiz"),
        ("Übung 3", "Übung 3"),
        ("video\nplayed", "video\\nplayed"),
        ("a\0b", "a\\x00b"),
        ("quiz ", '"quiz "'),
        (" ", '" "'),
        ("\u202eevil", "\\u202eevil"),
        ("", ""),
        ("ü" * 3000, "ü" * 59 + "…"),
    ],
)
def test_every_character_of_a_category_can_be_seen(value: str, text: str) -> None:
    assert category(value) == text


def test_the_examples_are_right() -> None:
    results = doctest.testmod(formats)
    assert results.attempted
    assert not results.failed
