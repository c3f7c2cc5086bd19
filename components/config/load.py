"""Reads a configuration file, applies overrides, and explains its problems.

`load_config` reads a pipeline's; `load_file` any other file that is one typed section.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.command.escape import for_error, shorten
from components.command.explain import LONGEST, as_sentence, explain_invalid
from components.command.suggest import closest
from components.config.beam import is_endpoint
from components.config.data import absolute_pattern
from components.config.root import Config
from components.config.section import KeyedError, Section, dotted, sections_in
from components.config.strict_yaml import (
    YamlError,
    YamlSyntaxError,
    line_of,
    read_text,
    read_yaml,
)
from components.errors import ConfigError

PATHS = (
    ("data", "events"), ("data", "outcomes"), ("data", "left_out"), ("schema",),
    ("data", "outcomes", "table"), ("data", "lookups", "*", "table"),
    ("data", "leave_out", "*", "*", "file"), ("data", "mapping", "*", "when", "*", "file"),
    ("push", "directory"), ("push", "signing_key"), ("push", "public_key"),
    ("evaluation", "baseline"), ("training", "start_from"), ("training", "worker_folder"),
    ("kubeflow", "ca_cert"), ("metadata", "ssl_ca"), ("beam", "flink_job_server"),
)  # fmt: skip
# The paths that may be patterns.
PATTERNS = (("data", "events"), ("data", "outcomes"), ("data", "outcomes", "table"))
# The paths that may be host:port instead.
ENDPOINTS = (("beam", "flink_job_server"),)
SHOWN = 20  # problems of one configuration

Keys = tuple[str, ...]  # the way from the file's top to a value
Kind = TypeVar("Kind", bound=Section)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads `path`, applies `key.path=value` overrides and validates the result.

    Relative paths in the file count from the file's own folder; in an override they count from the
    current folder. Values of overrides are YAML, so numbers, lists and null work.

    >>> config = load_config("configs/sample.yaml", ["training.epochs=3"])
    >>> config.training.epochs, config.label.classes
    (3, ['not_mastered', 'partial', 'proficient'])

    Raises:
        ConfigError: the file is missing, is not a YAML mapping, or a value does not fit; the text
            names the file, the line and the key, what was expected and what was found.
    """
    return load_file(path, Config, overrides, paths=PATHS, patterns=PATTERNS)


def absolute_paths(path: Path) -> dict[tuple[str, ...], Any]:
    """Returns the paths of a configuration that another folder would change, as absolute ones.

    Args:
        path: a file that `load_config` reads.

    Returns:
        By the keys that lead to them; a path in a list has a number among its keys.

    Raises:
        ConfigError: see `load_config`.
    """
    root, values = read_yaml(read_text(path))
    before = dict(_leaves(values))
    _Source(path, root, values, Config, PATHS, PATTERNS, "").resolve_paths()
    return {keys: value for keys, value in _leaves(values) if value != before[keys]}


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the values that are no lists or mappings, by the keys that lead to them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*keys, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*keys, str(index)))
    else:
        yield keys, value


def load_file(
    path: str | Path,
    kind: type[Kind],
    overrides: Iterable[str] = (),
    *,
    paths: Sequence[Keys] = (),
    patterns: Sequence[Keys] = (),
    example: str = "name: my_log",
    reference: str = "docs/configuration.md",
) -> Kind:
    """Reads a YAML file that is one section, in the way of `load_config`.

    Args:
        path: the file.
        kind: what it holds.
        overrides: `key.path=value`, each of which replaces a value of the file.
        paths: the keys whose values are paths; relative ones count from the file's folder. `*`
            stands for every key of a mapping.
        patterns: those of them that may be patterns.
        example: a first line of such a file, for the error about one of another form.
        reference: the page that lists all keys, for the error about an unknown one.

    Raises:
        ConfigError: see `load_config`.
    """
    file = Path(path)
    try:
        root, values = read_yaml(read_text(file))
    except YamlError as error:
        raise ConfigError(f"{_at(file, error.line)}: {error}.") from None
    if not isinstance(values, dict):
        found = type(values).__name__ if values is not None else "nothing"
        raise ConfigError(f"{file}: expected a mapping such as `{example}`, found {found}.")

    source = _Source(file, root, values, kind, paths, patterns, reference)
    source.resolve_paths()
    for override in overrides:
        source.override(override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(source.explain(error)) from None


@dataclass
class _Source:
    """The values of a configuration file before they are validated, and where each one stands."""

    file: Path
    root: yaml.Node | None
    values: dict[str, Any]
    kind: type[Section]
    paths: Sequence[Keys]
    patterns: Sequence[Keys]
    reference: str

    def __post_init__(self) -> None:
        self._overrides: list[tuple[list[str], str]] = []  # keys, and the option for messages

    def resolve_paths(self) -> None:
        """Makes the file's relative paths absolute."""
        folder = self.file.resolve().parent
        for path in self.paths:
            for keys, section in _sections_with(self.values, path):
                key = keys[-1]
                where = f"{_at(self.file, line_of(self.root, keys))}, {dotted(keys)}"
                section[key] = self._absolute(section[key], folder, where, path)

    def override(self, text: str) -> None:
        """Sets the value of a `--set key=value`."""
        key, separator, given = text.partition("=")
        keys = key.split(".")
        if not separator or not all(keys):
            raise ConfigError(f"--set {text}: expected key=value, such as training.epochs=5.")

        value = _value_of(given, text)
        if _is_one_of(self.paths, keys):
            value = self._absolute(value, Path.cwd(), f"--set {key}", keys)
        _put(self.values, keys, value, text)
        self._overrides.append((keys, f"--set {key}"))

    def _absolute(self, value: Any, folder: Path, where: str, path: Sequence[str]) -> Any:
        if _is_one_of(ENDPOINTS, path) and isinstance(value, str) and is_endpoint(value):
            return value
        is_pattern = _is_one_of(self.patterns, path)
        return _absolute(value, folder, where, is_pattern=is_pattern)

    def explain(self, error: ValidationError) -> str:
        """Returns one line per problem, up to `SHOWN`."""
        problems = error.errors(include_url=False)
        lines = [self._explain(problem) for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            lines.append(f"and {len(problems) - SHOWN} more problems.")
        return "\n".join(lines)

    def _explain(self, problem: ErrorDetails) -> str:
        """Returns one of Pydantic's errors as `file, line n, key: expected ..., found ...`."""
        keys = self._keys_of(problem)
        reason = explain_invalid(problem)
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, KeyedError):
            keys += cause.keys
            reason = cause.reason

        text = as_sentence(f"{self._place(keys)}: {reason}")
        if problem["type"] != "extra_forbidden":
            return text

        meant = _meant(self.kind, keys)
        if meant:
            text = f"{text.rstrip('.')}; did you mean {meant}?"
        return f"{text} {self.reference} lists all keys."

    def _keys_of(self, problem: ErrorDetails) -> list[str]:
        """Returns the keys that lead to a problem.

        Pydantic puts the names of a union's members among them, which the file does not have.
        """
        keys: list[str] = []
        value: Any = self.values
        for index, part in enumerate(problem["loc"]):
            is_last = index == len(problem["loc"]) - 1
            is_missing = is_last and problem["type"] == "missing"
            if isinstance(value, dict) and (part in value or is_missing):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                continue
            keys.append(str(part))
        return keys

    def _place(self, keys: list[str]) -> str:
        for path, given in reversed(self._overrides):
            if keys == path:
                return shorten(given, LONGEST)
            if keys[: len(path)] == path:
                return f"{shorten(given, LONGEST)}, {dotted(keys)}"

        line = line_of(self.root, keys)
        if line is None:  # not in the file; an override may have made the section
            for path, given in reversed(self._overrides):
                if keys and path[: len(keys)] == keys:
                    return f"{shorten(given, LONGEST)}, {dotted(keys)}"

        where = _at(self.file, line)
        return f"{where}, {dotted(keys)}" if keys else where


def _is_one_of(paths: Sequence[Keys], keys: Sequence[str]) -> bool:
    """Returns whether keys lead to one of some values; numbers of items in lists do not count."""
    named = [key for key in keys if not key.isdecimal()]
    return any(
        len(path) == len(named)
        and all(part in ("*", key) for part, key in zip(path, named, strict=True))
        for path in paths
    )


def _sections_with(values: Any, path: Keys) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yields the mappings that hold the last key of a path, each with the keys that lead there.

    Where a list stands in the way, each of its items is looked at.
    """
    if isinstance(values, list):
        for index, item in enumerate(values):
            for keys, section in _sections_with(item, path):
                yield [str(index), *keys], section
    if not isinstance(values, dict):
        return
    first, *rest = path
    for key in [*values] if first == "*" else [first]:
        if not rest and key in values:
            yield [str(key)], values
        elif rest:
            for keys, section in _sections_with(values.get(key), tuple(rest)):
                yield [str(key), *keys], section


def _at(file: Path, line: int | None) -> str:
    return f"{file}, line {line}" if line else str(file)


def _absolute(value: Any, folder: Path, where: str, *, is_pattern: bool) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder, where, is_pattern=is_pattern) for item in value]
    # Validation refuses NUL in any text, with a better message than pathlib's.
    if not isinstance(value, str) or "://" in value or "\0" in value:
        return value

    try:
        if is_pattern:
            return absolute_pattern(value, folder)
        return str(Path(folder, Path(value).expanduser()).resolve())
    except (RuntimeError, OSError, ValueError) as error:
        # The home of an unknown user, links in a circle, or text that is not Unicode.
        found = shorten(for_error(value), LONGEST)
        raise ConfigError(f"{where}: expected a path, found {found} ({error}).") from None


def _value_of(text: str, override: str) -> Any:
    try:
        return read_yaml(text)[1]
    except YamlSyntaxError:
        return text  # such as `a: b: c`, or a pattern with brackets
    except YamlError as error:
        raise ConfigError(f"--set {shorten(override, LONGEST)}: {error}.") from None


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    *parents, last = keys
    section: Any = values
    for index, parent in enumerate(parents):
        if isinstance(section, dict):
            if section.get(parent) is None:
                section[parent] = {}
            section = section[parent]
        else:
            section = section[_index_of(section, parent, ".".join(parents[: index + 1]))]

    if isinstance(section, list):
        section[_index_of(section, last, ".".join(keys))] = value
    elif isinstance(section, dict):
        section[last] = value
    else:
        raise ConfigError(
            f"--set {shorten(override, LONGEST)}: {'.'.join(parents)} is a value, not a section."
        )


def _index_of(section: Any, index: str, key: str) -> int:
    is_number = index.isascii() and index.isdecimal()
    if isinstance(section, list) and is_number and int(index) < len(section):
        return int(index)
    found = f"a list of {len(section)}" if isinstance(section, list) else type(section).__name__
    raise ConfigError(f"--set {key}: expected the number of an item, found {index!r} in {found}.")


def _meant(kind: type[Section], keys: list[str]) -> str | None:
    """Returns the known key that an unknown one was probably meant to be.

    It is one like it in the same section, or one of the same name in another section.
    """
    *section, unknown = keys
    close = closest(unknown, _known_keys(kind, section))
    if close is not None:
        return dotted([*section, close])
    if section:
        return None

    for name, field in kind.model_fields.items():
        if any(unknown in inner.model_fields for inner in sections_in(field.annotation)):
            return f"{field.alias or name}.{unknown}"
    return None


def _known_keys(kind: type[Section], keys: Sequence[str]) -> list[str]:
    """Returns the keys that the section at `keys` may have."""
    sections: list[type[Section]] = [kind]
    for key in keys:
        fields = [
            field
            for section in sections
            for name, field in section.model_fields.items()
            if key in (field.alias, name)
        ]
        if fields:  # otherwise the key is a list's number or a mapping's name
            sections = [inner for field in fields for inner in sections_in(field.annotation)]
    return [
        field.alias or name for section in sections for name, field in section.model_fields.items()
    ]
