"""Parameters of a run, as the compiled pipeline declares them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from components.errors import MasteryError

_KINDS: dict[
    str, tuple[str, tuple[type, ...]]
] = {  # KFP's names of types, and what JSON has for them
    "NUMBER_INTEGER": ("a whole number", (int,)),
    "NUMBER_DOUBLE": ("a number", (int, float)),
    "BOOLEAN": ("true or false", (bool,)),
    "LIST": ("a JSON list", (list,)),
    "STRUCT": ("a JSON object", (dict,)),
}


def read_parameters(file: Path, given: Iterable[str]) -> dict[str, Any]:
    """Returns the values of `name=value` texts, typed as a compiled pipeline declares its parameters.

    The server takes a value of the wrong type and lets the run fail much later, so it is refused here.

    Raises:
        MasteryError: a name is not declared, a value does not fit, or one that has no default is missing.
    """
    spec = next(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    declared = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    values = dict(_value(text, declared) for text in given)
    for name, kind in declared.items():
        if name not in values and "defaultValue" not in kind and not kind.get("isOptional"):
            raise MasteryError(
                f"--param {name}=VALUE: this parameter has no default; expected a value, found none."
            )
    return values


def _value(text: str, declared: dict[str, Any]) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise MasteryError(f"--param {text}: expected name=value.")
    if name not in declared:
        names = ", ".join(sorted(declared)) or "none at all"
        raise MasteryError(
            f"--param {text}: the pipeline has no parameter {name}; those that it has: {names}."
        )
    kind = declared[name].get("parameterType", "STRING")
    if kind not in _KINDS:
        return name, value
    words, types = _KINDS[kind]
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, types) or (isinstance(parsed, bool) and bool not in types):
        raise MasteryError(f"--param {text}: expected {words}, found {value!r}.")
    return name, parsed
