"""Outcomes without events: what turned out to be true since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from components.config import Config
from components.errors import LogError, MasteryError
from components.event_log.known_outcomes import read_outcomes

Configure = Callable[..., Config]

ROWS = """student,unit_id,as_of,mastery,more
anna,algebra,2026-03-02T06:00:00+01:00,low,x
ben,algebra,2026-03-01,high,y
"""


@pytest.fixture
def read(configure: Configure, tmp_path: Path) -> Callable[[str], pl.DataFrame]:
    """Returns a function that reads the text of a file."""

    def read_text(text: str) -> pl.DataFrame:
        path = tmp_path / "march.csv"
        path.write_text(text, encoding="utf-8")
        config = configure(data={"columns": {"learner_id": "student"}, "timezone": "Europe/Zurich"})
        return read_outcomes(config, [str(path)])

    return read_text


def test_keys_and_label_are_enough(read: Callable[[str], pl.DataFrame]) -> None:
    assert read(ROWS).rows() == [
        ("anna", "algebra", datetime(2026, 3, 2, 5, tzinfo=UTC), "low"),
        ("ben", "algebra", datetime(2026, 2, 28, 23, tzinfo=UTC), "high"),
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("low", "lowest"), r"march\.csv, line 2, column mastery: expected .*low.*found 'lowest'"),
        (("anna,algebra,2026-03-02T06:00:00+01:00", "ben,algebra,2026-03-01"),
         "expected one row per learner, unit and as_of"),
        (("mastery", "result"), "expected a column 'mastery' in outcomes"),
        (("2026-03-01", "soon"), r"line 3, column as_of: expected .* found 'soon'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    read: Callable[[str], pl.DataFrame], change: tuple[str, str], expected: str
) -> None:
    with pytest.raises(LogError, match=expected):
        read(ROWS.replace(*change))


def test_empty_table_is_an_error(read: Callable[[str], pl.DataFrame]) -> None:
    with pytest.raises(LogError, match="expected at least one row, found none"):
        read(ROWS.partition("\n")[0] + "\n")


def test_clock_of_the_logs_own_is_refused(read: Callable[[str], pl.DataFrame]) -> None:
    text = "student,unit_id,as_of,mastery\nanna,algebra,12,low\n"
    with pytest.raises(MasteryError, match="as_of: expected timestamps or dates, found numbers"):
        read(text)
