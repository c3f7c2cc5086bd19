"""The way from a process to whoever reads its output: everything that is printed goes through here.

`entry_point` wraps standard output and standard error, so what `print`, logging, warnings,
tracebacks and errors write reaches no terminal raw. Tables and colours are Rich's, whose own escape
sequences have to pass: `PlainConsole` (in `components.command.console`) escapes the text of others before
it adds them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from components.command.escape import for_terminal

PRIVATE = 0o027  # umask: others get nothing, the group reads


class EscapingStream:
    """A text stream that spells out control characters; all else is the stream's beneath.

    Attributes:
        unguarded: the stream beneath.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        """Writes a text, with its control characters spelled out."""
        self.unguarded.write(for_terminal(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextmanager
def entry_point() -> Iterator[None]:
    """The block that a process of ours does all of its work in.

    Inside, nothing that is printed reaches a terminal raw, and new files are for this user and its
    group only: logs, samples, answers and models hold what learners did. A stricter umask stays.
    """
    before, streams = os.umask(0o777), (sys.stdout, sys.stderr)
    os.umask(before | PRIVATE)
    sys.stdout, sys.stderr = map(_guarded, streams)
    try:
        yield
    except Exception:
        streams = sys.stdout, sys.stderr  # the interpreter prints the traceback after this block
        raise
    finally:
        os.umask(before)
        sys.stdout, sys.stderr = streams


def _guarded(stream: Any) -> Any:
    """Returns a stream's guard; of one that was closed before we began, which is None, nothing."""
    return stream if stream is None else EscapingStream(stream)


def write_data(text: str) -> None:
    """Writes data for programs to standard output: unchanged to files and pipes, escaped to a terminal."""
    stream: Any = sys.stdout
    if stream is None:
        return
    if not stream.isatty():
        stream = getattr(stream, "unguarded", stream)
    stream.write(text)
