"""Times as people read them, in the languages of the log report."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.mapping import Language
from components.platforms.formats import mapping_of
from components.platforms.local_times import DateOrders, read_local_times

LANGUAGES = mapping_of("moodle").kinds["report"].languages


EPOCH = datetime.fromisoformat("1971-01-01")


def _read(text: str, language: str, order: str | None = None) -> str | None:
    spoken = LANGUAGES[language]
    value = read_local_times(pl.Series([text]), spoken, order or spoken.dates[0])[0]
    return None if value is None else str(value)[:19]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("English", "2/03/21, 14:05", "2021-03-02T14:05:00"),
        ("English", "2/03/21, 14:05:09", "2021-03-02T14:05:09"),
        ("English", "2 March 2021, 2:05 PM", "2021-03-02T14:05:00"),
        ("English", "Tue, 2 Mar 2021, 12:05 AM", "2021-03-02T00:05:00"),
        ("English", "March 2, 2021, 12:05 p.m.", "2021-03-02T12:05:00"),
        ("German", "2. März 2021, 14:05:07", "2021-03-02T14:05:07"),
        ("German", "02.03.2021 14:05", "2021-03-02T14:05:00"),
        ("German", "Di, 2. Mär 2021, 14:05", "2021-03-02T14:05:00"),
        ("French", "2 févr. 21, 14:05", "2021-02-02T14:05:00"),
        ("French", "mardi 2 août 2021, 14:05", "2021-08-02T14:05:00"),
        ("Spanish", "9/09/2019 11:42", "2019-09-09T11:42:00"),
        ("Spanish", "2 de marzo de 2021, 14:05", "2021-03-02T14:05:00"),
        ("Spanish", "2/03/21 2:05:01 p. m.", "2021-03-02T14:05:01"),
        ("Chinese", "2021年03月2日 14:05", "2021-03-02T14:05:00"),
        ("Chinese", "2021年3月12日 星期五 下午2:05", "2021-03-12T14:05:00"),
        ("Portuguese", "2 de março de 2021 às 14:05", "2021-03-02T14:05:00"),
        ("Italian", "2 gennaio 2021, 14:05", "2021-01-02T14:05:00"),
        ("Dutch", "2 mei 2021, 14:05", "2021-05-02T14:05:00"),
    ],
)
def test_times_are_read_as_each_language_writes_them(
    language: str, text: str, expected: str
) -> None:
    assert _read(text, language) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2 Mar, 14:05",  # the report on the screen, without a year
        "2 Mar 14:05",
        "30/02/2021, 14:05",  # no such day
        "2 Ma 2021, 14:05",  # March or May
        "2 März 2021, 14:05",  # another language
        "2 March 2021",  # no time of day
        "2/03/21, 25:05",
        "yesterday",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert _read(text, "English") is None


@given(
    st.integers(0, 3_000_000_000).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    st.sampled_from([*LANGUAGES]),
)
def test_every_moment_is_read_in_every_language(time: datetime, language: str) -> None:
    months = LANGUAGES[language].months
    month = months[time.month - 1] if months else ""
    texts = {
        "dmy": [f"{time.day}/{time:%m/%Y, %H:%M:%S}", f"{time.day} {month} {time:%Y, %H:%M:%S}"],
        "mdy": [f"{time:%m/%d/%Y %H:%M:%S}"],
        "ymd": [f"{time:%Y年%m月%d日 %H:%M:%S}", f"{time:%Y-%m-%d %H:%M:%S}"],
    }
    for order in LANGUAGES[language].dates:
        for text in texts[order]:
            assert _read(text, language, order) == time.isoformat()


@pytest.mark.parametrize(
    ("texts", "possible"),
    [
        (["3/04/21, 10:00", "13/04/21, 10:00"], ["dmy"]),
        (["3/04/21, 10:00", "4/13/21, 10:00"], ["mdy"]),
        (["3/04/21, 10:00", "4/05/21, 10:00"], ["dmy", "mdy"]),
        (["13/04/21, 10:00", "4/13/21, 10:00"], []),
        (["3 April 2021, 10:00"], ["dmy", "mdy"]),
    ],
)
def test_all_dates_together_show_the_order_of_day_and_month(
    texts: list[str], possible: list[str]
) -> None:
    orders = DateOrders(["dmy", "mdy"])
    for text in texts:  # whichever chunk they are in
        orders.narrow(pl.Series([text]))

    assert orders.possible == possible
    assert (orders.example is None) == ("April" in texts[0])


def test_a_language_has_twelve_months_or_none() -> None:
    with pytest.raises(ValueError, match="expected twelve months or none, found 1"):
        Language(columns=["Time"], months=["January"])
