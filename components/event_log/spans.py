"""Spans and versions: which of many deliveries of a log is the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.errors import LogError
from components.event_log.files import PLACEHOLDER
from components.event_log.problems import Problem, raise_if_any


@dataclass(frozen=True)
class Newest:
    """The newest span of a log, and its newest version.

    Attributes:
        span: the number at `{SPAN}`, or days since 1970 for `{YYYY}`, `{MM}` and `{DD}`; 0 without placeholders.
        version: the number at `{VERSION}`, None without one.
        patterns: what each pattern is with its placeholders filled.
    """

    span: int
    version: int | None
    patterns: Mapping[str, str]


def find_newest(patterns: Sequence[str]) -> Newest:
    """Fills the placeholders of all patterns of a log with the newest span and version, by TFX's rules.

    Raises:
        LogError: a pattern is not well formed or has no match, or the newest span or version is not
            the same for all of them.
    """
    if not any(PLACEHOLDER.search(pattern) for pattern in patterns):
        return Newest(0, None, {pattern: pattern for pattern in patterns})
    found = {pattern: _resolve(pattern) for pattern in patterns}
    numbers = {(span, version) for _, span, version in found.values()}
    if len(numbers) > 1:
        expected = "the same newest span and version for events and outcomes"
        raise_if_any(Problem(subject=pattern, expected=expected, found=path) for pattern, (path, _, _) in found.items())
    ((span, version),) = numbers
    return Newest(span, version, {pattern: path for pattern, (path, _, _) in found.items()})


def _resolve(pattern: str) -> tuple[str, int, int | None]:
    from tfx.components.example_gen import utils
    from tfx.proto import example_gen_pb2

    split = example_gen_pb2.Input.Split(name="log", pattern=pattern)
    try:
        _, span, version = utils.calculate_splits_fingerprint_span_and_version("", [split])
    except ValueError as error:
        expected = "files that match, with numbers for {SPAN} and {VERSION} or for {YYYY}, {MM}, {DD} and {VERSION}"
        raise LogError([str(Problem(subject=pattern, expected=expected, found=f"none ({error})"))]) from None
    return split.pattern, span, version
