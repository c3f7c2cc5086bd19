"""The ways to a value of a record: where it is found there, and what is made of it."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.config.record_paths import (
    Conditions,
    as_texts,
    check_conditions,
    check_path,
    check_pattern,
    split_path,
)
from components.config.section import KeyedError, Section

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


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
    unless: Conditions = Field(
        default_factory=dict,
        description="as `when`: what a record must not have all of for this way to be taken",
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
        None,
        description="how a time is written, as for strptime: `%d.%m.%Y %H:%M`; `%s` for seconds "
        "since 1970, of which 0 is none",
    )
    over: str | None = Field(
        None,
        description="path of the number that the value is divided by, such as the best grade; or "
        "that number, `100`",
    )
    minus: str | None = Field(
        None,
        description="path of the number that is subtracted, such as the second at which an "
        "attempt began",
    )
    equals: str | None = Field(
        None, description="path; the value becomes 1 where it is the same there, otherwise 0"
    )

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"from": value}
        if not isinstance(value, dict):
            return value
        texts = ("constant", "over", "when", "unless", "values")
        return {key: as_texts(item) if key in texts else item for key, item in value.items()}

    @field_validator("from_", "over", "minus", "equals")
    @classmethod
    def _is_path(cls, value: str | None) -> str | None:
        return None if value is None else check_path(value)

    @field_validator("pattern", "file")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        if value is not None and re.compile(check_pattern(value)).groups < 1:
            raise ValueError(f"expected a regular expression with a group, found {value!r}")
        return value

    @field_validator("when", "unless")
    @classmethod
    def _are_conditions(cls, value: Conditions) -> Conditions:
        return check_conditions(value)

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.divisor == 0:
            raise KeyedError("over", "expected a path or a positive number, found 0")
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
    def divisor(self) -> float | None:
        """The number in `over`; None if it is a path."""
        return float(self.over) if self.over and _NUMBER.fullmatch(self.over) else None

    @property
    def value_paths(self) -> list[str]:
        """The paths that the value is made of."""
        over = self.over if self.divisor is None else None
        given = (self.from_, over, self.minus, self.equals)
        return [*(path for path in given if path is not None), *self.template_paths]

    @property
    def paths(self) -> list[str]:
        """All paths that are read."""
        return [*self.value_paths, *self.when, *self.unless]


def as_sources(value: Any) -> Any:
    """Returns the ways to a column as a list, whether one was written or several."""
    return value if isinstance(value, list) else [value]


Sources = list[Source]


def sources_of_each(columns: Any) -> Any:
    """Returns the ways to each column as a list."""
    if not isinstance(columns, dict):
        return columns
    return {name: as_sources(sources) for name, sources in columns.items()}
