"""YAML with comments: why each value was chosen, and alternatives, ready to be used."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from components.command.escape import for_terminal

WIDTH = 100


@dataclass
class Item:
    """A key of the document with its value, or with items of its own.

    Attributes:
        key: empty for an item of a list.
        value: written in one line.
        items: in place of a value: what stands below the key.
        why: a comment.
        instead: alternatives, lines of YAML that are commented out.
    """

    key: str
    value: Any = None
    items: list[Item] = field(default_factory=list)
    why: str = ""
    instead: Sequence[str] = ()

    @property
    def plain(self) -> Any:
        """The value without comments."""
        if not self.items:
            return self.value
        if not self.items[0].key:
            return [item.plain for item in self.items]
        return {item.key: item.plain for item in self.items}

    def lines(self, indent: int = 0) -> Iterator[str]:
        """Yields its lines."""
        pad = " " * indent
        start = f"{pad}{flow(self.key)}:" if self.key else f"{pad}-"
        if not self.items:
            start += f" {flow(self.value)}"
        why = " ".join(for_terminal(self.why).split())
        if why and len(start) + len(why) + 4 <= WIDTH and not self.items:
            start += f"  # {why}"
        elif why:
            yield from _comment(why, pad)
        yield start
        for item in self.items:
            yield from item.lines(indent + 2)
        for line in self.instead:
            yield from _comment(line, f"{pad}  " if self.items else pad)


def write_document(title: Sequence[str], items: Sequence[Item]) -> str:
    """Returns the text of a document; top sections with items of their own stand apart."""
    lines = [line for text in title for line in _comment(text, "")]
    for item in items:
        lines += item.lines()
    return "\n".join(lines) + "\n"


def plain_values(items: Sequence[Item]) -> dict[str, Any]:
    """Returns what the document says, without comments."""
    return {item.key: item.plain for item in items}


def flow(value: Any) -> str:
    """Returns a value as YAML in one line.

    >>> flow({"classes": ["no", "yes"], "min": 0.5})
    "{classes: ['no', 'yes'], min: 0.5}"
    """
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    return text.removesuffix("...\n").strip()


def _comment(text: str, pad: str) -> list[str]:
    words = " ".join(for_terminal(text).split())
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=f"{pad}# ",
        subsequent_indent=f"{pad}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
