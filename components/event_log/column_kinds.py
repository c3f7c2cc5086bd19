"""The kinds of columns that a table has, and how a column of each kind is read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from components.event_log.clocks import ClockRead, beyond_calendar, describe_time, read_clock


class Kind(StrEnum):
    """What a column holds, and so how it is read."""

    KEY = "key"  # text, never missing
    CLOCK = "clock"  # timestamps or numbers, never missing
    TEXT = "text"  # names; whole numbers among them as their digits
    NUMBER = "number"
    CLASS = "class"  # one of the configured classes
    SCORE = "score"  # a number, never missing
    ANY = "any"  # integers, floats or text, whichever the log has


@dataclass(frozen=True)
class Table:
    """A table of the log.

    Attributes:
        name: `events` or `outcomes`.
        kinds: the columns that are read, by their standard names.
        sources: what the log calls those that it calls otherwise.
        timezone: zone of timestamps that name none.
        nan_as_missing: whether NaN is a missing value instead of an error.
        classes: what a column of kind `CLASS` may hold.
    """

    name: str
    kinds: dict[str, Kind]
    sources: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    nan_as_missing: bool = False
    classes: tuple[str, ...] = ()

    @property
    def clock(self) -> str:
        """The column that says when: `time` or `as_of`."""
        return next(name for name, kind in self.kinds.items() if kind is Kind.CLOCK)

    def source(self, name: str) -> str:
        """Returns what the log calls a column."""
        return self.sources.get(name, name)


FLOAT32_MAX = 3.4028235e38  # numbers become float32 in examples: a larger one would be infinite


@dataclass
class Read:
    """A column after reading.

    Attributes:
        values: as long as the column in the file.
        faults: rows that are not as expected, one boolean a row, and what was expected of them.
        clock: more of a column of times.
    """

    values: pl.Series
    faults: list[tuple[pl.Series, str]] = field(default_factory=list)
    clock: ClockRead | None = None


def read_column(kind: Kind, raw: pl.Series, table: Table, *, typed: bool) -> Read | None:
    """Reads a column of a file.

    Args:
        kind: what it should hold.
        raw: what it holds.
        table: the table it belongs to.
        typed: whether the file says that text is text; if not, text may be of any type.

    Returns:
        Values and faults, or None for a type that cannot be read as `kind`.
    """
    match kind:
        case Kind.KEY:
            return _key(raw)
        case Kind.CLOCK:
            return _clock(raw, table.timezone)
        case Kind.TEXT:
            return _category(raw, nan_as_missing=table.nan_as_missing)
        case Kind.NUMBER:
            return _number(raw, nan_as_missing=table.nan_as_missing)
        case Kind.CLASS:
            return _class(raw, table.classes)
        case Kind.SCORE:
            return _score(raw)
        case Kind.ANY if typed:
            return _any(raw, nan_as_missing=table.nan_as_missing)
        case Kind.ANY:
            return _open_text(raw, nan_as_missing=table.nan_as_missing)


def type_of(values: pl.Series, *, typed: bool) -> str | None:
    """Returns which of `integer`, `float`, `text` a column of kind `ANY` is, None where it has no values."""
    if values.null_count() == len(values):
        return None
    if values.dtype.is_integer():
        return "integer"
    if values.dtype.is_float():
        return "float"
    return "text" if typed else _type_of_text(values)


def _type_of_text(text: pl.Series) -> str:
    """Takes numbers for numbers, unless writing them as such would change them, as it would the area code 044."""
    integers = text.cast(pl.Int64, strict=False)
    if (integers.cast(pl.String) == text).all() and integers.null_count() == text.null_count():
        return "integer"
    floats = text.cast(pl.Float64, strict=False)
    plain = ~text.str.contains(r"^[+-]?0\d").fill_null(False)
    return "float" if plain.all() and floats.null_count() == text.null_count() else "text"


def _key(raw: pl.Series) -> Read | None:
    text = _text(raw)
    if text is None:
        return None
    expected = "text or an integer; take one of its values for an id, with JSON the order of keys would matter"
    return Read(
        text, [((text == "").fill_null(True), "a value in every row"), (_is_nested(text), expected)]
    )


def _clock(raw: pl.Series, timezone: str) -> Read | None:
    read = read_clock(raw, timezone)
    return None if read is None else Read(read.values, read.faults, read)


def _category(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    """Reads names, each written in one way whatever the file's type: 100, 100.0 and "100" are "100"."""
    if raw.dtype.is_float():
        read = _float(raw, nan_as_missing=nan_as_missing)
        assert read is not None
        return Read(digits(read.values), read.faults)
    if isinstance(raw.dtype, pl.Date | pl.Datetime):
        return _time_as_text(raw)
    text = raw.cast(pl.String) if isinstance(raw.dtype, pl.Time | pl.Decimal) else _text(raw)
    return None if text is None else Read(_written_once(text))


def _time_as_text(raw: pl.Series) -> Read:
    impossible = beyond_calendar(raw)
    clock = ClockRead(raw, describe=lambda row: describe_time(raw, row))
    return Read(
        raw.set(impossible, None).cast(pl.String),
        [(impossible, "a time of the years 1 to 9999")],
        clock,
    )


def digits(values: pl.Series) -> pl.Series:
    """Returns floats as text, whole ones without a fraction."""
    integers = values.cast(pl.Int64, strict=False)
    is_whole = (integers == values) & (values.abs() < 2**53)
    return integers.cast(pl.String).zip_with(is_whole.fill_null(False), values.cast(pl.String))


def _written_once(text: pl.Series) -> pl.Series:
    """Returns names with whole numbers and booleans as files with types have them: 100 for 100.0, true for True."""
    different = text.unique()
    odd = different.filter(different.str.contains(r"^(?:-?\d+\.0+|True|TRUE|False|FALSE)$"))
    if odd.is_empty():
        return text
    return text.replace(odd, odd.str.replace(r"\.0+$", "").str.to_lowercase())


def _is_nested(text: pl.Series) -> pl.Series:
    """Says which rows hold a JSON object or list; a GUID in braces is none."""
    maybe = (text.str.starts_with("{") | text.str.starts_with("[")).fill_null(False)
    if not maybe.any():
        return maybe
    nested = [item for item in text.filter(maybe).unique() if _is_json(item)]
    return maybe & text.is_in(nested)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _text(raw: pl.Series) -> pl.Series | None:
    dtype = raw.dtype
    whole = dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)
    if whole or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Boolean | pl.Null):
        return raw.cast(pl.String)
    return None


def _number(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    read = _float(raw, nan_as_missing=nan_as_missing)
    if read is not None:
        read.values = read.values.cast(pl.Float32)
    return read


def _score(raw: pl.Series) -> Read | None:
    read = _float(raw, nan_as_missing=False, required=True)
    if read is not None:
        read.faults.append((_is_missing(raw), "a label in every row"))
    return read


def _is_missing(raw: pl.Series) -> pl.Series:
    """Says which rows hold nothing; with all fields quoted, CSV has an empty text for it."""
    return (
        raw.is_null() | (raw == "").fill_null(False)
        if isinstance(raw.dtype, pl.String)
        else raw.is_null()
    )


def _float(raw: pl.Series, *, nan_as_missing: bool, required: bool = False) -> Read | None:
    """Reads numbers; where they are required, no message says how to leave one out."""
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    if not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.String | pl.Boolean | pl.Null)):
        return None
    missing = _is_missing(raw)
    values = raw.cast(pl.Float64, strict=False)
    if isinstance(raw.dtype, pl.String) and values.null_count() > missing.sum():
        values = (
            raw.str.to_lowercase()
            .replace({"true": "1", "false": "0"})
            .cast(pl.Float64, strict=False)
        )
    nan = values.is_nan().fill_null(False)
    infinite = values.is_infinite().fill_null(False)
    too_large = ~nan & ~infinite & values.cast(pl.Float32).is_infinite().fill_null(False)
    faults = [
        (
            values.is_null() & ~missing,
            "a number" if required else "a number, or nothing for a missing one",
        ),
        (infinite, "a finite number"),
        (
            too_large,
            f"a number from -{FLOAT32_MAX:.2g} to {FLOAT32_MAX:.2g}, which fits into 32 bits",
        ),
    ]
    if nan_as_missing:
        return Read(values.set(nan, None), faults)
    advice = " (leave it empty, or set data.nan_as_missing, for a missing one)"
    return Read(values, [*faults, (nan, "a number" if required else f"a number{advice}")])


def _class(raw: pl.Series, classes: tuple[str, ...]) -> Read | None:
    text = digits(raw) if raw.dtype.is_float() else _text(raw)
    if text is None:
        return None
    text = text.replace(_other_spellings(text, classes))
    missing = _is_missing(text) & ~text.is_in(classes).fill_null(False)
    unknown = ~text.is_in(classes) & ~missing
    expected = f"one of the classes {', '.join(classes)} (label.classes)"
    return Read(text, [(missing, "a label in every row"), (unknown, expected)])


def _other_spellings(text: pl.Series, classes: tuple[str, ...]) -> dict[str, str]:
    """Returns which class a file means by 1.0 and by True, where the configuration writes them otherwise."""
    booleans = {name.lower(): name for name in classes if name.lower() in ("true", "false")}
    spellings = {}
    for item in text.unique().drop_nulls().head(1000):
        if item in classes:
            continue
        digits = re.sub(r"\.0+$", "", item) if re.fullmatch(r"-?\d+\.0+", item) else item
        if (name := booleans.get(item.lower(), digits)) in classes:
            spellings[item] = name
    return spellings


def _any(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    dtype = raw.dtype
    if dtype.is_float() or dtype.is_decimal():
        return _float(raw, nan_as_missing=nan_as_missing)
    if dtype.is_integer():
        integers = raw.cast(pl.Int64, strict=False)
        return Read(integers if integers.null_count() == raw.null_count() else raw.cast(pl.String))
    if isinstance(dtype, pl.Date | pl.Datetime):
        return _time_as_text(raw)
    text = raw.cast(pl.String) if isinstance(dtype, pl.Time) else _text(raw)
    return None if text is None else Read(text)


def _open_text(raw: pl.Series, *, nan_as_missing: bool) -> Read:
    """Keeps text as it is, since another chunk may show that it is no number after all; checks it as what it seems."""
    raw = raw.set(_is_missing(raw), None)
    if _type_of_text(raw) != "float":
        return Read(raw)
    read = _float(raw, nan_as_missing=nan_as_missing)
    assert read is not None
    return Read(raw.set(read.values.is_null(), None), read.faults)
