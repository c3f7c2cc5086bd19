"""Writes typed values as the text that CSV or JSON would hold, without loss.

A mapping reads all records as text, so that the same one fits a dump in any format.
"""

from __future__ import annotations

import polars as pl

from components.event_log.column_kinds import digits

_IN_OBJECT = "value"


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Returns typed columns as text."""
    return pl.DataFrame([text_of(column) for column in frame.iter_columns()])


def text_of(column: pl.Series) -> pl.Series:
    """Returns a typed column as text.

    Whole floats and decimals lose their fraction: pandas writes integers with gaps as floats, and
    Oracle's exports write ids as decimals. Structs and lists become JSON, times ISO 8601, and bytes
    that are no UTF-8 their hexadecimal digits.

    >>> text_of(pl.Series([[1, 2], None])).to_list()
    ['[1,2]', None]
    """
    dtype = column.dtype
    if dtype.is_nested():
        return _as_json(column)
    if isinstance(dtype, pl.Datetime | pl.Date):
        return column.dt.to_string("iso:strict")
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string("iso")
    if dtype.is_float():
        return digits(column)
    if isinstance(dtype, pl.Decimal):
        return column.cast(pl.String).str.replace(r"\.0+$", "")
    if isinstance(dtype, pl.Binary):
        return _of_bytes(column)
    return column.cast(pl.String)


def _as_json(column: pl.Series) -> pl.Series:
    within = column.alias(_IN_OBJECT).to_frame()
    packed = within.select(pl.struct(_IN_OBJECT).struct.json_encode()).to_series()
    text = packed.str.strip_prefix(f'{{"{_IN_OBJECT}":').str.strip_suffix("}")
    return text.set(column.is_null(), None).alias(column.name)


def _of_bytes(column: pl.Series) -> pl.Series:
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        different = column.drop_nulls().unique()
    texts = pl.Series([_readable(item) for item in different], dtype=pl.String)
    return column.replace_strict(different, texts, default=None, return_dtype=pl.String)


def _readable(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.hex()
