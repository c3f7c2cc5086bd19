"""Numbers, durations, dates and names as people write them."""

from __future__ import annotations

import math
from datetime import datetime

from components.command.escape import printable, shorten

NOTHING = "–"
MINUS = "\u2212"
MOST_DECIMALS = 6
MOST_CHARACTERS = 60  # of a value from a log

_UNITS = (
    # seconds of a unit, its name, seconds of the next smaller unit, its name
    (86400, "d", 3600, "h"),
    (3600, "h", 60, "min"),
    (60, "min", 1, "s"),
)


def count(value: float | None) -> str:
    """Returns a count with thousands separators.

    >>> count(18340), count(None)
    ('18,340', '–')
    """
    known = _finite(value)
    return NOTHING if known is None else _sign(f"{known:,.0f}")


def number(value: float | None, *, decimals: int = 3) -> str:
    """Returns a number with `decimals` decimals.

    A number from 100 on has fewer; one whose decimals would all be zero has two significant digits.

    >>> number(0.8934), number(123.456), number(0.00012), number(None)
    ('0.893', '123.5', '0.00012', '–')
    """
    known = _finite(value)
    if known is None:
        return NOTHING

    size = abs(known)
    if size >= 1000:
        return _sign(f"{known:,.0f}")
    if size >= 100:
        return _sign(f"{known:.1f}")
    if 0 < size < 0.5 * 10**-decimals:
        return _sign(f"{known:.2g}")
    return _sign(f"{known:.{decimals}f}")


def exact(value: float) -> str:
    """Returns a number with all its digits, up to ten: `0.88`, `12,000`, `−0.005`."""
    return _sign(f"{value:,.10g}")


def rough(value: float | None) -> str:
    """Returns a number with three significant digits, whole from 100 on.

    >>> rough(0.01234), rough(33.14), rough(84076.4)
    ('0.0123', '33.1', '84,076')
    """
    known = _finite(value)
    if known is None:
        return NOTHING
    return _sign(f"{known:,.0f}" if abs(known) >= 100 else f"{known:.3g}")


def days_ahead(days: float | None) -> str:
    """Returns a lead time in days, with one decimal at most.

    >>> days_ahead(22.64), days_ahead(23), days_ahead(None)
    ('22.6', '23', '–')
    """
    return number(days, decimals=0 if days is not None and days == round(days) else 1)


def signed(value: float | None) -> str:
    """Returns a number with its sign, `±0` where nothing changed."""
    known = _finite(value)
    if known is None:
        return NOTHING
    if known == 0:
        return "±0"
    return f"+{number(known)}" if known > 0 else number(known)


def deviations(value: float) -> str:
    """Returns a difference in standard deviations: `+0.03 SD`."""
    return _sign(f"{value:+.2f} SD").replace("inf", "∞")


def points(value: float) -> str:
    """Returns the change of a share of 1 in percentage points: `1.2 pts`."""
    return _sign(f"{100 * value:.1f} pts")


def told_apart(value: float | None, other: float | None) -> str:
    """Returns `value` with enough decimals to differ from a different `other`.

    >>> told_apart(0.8796, 0.88)
    '0.8796'
    """
    if value is None or other is None or value == other:
        return number(value)
    for decimals in range(3, MOST_DECIMALS):
        if number(value, decimals=decimals) != number(other, decimals=decimals):
            return number(value, decimals=decimals)
    return number(value, decimals=MOST_DECIMALS)


def span(interval: tuple[float, float] | None, *, decimals: int = 3) -> str:
    """Returns an interval from its lower to its upper end; nothing for None.

    >>> span((0.8912, 0.918))
    '0.891 to 0.918'
    """
    if interval is None:
        return ""
    low, high = (number(end, decimals=decimals) for end in interval)
    return f"{low} to {high}"


def percent(share: float | None) -> str:
    """Returns a share of 1 as percent with one decimal; only 0 and 1 are written without one.

    >>> percent(0.1234), percent(1), percent(0.99999)
    ('12.3%', '100%', '>99.9%')
    """
    known = _finite(share)
    if known is None:
        return NOTHING
    if known in (0, 1):
        return f"{100 * known:.0f}%"
    if 0 < known < 0.0005:
        return "<0.1%"
    if 0.9995 < known < 1:
        return ">99.9%"
    return f"{100 * known:.1f}%"


def duration(seconds: float | None) -> str:
    """Returns seconds in the two largest units: `0.4 s`, `48 s`, `2 min 13 s`, `2 d 3 h`."""
    known = _finite(seconds)
    if known is None:
        return NOTHING
    if known < 9.95:
        return f"{known:.1f} s"

    whole = round(known)
    for size, unit, smaller, part in _UNITS:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {part}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def moment(value: datetime) -> str:
    """Returns a UTC time as `22 November 2026, 04:12 UTC`."""
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def category(value: str) -> str:
    r"""Returns a value from a log so that every character of it can be seen.

    Line breaks and the like are written as escapes, a value with blanks at its ends is quoted, and
    a long one is cut.

    >>> print(category("video\nplayed"), category("quiz "), category("Grüezi"))
    video\nplayed "quiz " Grüezi
    """
    shown = printable(shorten(value, MOST_CHARACTERS))
    return shown if shown == shown.strip() else f'"{shown}"'


def sentence_case(text: str) -> str:
    """Returns the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _sign(text: str) -> str:
    """Returns a number with a typographic minus sign; zero has no sign."""
    return text.replace("-", MINUS) if text.strip("-0.,") else text.removeprefix("-")
