from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from components.event_log.columns import read_column, type_of
from components.event_log.tables import Kind, Table

TABLE = Table("outcomes", {}, classes=("0", "1"))


@pytest.mark.parametrize(
    ("kind", "raw", "values"),
    [
        (Kind.KEY, [7, 8], ["7", "8"]),
        (Kind.CLASS, [1, 0], ["1", "0"]),
        (Kind.TEXT, [True, None], ["true", None]),
        (Kind.NUMBER, [True, None], [1.0, None]),
        (Kind.NUMBER, ["1e3", "True", None], [1000.0, 1.0, None]),
        (Kind.NUMBER, [None, None], [None, None]),
        (Kind.SCORE, [1, 2], [1.0, 2.0]),
        (Kind.ANY, [True, False], ["true", "false"]),
        (Kind.ANY, [date(2024, 5, 1)], ["2024-05-01"]),
        (Kind.ANY, [2**64 - 1], [str(2**64 - 1)]),  # an id that is no int64 is a name
        (Kind.ANY, [1.5, None], [1.5, None]),
    ],
)
def test_what_a_column_becomes(kind: Kind, raw: list[Any], values: list[Any]) -> None:
    read = read_column(kind, pl.Series(raw, dtype=pl.UInt64 if raw == [2**64 - 1] else None), TABLE, typed=True)
    assert read is not None
    assert read.values.to_list() == values
    assert not any(fault.any() for fault, _ in read.faults)


@pytest.mark.parametrize(
    ("kind", "raw"), [(Kind.KEY, [0.5]), (Kind.CLASS, [1.0]), (Kind.NUMBER, [date(2024, 5, 1)]), (Kind.ANY, [[1]])]
)
def test_what_it_cannot_be(kind: Kind, raw: list[Any]) -> None:
    assert read_column(kind, pl.Series(raw), TABLE, typed=True) is None


@pytest.mark.parametrize(
    ("values", "typed", "type_"),
    [
        (["1", "-2", None], False, "integer"),
        (["1", "2.5"], False, "float"),
        (["1", "two"], False, "text"),
        (["044", "1"], False, "text"),
        (["1", "2"], True, "text"),
        ([1.5], True, "float"),
        ([None], False, None),
    ],
)
def test_of_which_type_an_open_column_is(values: list[Any], typed: bool, type_: str | None) -> None:
    assert type_of(pl.Series(values), typed=typed) == type_


def test_an_open_column_of_text_that_looks_like_numbers_is_held_to_it() -> None:
    read = read_column(Kind.ANY, pl.Series(["1.5", "inf", "nan"]), TABLE, typed=False)
    assert read is not None
    assert [fault.to_list() for fault, _ in read.faults if fault.any()] == [[False, True, False], [False, False, True]]
