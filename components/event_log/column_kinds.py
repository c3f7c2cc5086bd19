"""The kinds of columns of a table, and how a column of each kind is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from components.config.csv_dialect import CsvDialect
from components.event_log.chunks import is_nested
from components.event_log.clocks import ClockRead, beyond_calendar, describe_time, read_clock

if TYPE_CHECKING:
    from components.config.mapping import EventMapping

FLOAT32_MAX = 3.4028235e38  # numbers become float32 in examples; a larger one would be infinite

_NUMBER_OR_NOTHING = "a number, or nothing for a missing one"
_IN_RANGE = f"a number from -{FLOAT32_MAX:.2g} to {FLOAT32_MAX:.2g}, which fits into 32 bits"
_NO_NAN = "a number (leave it empty, or set data.nan_as_missing, for a missing one)"
_LABEL = "a label in every row"


class Kind(StrEnum):
    """What a column holds, which decides how it is read."""

    KEY = "key"  # text, never missing
    OPTIONAL_KEY = "optional key"  # text, missing where a row is about all
    CLOCK = "clock"  # timestamps or numbers, never missing
    TEXT = "text"  # names; whole numbers become their digits
    NUMBER = "number"
    CLASS = "class"  # one of the configured classes
    SCORE = "score"  # a number, never missing
    GRADE = "grade"  # one of the configured classes, or nothing
    GRADE_NUMBER = "grade number"  # a number, or nothing
    FOLD = "fold"  # a whole number from 0, never missing
    ANY = "any"  # integers, floats or text, whichever the log has


@dataclass(frozen=True)
class Table:
    """A table of the log.

    Attributes:
        name: `events` or `outcomes`.
        kinds: the columns to read, by their standard names.
        sources: the log's own names of columns, if they differ.
        timezone: zone of timestamps without one.
        nan_as_missing: whether NaN is a missing value instead of an error.
        classes: the values of a column of kind `CLASS`.
        grades: the class or number that values of a column of kind `GRADE` or `GRADE_NUMBER` stand
            for; None for nothing.
        folds: values of a column of kind `FOLD` are below this.
        units_have_folds: whether the folds are of units, otherwise of learners.
        left_out: says of ids of learners whether their rows are dropped.
        mapping: how records of a platform become rows; None for a table with these columns.
        csv: how CSV files of it are written.
        optional: columns without values where a file does not have them.
        answers: columns of events that outcomes are derived from.
        with_unit_starts: whether the first event of each unit is counted.
    """

    name: str
    kinds: dict[str, Kind]
    sources: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    nan_as_missing: bool = False
    classes: tuple[str, ...] = ()
    grades: Mapping[str, str | None] = field(default_factory=dict)
    folds: int = 0
    units_have_folds: bool = False
    left_out: Callable[[pl.Series], pl.Series] | None = None
    mapping: EventMapping | None = None
    csv: CsvDialect = field(default_factory=CsvDialect)
    optional: frozenset[str] = frozenset()
    answers: tuple[str, ...] = ()
    with_unit_starts: bool = False

    @property
    def clock(self) -> str | None:
        """The column of times: `time` or `as_of`; None for a table without one."""
        return next((name for name, kind in self.kinds.items() if kind is Kind.CLOCK), None)

    def source(self, name: str) -> str:
        """Returns the log's own name of a column."""
        return self.sources.get(name, name)


@dataclass
class ColumnRead:
    """A column after reading.

    Attributes:
        values: as long as the column in the file.
        faults: rows with a wrong value, one boolean per row, each with the expected value.
        clock: more about a column of times.
    """

    values: pl.Series
    faults: list[tuple[pl.Series, str]] = field(default_factory=list)
    clock: ClockRead | None = None


def read_column(kind: Kind, raw: pl.Series, table: Table, *, typed: bool) -> ColumnRead | None:
    """Reads a column of a file.

    Args:
        kind: what it should hold.
        raw: the values in the file.
        table: the table it belongs to.
        typed: whether the file has typed columns; if not, text may stand for any type.

    Returns:
        Values and faults, or None for a type that cannot be read as `kind`.
    """
    match kind:
        case Kind.KEY:
            return _read_key(raw)
        case Kind.OPTIONAL_KEY:
            return _read_optional_key(raw)
        case Kind.CLOCK:
            return _read_clock(raw, table.timezone)
        case Kind.TEXT:
            return _read_names(raw, nan_as_missing=table.nan_as_missing)
        case Kind.NUMBER:
            return _read_numbers(raw, nan_as_missing=table.nan_as_missing)
        case Kind.CLASS:
            return _read_classes(raw, table.classes)
        case Kind.SCORE:
            return _read_scores(raw)
        case Kind.GRADE:
            return _read_grades(raw, table)
        case Kind.GRADE_NUMBER:
            return _read_numbers_of_grades(raw, table)
        case Kind.FOLD:
            return _read_folds(raw, table.folds)
        case Kind.ANY if typed:
            return _read_any(raw, nan_as_missing=table.nan_as_missing)
        case Kind.ANY:
            return _read_untyped(raw, nan_as_missing=table.nan_as_missing)


def type_of(values: pl.Series, *, typed: bool) -> str | None:
    """Returns the type of a column of kind `ANY`: `integer`, `float` or `text`.

    None if it has no values.
    """
    if values.null_count() == len(values):
        return None
    if values.dtype.is_integer():
        return "integer"
    if values.dtype.is_float():
        return "float"
    return "text" if typed else _type_of_text(values)


def _type_of_text(text: pl.Series) -> str:
    """Returns the type that a column of text stands for.

    Numbers that would change if they were written as such, as the area code 044, are text.
    """
    integers = text.cast(pl.Int64, strict=False)
    if (integers.cast(pl.String) == text).all() and integers.null_count() == text.null_count():
        return "integer"

    floats = text.cast(pl.Float64, strict=False)
    plain = ~text.str.contains(r"^[+-]?0\d").fill_null(False)
    is_float = plain.all() and floats.null_count() == text.null_count()
    return "float" if is_float else "text"


def digits(values: pl.Series) -> pl.Series:
    """Returns floats as text, whole ones without a fraction.

    >>> digits(pl.Series([100.0, 1.5])).to_list()
    ['100', '1.5']
    """
    integers = values.cast(pl.Int64, strict=False)
    is_whole = (integers == values) & (values.abs() < 2**53)
    return integers.cast(pl.String).zip_with(is_whole.fill_null(False), values.cast(pl.String))


def _read_key(raw: pl.Series) -> ColumnRead | None:
    text = _as_text(raw)
    if text is None:
        return None
    missing = (text == "").fill_null(True)
    expected = (
        "text or an integer; use one of its values as the id, "
        "since with JSON the order of keys would matter"
    )
    return ColumnRead(text, [(missing, "a value in every row"), (is_nested(text), expected)])


def _read_optional_key(raw: pl.Series) -> ColumnRead | None:
    if raw.null_count() == len(raw):
        return ColumnRead(raw.cast(pl.String))
    read = _read_key(raw)
    if read is not None:
        read.values = read.values.set(_is_missing(read.values), None)
        read.faults = read.faults[1:]
    return read


def _read_clock(raw: pl.Series, timezone: str) -> ColumnRead | None:
    read = read_clock(raw, timezone)
    return None if read is None else ColumnRead(read.values, read.faults, read)


def _read_names(raw: pl.Series, *, nan_as_missing: bool) -> ColumnRead | None:
    """Reads names, spelled the same in files of any type: 100, 100.0 and "100" become "100"."""
    if raw.dtype.is_float():
        read = _read_floats(raw, nan_as_missing=nan_as_missing)
        assert read is not None
        return ColumnRead(digits(read.values), read.faults)
    if isinstance(raw.dtype, pl.Date | pl.Datetime):
        return _read_times_as_text(raw)

    is_other = isinstance(raw.dtype, pl.Time | pl.Decimal)
    text = raw.cast(pl.String) if is_other else _as_text(raw)
    return None if text is None else ColumnRead(_in_one_spelling(text))


def _in_one_spelling(text: pl.Series) -> pl.Series:
    """Spells whole numbers and booleans as typed files do: 100 for 100.0, true for True."""
    different = text.unique()
    odd = different.filter(different.str.contains(r"^(?:-?\d+\.0+|True|TRUE|False|FALSE)$"))
    if odd.is_empty():
        return text
    return text.replace(odd, odd.str.replace(r"\.0+$", "").str.to_lowercase())


def _read_times_as_text(raw: pl.Series) -> ColumnRead:
    impossible = beyond_calendar(raw)
    text = raw.set(impossible, None).cast(pl.String)
    clock = ClockRead(raw, describe=lambda row: describe_time(raw, row))
    return ColumnRead(text, [(impossible, "a time of the years 1 to 9999")], clock)


def _as_text(raw: pl.Series) -> pl.Series | None:
    dtype = raw.dtype
    is_whole = dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)
    if is_whole or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Boolean | pl.Null):
        return raw.cast(pl.String)
    return None


def _read_numbers(raw: pl.Series, *, nan_as_missing: bool) -> ColumnRead | None:
    read = _read_floats(raw, nan_as_missing=nan_as_missing)
    if read is not None:
        read.values = read.values.cast(pl.Float32)
    return read


def _read_scores(raw: pl.Series) -> ColumnRead | None:
    read = _read_floats(raw, nan_as_missing=False, required=True)
    if read is not None:
        read.faults.append((_is_missing(raw), _LABEL))
    return read


def _read_folds(raw: pl.Series, folds: int) -> ColumnRead | None:
    read = _read_floats(raw, nan_as_missing=True)
    if read is None:
        return None
    whole = read.values.cast(pl.Int64, strict=False)
    is_fold = (whole == read.values) & whole.is_between(0, folds - 1)
    expected = f"a whole number from 0 to {folds - 1} in every row (data.splits.folds)"
    return ColumnRead(whole, [(~is_fold.fill_null(False), expected)])


def _read_floats(
    raw: pl.Series, *, nan_as_missing: bool, required: bool = False
) -> ColumnRead | None:
    """Reads numbers; if they are required, no message says how to leave one out."""
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    if not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.String | pl.Boolean | pl.Null)):
        return None

    missing = _is_missing(raw)
    values = raw.cast(pl.Float64, strict=False)
    if isinstance(raw.dtype, pl.String) and values.null_count() > missing.sum():
        numbers = raw.str.to_lowercase().replace({"true": "1", "false": "0"})
        values = numbers.cast(pl.Float64, strict=False)

    nan = values.is_nan().fill_null(False)
    infinite = values.is_infinite().fill_null(False)
    infinite_as_float32 = values.cast(pl.Float32).is_infinite().fill_null(False)
    faults = [
        (values.is_null() & ~missing, "a number" if required else _NUMBER_OR_NOTHING),
        (infinite, "a finite number"),
        (~nan & ~infinite & infinite_as_float32, _IN_RANGE),
    ]
    if nan_as_missing:
        return ColumnRead(values.set(nan, None), faults)
    return ColumnRead(values, [*faults, (nan, "a number" if required else _NO_NAN)])


def _is_missing(raw: pl.Series) -> pl.Series:
    """Returns which rows are empty: null, or empty text, as in CSV files that quote all fields."""
    if isinstance(raw.dtype, pl.String):
        return raw.is_null() | (raw == "").fill_null(False)
    return raw.is_null()


def _read_classes(raw: pl.Series, classes: tuple[str, ...]) -> ColumnRead | None:
    text = digits(raw) if raw.dtype.is_float() else _as_text(raw)
    if text is None:
        return None
    text = text.replace(_other_spellings(text, classes))
    known = text.is_in(classes)
    missing = _is_missing(text) & ~known.fill_null(False)
    expected = f"one of the classes {', '.join(classes)} (label.classes)"
    return ColumnRead(text, [(missing, _LABEL), (~known & ~missing, expected)])


def _read_grades(raw: pl.Series, table: Table) -> ColumnRead | None:
    """Reads classes; a grade may be missing, or be known under another name."""
    text = _translated(raw, table.grades)
    if text is None:
        return None
    text = text.replace(_other_spellings(text, table.classes))
    text = text.set(_is_missing(text), None)
    unknown = ~text.is_in(table.classes).fill_null(value=True)
    expected = (
        f"one of the classes {', '.join(table.classes)} (label.classes), or a grade that "
        "data.outcomes.values translates"
    )
    return ColumnRead(text, [(unknown, expected)])


def _read_numbers_of_grades(raw: pl.Series, table: Table) -> ColumnRead | None:
    text = _translated(raw, table.grades) if table.grades else raw
    return None if text is None else _read_floats(text, nan_as_missing=table.nan_as_missing)


def _translated(raw: pl.Series, grades: Mapping[str, str | None]) -> pl.Series | None:
    text = digits(raw) if raw.dtype.is_float() else _as_text(raw)
    if text is None or not grades:
        return text
    return text.replace([*grades], pl.Series([*grades.values()], dtype=pl.String))


def _other_spellings(text: pl.Series, classes: tuple[str, ...]) -> dict[str, str]:
    """Returns the class of values such as 1.0 and True that the configuration spells otherwise."""
    booleans = {name.lower(): name for name in classes if name.lower() in ("true", "false")}
    spellings = {}
    for item in text.unique().drop_nulls().head(1000):
        if item in classes:
            continue
        is_whole = re.fullmatch(r"-?\d+\.0+", item)
        whole = item.partition(".")[0] if is_whole else item
        if (name := booleans.get(item.lower(), whole)) in classes:
            spellings[item] = name
    return spellings


def _read_any(raw: pl.Series, *, nan_as_missing: bool) -> ColumnRead | None:
    dtype = raw.dtype
    if dtype.is_float() or dtype.is_decimal():
        return _read_floats(raw, nan_as_missing=nan_as_missing)
    if dtype.is_integer():
        integers = raw.cast(pl.Int64, strict=False)
        fits = integers.null_count() == raw.null_count()
        return ColumnRead(integers if fits else raw.cast(pl.String))
    if isinstance(dtype, pl.Date | pl.Datetime):
        return _read_times_as_text(raw)

    text = raw.cast(pl.String) if isinstance(dtype, pl.Time) else _as_text(raw)
    return None if text is None else ColumnRead(text)


def _read_untyped(raw: pl.Series, *, nan_as_missing: bool) -> ColumnRead:
    """Keeps text as it is, since another chunk may show that it is not a number; checks floats."""
    raw = raw.set(_is_missing(raw), None)
    if _type_of_text(raw) != "float":
        return ColumnRead(raw)
    read = _read_floats(raw, nan_as_missing=nan_as_missing)
    assert read is not None
    return ColumnRead(raw.set(read.values.is_null(), None), read.faults)
