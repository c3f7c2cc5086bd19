"""The base of every section of the configuration, and the types of values that sections share.

A configuration travels: as JSON to the worker, into cache keys and manifests, as text into
containers. So a value is accepted only if it arrives unchanged: numbers are finite and fit into 32
bits, text is Unicode. It is also written into plans, compiled pipelines and error texts. So no
value may hold a secret: an address with a password in it is refused, and no error repeats it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
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

from components.command.escape import for_error, hide_userinfo, shorten

# TensorFlow, protocol buffers and Kubernetes count with 32 bits in one place or another.
LARGEST = 2**31 - 1


class KeyedError(ValueError):
    """An error about one key, raised by a validator that checks the whole section.

    `load_config` then names the file and the line of that key.

    Attributes:
        keys: the way from the section to the key, with the names used in the file; numbers for
            items of lists.
        reason: the error without the key.
    """

    def __init__(self, keys: str | Sequence[str | int], reason: str) -> None:
        self.keys = [keys] if isinstance(keys, str) else [str(key) for key in keys]
        self.reason = reason
        super().__init__(f"{dotted(self.keys)}: {reason}")


def dotted(keys: Sequence[str]) -> str:
    """Returns the way to a value as people write it.

    >>> dotted(["gates", "0", "class"])
    'gates[0].class'
    """
    return "".join(f"[{key}]" if key.isdecimal() else f".{key}" for key in keys).lstrip(".")


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading.

    Floats have to be finite, except those of the type `Bound`.
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
                found = shorten(for_error(values[key]), 80)
                raise KeyedError(key, f"expected a value other than true or false, found {found}")
        return values

    @field_validator("*", mode="after")
    @classmethod
    def _can_travel(cls, value: object) -> object:
        for item in _leaves(value):
            if isinstance(item, int) and abs(item) > LARGEST:
                found = shorten(str(item), 32)
                raise ValueError(f"expected a whole number of at most {LARGEST:,}, found {found}")
            if isinstance(item, str) and re.search("[\0\ud800-\udfff]", item):
                raise ValueError(f"expected Unicode text without the character NUL, found {item!r}")
        return value


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yields the sections in a field's annotation, also inside lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_in(argument)


def _takes_bool(annotation: Any) -> bool:
    if annotation in (bool, Any):
        return True
    return any(sections_in(annotation)) or any(map(_takes_bool, get_args(annotation)))


def _holds_bool(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bool, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_bool, value))
    return isinstance(value, bool)


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


def integers_as_digits(value: object) -> object:
    """Returns names of classes as text; YAML reads the class 0 as a number.

    Args:
        value: a list of names, or a mapping by name; anything else is returned unchanged.

    >>> integers_as_digits([0, 1, "two", True])
    ['0', '1', 'two', True]
    >>> integers_as_digits({0: 1.0})
    {'0': 1.0}
    """
    if isinstance(value, list):
        return [_digits(item) for item in value]
    if isinstance(value, dict):
        return {_digits(key): item for key, item in value.items()}
    return value


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_a_number(value: float) -> float:
    if math.isnan(value):
        raise ValueError("expected a number, .inf or -.inf, found nan")
    return value


def _in_json(value: float) -> float | str:
    # JSON has no infinite numbers. Pydantic would write null, which reads back as "no bound given".
    if math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"


# An end of a range, which may be open: .inf and -.inf are accepted, and survive JSON.
Bound = Annotated[
    float,
    Field(allow_inf_nan=True),
    AfterValidator(_is_a_number),
    PlainSerializer(_in_json, when_used="json"),
]


_SECRET_WORDS = "secret|password|passwd|token|credential|private_key|connection_string"
_SECRET_OPTION = re.compile(rf"--?(?=[\w-]*(?:{_SECRET_WORDS}))([\w-]+)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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


Address = Annotated[str, BeforeValidator(_without_userinfo)]  # a URL; or a path, where allowed
Host = Annotated[str, BeforeValidator(_host)]  # of a server, without a scheme
Variable = Annotated[str, BeforeValidator(_variable)]  # an environment variable with a secret
Option = Annotated[str, BeforeValidator(_option)]  # of a runner


def _is_plain(name: str) -> str:
    # It becomes the name of a tensor in the served model, and tensors allow little else.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"expected letters, digits and _ in the name of an input, found {name!r}; "
            "rename the column"
        )
    return name


InputName = Annotated[str, AfterValidator(_is_plain)]
