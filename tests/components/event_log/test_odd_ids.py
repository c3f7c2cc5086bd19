"""Ids that are not what they seem, found in parts of a log."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.event_log.odd_ids import (
    MAX_LOOKALIKES,
    describe_lookalikes,
    find_twins,
    lookalikes,
    looks_missing,
    merge_lookalikes,
    plain_id,
)

IDS = st.text("aB1.0 \u00a0\u200b\ufeff\u0301e\u00e9+", min_size=1, max_size=4)


def hints(*parts: list[str]) -> list[str]:
    """Returns what is said of ids, of which each part is counted apart."""
    columns = [pl.Series(part, dtype=pl.String).unique() for part in parts]
    candidates = merge_lookalikes(map(lookalikes, columns))
    return [
        str(hint)
        for hint in describe_lookalikes("user", candidates, find_twins(candidates, columns))
    ]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("S1", "S1"),
        (" S1\t", "S1"),
        ("S\u00a01", "S 1"),
        ("S1\u200b", "S1"),
        ("\ufeffS1", "S1"),
        ("e\u0301", "\u00e9"),
        ("123.0", "123"),
        ("0123", "123"),
        ("+123", "123"),
        ("000", "0"),
        ("-01.0", "-1"),
        ("1.5", "1.5"),
        ("12a", "12a"),
        ("0x1", "0x1"),
        ("\u0661", "\u0661"),
    ],
)
def test_an_id_as_people_read_it(text: str, plain: str) -> None:
    assert plain_id(text) == plain


@settings(deadline=None)
@given(st.lists(IDS, max_size=20))
def test_candidates_are_those_that_people_would_read_as_another(ids: list[str]) -> None:
    expected = {plain_id(item) for item in ids if plain_id(item) != item}
    assert set(lookalikes(pl.Series(ids, dtype=pl.String).unique())) == expected


@settings(deadline=None)
@given(st.lists(st.lists(IDS, max_size=6), max_size=4), st.randoms())
def test_parts_and_their_order_change_nothing(
    parts: list[list[str]], random: st.DataObject
) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert hints(*shuffled) == hints([item for part in parts for item in part])


def test_the_twin_may_be_in_another_part() -> None:
    assert hints(["S1\u200b", "S2"], ["S1"]) == [
        "ids in user that differ from another only by invisible characters (each counts as its own "
        "id): 1, "
        "such as 'S1\\u200b' beside 'S1'"
    ]


def test_negative_numbers_are_written_in_several_ways_too() -> None:
    assert hints(["-1.0"], ["-1"]) == [
        "ids in user that differ from another only in how a number is written (each counts as its "
        "own id): 1, "
        "such as '-1.0' beside '-1'"
    ]


def test_two_spellings_of_which_neither_is_plain() -> None:
    assert len(hints(["S1 "], ["S1\u00a0"])) == 1


@pytest.mark.parametrize(
    "ids", [["S1 ", "S2 "], ["001", "002"], ["1.0", "2.0"], ["Zo\u00eb", "\u674e"], ["a", "A"]]
)
def test_ids_with_a_consistent_spelling_are_not_reported(ids: list[str]) -> None:
    assert hints(ids) == []


def test_what_is_kept_is_bounded() -> None:
    ids = pl.Series([f"{number} " for number in range(3 * MAX_LOOKALIKES)])
    assert len(lookalikes(ids)) == MAX_LOOKALIKES


def test_ids_that_look_missing() -> None:
    ids = ["nan", "NULL", "None", "\\N", "<NA>", "N/A", "Nancy", "S1", "x" * 40]
    assert looks_missing(pl.Series(ids)).to_list() == [True] * 6 + [False] * 3
