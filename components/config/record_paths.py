"""Paths to values in a record, and what a value there must be.

A path names a value in a record: `userid`; `context.course_id`, a field of an object, or of text
that holds JSON; `grouping[0].id`, an item of a list; `extensions."https://example.org/speed"`, a
name with dots; `lookups.courses.term`, the column `term` of the lookup `courses`.

Regular expressions are those that Python and Rust both know, since records are read by the latter.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from pydantic import Field

from components.config.section import Address, KeyedError, Section

LOOKUPS = "lookups"  # the first part of paths to what a lookup says

_PART = re.compile(r'\.?(?:"([^"\\]+)"|([^."\\\[\]]+))|\[(\d+)\]')
# What only Python's regular expressions have. Escapes and classes come first, to pass over them.
_PYTHON_ONLY = re.compile(
    r"(?P<reference>\\[1-9]|\(\?P=)|(?P<end>\\Z)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|(?P<around>\(\?<?[=!])|(?P<atomic>\(\?>|[*+?}]\+)|(?P<choice>\(\?\()|(?P<open>\{,\d*\})",
    re.DOTALL,
)
_PYTHON_WORDS = {
    "reference": "without references to groups",
    "end": "with $ for the end",
    "around": "without looking ahead or behind",
    "atomic": "without possessive and atomic groups",
    "choice": "without conditions",
    "open": "with a number before the comma of {}",
}


def split_path(path: str) -> list[str | int]:
    """Returns the names and places of items on the way to a value.

    >>> split_path('context.grouping[0]."https://example.org/id"')
    ['context', 'grouping', 0, 'https://example.org/id']

    Raises:
        ValueError: it is not a path.
    """
    parts: list[str | int] = []
    place = 0
    while place < len(path):
        match = _PART.match(path, place)
        if match is None or (place == 0) is match[0].startswith((".", "[")):
            break
        parts.append(int(match[3]) if match[3] else match[1] or match[2])
        place = match.end()
    if not parts or place < len(path):
        raise ValueError(
            "expected a path such as userid, context.course_id, grouping[0].id or "
            f'extensions."https://example.org/speed", found {path!r}'
        )
    return parts


def check_path(value: str) -> str:
    """Returns a path.

    Raises:
        ValueError: it is none.
    """
    split_path(value)
    return value


def check_pattern(value: str) -> str:
    """Returns a regular expression.

    Raises:
        ValueError: it is none, or one that Rust does not know.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of sets that Rust reads otherwise
            re.compile(value)
    except (re.error, FutureWarning) as error:
        raise ValueError(f"expected a regular expression, found {value!r} ({error})") from None
    for match in _PYTHON_ONLY.finditer(value):
        if match.lastgroup is not None:
            raise ValueError(
                f"expected a regular expression {_PYTHON_WORDS[match.lastgroup]}, found "
                f"{match[0]!r} at character {match.start() + 1} of {value!r}"
            )
    return value


class ValuesInFile(Section):
    """A text file of values, one per line; lines that are blank or begin with `#` are passed over.

    Changing the file changes the log: the next run reads it again.
    """

    file: Address = Field(description="the file, in UTF-8")


# What a value must be: one of a list, one of a file, or one that a regular expression is found in.
Condition = list[str] | str | ValuesInFile
Conditions = dict[str, Condition]


def check_conditions(conditions: Conditions) -> Conditions:
    """Returns conditions whose paths and patterns are right.

    Raises:
        KeyedError: one is not.
    """
    for path, condition in conditions.items():
        try:
            split_path(path)
            if isinstance(condition, str):
                check_pattern(condition)
        except ValueError as error:
            raise KeyedError(path, str(error)) from None
    return conditions


def as_texts(value: Any) -> Any:
    """Returns values as text: YAML reads 0 and true as a number and a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return [as_texts(item) for item in value]
    if isinstance(value, dict):
        return {as_texts(key): as_texts(item) for key, item in value.items()}
    return value


def lookup_of(path: str) -> tuple[str, str] | None:
    """Returns the lookup and its column that a path names; None for a path in the record.

    >>> lookup_of("lookups.courses.term")
    ('courses', 'term')
    """
    parts = split_path(path)
    if parts[0] != LOOKUPS or len(parts) != 3:
        return None
    return str(parts[1]), str(parts[2])


Rule = list[Conditions]  # the record has all that one of them demands


def check_rules(rules: dict[str, Rule]) -> dict[str, Rule]:
    """Checks the paths and patterns of rules.

    Raises:
        KeyedError: one is none.
    """
    for name, rule in rules.items():
        for index, conditions in enumerate(rule):
            try:
                check_conditions(conditions)
            except KeyedError as error:
                place = [str(index)] if len(rule) > 1 else []
                raise KeyedError([name, *place, *error.keys], error.reason) from None
    return rules
