"""Lines with nested objects: what a logger writes before them, and JSON that the parser breaks.

Polars returns an object or list within a line as JSON text, and escapes neither backslashes nor
most control characters in it, nor anything in keys. In such text no path would be found: an answer
with a formula in LaTeX would hide whether it was right. So these values are read from their lines
again, by the parser that follows paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

# A control character, a backslash, or a quote within a key.
_DOUBTFUL = r'[\x00-\x1f\\]|[^\[{,: \\]"[^,:}\]]'
_NUL = "\0"  # what the parser makes of half a character
# Within text that holds JSON itself, as the event of a browser, backslashes are doubled.
_HALF = re.compile(
    rb"(?P<pair>\\+u[dD][89abAB][0-9a-fA-F]{2}\\+u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<half>\\+u)[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def without_starts(block: bytes, start: re.Pattern[bytes] | None) -> bytes:
    """Returns lines without what a logger has written before their objects.

    Args:
        block: whole lines.
        start: what that may be, at the beginning of a line; None for nothing.
    """
    if start is None:
        return block
    objects = block.count(b"\n{") + block.startswith(b"{")
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    return block if objects == lines else start.sub(b"", block)


def mended(frame: pl.DataFrame, split: Callable[[], list[bytes]]) -> pl.DataFrame:
    """Returns a frame in which all nested values are JSON.

    Args:
        frame: columns of text, one row per line.
        split: returns the lines; it is called if a value is doubtful.
    """
    found = frame.select(map(_is_doubtful, frame.columns))
    rows = {column.name: column.arg_true() for column in found if column.any()}
    if not rows:
        return frame
    lines = split()
    return frame.with_columns(
        frame[name].scatter(places, _values([lines[place] for place in places], name))
        for name, places in rows.items()
    )


def _is_doubtful(name: str) -> pl.Expr:
    """Returns which texts of a column may not be what the line holds."""
    text = pl.col(name)
    is_json = text.str.starts_with("{") | text.str.starts_with("[")
    within = pl.when(is_json).then(text).str.contains(_DOUBTFUL)
    return (within | text.str.contains(_NUL, literal=True)).fill_null(value=False)


def _values(lines: list[bytes], name: str) -> pl.Series:
    """Returns the value that each line has for a key."""
    texts = pl.Series(name, [without_halves(line).decode() for line in lines], pl.String)
    return texts.str.json_path_match(f'$["{name}"]')


def without_halves(line: bytes) -> bytes:
    r"""Returns a line with U+FFFD for halves of a character.

    >>> without_halves(rb'{"answer": "\ud83d \ud83d\ude00"}')
    b'{"answer": "\\ufffd \\ud83d\\ude00"}'
    """
    if b"\\ud" not in line and b"\\uD" not in line:
        return line
    return _HALF.sub(lambda match: match["pair"] or match["half"] + b"fffd", line)
