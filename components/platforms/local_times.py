"""Reads times as an export writes them for people: in the order and with the months of a language.

Moodle's log report, for example, writes `2/03/21, 14:05`, `2 March 2021, 2:05 PM`,
`2. März 2021, 14:05`, `2 de marzo de 2021, 14:05` or `2021年03月02日 14:05`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from components.config.mapping import Language

_NUMBERS = r"(\d{1,4})\s*[./-]\s*(\d{1,2})\s*[./-]\s*(\d{1,4})"
_SIGNS = r"(\d{2,4})年\s*(\d{1,2})月\s*(\d{1,2})日"
_DAY_FIRST = r"(\d{1,2})\.?\s+(?:de\s+)?(\p{L}+)\.?,?\s+(?:de\s+)?(\d{4}|\d{2})(?:[^\d:]|$)"
_MONTH_FIRST = r"(\p{L}+)\.?\s+(\d{1,2}),?\s+(\d{4})\b"
_CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"
_HALF = r"[.\s]"  # `p. m.` is `pm`


@dataclass
class DateOrders:
    """The orders of day, month and year that all dates of numbers so far can have.

    Attributes:
        possible: such orders, as in `Language.dates`.
        example: a time whose date is written in numbers; None if there are none.
    """

    possible: list[str]
    example: str | None = None

    def narrow(self, texts: pl.Series) -> None:
        """Takes away the orders that do not fit a date."""
        dates = texts.filter(texts.str.contains(_NUMBERS).fill_null(value=False))
        if dates.is_empty():
            return
        self.example = self.example or dates[0]
        parts = dates.str.extract_groups(_NUMBERS).struct.unnest().unique().cast(pl.Int32)
        self.possible = [order for order in self.possible if _fits(parts, order)]


def _fits(parts: pl.DataFrame, order: str) -> bool:
    month = parts.to_series(order.index("m"))
    day = parts.to_series(order.index("d"))
    return bool((month.is_between(1, 12) & day.is_between(1, 31)).all())


def read_local_times(texts: pl.Series, language: Language, order: str) -> pl.Series:
    """Returns local times as ISO 8601 without an offset, null where a text is no time.

    >>> from components.config.mapping import Language
    >>> english = Language(columns=["Time"], dates=["dmy", "mdy"])
    >>> read_local_times(pl.Series(["2/03/21, 14:05", "3/4/2021, 12:30 am"]), english, "dmy")[1]
    '2021-04-03T00:30:00'

    Args:
        texts: the times as they were written.
        language: its months, and its words for the halves of a day.
        order: of dates of numbers, as in `Language.dates`.
    """
    months = _months_in(texts, language)
    date = pl.coalesce(
        _date(_NUMBERS, order, {}),
        _date(_SIGNS, "ymd", {}),
        _date(_DAY_FIRST, "dmy", months),
        _date(_MONTH_FIRST, "mdy", months),
    )
    text = pl.format("{}T{}", date, _clock(language))
    moment = text.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
    return texts.to_frame("text").select(moment.dt.to_string("iso:strict")).to_series()


def _date(pattern: str, order: str, months: dict[str, str]) -> pl.Expr:
    """Returns the date in a text as ISO 8601, which need not exist; null if there is none."""
    parts = {
        name: pl.col("text").str.extract(pattern, place) for place, name in enumerate(order, 1)
    }
    year = parts["y"]
    year = pl.when(year.str.len_chars() == 2).then("20" + year).otherwise(year)
    month = parts["m"]
    if months:
        month = month.replace_strict(months, default=None, return_dtype=pl.String)
    return pl.format("{}-{}-{}", year, month.str.zfill(2), parts["d"].str.zfill(2))


def _clock(language: Language) -> pl.Expr:
    """Returns the time of day as ISO 8601; of a 12-hour clock, in 24 hours."""
    hour, minute, second = (pl.col("text").str.extract(_CLOCK, place) for place in (1, 2, 3))
    rest = pl.col("text").str.to_lowercase().str.replace_all(_HALF, "")
    is_after = rest.str.contains_any([*language.afternoon])
    is_before = rest.str.contains_any([*language.morning])

    number = hour.cast(pl.Int32)
    number = (
        pl.when(is_after & (number < 12))
        .then(number + 12)
        .when(is_before & ~is_after & (number == 12))
        .then(0)
        .otherwise(number)
    )
    return pl.format(
        "{}:{}:{}", number.cast(pl.String).str.zfill(2), minute, second.fill_null("00")
    )


def _months_in(texts: pl.Series, language: Language) -> dict[str, str]:
    """Returns the number of each month that texts name: by its name, or by how that begins."""
    if not language.months:
        return {}
    found = pl.concat([texts.str.extract(_DAY_FIRST, 2), texts.str.extract(_MONTH_FIRST, 1)])
    months = {}
    for word in found.unique().drop_nulls():
        numbers = [
            number
            for number, name in enumerate(language.months, start=1)
            if name.casefold().startswith(word.casefold())
        ]
        if len(numbers) == 1:
            months[word] = str(numbers[0])
    return months
