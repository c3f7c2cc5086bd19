"""How CSV files are written: what separates their fields, and how text and numbers look."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator

from components.config.section import Section

_NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


class CsvDialect(Section):
    """How CSV files are written; default: as in RFC 4180, in UTF-8, with a point in numbers."""

    delimiter: str = Field(
        ",", description="what separates fields: one character, also `tab` or `semicolon`"
    )
    encoding: str = Field(
        "utf-8", description="how text is stored, such as `cp1252`, `latin-1`, `utf-16`, `gb18030`"
    )
    decimal: Literal[".", ","] = Field(
        ".",
        description="what comes before the fraction of a number; with `,` the value `1,5` is `1.5` "
        "in every column",
    )
    missing: list[str] = Field(
        default_factory=list,
        description="values that stand for a missing one besides an empty field, such as `NULL`, "
        "`\\\\N` or `?`",
    )

    @field_validator("delimiter")
    @classmethod
    def _is_a_character(cls, value: str) -> str:
        value = _NAMES.get(value, value)
        is_mark = len(value) == 1 and value.isascii() and not value.isalnum()
        if not is_mark or value in '"\r\n.+-_' or (ord(value) < 32 and value != "\t"):
            raise ValueError(
                f"expected one character that separates fields (, ; | or tab), found {value!r}"
            )
        return value

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            "text".encode(value)
            return codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError(
                f"expected an encoding such as utf-8, cp1252, latin-1 or utf-16, found {value!r}"
            ) from None

    @property
    def is_standard(self) -> bool:
        """Whether it is CSV as this project writes it."""
        return self == CsvDialect()
