"""The base of every section of the configuration: what holds for every value, whatever it means.

A configuration travels: as JSON to the worker, into cache keys and manifests, as text into containers. So a value is
only taken if it arrives as it left: numbers are finite and of a size that every part can hold, text is Unicode.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from components.command.escape import hide_userinfo

LARGEST = (
    2**31 - 1
)  # TensorFlow, protocol buffers and Kubernetes count with 32 bits in one place or another


class KeyedError(ValueError):
    """What is wrong with one key of a section, found where the whole section is looked at.

    Attributes:
        key: as the file has it.
    """

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading.

    Numbers with a point are finite unless their type is `Bound`; a new field has nothing to do for it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, values: object) -> object:
        # Python, and so Pydantic, takes true for 1: `epochs: true` would train for one epoch.
        if not isinstance(values, dict):
            return values
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if _holds_bool(values.get(key)) and not _takes_bool(field.annotation):
                raise KeyedError(key, f"expected no true or false, found {values[key]!r}")
        return values

    @field_validator("*", mode="after")
    @classmethod
    def _can_travel(cls, value: object) -> object:
        for item in _leaves(value):
            if isinstance(item, int) and abs(item) > LARGEST:
                raise ValueError(
                    f"expected a whole number of at most {LARGEST:,}, found {_shortened(item)}"
                )
            if isinstance(item, str) and re.search("[\0\ud800-\udfff]", item):
                raise ValueError(f"expected Unicode text without the character NUL, found {item!r}")
        return value


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yields the sections that a field's annotation names, also inside lists, mappings and alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_in(argument)


def _is_a_number(value: float) -> float:
    if math.isnan(value):
        raise ValueError("expected a number, .inf or -.inf, found nan")
    return value


def _in_json(value: float) -> float | str:
    # JSON has no infinite numbers; Pydantic would write null, which reads back as "no bound was given".
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


# An end of a range, which may be open: .inf and -.inf are taken, and survive JSON.
Bound = Annotated[
    float,
    Field(allow_inf_nan=True),
    AfterValidator(_is_a_number),
    PlainSerializer(_in_json, when_used="json"),
]


def _takes_bool(annotation: Any) -> bool:
    if annotation in (bool, Any):
        return True
    return any(sections_in(annotation)) or any(map(_takes_bool, get_args(annotation)))


def _holds_bool(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bool, value.values()))
    return (
        any(map(_holds_bool, value)) if isinstance(value, list | tuple) else isinstance(value, bool)
    )


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _shortened(number: int) -> str:
    return (
        str(number)
        if abs(number) < 10**30
        else f"one of about {round(abs(number).bit_length() * 0.30103)} digits"
    )


_SECRET_WORDS = "secret|password|passwd|token|credential|private_key|connection_string"
_SECRET_OPTION = re.compile(rf"--?(?=[\w-]*(?:{_SECRET_WORDS}))([\w-]+)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def shown(value: object) -> str:
    """Returns a value for an error text; of an address only scheme and host: paths hold tokens.

    >>> shown("https://me:word@chat.example/hooks/T0/B0")
    "'https://chat.example/...'"
    >>> shown(0.5)
    '0.5'
    """
    if "://" not in repr(value):
        return repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__} with an address in it"

    scheme, _, rest = value.partition("://")
    host, *more = re.split(r"[/?#]", rest, maxsplit=1)
    return repr(f"{scheme}://{host.rpartition('@')[2]}{'/...' if any(more) else ''}")


def _without_userinfo(value: object) -> object:
    if isinstance(value, str) and hide_userinfo(value) != value:
        raise ValueError(
            "expected an address without user name and password, found some in front of the @; "
            "secrets come from the environment"
        )
    return value


def _host(value: object) -> object:
    if isinstance(value, str) and "@" in value:
        raise ValueError(
            "expected the name or address of a machine, found something in front of an @; "
            "user and password are settings of their own"
        )
    return value


def _variable(value: object) -> object:
    if isinstance(value, str) and not _VARIABLE.fullmatch(value):
        raise ValueError(
            "expected the name of an environment variable (letters, digits and _), found another "
            "text; the secret itself never stands here"
        )
    return value


def _option(value: object) -> object:
    if isinstance(value, str) and (found := _SECRET_OPTION.match(value)):
        raise ValueError(
            f"expected no secret, found the option --{found[1]}; options are written into "
            "manifests, so give it to the runner by its environment"
        )
    return _without_userinfo(value)


Address = Annotated[str, BeforeValidator(_without_userinfo)]  # a URL, or a path where both will do
Host = Annotated[str, BeforeValidator(_host)]  # of a server, without a scheme
Variable = Annotated[str, BeforeValidator(_variable)]  # name of the one that holds a secret
Option = Annotated[str, BeforeValidator(_option)]  # of a runner
