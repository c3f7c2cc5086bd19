"""Which spans of a log a run reads: the words for it, and the placeholders that mark spans in a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

PLACEHOLDER = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(:\d+)?\}")
NEWEST = "newest"
EPOCH = date(1970, 1, 1)  # TFX numbers the spans of dates by the days since
SpanKind = Literal["number", "date"]

_LAST = re.compile(r"last: *(\d+)")
_EXPECTED = "expected newest, a date such as 2026-11-20, a number, or last: 7 (as text last:7)"


@dataclass(frozen=True)
class SpanChoice:
    """The newest `last` spans, or the one that is `given`.

    Attributes:
        last: how many.
        given: a date, or the number of a span; for patterns with dates a number counts days since 1970, as in TFX.
    """

    last: int = 1
    given: date | int | None = None

    @property
    def number(self) -> int | None:
        """TFX's number of the given span."""
        return number_of(self.given) if isinstance(self.given, date) else self.given

    def __str__(self) -> str:
        """Returns the text that `parse_span` reads, the same for all ways to write a choice."""
        if self.given is not None:
            return str(self.given)
        return NEWEST if self.last == 1 else f"last:{self.last}"


def parse_span(value: object) -> SpanChoice:
    """Reads `newest`, a date, a number, `last:7`, or the mapping `{last: 7}`.

    Raises:
        ValueError: it is none of them; the text says what would do.
    """
    if type(value) is date:  # and no datetime, which is one too
        return SpanChoice(given=value)
    if isinstance(value, Mapping) and set(value) == {"last"}:
        value = f"last:{value['last']}"
    text = (
        str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    )
    if text == NEWEST:
        return SpanChoice()
    if (window := _LAST.fullmatch(text)) and int(window[1]) > 0:
        return SpanChoice(last=int(window[1]))
    if text.isdecimal():
        return SpanChoice(given=int(text))
    try:
        return SpanChoice(given=date.fromisoformat(text if "-" in text else ""))
    except ValueError:
        raise ValueError(f"{_EXPECTED}, found {value!r}") from None


def span_kind(pattern: str) -> SpanKind | None:
    """Returns what marks the span in a pattern, None where nothing does.

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
        f"expected one {{SPAN}}, or one each of {{YYYY}}, {{MM}} and {{DD}}, with or without one {{VERSION}}; "
        f"found {found} in {pattern}"
    )


def number_of(day: date) -> int:
    """Returns TFX's number of a date's span."""
    return (day - EPOCH).days


def name_of(number: int, kind: SpanKind) -> str:
    """Returns what people call a span: its date, or its number."""
    return (EPOCH + timedelta(days=number)).isoformat() if kind == "date" else str(number)


def describe_spans(names: Sequence[str]) -> str:
    """Returns spans in a few words: `2026-11-20`, or `2026-11-14 to 2026-11-20 (7 spans)`."""
    return f"{names[0]} to {names[-1]} ({len(names)} spans)" if len(names) > 1 else "".join(names)
