"""CSV that people open in a spreadsheet: ids and classes stay text there, and no formula runs.

https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import polars as pl

_FORMULA = "=+\\-@\t\r\n＝＋－＠"  # the beginnings of formulas, also in wide forms
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def for_spreadsheet(table: pl.DataFrame) -> pl.DataFrame:
    """Returns a table to write as CSV, whose text a spreadsheet reads as text.

    A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break, after any number of
    apostrophes, gets one more apostrophe, as OWASP advises. So does `=`, `+`, `-` or `@` right
    after a `;`, tab or line break inside a cell: it begins a cell if `;` separates cells. Numbers,
    also those that are text, and the names of columns stay unchanged.

    `from_spreadsheet` undoes it.

    >>> import polars as pl
    >>> table = pl.DataFrame({"learner_id": ["=1+1", "-5", "anna"], "score": [-1, 0, 1]})
    >>> for_spreadsheet(table).rows()
    [("'=1+1", -1), ('-5', 0), ('anna', 1)]
    """
    text = pl.selectors.string()
    inside = text.str.replace_all(r"([;\t\r\n])('*[=+\-@])", "${1}'${2}")
    escaped = inside.str.replace(rf"^('*[{_FORMULA}])", "'${1}")
    return table.with_columns(pl.when(text.str.contains(_NUMBER)).then(text).otherwise(escaped))


def from_spreadsheet(table: pl.DataFrame) -> pl.DataFrame:
    """Returns the table that was given to `for_spreadsheet`, from the CSV written with it.

    >>> import polars as pl
    >>> from_spreadsheet(pl.DataFrame({"learner_id": ["'=1+1", "-5"]})).rows()
    [('=1+1',), ('-5',)]
    """
    text = pl.selectors.string()
    begun = text.str.replace(rf"^'('*[{_FORMULA}])", "${1}")
    return table.with_columns(begun.str.replace_all(r"([;\t\r\n])'('*[=+\-@])", "${1}${2}"))
