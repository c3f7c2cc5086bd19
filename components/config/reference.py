"""Writes the configuration reference from the types: `python -m components.config.reference FILE`.

`make docs` calls it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.config.root import Config
from components.config.section import Section, sections_in

_INTRODUCTION = """# Configuration reference

One YAML file describes one data set or deployment. It is validated as a whole before anything heavy
is imported; an error names the file, the line and the key, what was expected and what was found.
Unknown keys are errors. Relative paths count from the file's own folder; in `--set key=value` they
count from the current folder.

Values are those of YAML 1.2: `no`, `off`, dates, `007` and `1:30` are text. A key that occurs
twice, a tag such as `!!binary`, and more than 50 nested levels are errors. Numbers are finite,
except the ends of `clip`. Names for Kubernetes are checked against its rules, also for runs on one
machine.

This page is generated from the typed configuration by `make docs`.
"""


def reference(kind: type[Section] = Config, introduction: str = _INTRODUCTION) -> str:
    """Returns a reference as Markdown: one table per section, in the order of the file.

    Args:
        kind: what a file holds.
        introduction: the page's title and first paragraphs.
    """
    return "\n".join([introduction, *_tables(kind, "", "The file", set())])


def _tables(
    section: type[Section], path: str, title: str, seen: set[type[Section]]
) -> Iterator[str]:
    if section in seen:
        return
    seen.add(section)

    yield f"## `{path}`: {title}\n" if path else f"## {title}\n"
    yield f"{_summary(section)}\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|"
    for name, field in section.model_fields.items():
        kind, meaning = _type(field.annotation), _cell(field.description or "")
        default = "**required**" if field.is_required() else f"`{_default(field)}`"
        yield f"| `{field.alias or name}` | {kind} | {default} | {meaning} |"
    yield ""

    for name, field in section.model_fields.items():
        inner_path = f"{path}.{field.alias or name}".lstrip(".")
        for inner in sections_in(field.annotation):
            yield from _tables(inner, inner_path, inner.__name__, seen)


def _summary(section: type[Section]) -> str:
    lines = (section.__doc__ or "").strip().splitlines()
    return " ".join(line.strip() for line in lines if line.strip())


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Section):
        return "see below"
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item) for item in arguments if item is not type(None))

    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if origin is tuple:
        return f"[{', '.join(_type(item) for item in arguments)}]"

    names = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return names.get(annotation) or str(annotation.__name__)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
