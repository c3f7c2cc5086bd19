"""Changes values in the text of a YAML file, and nothing else: comments and layout stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from components.config.strict_yaml import YamlError, child_of, read_yaml

_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*(?: [\w./-]+)*", re.ASCII)


def edit_yaml(text: str, values: Mapping[tuple[str, ...], Any]) -> str:
    r"""Returns the text with some values set, as flow style writes them.

    A key that is there keeps its place, and the comment behind it; another one is added at the end
    of its section, and a missing section at the end of the text. Items of lists go by number.

    Args:
        text: YAML whose top is a mapping.
        values: the new values, by the keys that lead to them.

    >>> edit_yaml("training: {epochs: 30}  # enough\n", {("training", "epochs"): 5})
    'training: {epochs: 5}  # enough\n'

    Raises:
        YamlError: the text is not YAML.
        KeyError: a value on the way to a key is no mapping or list.
    """
    for keys, value in values.items():
        text = _set(text, [*keys], value)
    return text


def as_flow(value: Any) -> str:
    """Returns a value in one line, as `read_yaml` reads it back.

    >>> as_flow({"lstm": [64, 32], "rate": 1e-5, "pooling": "last"})
    '{lstm: [64, 32], rate: 1.0e-05, pooling: last}'
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_flow(key)}: {as_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_flow, value))}]"
    if isinstance(value, float):
        digits, exponent, power = repr(value).partition("e")
        return f"{digits}{'' if '.' in digits else '.0'}{exponent}{power}"
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    """Returns whether text needs no quotes, not even inside brackets."""
    if not _PLAIN.fullmatch(text):
        return False
    try:
        return bool(read_yaml(text)[1] == text)
    except YamlError:
        return False


def _set(text: str, keys: list[str], value: Any) -> str:
    node, _ = read_yaml(text)
    for depth, key in enumerate(keys):
        rest = keys[depth + 1 :]
        found = child_of(node, key)
        if found is None:
            return _add(text, node, keys[:depth], keys[depth:], value)
        name, inner = found
        if not rest or _is_empty(inner):  # such as `training:` without anything
            return _replace(text, name, inner, _nested(rest, value))
        node = inner
    raise KeyError("expected at least one key")


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def _nested(keys: Sequence[str], value: Any) -> Any:
    """Returns a value inside mappings with one key each."""
    for key in reversed(keys):
        value = {key: value}
    return value


def _replace(text: str, name: yaml.Node, node: yaml.Node, value: Any) -> str:
    """Puts a value in the place of another; that of a block moves to the line of its name."""
    written = as_flow(value)
    if not _is_block(node) and not _is_empty(node):
        return text[: node.start_mark.index] + written + text[node.end_mark.index :]

    colon = text.index(":", name.end_mark.index) + 1
    if _is_empty(node):
        return f"{text[:colon]} {written}{text[colon:]}"
    line_end = text.find("\n", colon)
    behind = text[colon:line_end].rstrip()  # a comment
    return f"{text[:colon]} {written}{behind}{text[_content_end(node) :]}"


def _content_end(node: yaml.Node) -> int:
    """Returns where the last value of a node ends; a block ends where the next one starts."""
    while _is_block(node):
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    return int(node.end_mark.index)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _add(
    text: str, node: yaml.Node | None, above: Sequence[str], keys: Sequence[str], value: Any
) -> str:
    """Adds a key to a mapping."""
    if not isinstance(node, yaml.MappingNode):
        raise KeyError(".".join([*above, *keys]))

    entry = f"{as_flow(keys[0])}: {as_flow(_nested(keys[1:], value))}"
    if not _is_block(node):
        end = node.end_mark.index - 1  # the closing bracket
        separator = ", " if node.value else ""
        inner = text[node.start_mark.index : end]
        close = end - (len(inner) - len(inner.rstrip()))
        return f"{text[:close]}{separator}{entry}{text[close:]}"

    end = _content_end(node)
    rest_of_line = text.find("\n", end)
    place = len(text) if rest_of_line < 0 else rest_of_line + 1
    before = text[:place]
    newline = "" if before.endswith("\n") else "\n"
    indent = " " * node.start_mark.column
    return f"{before}{newline}{indent}{entry}\n{text[place:]}"
