"""Reads a configuration file, applies overrides, and says what is wrong with it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.config.root import Config
from components.config.span import PLACEHOLDER
from components.errors import ConfigError

PATHS = (
    ("data", "events"), ("data", "outcomes"), ("schema",), ("push", "directory"),
    ("evaluation", "baseline"), ("kubeflow", "ca_cert"), ("metadata", "ssl_ca"),
)  # fmt: skip
PATTERNS = (("data", "events"), ("data", "outcomes"))  # those of them that may be patterns


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans: a class called `no` or `off` is a name."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false|True|False)$"), list("tfTF"))


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads `path`, applies `key.path=value` overrides and validates the result.

    Relative paths in the file count from the file's own folder; in an override they count from the
    current folder. Values of overrides are YAML, so numbers, lists and null work.

    Raises:
        ConfigError: the file is missing, is no YAML mapping, or a value does not fit; the text
            names the file, the line, the key, what was found and what would do.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: expected a configuration file, found none ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: expected UTF-8 text, found something else.") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: expected YAML. {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected a mapping such as `name: my_log`, found {type(values).__name__}.")
    _resolve_paths(values, file.resolve().parent)
    for override in overrides:
        _apply_override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(file, root, item) for item in error.errors())) from None


def _resolve_paths(values: dict[str, Any], folder: Path) -> None:
    for *parents, key in PATHS:
        section: Any = values
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict) and key in section:
            section[key] = _absolute(section[key], folder, is_pattern=(*parents, key) in PATTERNS)


def _absolute(value: Any, folder: Path, *, is_pattern: bool) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder, is_pattern=is_pattern) for item in value]
    if not isinstance(value, str):
        return value
    if is_pattern:
        return absolute_pattern(value, folder)
    return value if "://" in value else str(Path(folder, Path(value).expanduser()).resolve())


def absolute_pattern(pattern: str, folder: Path) -> str:
    """Returns a path or pattern of a log that does not depend on the current folder.

    Args:
        pattern: what the user wrote; one with `://` is left as it is.
        folder: where it counts from. Whatever characters its name has, they are no wildcards.

    >>> absolute_pattern("day-*/events.csv", Path("/logs [old]"))
    '/logs [[]old]/day-*/events.csv'
    """
    if "://" in pattern:
        return pattern
    parts = Path(pattern).expanduser().parts
    is_special = [glob.has_magic(part) or PLACEHOLDER.search(part) is not None for part in parts]
    first = is_special.index(True) if any(is_special) else len(parts)
    start = str(Path(folder, *parts[:first]).resolve())
    return str(Path(glob.escape(start), *parts[first:])) if first < len(parts) else start


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: expected key=value, such as training.epochs=5.")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        value = text
    *parents, last = key.split(".")
    if (*parents, last) in PATHS:
        value = _absolute(value, Path.cwd(), is_pattern=(*parents, last) in PATTERNS)
    section: Any = values
    for index, parent in enumerate(parents):
        if isinstance(section, dict):
            section = section.setdefault(parent, {})
        else:
            section = _item(section, parent, ".".join(parents[: index + 1]))
    if isinstance(section, list):
        _item(section, last, key)
        section[int(last)] = value
    elif isinstance(section, dict):
        section[last] = value
    else:
        raise ConfigError(f"--set {override}: {'.'.join(parents)} is a value, not a section.")


def _item(section: Any, index: str, key: str) -> Any:
    if isinstance(section, list) and index.isdigit() and int(index) < len(section):
        return section[int(index)]
    found = f"a list of {len(section)}" if isinstance(section, list) else type(section).__name__
    raise ConfigError(f"--set {key}: expected the number of an item, found {index!r} in {found}.")


def _explain(file: Path, root: yaml.Node | None, item: Any) -> str:
    """Turns one of Pydantic's errors into `file, line n, key: expected ..., found ...`."""
    keys = [str(part) for part in item["loc"] if not _is_a_type(part)]
    line = _line_of(root, keys)
    where = f"{file}, line {line}" if line else str(file)
    if item["type"] == "extra_forbidden":
        return f"{where}, {_dotted(keys)}: this key is not known. See docs/configuration.md for those that are."
    if item["type"] == "missing":
        return f"{where}, {_dotted(keys)}: this key is required and was not found."
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{where}{', ' + _dotted(keys) if keys else ''}: {message}."
    return f"{where}, {_dotted(keys)}: {message[0].lower()}{message[1:]}, found {item['input']!r}."


def _is_a_type(part: int | str) -> bool:
    """Whether Pydantic put a member of a union into the path, which is no key of the file."""
    return part in ("categorical", "numeric", "str", "[key]") or re.match(r"(literal|dict)\[", str(part)) is not None


def _line_of(node: yaml.Node | None, keys: list[str]) -> int | None:
    """Returns the line of the deepest of `keys` that the file has."""
    line = None
    for key in keys:
        child = _child(node, key)
        if child is None:
            break
        at, node = child
        line = at.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return node.value[int(key)], node.value[int(key)]
    return None


def _dotted(keys: list[str]) -> str:
    return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in keys).lstrip(".")
