"""Spans and versions: which of many deliveries of a log are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from components.config.data import (
    PLACEHOLDER,
    SpanChoice,
    SpanKind,
    name_of,
    number_of,
    parse_span,
    span_kind,
)
from components.errors import LogError
from components.event_log.problems import Problem, raise_if_any
from components.event_log.sources import expand_pattern

SHOWN_SPANS = 8
_TOKENS = re.compile(rf"({PLACEHOLDER.pattern}|\*\*/|\*|\?|\[!?\]?[^]]*\])")
_WILDCARDS = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
_DIGITS = {"YYYY": 4, "MM": 2, "DD": 2}

# The versions of a span (None where the pattern has no {VERSION}), each with the pattern filled; by span.
Deliveries = dict[int, dict[int | None, list[str]]]


@dataclass(frozen=True)
class Span:
    """A delivery of a log.

    Attributes:
        number: at `{SPAN}`, or days since 1970 for `{YYYY}`, `{MM}` and `{DD}`.
        name: the date as ISO 8601, or the number.
        version: the newest number at `{VERSION}`, None without one.
    """

    number: int
    name: str
    version: int | None = None


@dataclass(frozen=True)
class ChosenSpans:
    """The spans that are read.

    Attributes:
        spans: oldest first; none where no pattern has a placeholder.
        patterns: every pattern, with its placeholders filled for each of the spans, oldest first.
    """

    spans: tuple[Span, ...]
    patterns: Mapping[str, list[str]]

    @property
    def names(self) -> list[str]:
        """What people call the spans, oldest first."""
        return [span.name for span in self.spans]

    def fill(self, patterns: Iterable[str]) -> list[str]:
        """Returns some of the patterns with their placeholders filled, in their order."""
        return [path for pattern in patterns for path in self.patterns[pattern]]


def choose_spans(patterns: Sequence[str], choice: str) -> ChosenSpans:
    """Fills the placeholders of all patterns of a log.

    A span exists where files match. The newest spans are those of all patterns together, and each of them has to
    exist for every pattern that has placeholders: half a delivery is an error, not a reason to read an older one.
    Of a span the newest version is taken, and has to be the same for every pattern with `{VERSION}`. Patterns without
    placeholders are left as they are.

    Args:
        patterns: of events and outcomes.
        choice: as `parse_span` reads it; `last:7` takes fewer where fewer exist.

    Raises:
        LogError: a pattern has no match, or not all patterns have the spans, or the same versions of them.
    """
    marked = _marked(patterns)
    found = {pattern: _find_deliveries(pattern, kind) for pattern, kind in marked.items()}
    raise_if_any(_nothing(pattern) for pattern, deliveries in found.items() if not deliveries)
    numbers = _pick(set().union(*found.values()), parse_span(choice))
    kind: SpanKind = "date" if "date" in marked.values() else "number"
    raise_if_any(_missing(numbers, found, kind))
    spans = tuple(
        Span(number, name_of(number, kind), _version(number, found, kind)) for number in numbers
    )
    filled = {
        pattern: [
            path
            for number in numbers
            for path in deliveries[number][max(deliveries[number], key=_rank)]
        ]
        for pattern, deliveries in found.items()
    }
    return ChosenSpans(spans, {pattern: filled.get(pattern, [pattern]) for pattern in patterns})


def _marked(patterns: Sequence[str]) -> dict[str, SpanKind]:
    """Returns the patterns with placeholders, and what marks their spans.

    Raises:
        LogError: the placeholders make no sense; those of a configuration have been checked with it.
    """
    try:
        marked = {
            pattern: kind
            for pattern in patterns
            if "://" not in pattern and (kind := span_kind(pattern))
        }
    except ValueError as error:
        raise LogError([str(error)]) from None
    if len(set(marked.values())) > 1:
        raise LogError(
            [
                "expected {SPAN} in all patterns with placeholders, or dates in all of them, found both"
            ]
        )
    return marked


def _pick(every: Iterable[int], choice: SpanChoice) -> list[int]:
    return sorted(every)[-choice.last :] if choice.number is None else [choice.number]


def _find_deliveries(pattern: str, kind: SpanKind) -> Deliveries:
    """Finds what is there at the placeholders of a pattern.

    Raises:
        LogError: a path has numbers there that are no date.
    """
    wildcard, expression = _translate(pattern)
    deliveries: Deliveries = {}
    problems = []
    for path in expand_pattern(wildcard):
        if (match := expression.fullmatch(path)) is None:
            continue
        texts = match.groupdict()
        try:
            number = _number(texts, kind)
        except ValueError:
            text = "-".join(texts[name] for name in _DIGITS)
            problems.append(
                Problem(subject=path, expected="a date at {YYYY}, {MM} and {DD}", found=text)
            )
            continue
        version = int(texts["VERSION"]) if "VERSION" in texts else None
        filled = _fill(pattern, texts)
        variants = deliveries.setdefault(number, {}).setdefault(version, [])
        variants += [filled] if filled not in variants else []
    raise_if_any(problems)
    return deliveries


def _fill(pattern: str, texts: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda place: texts[place[1]], pattern)


def _translate(pattern: str) -> tuple[str, re.Pattern[str]]:
    """Returns a pattern as a glob and as an expression with a group of digits for each placeholder."""
    wildcard, expression, end = "", "", 0
    for token in _TOKENS.finditer(pattern):
        literal, text = pattern[end : token.start()], token[0]
        name, width, end = token[2], token[3], token.end()
        wildcard, expression = wildcard + literal, expression + re.escape(literal)
        if name:
            digits = _DIGITS.get(name) or (int(width[1:]) if width else None)
            wildcard += "[0-9]" * digits if digits else "[0-9]*"
            expression += rf"(?P<{name}>[0-9]{{{digits}}})" if digits else rf"(?P<{name}>[0-9]+)"
        else:
            wildcard += text
            expression += _WILDCARDS.get(text) or _character_class(text[1:-1])
    return wildcard + pattern[end:], re.compile(expression + re.escape(pattern[end:]))


def _character_class(characters: str) -> str:
    """Returns what is between the brackets of a glob as a regular expression."""
    negated = characters.startswith("!")
    inside = re.sub(r"([\\\[\]^&|~])", r"\\\1", characters[negated:])
    return f"[{'^' if negated else ''}{inside}]"


def _number(texts: Mapping[str, str], kind: SpanKind) -> int:
    return (
        number_of(date(*(int(texts[name]) for name in _DIGITS)))
        if kind == "date"
        else int(texts["SPAN"])
    )


def _rank(version: int | None) -> int:
    return -1 if version is None else version


def _version(number: int, found: Mapping[str, Deliveries], kind: SpanKind) -> int | None:
    """Returns the newest version of a span.

    Raises:
        LogError: it is not the same for all patterns that have versions.
    """
    newest = {pattern: max(deliveries[number], key=_rank) for pattern, deliveries in found.items()}
    versions = {pattern: version for pattern, version in newest.items() if version is not None}
    if len(set(versions.values())) > 1:
        expected = (
            f"the same newest version of span {name_of(number, kind)} for events and outcomes"
        )
        raise_if_any(
            Problem(subject=pattern, expected=expected, found=f"version {version}")
            for pattern, version in versions.items()
        )
    return next(iter(versions.values()), None)


def _nothing(pattern: str) -> Problem:
    expected = "files that match, with digits for {SPAN} and {VERSION} or for {YYYY}, {MM}, {DD} and {VERSION}"
    return Problem(subject=pattern, expected=expected, found="none")


def _missing(numbers: list[int], found: Mapping[str, Deliveries], kind: SpanKind) -> list[Problem]:
    """Returns which patterns lack which of the spans, and which they have."""
    common = (
        set.intersection(*(set(deliveries) for deliveries in found.values())) if found else set()
    )
    problems = []
    for pattern, deliveries in found.items():
        if not (lacking := [number for number in numbers if number not in deliveries]):
            continue
        names = [name_of(number, kind) for number in sorted(deliveries)]
        more = f"{len(names) - SHOWN_SPANS} more and " if len(names) > SHOWN_SPANS else ""
        advice = (
            f"; {name_of(max(common), kind)} is the newest that all patterns have (data.span)"
            if common
            else ""
        )
        wanted = " and ".join(name_of(number, kind) for number in lacking[:SHOWN_SPANS])
        found_text = f"{more}{', '.join(names[-SHOWN_SPANS:])}{advice}"
        problems.append(Problem(subject=pattern, expected=f"the span {wanted}", found=found_text))
    return problems
