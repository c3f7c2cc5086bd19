"""Chooses the spans and versions to read from the deliveries of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from components.config.spans import (
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

# By span and version (None if the pattern has no {VERSION}): the pattern with both filled in.
Deliveries = dict[int, dict[int | None, list[str]]]


@dataclass(frozen=True)
class Span:
    """A delivery of a log.

    Attributes:
        number: the number at `{SPAN}`, or days since 1970 for `{YYYY}`, `{MM}` and `{DD}`.
        name: the date as ISO 8601, or the number.
        version: the newest number at `{VERSION}`, None without that placeholder.
    """

    number: int
    name: str
    version: int | None = None


@dataclass(frozen=True)
class ChosenSpans:
    """The spans that are read.

    Attributes:
        spans: oldest first; empty if no pattern has a placeholder.
        patterns: for every pattern, its placeholders filled in for each span, oldest first.
        older: the spans before these, if they were asked for.
    """

    spans: tuple[Span, ...]
    patterns: Mapping[str, list[str]]
    older: ChosenSpans | None = None

    @property
    def names(self) -> list[str]:
        """Names of the spans, oldest first."""
        return [span.name for span in self.spans]

    def fill(self, patterns: Iterable[str]) -> list[str]:
        """Returns some of the patterns with their placeholders filled in, in their order."""
        return [path for pattern in patterns for path in self.patterns[pattern]]


def choose_spans(patterns: Sequence[str], choice: str, *, with_older: bool = False) -> ChosenSpans:
    """Fills in the placeholders of all patterns of a log.

    A span exists if files match. The newest spans are those of all patterns together, and each must
    exist for every pattern that has placeholders: half a delivery is an error, not a reason to read
    an older one. The newest version of a span is taken, and must be the same for every pattern with
    `{VERSION}`. Patterns without placeholders are left as they are.

    Args:
        patterns: of events and outcomes.
        choice: in the form of `parse_span`; `last:7` takes fewer if fewer exist.
        with_older: whether all spans before the chosen ones are returned beside them.

    Raises:
        LogError: a pattern has no match, the patterns have different spans or versions, or there
            is no span as old as asked for.
    """
    kinds = _span_kinds(patterns)
    found = {pattern: _find_deliveries(pattern, kind) for pattern, kind in kinds.items()}
    raise_if_any(_no_match(pattern) for pattern, deliveries in found.items() if not deliveries)

    kind: SpanKind = "date" if "date" in kinds.values() else "number"
    every = set[int]().union(*found.values())
    numbers = _pick(every, parse_span(choice))
    if found and not numbers:
        expected = f"a span of {name_of(parse_span(choice).until_number or 0, kind)} or before"
        oldest = name_of(min(every), kind)
        raise_if_any(
            [Problem(subject="data.span", expected=expected, found=f"{oldest} as the first")]
        )
    chosen = _fill_in(numbers, patterns, found, kind)
    if not with_older or not numbers:
        return chosen
    older = sorted(number for number in every if number < numbers[0])
    return replace(chosen, older=_fill_in(older, patterns, found, kind) if older else None)


def _fill_in(
    numbers: list[int], patterns: Sequence[str], found: Mapping[str, Deliveries], kind: SpanKind
) -> ChosenSpans:
    """Returns the spans of these numbers.

    Raises:
        LogError: a pattern lacks one of them, or has another newest version than the others.
    """
    raise_if_any(_find_missing(numbers, found, kind))
    spans = [
        Span(number, name_of(number, kind), _newest_version(number, found, kind))
        for number in numbers
    ]

    filled = {pattern: [pattern] for pattern in patterns}
    for pattern, deliveries in found.items():
        newest = [deliveries[number][_newest(deliveries[number])] for number in numbers]
        filled[pattern] = [path for paths in newest for path in paths]
    return ChosenSpans(tuple(spans), filled)


def _span_kinds(patterns: Sequence[str]) -> dict[str, SpanKind]:
    """Returns for each pattern with placeholders whether they are numbers or dates.

    Raises:
        LogError: the placeholders make no sense.
    """
    try:
        kinds = {pattern: span_kind(pattern) for pattern in patterns if "://" not in pattern}
    except ValueError as error:
        raise LogError([str(error)]) from None
    marked = {pattern: kind for pattern, kind in kinds.items() if kind}
    if len(set(marked.values())) > 1:
        expected = "{SPAN} in all patterns with placeholders, or dates in all of them"
        raise LogError([f"expected {expected}, found both"])
    return marked


def _pick(every: Iterable[int], choice: SpanChoice) -> list[int]:
    if choice.number is not None:
        return [choice.number]
    end = choice.until_number
    return sorted(number for number in every if end is None or number <= end)[-choice.last :]


def _find_deliveries(pattern: str, kind: SpanKind) -> Deliveries:
    """Finds the spans and versions at the placeholders of a pattern.

    Raises:
        LogError: a path has numbers there that are not a date.
    """
    wildcard, expression = _translate(pattern)
    deliveries: Deliveries = {}
    problems = []
    for path in expand_pattern(wildcard):
        match = expression.fullmatch(path)
        if match is None:
            continue
        texts = match.groupdict()
        try:
            number = _number(texts, kind)
        except ValueError:
            expected = "a date at {YYYY}, {MM} and {DD}"
            found = "-".join(texts[name] for name in _DIGITS)
            problems.append(Problem(subject=path, expected=expected, found=found))
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
    """Returns a pattern as a glob, and as an expression with a group per placeholder."""
    wildcard = ""
    expression = ""
    end = 0
    for token in _TOKENS.finditer(pattern):
        literal = pattern[end : token.start()]
        wildcard += literal
        expression += re.escape(literal)
        end = token.end()

        text, _, name, width = token.group(0, 1, 2, 3)
        if name:
            digits = _DIGITS.get(name) or (int(width[1:]) if width else None)
            wildcard += "[0-9]" * digits if digits else "[0-9]*"
            expression += rf"(?P<{name}>[0-9]{{{digits}}})" if digits else rf"(?P<{name}>[0-9]+)"
        else:
            wildcard += text
            expression += _WILDCARDS.get(text) or _character_class(text[1:-1])
    return wildcard + pattern[end:], re.compile(expression + re.escape(pattern[end:]))


def _character_class(characters: str) -> str:
    """Returns the characters between the brackets of a glob as a regular expression."""
    negated = characters.startswith("!")
    inside = re.sub(r"([\\\[\]^&|~])", r"\\\1", characters[negated:])
    return f"[{'^' if negated else ''}{inside}]"


def _number(texts: Mapping[str, str], kind: SpanKind) -> int:
    if kind == "number":
        return int(texts["SPAN"])
    year, month, day = (int(texts[name]) for name in _DIGITS)
    return number_of(date(year, month, day))


def _newest(versions: Iterable[int | None]) -> int | None:
    return max(versions, key=lambda version: -1 if version is None else version)


def _newest_version(number: int, found: Mapping[str, Deliveries], kind: SpanKind) -> int | None:
    """Returns the newest version of a span.

    Raises:
        LogError: it is not the same for all patterns that have versions.
    """
    newest = {pattern: _newest(deliveries[number]) for pattern, deliveries in found.items()}
    versions = {pattern: version for pattern, version in newest.items() if version is not None}
    if len(set(versions.values())) > 1:
        span = name_of(number, kind)
        expected = f"the same newest version of span {span} for events and outcomes"
        raise_if_any(
            Problem(subject=pattern, expected=expected, found=f"version {version}")
            for pattern, version in versions.items()
        )
    return next(iter(versions.values()), None)


def _no_match(pattern: str) -> Problem:
    expected = (
        "files that match, with digits for {SPAN} and {VERSION} "
        "or for {YYYY}, {MM}, {DD} and {VERSION}"
    )
    return Problem(subject=pattern, expected=expected, found="none")


def _find_missing(
    numbers: list[int], found: Mapping[str, Deliveries], kind: SpanKind
) -> list[Problem]:
    """Returns a problem per pattern that lacks one of the spans."""
    if not found:
        return []
    common = set.intersection(*(set(deliveries) for deliveries in found.values()))
    advice = ""
    if common:
        newest = name_of(max(common), kind)
        advice = f"; {newest} is the newest that all patterns have (data.span)"

    problems = []
    for pattern, deliveries in found.items():
        missing = [number for number in numbers if number not in deliveries]
        if not missing:
            continue
        wanted = " and ".join(name_of(number, kind) for number in missing[:SHOWN_SPANS])
        names = [name_of(number, kind) for number in sorted(deliveries)]
        more = f"{len(names) - SHOWN_SPANS} more and " if len(names) > SHOWN_SPANS else ""
        shown = f"{more}{', '.join(names[-SHOWN_SPANS:])}"
        expected = f"the span {wanted}"
        problems.append(Problem(subject=pattern, expected=expected, found=f"{shown}{advice}"))
    return problems
