from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from components.event_log.column_kinds import Kind, Table, read_column, type_of

DAY = date(2024, 5, 1)
TABLE = Table("outcomes", {}, classes=("0", "1"))


@pytest.mark.parametrize(
    ("kind", "raw", "values"),
    [
        (Kind.KEY, [7, 8], ["7", "8"]),
        (Kind.KEY, [Decimal(7)], ["7"]),
        (Kind.KEY, ["{3F2504E0-4F89}", "[deleted]"], ["{3F2504E0-4F89}", "[deleted]"]),
        (Kind.CLASS, [1, 0], ["1", "0"]),
        (Kind.CLASS, [1.0, 0.0], ["1", "0"]),
        (Kind.CLASS, ["1.0", "0"], ["1", "0"]),
        (Kind.TEXT, [100.0, None, 1.5], ["100", None, "1.5"]),
        (Kind.TEXT, [100, None], ["100", None]),
        (
            Kind.TEXT,
            ["100.0", "100", "0100", "1.50", "1e2", ""],
            ["100", "100", "0100", "1.50", "1e2", ""],
        ),
        (Kind.TEXT, ["True", "FALSE", "truth"], ["true", "false", "truth"]),
        (Kind.TEXT, ['{"a": 1}'], ['{"a": 1}']),  # a name as good as another
        (Kind.NUMBER, ["", "1"], [None, 1.0]),
        (
            Kind.NUMBER,
            [3.4028235e38, -3.4028235e38],
            [3.4028234663852886e38, -3.4028234663852886e38],
        ),
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
    read = read_column(
        kind, pl.Series(raw, dtype=pl.UInt64 if raw == [2**64 - 1] else None), TABLE, typed=True
    )
    assert read is not None
    assert read.values.to_list() == values
    assert not any(fault.any() for fault, _ in read.faults)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Kind.KEY, [0.5]),
        (Kind.CLASS, [date(2024, 5, 1)]),
        (Kind.NUMBER, [date(2024, 5, 1)]),
        (Kind.ANY, [[1]]),
        *((kind, [timedelta(1)]) for kind in Kind),
    ],
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
    assert [fault.to_list() for fault, _ in read.faults if fault.any()] == [
        [False, True, False],
        [False, False, True],
    ]


@pytest.mark.parametrize(
    ("classes", "raw", "read"),
    [
        (("False", "True"), [True, False], ["True", "False"]),
        (("false", "true"), ["TRUE", "False"], ["true", "false"]),
        (
            ("true", "True"),
            ["true", "True"],
            ["true", "True"],
        ),  # two classes, if somebody wants them
        (("1.0", "2"), ["1.0", "2.0"], ["1.0", "2"]),
    ],
)
def test_a_class_as_the_configuration_writes_it(
    classes: tuple[str, ...], raw: list[Any], read: list[str]
) -> None:
    column = read_column(
        Kind.CLASS, pl.Series(raw), Table("outcomes", {}, classes=classes), typed=True
    )
    assert column is not None
    assert column.values.to_list() == read
    assert not any(fault.any() for fault, _ in column.faults)


@pytest.mark.parametrize("label", ["", None])
@pytest.mark.parametrize("kind", [Kind.CLASS, Kind.SCORE])
def test_an_empty_label_is_a_missing_one(kind: Kind, label: str | None) -> None:
    read = read_column(kind, pl.Series(["1", label]), TABLE, typed=False)
    assert read is not None
    [(rows, expected)] = [
        (rows.to_list(), expected) for rows, expected in read.faults if rows.any()
    ]
    assert (rows, expected) == ([False, True], "a label in every row")


@pytest.mark.parametrize("label", ["NULL", "nan", "1,5"])
def test_a_label_that_is_no_number_cannot_be_left_out(label: str) -> None:
    read = read_column(Kind.SCORE, pl.Series(["0.5", label]), TABLE, typed=False)
    assert read is not None
    assert [(fault.to_list(), expected) for fault, expected in read.faults if fault.any()] == [
        ([False, True], "a number")
    ]


@pytest.mark.parametrize("text", ['{"account": {"name": "S1"}}', '["a"]', "{}"])
def test_an_object_is_no_id(text: str) -> None:
    read = read_column(Kind.KEY, pl.Series([text, "a"]), TABLE, typed=True)
    assert read is not None
    [rows] = [rows.to_list() for rows, _ in read.faults if rows.any()]
    assert rows == [True, False]


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.SCORE, Kind.ANY])
@pytest.mark.parametrize("raw", [[1e39, 1.5], ["1e39", "1.5"], ["-1.7976931348623157e308", "1.5"]])
def test_a_number_beyond_float32_is_none(kind: Kind, raw: list[Any]) -> None:
    read = read_column(kind, pl.Series(raw), TABLE, typed=isinstance(raw[0], float))
    assert read is not None
    [(rows, expected)] = [
        (rows.to_list(), expected) for rows, expected in read.faults if rows.any()
    ]
    assert rows == [True, False]
    assert expected == "a number from -3.4e+38 to 3.4e+38, which fits into 32 bits"


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.ANY])
def test_a_name_that_is_a_time_of_an_impossible_year_is_named(kind: Kind) -> None:
    raw = pl.Series([0, 1709571155000000, None]).cast(pl.Datetime("ms"))
    read = read_column(kind, raw, TABLE, typed=True)
    assert read is not None
    assert read.values.to_list() == ["1970-01-01 00:00:00.000", None, None]
    assert [rows.to_list() for rows, _ in read.faults] == [[False, True, False]]
    assert read.clock is not None
    assert read.clock.describe is not None
    assert read.clock.describe(1) == "a time of the year 56144 (1709571155000000 in ms)"
