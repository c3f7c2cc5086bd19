"""Reads YAML as people mean it: the values of YAML 1.2, every key once, within bounds.

PyYAML reads YAML 1.1, where a class called `no` is false, `010` is eight, `1:30` is ninety and a
date is not text. If a key occurs twice, it silently takes the last value. And a few bytes of
aliases or brackets can hold more values than memory does, or nest deeper than Python can follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

MOST_BYTES = 2**20  # of a file
MOST_VALUES = 100_000  # with those behind aliases
DEEPEST = 50  # levels of lists and mappings
MOST_DIGITS = 30  # of a whole number
_TAG = "tag:yaml.org,2002:"
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "merge")

_FLOAT = re.compile(
    r"""[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?
       |[-+]?\.(?:inf|Inf|INF)
       |\.(?:nan|NaN|NAN)""",
    re.VERBOSE,
)
_BREAKS = re.compile("[\x85\u2028\u2029]")  # which PyYAML would turn into blanks
# Kind of value, its form, and the characters it may start with. Everything else is text, dates too.
_KINDS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), [*"tTfF"]),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), [*"-+0123456789"]),  # 007 is a name
    ("float", _FLOAT, [*"-+.0123456789"]),
    ("merge", re.compile("<<"), ["<"]),
)


class YamlError(Exception):
    """The text cannot be used as YAML; the error says why, in one line.

    Attributes:
        line: where, counted from 1; None if unknown.
    """

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


class YamlSyntaxError(YamlError):
    """The text is not YAML at all."""


class _Loader(yaml.SafeLoader):
    """Plain values, lists and mappings; every other tag is an error."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    yaml_constructors = {
        tag: construct
        for tag, construct in SafeConstructor.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in _PLAIN
    }


for _name, _pattern, _starts in _KINDS:
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(f"(?:{_pattern.pattern})$", _pattern.flags), _starts
    )


def read_text(file: Path) -> str:
    """Returns the text of a small file.

    Raises:
        YamlError: it is missing, cannot be read, is not an ordinary file or UTF-8 text, or is too
            large.
    """
    try:
        if not file.exists():
            raise YamlError("there is no such file; name a configuration file")
        if not file.is_file():  # reading a named pipe could block, a device has no end
            found = "a folder" if file.is_dir() else "something else"
            raise YamlError(f"expected a configuration file, found {found}")

        size = file.stat().st_size
        if size > MOST_BYTES:
            raise YamlError(f"expected a file of at most {MOST_BYTES:,} bytes, found {size:,}")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise YamlError(
            f"expected UTF-8 text, found the byte 0x{error.object[error.start]:02x}", line
        ) from None
    except (OSError, ValueError) as error:  # a path with NUL in it is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise YamlError(f"could not be read ({reason}); name a configuration file") from None


def read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Returns the root node of a YAML text, which knows its lines, and the value of the text.

    >>> read_yaml("classes: [no, 007, 2024-01-31, 1e-3]")[1]
    {'classes': ['no', '007', '2024-01-31', '1e-3']}

    Raises:
        YamlError: it is not YAML, has a key twice, holds other than plain values, or exceeds the
            bounds.
    """
    if odd := _BREAKS.search(text):
        line = text[: odd.start()].count("\n") + 1
        advice = f'inside double quotes write it as "\\u{ord(odd[0]):04X}"'
        raise YamlError(f"expected text, found the line break {_code(odd[0])}; {advice}", line)

    try:
        return _load(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        found = f"expected text, found the character {_code(error.character)}"
        raise YamlError(found, before.count("\n") + 1) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise YamlError(f"a value does not fit the tag in front of it ({error})") from None


def _load(text: str) -> tuple[yaml.Node | None, Any]:
    _check_depth(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _Counter().count(node)
        return node, _unshared(loader.construct_document(node))
    finally:
        loader.dispose()


def _unshared(value: Any) -> Any:
    """Returns a copy in which values behind aliases are separate, so that each can be changed."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def line_of(node: yaml.Node | None, keys: Sequence[str]) -> int | None:
    r"""Returns the line of the deepest of `keys` that the file has, counted from 1.

    >>> root, _ = read_yaml("training:\n  epochs: 3")
    >>> line_of(root, ["training", "epochs"]), line_of(root, ["training", "seed"])
    (2, 1)
    """
    line = None
    for key in keys:
        child = child_of(node, key)
        if child is None:
            break
        at, node = child
        line = _line(at)
    return line


def child_of(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Returns the node that names a key, and that of its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdecimal() and int(key) < len(node.value):
        return node.value[int(key)], node.value[int(key)]
    return None


def _check_depth(text: str) -> None:
    """Counts levels without recursion, before recursive code reads the text."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise YamlError(f"expected at most {DEEPEST} levels of lists and mappings, found more")


class _Counter:
    """Counts values, also those behind aliases, and checks every mapping's keys."""

    def __init__(self) -> None:
        self._sizes: dict[int, tuple[int, int]] = {}  # values and levels of a node, by its id
        self._open: set[int] = set()

    def count(self, node: yaml.Node) -> tuple[int, int]:
        """Returns how many values a node holds, also behind aliases, and in how many levels."""
        if id(node) in self._open:
            raise YamlError("an alias refers to a value that contains it", _line(node))
        if id(node) in self._sizes:
            return self._sizes[id(node)]

        self._open.add(id(node))
        counted = [self.count(child) for child in _children(node)]
        self._open.remove(id(node))

        size = 1 + sum(values for values, _ in counted)
        depth = 1 + max((levels for _, levels in counted), default=0)
        if size > MOST_VALUES or depth > DEEPEST + 1:
            limit = f"{MOST_VALUES:,} values" if size > MOST_VALUES else f"{DEEPEST} levels"
            raise YamlError(f"expected at most {limit}, found more (aliases included)", _line(node))
        self._sizes[id(node)] = size, depth
        return size, depth


def _children(node: yaml.Node) -> list[yaml.Node]:
    if node.tag.removeprefix(_TAG) not in _PLAIN:
        tag = node.tag.replace(_TAG, "!!")
        raise YamlError(
            f"expected text, a number, a list or a mapping, found the tag {tag}", _line(node)
        )

    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        return [part for pair in node.value for part in pair]

    if node.tag == f"{_TAG}int" and len(node.value) > MOST_DIGITS:
        raise YamlError(
            f"expected a number of at most {MOST_DIGITS} digits, found {len(node.value)}",
            _line(node),
        )
    return []


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError("expected a name as key, found a list or mapping", _line(key))
        if before := seen.get((key.tag, key.value)):
            again = f"found {key.value} again, after line {_line(before)}"
            raise YamlError(f"expected every key once, {again}", _line(key))
        seen[key.tag, key.value] = key


def _syntax_error(error: yaml.MarkedYAMLError) -> YamlSyntaxError:
    mark = error.problem_mark or error.context_mark
    parts = [part for part in (error.context, error.problem, error.note) if part]
    where = f" at column {mark.column + 1}" if mark else ""
    return YamlSyntaxError(
        f"expected YAML, found a problem{where}: {', '.join(parts)}",
        mark.line + 1 if mark else None,
    )


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _code(character: int | str) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"
