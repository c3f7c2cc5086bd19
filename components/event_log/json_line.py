"""One line of JSON: what it holds, or what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.event_log.problems import describe, excerpt

OBJECT = "a JSON object in UTF-8 on each line"
ONCE = "each key once in an object"
_LONGEST_INTEGER = 38  # digits that the parser keeps


class LineFault(Exception):
    """A line that cannot be used."""

    def __init__(self, expected: str, found: str, column: str = "") -> None:
        super().__init__(found)
        self.expected = expected
        self.found = found
        self.column = column


class Pairs(list[tuple[str, Any]]):
    """The keys and values of an object, repeated keys included."""


def check_once(pairs: Pairs, columns: Sequence[str]) -> None:
    """Checks that an object has a value at most once for each column.

    Raises:
        LineFault: it has several.
    """
    repeated = [name for name, count in Counter(key for key, _ in pairs).items() if count > 1]
    for name in repeated:
        if name in columns:
            given = [json.dumps(as_plain(item)) for key, item in pairs if key == name]
            found = f"{name!r} {len(given)} times, with {describe(', '.join(given))}"
            raise LineFault(ONCE, found, name)


def decode(text: bytes) -> Pairs:
    """Returns the keys and values of an object; lists within it are lists, objects `Pairs`.

    Raises:
        LineFault: it is something else, or no JSON.
    """
    try:
        value = _DECODER.decode(text.decode())
    except UnicodeDecodeError as error:
        around = text[max(error.start - 20, 0) : error.end + 20]
        raise LineFault(OBJECT, f"{describe(around)}, which is not UTF-8") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.colno}"
        if advice := _advice(text):
            reason += f"; {advice}"
        raise LineFault(OBJECT, f"{excerpt(text)} ({reason})") from None
    except RecursionError:
        raise LineFault(OBJECT, f"{excerpt(text)} (nested too deeply)") from None
    if not isinstance(value, Pairs):
        advice = _advice(text)
        raise LineFault(OBJECT, f"{excerpt(text)} ({advice})" if advice else excerpt(text))
    return value


def as_plain(value: Any) -> Any:
    """Returns a value with dictionaries instead of `Pairs`."""
    if isinstance(value, Pairs):
        return {key: as_plain(item) for key, item in value}
    return [as_plain(item) for item in value] if isinstance(value, list) else value


def _advice(text: bytes) -> str:
    """Returns advice against JSON of several lines, empty if the text is not of that kind."""
    if text.lstrip().startswith(b"["):
        return "turn an array into lines with jq -c '.[]', or let the file's name end in .json"
    if text.strip() == b"{":
        return "put each object on one line with jq -c ., or let the file's name end in .json"
    return ""


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _LONGEST_INTEGER else text


def _float(text: str) -> float | str:
    """Returns the number, or its text if it is out of range, for the message about it."""
    return float(text) if np.isfinite(float(text)) else text


# Python's writers use NaN and Infinity, which are not JSON.
_DECODER = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_constant=str, parse_int=_integer, parse_float=_float
)
