"""How the records of a platform become events: for each column, where its value is found.

A path names a value in a record: `userid`; `context.course_id`, a field of an object, or of text
that holds JSON; `grouping[0].id`, an item of a list; `extensions."https://example.org/speed"`, a
name with dots; `lookups.courses.term`, the column `term` of the lookup `courses`.

Regular expressions are those that Python and Rust both know, since records are read by the latter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Address, InputName, KeyedError, Section

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


def _path(value: str) -> str:
    split_path(value)
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
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


def _check_conditions(conditions: Conditions) -> Conditions:
    for path, condition in conditions.items():
        try:
            split_path(path)
            if isinstance(condition, str):
                _pattern(condition)
        except ValueError as error:
            raise KeyedError(path, str(error)) from None
    return conditions


def _texts(value: Any) -> Any:
    """Returns values as text: YAML reads 0 and true as a number and a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return [_texts(item) for item in value]
    if isinstance(value, dict):
        return {_texts(key): _texts(item) for key, item in value.items()}
    return value


class Source(Section):
    """One way to a column's value; a path alone, as text, is the way `{from: path}`."""

    from_: str | None = Field(None, alias="from", description="path of the value in the record")
    template: str | None = Field(
        None, description="text with paths in braces, `{course} {term}`; nothing if one is missing"
    )
    constant: str | None = Field(None, description="the value itself, the same for all records")
    file: str | None = Field(
        None, description="regular expression over the file's path; its first group is the value"
    )
    when: Conditions = Field(
        default_factory=dict,
        description="by path: what a record must have for this way to be taken: one of a list of "
        "values, one of those in a file (`{file: staff.txt}`), or a value in which a regular "
        "expression is found",
    )
    pattern: str | None = Field(
        None, description="regular expression; its first group is the value, or there is none"
    )
    values: dict[str, str] = Field(
        default_factory=dict, description="what each value becomes; others stay as they are"
    )
    only_values: bool = Field(False, description="take values that `values` does not name for none")
    as_: Literal["text", "boolean", "duration"] = Field(
        "text",
        alias="as",
        description="`boolean`: true, yes and 1 become 1, false, no and 0 become 0; `duration`: "
        "ISO 8601, `PT1M30S`, becomes seconds",
    )
    format: str | None = Field(
        None, description="how a time is written, as for strptime: `%d.%m.%Y %H:%M`"
    )
    over: str | None = Field(
        None, description="path of the number that the value is divided by, such as the best grade"
    )
    equals: str | None = Field(
        None, description="path; the value becomes 1 where it is the same there, otherwise 0"
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"from": value} if isinstance(value, str) else value

    @field_validator("when", "values", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return _texts(value)

    @field_validator("from_", "over", "equals")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        return None if value is None else _path(value)

    @field_validator("pattern", "file")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is not None and re.compile(_pattern(value)).groups < 1:
            raise ValueError(f"expected a regular expression with a group, found {value!r}")
        return value

    @field_validator("when")
    @classmethod
    def _are_conditions(cls, value: Conditions) -> Conditions:
        return _check_conditions(value)

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [
            name
            for name, value in (
                ("from", self.from_),
                ("template", self.template),
                ("constant", self.constant),
                ("file", self.file),
            )
            if value is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "expected one of from, template, constant and file, found "
                f"{' and '.join(given) or 'none'}"
            )
        for path in self.template_paths:
            try:
                split_path(path)
            except ValueError as error:
                raise KeyedError("template", str(error)) from None
        return self

    @property
    def template_paths(self) -> list[str]:
        """The paths in the template, in their order."""
        return re.findall(r"\{([^{}]*)\}", self.template or "")

    @property
    def paths(self) -> list[str]:
        """All paths that are read."""
        others = [path for path in (self.from_, self.over, self.equals) if path is not None]
        return [*others, *self.template_paths, *self.when]


def as_sources(value: Any) -> Any:
    """Returns the ways to a column as a list, whether one was written or several."""
    return value if isinstance(value, list) else [value]


def as_rule(value: Any) -> Any:
    """Returns a rule as a list of what records must have, whether one was written or several."""
    return [_texts(item) for item in (value if isinstance(value, list) else [value])]


class Lookup(Section):
    """A small table whose columns are added to each record: `lookups.NAME.COLUMN` is their path."""

    table: Address = Field(description="a file: Parquet, CSV (as `data.csv` says) or JSON lines")
    key: str = Field(description="its column of keys, each once")
    path: str = Field(description="path of the key in the record")

    @field_validator("path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if split_path(value)[0] == LOOKUPS:
            raise ValueError(f"expected a path in the record, found {value!r}")
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


Sources = list[Source]
Rule = list[Conditions]  # the record has all that one of them demands


class EventMapping(Section):
    """How the records of a format become events.

    A mapping of the configuration is laid over that of its format, column by column and rule by
    rule; null takes one away.
    """

    title: str = Field("", description="what the format is called")
    records: str | None = Field(
        None, description="key of the list of records, where a line or file is an envelope of them"
    )
    columns: dict[InputName, Sources] = Field(
        default_factory=dict,
        description="by column: the ways to its value, of which the first that finds one counts",
    )
    leave_out: dict[str, Rule] = Field(
        default_factory=dict,
        description="by name: what records are not events of learners; they are counted",
    )
    lookups: dict[InputName, Lookup] = Field(
        default_factory=dict, description="small tables to look values up in"
    )

    @field_validator("columns", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: as_sources(sources) for name, sources in value.items()}

    @field_validator("leave_out", mode="before")
    @classmethod
    def _rules_in_one_way(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: as_rule(rule) for name, rule in value.items()}

    @field_validator("leave_out")
    @classmethod
    def _are_conditions(cls, value: dict[str, Rule]) -> dict[str, Rule]:
        return check_rules(value)

    @property
    def paths(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """All paths that are read, each with the keys that lead to it."""
        for name, sources in self.columns.items():
            for index, source in enumerate(sources):
                place = ("mapping", name, index) if len(sources) > 1 else ("mapping", name)
                yield from ((place, path) for path in source.paths)
        for name, rule in self.leave_out.items():
            yield from ((("leave_out", name), path) for item in rule for path in item)

    def check_lookups(self) -> None:
        """Checks that every path to a lookup names one.

        Raises:
            KeyedError: one does not.
        """
        for place, path in self.paths:
            found = lookup_of(path)
            if split_path(path)[0] == LOOKUPS and (found is None or found[0] not in self.lookups):
                names = ", ".join(self.lookups) or "none"
                raise KeyedError(
                    place,
                    f"expected {LOOKUPS}.NAME.COLUMN with one of data.lookups ({names}), found "
                    f"{path!r}",
                )

    @property
    def side_files(self) -> list[str]:
        """The files besides the log that records are read with: lookups, and lists of values."""
        conditions = [source.when for sources in self.columns.values() for source in sources]
        conditions += [item for rule in self.leave_out.values() for item in rule]
        lists = [
            condition.file
            for item in conditions
            for condition in item.values()
            if isinstance(condition, ValuesInFile)
        ]
        return [*dict.fromkeys([*(lookup.table for lookup in self.lookups.values()), *lists])]


def check_rules(rules: dict[str, Rule]) -> dict[str, Rule]:
    """Checks the paths and patterns of rules.

    Raises:
        KeyedError: one is none.
    """
    for name, rule in rules.items():
        for index, conditions in enumerate(rule):
            try:
                _check_conditions(conditions)
            except KeyedError as error:
                place = [str(index)] if len(rule) > 1 else []
                raise KeyedError([name, *place, *error.keys], error.reason) from None
    return rules
