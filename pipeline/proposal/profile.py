"""What the values of a column say about it: numbers, times, answers of yes or no, few or many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from components.event_log.clocks import read_clock
from pipeline.proposal.words import NO, YES

MOSTLY = 0.98  # a column is of a kind if so many of its values are
MAX_WORDS = 200  # more different values than this are no types of events

# How people and spreadsheets write times, beyond what a log's reader knows. Days before months
# first: what fits both ways is doubtful, and `is_ambiguous` says so.
_DATES = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%Y年%m月%d日",
)
_TIMES = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S%.f",
    ", %H:%M",
    ", %H:%M:%S",
    " %I:%M %p",
    " %I:%M:%S %p",
    "T%H:%M:%S",
)
FORMATS = tuple(f"{date}{time}" for date in _DATES for time in _TIMES)
_EPOCHS = [(6.3e8 * scale, 4.1e9 * scale) for scale in (1, 1e3, 1e6, 1e9)]  # 1990 to 2100


@dataclass(frozen=True)
class TimeForm:
    """How a column writes times.

    Attributes:
        format: for `strptime`; None where the reader of logs knows the form.
        is_number: whether they are numbers of the log's own clock, such as weeks.
        is_ambiguous: whether days and months could be the other way round.
    """

    format: str | None = None
    is_number: bool = False
    is_ambiguous: bool = False


class Profile:
    """Some values of a column.

    Attributes:
        name: of the column.
        rows: number of rows that were looked at.
        values: those that are not missing, as text.
    """

    def __init__(self, column: pl.Series, *, decimal: str = ".") -> None:
        self.name = column.name
        self.rows = len(column)
        self.values = column.drop_nulls().filter(column.drop_nulls().str.strip_chars() != "")
        self._decimal = decimal

    @property
    def filled(self) -> float:
        """The share of rows with a value."""
        return len(self.values) / self.rows if self.rows else 0.0

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return self.values.n_unique()

    @property
    def repeats(self) -> float:
        """How often a value occurs on average."""
        return len(self.values) / self.distinct if self.distinct else 0.0

    @cached_property
    def words(self) -> list[str]:
        """The different values, the most frequent first."""
        counts = self.values.alias("word").value_counts(name="rows")
        return counts.sort(["rows", "word"], descending=[True, False])["word"].to_list()

    @cached_property
    def numbers(self) -> pl.Series | None:
        """The values as numbers, None where they are something else."""
        text = self.values.str.strip_chars()
        if self._decimal == ",":
            text = text.str.replace(",", ".", literal=True)
        numbers = text.cast(pl.Float64, strict=False)
        if not len(numbers) or numbers.null_count():
            return None
        is_code = text.str.contains(r"^0\d").any()
        return None if is_code or not numbers.is_finite().all() else numbers

    @cached_property
    def has_commas(self) -> bool:
        """Whether numbers are written with a decimal comma."""
        return (
            self.numbers is not None
            and self._decimal == ","
            and self.values.str.contains(",").any()
        )

    @cached_property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        numbers = self.numbers
        return numbers is not None and bool((numbers == numbers.floor()).all())

    @cached_property
    def counts_rows(self) -> bool:
        """Whether every row has a whole number of its own, with hardly any left out between."""
        if self.numbers is None or not self.is_whole or self.repeats > 1.01 or self.rows < 50:
            return False
        return self.quantile(1) - self.quantile(0) < 3 * self.rows

    @cached_property
    def answers(self) -> dict[str, str] | None:
        """What each value means, 1 or 0, where all of them are yes or no; otherwise None."""
        if not 1 <= self.distinct <= 4:
            return None
        meant = {word: "1" if word.strip().lower() in YES else "0" for word in self.words}
        known = all(word.strip().lower() in YES | NO for word in meant)
        return meant if known and (len({*meant.values()}) == 2 or self.distinct == 1) else None

    @cached_property
    def time(self) -> TimeForm | None:
        """How times are written; None where the values are something else."""
        if not len(self.values):
            return None
        some = self.values.head(5000)
        if self.numbers is not None:
            return self._time_of_numbers()
        if not some.str.contains(r"\d").mean() or some.str.len_chars().max() > 40:  # type: ignore[operator]
            return None
        if some.str.contains(r"^\s*0\d+\s*$").any():
            return None  # numbers with zeros in front are ids
        read = read_clock(some, "UTC")
        if read is not None and 1 - read.values.null_count() / len(some) >= MOSTLY:
            return TimeForm()
        fits = [form for form in FORMATS if _share_read(some, form) >= MOSTLY]
        if not fits:
            return None
        swapped = _swapped(fits[0])
        return TimeForm(fits[0], is_ambiguous=swapped is not None and swapped in fits)

    @property
    def has_zone(self) -> bool:
        """Whether times name their zone; numbers need none."""
        if self.numbers is not None:
            return True
        return bool(self.values.head(100).str.contains(r"(Z|[+-]\d\d:?\d\d)$").all())

    def _time_of_numbers(self) -> TimeForm | None:
        numbers = self.numbers
        assert numbers is not None
        low, high = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
        if any(first <= low and high <= last for first, last in _EPOCHS):
            return TimeForm()
        read = read_clock(self.values.head(5000), "UTC")
        is_date = self.values.str.contains(r"^(19|20)\d{6}(\d{2}(\d{2}(\d{2})?)?)?$").all()
        if is_date and read is not None:
            return TimeForm()
        return TimeForm(is_number=True) if self.distinct > 1 else None

    def quantile(self, share: float) -> float:
        """Returns a quantile of the numbers."""
        assert self.numbers is not None
        found = self.numbers.quantile(share)
        assert found is not None
        return float(found)

    @property
    def looks_like_text(self) -> bool:
        """Whether values are sentences, or nearly all different: of no use as words."""
        length = self.values.str.len_chars().mean()
        return (isinstance(length, float) and length > 60) or self.repeats < 1.5

    @cached_property
    def looks_like_a_person(self) -> bool:
        """Whether values are addresses of people or machines."""
        some = self.values.head(1000)
        is_address = some.str.contains(r"^\S+@\S+\.\w+$|^(\d{1,3}\.){3}\d{1,3}$")
        return len(some) > 0 and float(is_address.mean() or 0) > 0.5  # type: ignore[arg-type]


def is_skewed(numbers: pl.Series) -> bool:
    """Returns whether numbers have a heavy tail, so that their logarithm says more.

    >>> is_skewed(pl.Series([1.0, 2.0, 3.0] * 50 + [500.0] * 5))
    True
    """
    known = numbers.drop_nulls()
    if known.n_unique() < 4 or float(known.quantile(0.01) or 0) < 0:
        return False
    middle, high = float(known.quantile(0.5) or 0), float(known.quantile(0.99) or 0)
    return high > 4 * middle if middle > 0 else high > 5


def _share_read(values: pl.Series, form: str) -> float:
    read = values.str.strip_chars().str.to_datetime(form, strict=False)
    return 1 - read.null_count() / len(values)


def _swapped(form: str) -> str | None:
    """Returns a format with day and month the other way round.

    >>> _swapped("%d/%m/%Y %H:%M")
    '%m/%d/%Y %H:%M'
    """
    match = re.match(r"%([dm])/%([dm])/", form)
    return f"%{match[2]}/%{match[1]}/{form[match.end() :]}" if match else None
