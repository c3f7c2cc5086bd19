"""Spans of a log: the deliveries that patterns with placeholders name, by number or by date."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from components.command.suggest import did_you_mean

PLACEHOLDER = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(:\d+)?\}")
NEWEST = "newest"
EPOCH = date(1970, 1, 1)  # TFX numbers the spans of dates by the days since
SpanKind = Literal["number", "date"]

_LAST = re.compile(r"last: *(\d+)(?: +until +(\S+))?")


@dataclass(frozen=True)
class SpanChoice:
    """Which spans are read: the newest `last` of them, or the one that is `given`.

    Attributes:
        last: how many.
        until: the newest span that counts, as `given` would name it; None for all of them.
        given: a date, or the number of a span; for patterns with dates a number counts days since
            1970, as in TFX.
    """

    last: int = 1
    given: date | int | None = None
    until: date | int | None = None

    @property
    def number(self) -> int | None:
        """The number that TFX gives the span."""
        return number_of(self.given) if isinstance(self.given, date) else self.given

    @property
    def until_number(self) -> int | None:
        """The number that TFX gives the newest span that counts; None for all of them."""
        return number_of(self.until) if isinstance(self.until, date) else self.until

    def __str__(self) -> str:
        """Returns the text that `parse_span` reads, the same for all ways to write a choice."""
        if self.given is not None:
            return str(self.given)
        if self.until is not None:
            return f"last:{self.last} until {self.until}"
        return NEWEST if self.last == 1 else f"last:{self.last}"


def parse_span(value: object) -> SpanChoice:
    """Reads `newest`, a date, a number, `last:7`, or the mapping `{last: 7, until: 2026-11-20}`.

    >>> parse_span("2026-11-20")
    SpanChoice(last=1, given=datetime.date(2026, 11, 20), until=None)
    >>> str(parse_span({"last": 7}))
    'last:7'
    >>> parse_span("last:7 until 2026-11-20").until
    datetime.date(2026, 11, 20)

    Raises:
        ValueError: it is another value; the text lists what is accepted.
    """
    if type(value) is date:  # not a datetime, which is a date too
        return SpanChoice(given=value)
    if isinstance(value, Mapping) and {"last"} <= set(value) <= {"last", "until"}:
        end = f" until {value['until']}" if "until" in value else ""
        value = f"last:{value['last']}{end}"

    is_text = isinstance(value, str | int) and not isinstance(value, bool)
    text = str(value).strip() if is_text else ""
    if text == NEWEST:
        return SpanChoice()
    if (window := _LAST.fullmatch(text)) and int(window[1]) > 0:
        if window[2] is None:
            return SpanChoice(last=int(window[1]))
        if (until := _one_span(window[2])) is not None:
            return SpanChoice(last=int(window[1]), until=until)
    given = _one_span(text)
    if given is not None:
        return SpanChoice(given=given)
    raise ValueError(
        "expected newest, a date such as 2026-11-20, a number, or last: 7 (as text last:7, or "
        f"last:7 until 2026-11-20), found {value!r}{did_you_mean(text, [NEWEST])}"
    )


def _one_span(text: str) -> date | int | None:
    """Returns the number or the date of a span in a text; None for another text."""
    if text.isdecimal():
        return int(text)
    try:
        return date.fromisoformat(text if "-" in text else "")
    except ValueError:
        return None


def span_kind(pattern: str) -> SpanKind | None:
    """Returns whether a pattern's placeholders match a number or a date; None without any.

    >>> span_kind("logs/{YYYY}-{MM}-{DD}/events.csv"), span_kind("logs/events.csv")
    ('date', None)

    Raises:
        ValueError: the placeholders are not those of one span.
    """
    names = [match[1] for match in PLACEHOLDER.finditer(pattern)]
    spans = sorted(name for name in names if name != "VERSION")
    if names.count("VERSION") <= 1:
        if not names:
            return None
        if spans == ["SPAN"]:
            return "number"
        if spans == ["DD", "MM", "YYYY"]:
            return "date"

    found = " and ".join(f"{{{name}}}" for name in names)
    raise ValueError(
        "expected one {SPAN}, or one each of {YYYY}, {MM} and {DD}, with or without one {VERSION}; "
        f"found {found} in {pattern}"
    )


def number_of(day: date) -> int:
    """Returns TFX's number for the span of a date."""
    return (day - EPOCH).days


def name_of(number: int, kind: SpanKind) -> str:
    """Returns what people call a span: its date, or its number."""
    return (EPOCH + timedelta(days=number)).isoformat() if kind == "date" else str(number)


def describe_spans(names: Sequence[str]) -> str:
    """Returns the names of spans as a short text.

    >>> describe_spans(["2026-11-19", "2026-11-20"])
    '2026-11-19 to 2026-11-20 (2 spans)'
    """
    if len(names) > 1:
        return f"{names[0]} to {names[-1]} ({len(names)} spans)"
    return names[0] if names else ""
