"""Rich's console for text that others chose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from components.command.escape import for_terminal


class PlainConsole(Console):
    r"""A console that prints text as it is: no markup, no emoji codes, no escape sequences.

    `[red]` in the name of a class prints as `[red]`, and `\x1b` is spelled out. Colours are given
    by `style=`, or by `rich.text.Text`; the sequences that Rich itself writes reach the terminal.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    @property
    def file(self) -> IO[str]:
        """The stream to write to; unguarded, since the text was escaped before."""
        stream = super().file
        unguarded: IO[str] = getattr(stream, "unguarded", stream)
        return unguarded

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns Rich's text of a string, escaped before it is measured and wrapped."""
        return super().render_str(for_terminal(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yields segments. A `Text` is measured before it gets here: escape what goes into one."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(for_terminal(segment.text), segment.style)
