"""CSV that people open in a spreadsheet: ids and classes stay text there, and no formula runs.

https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import polars as pl

_FORMULA = "=+\\-@\t\r\n＝＋－＠"  # what formulas begin with, the wide forms too
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def for_spreadsheet(table: pl.DataFrame) -> pl.DataFrame:
    """Returns a table whose text a spreadsheet takes for text, to write it as CSV.

    A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break, after any number of
    apostrophes, gets one apostrophe more, as OWASP advises. So does `=`, `+`, `-` or `@` right after
    a `;`, tab or line break inside a cell, which begins a cell where `;` separates them. Numbers,
    those that are text included, and the names of columns stay as they are.

    `from_spreadsheet` undoes it.

    >>> import polars as pl
    >>> for_spreadsheet(pl.DataFrame({"learner_id": ["=1+1", "-5", "anna"], "score": [-1, 0, 1]})).rows()
    [("'=1+1", -1), ('-5', 0), ('anna', 1)]
    """
    text = pl.selectors.string()
    inside = text.str.replace_all(r"([;\t\r\n])('*[=+\-@])", "${1}'${2}")
    escaped = inside.str.replace(rf"^('*[{_FORMULA}])", "'${1}")
    return table.with_columns(pl.when(text.str.contains(_NUMBER)).then(text).otherwise(escaped))


def from_spreadsheet(table: pl.DataFrame) -> pl.DataFrame:
    """Returns the table that was given to `for_spreadsheet`, from the CSV that was written of it.

    >>> import polars as pl
    >>> from_spreadsheet(pl.DataFrame({"learner_id": ["'=1+1", "-5"]})).rows()
    [('=1+1',), ('-5',)]
    """
    text = pl.selectors.string()
    begun = text.str.replace(rf"^'('*[{_FORMULA}])", "${1}")
    return table.with_columns(begun.str.replace_all(r"([;\t\r\n])'('*[=+\-@])", "${1}${2}"))
