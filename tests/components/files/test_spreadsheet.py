"""CSV for spreadsheets, and back."""

from __future__ import annotations

import csv
import doctest
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files import spreadsheet
from components.files.spreadsheet import for_spreadsheet, from_spreadsheet


def cell(text: str) -> str:
    [(found,)] = for_spreadsheet(pl.DataFrame({"a": [text]})).rows()
    return str(found)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(spreadsheet).failed == 0


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"), ("\r=1", "'\r'=1"), ("\tanna", "'\tanna"), ("＝1+1", "'＝1+1"),
        ("'=1", "''=1"),
        ("a;=1+1", "a;'=1+1"), ("a\n=1", "a\n'=1"), ('x";=1', 'x";\'=1'),
        ("'t Hooft", "'t Hooft"), ("a-b", "a-b"), ("a = b", "a = b"),
        ("anna@example.org", "anna@example.org"),
        ("-5", "-5"), ("+41.5e-3", "+41.5e-3"), ("-5+1", "'-5+1"), ("-", "'-"), ("", ""),
    ],
)  # fmt: skip
def test_text_stays_text_in_a_spreadsheet(text: str, written: str) -> None:
    assert cell(text) == written


def test_numbers_stay_numbers() -> None:
    table = pl.DataFrame({"id": [-3, 4], "prediction": [-0.5, 1e-9], "none": [None, None]})
    assert for_spreadsheet(table).equals(table)
    assert for_spreadsheet(table).write_csv().splitlines()[1] == "-3,-0.5,"


@given(
    st.lists(st.text(st.sampled_from("=+-@'\t\r\n;,\"a1. ＝"), max_size=8), min_size=1, max_size=5)
)
def test_escaped_tables_are_read_back_unchanged(values: list[str]) -> None:
    table = pl.DataFrame({"a": values, "b": [*reversed(values)]})
    written = for_spreadsheet(table).write_csv()
    header, *rows = csv.reader(io.StringIO(written, newline=""), strict=True)
    assert from_spreadsheet(pl.DataFrame(rows, schema=header, orient="row")).rows() == table.rows()
    for value in for_spreadsheet(table)["a"]:
        assert not value.startswith(("=", "@", "\t", "\r"))
