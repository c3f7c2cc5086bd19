"""Reading one column: what it may look like in a file, what it becomes, and which rows are not as expected."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from components.event_log.clocks import read_clock
from components.event_log.tables import Kind, Table


@dataclass
class Read:
    """A column after reading.

    Attributes:
        values: as long as the column in the file.
        faults: rows that are not as expected, one boolean a row, and what was expected of them.
    """

    values: pl.Series
    faults: list[tuple[pl.Series, str]] = field(default_factory=list)


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
            return _nullable_text(raw)
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
    return None if text is None else Read(text, [((text == "").fill_null(True), "a value in every row")])


def _clock(raw: pl.Series, timezone: str) -> Read | None:
    values = read_clock(raw, timezone)
    if values is None:
        return None
    expected = f"a number, or a timestamp such as 2024-05-01T12:00:00+02:00 (without offset: {timezone} time)"
    return Read(values, [(raw.is_null(), "a time in every row"), (values.is_null() & raw.is_not_null(), expected)])


def _nullable_text(raw: pl.Series) -> Read | None:
    text = _text(raw)
    return None if text is None else Read(text)


def _text(raw: pl.Series) -> pl.Series | None:
    dtype = raw.dtype
    if dtype.is_integer() or isinstance(dtype, pl.String | pl.Categorical | pl.Enum | pl.Boolean | pl.Null):
        return raw.cast(pl.String)
    return None


def _number(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    read = _float(raw, nan_as_missing=nan_as_missing)
    if read is not None:
        read.values = read.values.cast(pl.Float32)
    return read


def _score(raw: pl.Series) -> Read | None:
    read = _float(raw, nan_as_missing=False)
    if read is not None:
        read.faults.append((raw.is_null(), "a label in every row"))
    return read


def _float(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    if not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.String | pl.Boolean | pl.Null)):
        return None
    if isinstance(raw.dtype, pl.String):
        values = raw.cast(pl.Float64, strict=False)
        if values.null_count() > raw.null_count():
            values = raw.str.to_lowercase().replace({"true": "1", "false": "0"}).cast(pl.Float64, strict=False)
    else:
        values = raw.cast(pl.Float64)
    nan = values.is_nan().fill_null(False)
    faults = [
        (values.is_null() & raw.is_not_null(), "a number, or nothing for a missing one"),
        (values.is_infinite().fill_null(False), "a finite number"),
    ]
    if nan_as_missing:
        return Read(values.set(nan, None), faults)
    advice = "a number (leave it empty, or set data.nan_as_missing, for a missing one)"
    return Read(values, [*faults, (nan, advice)])


def _class(raw: pl.Series, classes: tuple[str, ...]) -> Read | None:
    text = _text(raw)
    if text is None:
        return None
    unknown = ~text.is_in(classes) & text.is_not_null()
    expected = f"one of the classes {', '.join(classes)} (label.classes)"
    return Read(text, [(text.is_null(), "a label in every row"), (unknown, expected)])


def _any(raw: pl.Series, *, nan_as_missing: bool) -> Read | None:
    dtype = raw.dtype
    if dtype.is_float() or dtype.is_decimal():
        return _float(raw, nan_as_missing=nan_as_missing)
    if dtype.is_integer():
        integers = raw.cast(pl.Int64, strict=False)
        return Read(integers if integers.null_count() == raw.null_count() else raw.cast(pl.String))
    return Read(raw.cast(pl.String)) if dtype.is_temporal() else _nullable_text(raw)


def _open_text(raw: pl.Series, *, nan_as_missing: bool) -> Read:
    """Keeps text as it is, since another chunk may show that it is no number after all; checks it as what it seems."""
    if _type_of_text(raw) != "float":
        return Read(raw)
    read = _float(raw, nan_as_missing=nan_as_missing)
    assert read is not None
    return Read(raw.set(read.values.is_null(), None), read.faults)
