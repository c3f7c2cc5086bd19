"""How the records of a platform become events: for each column, where its value is found.

For the paths to values see `record_paths`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from components.config.record_paths import (
    LOOKUPS,
    Conditions,
    Rule,
    ValuesInFile,
    as_texts,
    check_path,
    check_pattern,
    check_rules,
    lookup_of,
    split_path,
)
from components.config.section import Address, InputName, KeyedError, Section
from components.config.value_sources import Source, Sources, sources_of_each

Keys = tuple[str | int, ...]  # of the configuration, below `data`
Value = TypeVar("Value")


def as_rule(value: Any) -> Any:
    """Returns a rule as a list of what records must have, whether one was written or several."""
    return [as_texts(item) for item in (value if isinstance(value, list) else [value])]


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


def _rules_in_one_way(rules: Any) -> Any:
    if not isinstance(rules, dict):
        return rules
    return {name: as_rule(rule) for name, rule in rules.items()}


class Language(Section):
    """How an export names its columns and writes its times in a language."""

    columns: list[str] = Field(description="the names of all columns, in their order", min_length=1)
    dates: list[Literal["dmy", "mdy", "ymd"]] = Field(
        ["dmy"],
        description="orders of day, month and year in dates of numbers; of several, the one that "
        "fits all dates of a file",
        min_length=1,
    )
    months: list[str] = Field(
        default_factory=list, description="January to December, for dates that write them as words"
    )
    morning: list[str] = Field(
        ["am"], description="what 12-hour clocks write before noon, without dots and spaces"
    )
    afternoon: list[str] = Field(["pm"], description="and after noon")

    @field_validator("months")
    @classmethod
    def _are_months(cls, value: list[str]) -> list[str]:
        if len(value) not in (0, 12):
            raise ValueError(f"expected twelve months or none, found {len(value)}")
        return value


class RecordKind(Section):
    """One of the tables that a file of a format may be, recognised by its columns."""

    title: str = Field("", description="what the table is called")
    has: list[str] = Field(
        default_factory=list,
        description="a file that has all of these columns is of this kind; if of several, of the "
        "one with the most",
    )
    languages: dict[str, Language] = Field(
        default_factory=dict,
        description="instead of `has`, by language: the names of the columns; the mapping knows "
        "them by those of the first language",
    )
    optional_first: bool = Field(
        False, description="of `languages`: whether the first column may be missing"
    )
    time: str | None = Field(None, description="of `languages`: the column of times")
    newest_first: bool = Field(
        False, description="of `languages`: whether later rows are earlier events"
    )
    one_per_file: list[InputName] = Field(
        default_factory=list,
        description="columns of events whose value, if the records of a file name only one, is "
        "also that of those without one",
    )
    columns: dict[InputName, Sources] = Field(
        default_factory=dict, description="as those of the format, over which they are laid"
    )
    leave_out: dict[str, Rule] = Field(
        default_factory=dict, description="as those of the format, over which they are laid"
    )

    _sources = field_validator("columns", mode="before")(sources_of_each)
    _rules = field_validator("leave_out", mode="before")(_rules_in_one_way)
    _checked = field_validator("leave_out")(check_rules)

    @model_validator(mode="after")
    def _can_be_recognised(self) -> RecordKind:
        if bool(self.has) == bool(self.languages):
            raise ValueError("expected one of has and languages, found both or none")
        first = next(iter(self.languages.values()), None)
        for name, language in self.languages.items():
            if first and len(language.columns) != len(first.columns):
                count = len(first.columns)
                raise KeyedError(
                    ["languages", name, "columns"],
                    f"expected {count} columns as in the first language, "
                    f"found {len(language.columns)}",
                )
        if self.time is not None and not (first and self.time in first.columns):
            raise KeyedError(
                "time", f"expected a column of the first language, found {self.time!r}"
            )
        return self


class EventMapping(Section):
    """How the records of a format become events.

    A mapping of the configuration is laid over that of its format, column by column and rule by
    rule; null takes one away.
    """

    title: str = Field("", description="what the format is called")
    file_names: str | None = Field(
        None,
        description="regular expression for names that files of JSON lines have, in lower case, "
        "besides those that end in .jsonl or .ndjson",
    )
    line_start: str | None = Field(
        None,
        description="regular expression for what a logger writes before the record in a line",
    )
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
    unique_within: dict[InputName, str] = Field(
        default_factory=dict,
        description="by column: path of what its values are unique in, such as the home page of an "
        "account; a hint counts the records of a file in which that changes",
    )
    lookups: dict[InputName, Lookup] = Field(
        default_factory=dict, description="small tables to look values up in"
    )
    kinds: dict[InputName, RecordKind] = Field(
        default_factory=dict,
        description="by name: the tables that a file may be, if the format has several; `columns` "
        "and `leave_out` are then what they share",
    )

    @field_validator("unique_within")
    @classmethod
    def _are_paths(cls, value: dict[str, str]) -> dict[str, str]:
        return {column: check_path(path) for column, path in value.items()}

    @field_validator("file_names", "line_start")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        return None if value is None else check_pattern(value)

    _sources = field_validator("columns", mode="before")(sources_of_each)
    _rules = field_validator("leave_out", mode="before")(_rules_in_one_way)
    _checked = field_validator("leave_out")(check_rules)

    @property
    def column_names(self) -> list[str]:
        """The columns of events that are mapped, those of all kinds included."""
        kinds = self.kinds.values()
        return [*dict.fromkeys([*self.columns, *(name for kind in kinds for name in kind.columns)])]

    @property
    def every_source(self) -> Iterator[tuple[Keys, Source]]:
        """The ways to values of all columns and kinds, each with the keys that lead to it."""
        for keys, columns in self._everywhere("columns"):
            for name, sources in columns.items():
                for index, source in enumerate(sources):
                    yield (*keys, name, *([index] if len(sources) > 1 else [])), source

    @property
    def every_condition(self) -> Iterator[tuple[Keys, Conditions]]:
        """What rules and ways demand of records, each with the keys that lead to it."""
        for keys, source in self.every_source:
            yield (*keys, "when"), source.when
            yield (*keys, "unless"), source.unless
        for keys, rules in self._everywhere("leave_out"):
            for name, rule in rules.items():
                for index, conditions in enumerate(rule):
                    yield (*keys, name, *([index] if len(rule) > 1 else [])), conditions

    def _everywhere(self, key: Literal["columns", "leave_out"]) -> Iterator[tuple[Keys, Any]]:
        """Yields the columns or rules that all kinds share, and those of each kind."""
        yield ("mapping" if key == "columns" else key,), getattr(self, key)
        for name, kind in self.kinds.items():
            yield ("kinds", name, key), getattr(kind, key)

    def check_lookups(self) -> None:
        """Checks that every path to a lookup names one.

        Raises:
            KeyedError: one does not.
        """
        paths = [(keys, path) for keys, source in self.every_source for path in source.paths]
        paths += [(keys, path) for keys, conditions in self.every_condition for path in conditions]
        for keys, path in paths:
            found = lookup_of(path)
            if split_path(path)[0] == LOOKUPS and (found is None or found[0] not in self.lookups):
                names = ", ".join(self.lookups) or "none"
                raise KeyedError(
                    keys,
                    f"expected {LOOKUPS}.NAME.COLUMN with one of data.lookups ({names}), found "
                    f"{path!r}",
                )

    @property
    def side_files(self) -> list[str]:
        """The files besides the log that records are read with: lookups, and lists of values."""
        tables = [lookup.table for lookup in self.lookups.values()]
        lists = [
            condition.file
            for _, conditions in self.every_condition
            for condition in conditions.values()
            if isinstance(condition, ValuesInFile)
        ]
        return [*dict.fromkeys([*tables, *lists])]

    def of_kind(self, kind: RecordKind, header: Sequence[str]) -> EventMapping:
        """Returns the mapping of the records of one kind.

        Columns of events that only other kinds have are without values.

        Args:
            kind: one of `kinds`.
            header: the columns of the records.
        """
        of_others: dict[str, Sources] = {
            name: [] for name in self.column_names if name not in header
        }
        return self.model_copy(
            update={
                "columns": {**of_others, **self.columns, **kind.columns},
                "leave_out": {**self.leave_out, **kind.leave_out},
                "kinds": {},
            }
        )

    def laid_over(
        self,
        columns: Mapping[str, Sources | None],
        leave_out: Mapping[str, Rule | None],
        lookups: Mapping[str, Lookup | None],
        kinds: Mapping[str, RecordKind | None],
    ) -> EventMapping:
        """Returns the mapping with what a configuration says laid over it; null takes one away.

        Columns and rules of the configuration count for all kinds.
        """
        over = {
            name: kind.model_copy(
                update={
                    "columns": _laid_over(kind.columns, columns),
                    "leave_out": _laid_over(kind.leave_out, leave_out),
                }
            )
            for name, kind in _laid_over(self.kinds, kinds).items()
        }
        return self.model_copy(
            update={
                "columns": _laid_over(self.columns, columns),
                "leave_out": _laid_over(self.leave_out, leave_out),
                "lookups": _laid_over(self.lookups, lookups),
                "kinds": over,
            }
        )


def _laid_over(below: dict[str, Value], above: Mapping[str, Value | None]) -> dict[str, Value]:
    """Returns the items of both mappings; those above count, and null takes one away."""
    merged = {**below, **above}
    return {name: value for name, value in merged.items() if value is not None}
