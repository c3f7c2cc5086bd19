"""Reads a configuration file, applies overrides, and says what is wrong with it."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.config.data import PLACEHOLDER
from components.config.root import Config
from components.config.section import KeyedError, Section, sections_in, shown
from components.config.strict_yaml import YamlError, read_text, read_yaml
from components.errors import ConfigError

PATHS = (
    ("data", "events"), ("data", "outcomes"), ("schema",), ("push", "directory"),
    ("evaluation", "baseline"), ("kubeflow", "ca_cert"), ("metadata", "ssl_ca"),
)  # fmt: skip
PATTERNS = (("data", "events"), ("data", "outcomes"))  # those of them that may be patterns
SHOWN = 20  # problems of one configuration
LONGEST = 200  # characters of a value that was found


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
        root, values = read_yaml(read_text(file))
    except YamlError as error:
        raise ConfigError(f"{_at(file, error.line)}: {error}.") from None
    if not isinstance(values, dict):
        found = type(values).__name__ if values is not None else "nothing"
        raise ConfigError(f"{file}: expected a mapping such as `name: my_log`, found {found}.")
    source = _Source(file, root, values)

    source.resolve_paths()
    for override in overrides:
        source.override(override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(source.explain(error)) from None


@dataclass
class _Source:
    """A configuration on its way from a file: its values, and where each of them stands."""

    file: Path
    root: yaml.Node | None
    values: dict[str, Any]

    def __post_init__(self) -> None:
        self._overrides: list[tuple[list[str], str]] = []  # keys, and how to call them

    def resolve_paths(self) -> None:
        """Makes the file's relative paths absolute."""
        folder = self.file.resolve().parent
        for *parents, key in PATHS:
            section: Any = self.values
            for parent in parents:
                section = section.get(parent) if isinstance(section, dict) else None
            if isinstance(section, dict) and key in section:
                where = f"{_at(self.file, _line_of(self.root, [*parents, key]))}, {_dotted([*parents, key])}"
                is_pattern = (*parents, key) in PATTERNS
                section[key] = _absolute(section[key], folder, where, is_pattern=is_pattern)

    def override(self, text: str) -> None:
        """Puts the value of a `--set key=value` in."""
        key, separator, given = text.partition("=")
        keys = key.split(".")
        if not separator or not all(keys):
            raise ConfigError(f"--set {text}: expected key=value, such as training.epochs=5.")
        value = _value_of(given, text)
        if tuple(keys) in PATHS:
            is_pattern = tuple(keys) in PATTERNS
            value = _absolute(value, Path.cwd(), f"--set {key}", is_pattern=is_pattern)
        _put(self.values, keys, value, text)
        self._overrides.append((keys, f"--set {key}"))

    def explain(self, error: ValidationError) -> str:
        """Returns a line for each problem, up to `SHOWN`."""
        items = error.errors(include_url=False)
        lines = [self._explain(item) for item in items[:SHOWN]]
        if len(items) > SHOWN:
            lines.append(f"and {len(items) - SHOWN} more problems.")
        return "\n".join(lines)

    def _explain(self, item: Any) -> str:
        """Turns one of Pydantic's errors into `file, line n, key: expected ..., found ...`."""
        keys = self._keys_of(item)
        where = self._place(keys)
        if item["type"] == "extra_forbidden":
            return f"{where}: this key is not known.{_suggest(keys)} docs/configuration.md has those that are."
        if item["type"] == "missing":
            return f"{where}: this key is required and was not found."
        return f"{where}: {_say(item)}."

    def _keys_of(self, item: Any) -> list[str]:
        """Returns the keys that lead to a problem; Pydantic puts members of unions among them, which no file has."""
        keys: list[str] = []
        value: Any = self.values
        for index, part in enumerate(item["loc"]):
            is_last = index == len(item["loc"]) - 1
            if isinstance(value, dict) and (
                part in value or (is_last and item["type"] == "missing")
            ):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                continue
            keys.append(str(part))
        cause = item.get("ctx", {}).get("error")
        return [*keys, cause.key] if isinstance(cause, KeyedError) else keys

    def _place(self, keys: list[str]) -> str:
        for path, given in reversed(self._overrides):
            if keys == path:
                return _shorten_text(given)
            if keys[: len(path)] == path:
                return f"{_shorten_text(given)}, {_dotted(keys)}"
        where = _at(self.file, _line_of(self.root, keys))
        return f"{where}, {_dotted(keys)}" if keys else where


def _say(item: Any) -> str:
    """Returns one of Pydantic's errors as `expected ..., found ...`."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(item["msg"].removeprefix("Value error, "))
    found = _shorten(item["input"])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {found}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        names = context.get("expected_tags") or "'categorical', 'numeric'"
        return f"expected `type:` with one of {names}, found {found}"
    message = str(item["msg"])
    return f"{message[:1].lower()}{message[1:]}, found {found}"


_EXPECTED = {
    "finite_number": "a finite number",
    "string_type": "text (a number or date that is meant as text stands in quotes)",
    "string_unicode": "Unicode text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def _at(file: Path, line: int | None) -> str:
    return f"{file}, line {line}" if line else str(file)


def _absolute(value: Any, folder: Path, where: str, *, is_pattern: bool) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder, where, is_pattern=is_pattern) for item in value]
    if (
        not isinstance(value, str) or "://" in value or "\0" in value
    ):  # the last is refused like any text with it
        return value
    try:
        if is_pattern:
            return absolute_pattern(value, folder)
        return str(Path(folder, Path(value).expanduser()).resolve())
    except (
        RuntimeError,
        OSError,
        ValueError,
    ) as error:  # no such home; links in a circle; no Unicode text
        raise ConfigError(f"{where}: expected a path, found {_shorten(value)} ({error}).") from None


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


def _value_of(text: str, override: str) -> Any:
    try:
        return read_yaml(text)[1]
    except YamlError as error:
        if str(error).startswith("expected YAML"):
            return text  # such as `a: b: c`, or a pattern with brackets
        raise ConfigError(f"--set {_shorten_text(override)}: {error}.") from None


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    *parents, last = keys
    section: Any = values
    for index, parent in enumerate(parents):
        if isinstance(section, dict):
            inner = section.get(parent)
            section[parent] = inner = {} if inner is None else inner
            section = inner
        else:
            section = _item(section, parent, ".".join(parents[: index + 1]))
    if isinstance(section, list):
        _item(section, last, ".".join(keys))
        section[int(last)] = value
    elif isinstance(section, dict):
        section[last] = value
    else:
        raise ConfigError(
            f"--set {_shorten_text(override)}: {'.'.join(parents)} is a value, not a section."
        )


def _item(section: Any, index: str, key: str) -> Any:
    if (
        isinstance(section, list)
        and index.isascii()
        and index.isdecimal()
        and int(index) < len(section)
    ):
        return section[int(index)]
    found = f"a list of {len(section)}" if isinstance(section, list) else type(section).__name__
    raise ConfigError(f"--set {key}: expected the number of an item, found {index!r} in {found}.")


def _suggest(keys: list[str]) -> str:
    """Returns what a key may have been meant for: one like it in the same section, or the same one elsewhere."""
    known = _known_keys(keys[:-1])
    close = difflib.get_close_matches(keys[-1], known, n=1)
    if close:
        return f" Did you mean {_dotted([*keys[:-1], *close])}?"
    elsewhere = [
        section
        for section, field in Config.model_fields.items()
        if _has_key(field.annotation, keys[-1])
    ]
    return f" Did you mean {elsewhere[0]}.{keys[-1]}?" if len(keys) == 1 and elsewhere else ""


def _has_key(annotation: Any, key: str) -> bool:
    return any(key in section.model_fields for section in sections_in(annotation))


def _known_keys(keys: Sequence[str]) -> list[str]:
    """Returns the keys that the section at `keys` may have."""
    sections: list[type[Section]] = [Config]
    for key in keys:
        fields = [field for section in sections for name, field in section.model_fields.items()
                  if key in (field.alias, name)]  # fmt: skip
        if fields:  # else a list's number or a mapping's name: still the same sections
            sections = [inner for field in fields for inner in sections_in(field.annotation)]
    return [
        field.alias or name for section in sections for name, field in section.model_fields.items()
    ]


def _line_of(node: yaml.Node | None, keys: Sequence[str]) -> int | None:
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
    if isinstance(node, yaml.SequenceNode) and key.isdecimal() and int(key) < len(node.value):
        return node.value[int(key)], node.value[int(key)]
    return None


def _dotted(keys: Sequence[str]) -> str:
    return "".join(f"[{key}]" if key.isdecimal() else f".{key}" for key in keys).lstrip(".")


def _shorten(value: object) -> str:
    return _shorten_text(shown(value))


def _shorten_text(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
