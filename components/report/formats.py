"""Numbers, durations and dates the way people write them."""

from __future__ import annotations

import math
from datetime import datetime

NOTHING = "–"
MINUS = "\u2212"
MOST_DECIMALS = 6
MOST_CHARACTERS = 60


def count(value: float | None) -> str:
    """Returns a count with thousands separators, `–` for none."""
    return NOTHING if _is_missing(value) else _sign(f"{value:,.0f}")


def number(value: float | None, *, decimals: int = 3) -> str:
    """Returns a number with `decimals` decimals: fewer from 100 on, significant digits where all decimals are zero."""
    if _is_missing(value):
        return NOTHING
    assert value is not None
    size = abs(value)
    if size >= 1000:
        return _sign(f"{value:,.0f}")
    if size >= 100:
        return _sign(f"{value:.1f}")
    if 0 < size < 0.5 * 10**-decimals:
        return _sign(f"{value:.2g}")
    return _sign(f"{value:.{decimals}f}")


def exact(value: float) -> str:
    """Returns a number as somebody wrote it, with all its digits: `0.88`, `12,000`, `−0.005`."""
    return _sign(f"{value:,.10g}")


def rough(value: float | None) -> str:
    """Returns a number with three significant digits, whole from 100 on: `0.0123`, `3.56`, `33.1`, `84,076`."""
    if _is_missing(value):
        return NOTHING
    assert value is not None
    return _sign(f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}")


def change(value: float | None) -> str:
    """Returns a number with its sign, `±0` where nothing changed."""
    if _is_missing(value):
        return NOTHING
    assert value is not None
    return "±0" if value == 0 else f"{'+' if value > 0 else ''}{number(value)}"


def deviations(value: float) -> str:
    """Returns a difference in standard deviations: `+0.03 SD`."""
    return _sign(f"{value:+.2f} SD").replace("inf", "∞")


def points(value: float) -> str:
    """Returns the change of a share of 1 in percentage points: `1.2 pts`."""
    return _sign(f"{100 * value:.1f} pts")


def told_apart(value: float | None, other: float | None) -> str:
    """Returns `value` with as many decimals as it takes to look different from `other` where it is different."""
    if value is None or other is None or value == other:
        return number(value)
    for decimals in range(3, MOST_DECIMALS):
        if number(value, decimals=decimals) != number(other, decimals=decimals):
            return number(value, decimals=decimals)
    return number(value, decimals=MOST_DECIMALS)


def percent(share: float | None) -> str:
    """Returns a share of 1 as percent with a decimal; only nothing and all are round, and nothing else looks so."""
    if _is_missing(share):
        return NOTHING
    assert share is not None
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    return f"{100 * share:.0f}%" if share in (0, 1) else f"{100 * share:.1f}%"


def duration(seconds: float | None) -> str:
    """Returns seconds as people say them: `0.4 s`, `48 s`, `2 min 13 s`, `1 h 4 min`, `2 d 3 h`."""
    if _is_missing(seconds):
        return NOTHING
    assert seconds is not None
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {part}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def moment(value: datetime) -> str:
    """Returns a UTC time as `22 November 2026, 04:12 UTC`."""
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def category(value: str) -> str:
    r"""Returns a value from a log so that every character of it can be seen.

    Line breaks and the like are written as escapes, blanks at the ends make quotes show, and a
    long value is cut.

    >>> print(category("video\nplayed"), category("quiz "), category("Grüezi"))
    video\nplayed "quiz " Grüezi
    """
    cut = value if len(value) <= MOST_CHARACTERS else f"{value[: MOST_CHARACTERS - 1]}…"
    shown = "".join(map(_visible, cut))
    return shown if shown == shown.strip() else f'"{shown}"'


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _sign(text: str) -> str:
    """Writes the minus sign as typographers do, and never before a zero."""
    return text.replace("-", MINUS) if text.strip("-0.,") else text.removeprefix("-")
