"""How every program of ours ends: with an exit code and words, never with a traceback.

What nobody foresaw becomes one sentence; the traceback is for whoever mends it, and goes to a file that the
sentence names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from components.command.escape import for_terminal
from components.errors import MasteryError, explain, explain_foreseen

FAILED = 2
INTERRUPTED = 130
MOST_FILES = 20  # with tracebacks of messages, that a process leaves
BROKEN_PIPE = (
    141  # as a shell has it for a program whose reader has gone; 1 would mean that a gate failed
)


def run_program(
    name: str, body: Callable[[], int | None], *, log_folder: Path | None = None
) -> int:
    """Runs a program to its end and returns its exit code: 2 after an error, 130 after Ctrl-C.

    Args:
        name: what begins a line about an error.
        body: the program; what it returns is its exit code, None being 0.
        log_folder: where the traceback of an unforeseen error goes; default: the folder for temporary files.
    """
    with entry_point():
        return _run_to_its_end(name, body, log_folder)


def _run_to_its_end(name: str, body: Callable[[], int | None], log_folder: Path | None) -> int:
    try:
        code = _exit_code_of(body)
        if sys.stdout is not None:  # it was closed before we began (`>&-`)
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say(f"{name}: interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return BROKEN_PIPE
    except MasteryError as error:
        _say(f"{name}: {error}")
        return error.exit_code
    except BaseException as error:  # that of a panic in a library's Rust is no Exception
        _say(f"{name}: {explain_with_log(error, log_folder)}")
        return FAILED
    return code


def _exit_code_of(body: Callable[[], int | None]) -> int:
    try:
        return body() or 0
    except SystemExit as ended:  # of a parser of options, which has said what is wrong
        return ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0


def explain_with_log(error: BaseException, log_folder: Path | None = None) -> str:
    """Returns the text for the user; of an unforeseen error it ends in the path of a file with the traceback."""
    foreseen = explain_foreseen(error)
    if foreseen is not None:
        return foreseen
    log = write_traceback(error, log_folder)
    where = (
        f"The details are in {log}; please report it with that file."
        if log
        else f"It was raised {_place(error)}."
    )
    return f"{explain(error).rstrip('.')}. {where}"


def write_traceback(error: BaseException, log_folder: Path | None = None) -> Path | None:
    """Writes an error's traceback to a new file that only this user reads; returns None where that is not possible."""
    text = "".join(traceback.format_exception(error))
    head = f"{datetime.now(UTC).isoformat()} Python {platform.python_version()} on {platform.platform()}\n"
    for folder in (log_folder, None):  # None: where temporary files go
        with contextlib.suppress(OSError):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(prefix="mastery-error-", suffix=".log", dir=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(head + text)
            return Path(path)
    return None


def start_process(name: str) -> None:
    """Makes what this process prints printable, and keeps tracebacks of threads and libraries off the screen.

    For a process of our own only: it changes the interpreter's hooks, and the environment where that has no home.
    """
    try:
        Path.home()
    except (
        RuntimeError
    ):  # a user that the system does not know, as in many a container; libraries fail without one
        os.environ["HOME"] = "/nonexistent"
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # closed, or none at all
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def end_of_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
            _say(f"{name}: {explain_with_log(ended.exc_value)}")

    threading.excepthook = end_of_thread
    sys.unraisablehook = lambda _: (
        None
    )  # of destructors, mostly while the interpreter ends: nothing is lost
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutTraceback())
    handler.addFilter(
        lambda record: record.levelno >= logging.WARNING or record.name.startswith("mastery")
    )
    logging.getLogger().addHandler(handler)


class _WithoutTraceback(logging.Formatter):
    """Writes a message, and its traceback to a file; to a few files, for a server may run into the same often."""

    def __init__(self) -> None:
        super().__init__()
        self._files_left = MOST_FILES

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return text
        text = f"{text.rstrip('.:')}: {explain(error)}"
        if explain_foreseen(error) is not None or not self._files_left:
            return text
        self._files_left -= 1
        log = write_traceback(error)
        return f"{text} (details in {log})" if log else text


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "nowhere"


def _say(text: str) -> None:
    with contextlib.suppress(
        OSError, ValueError, AttributeError
    ):  # nobody may be listening any more
        print(text, file=sys.stderr, flush=True)


def _close_output() -> None:
    """Sends what is still unwritten nowhere; the interpreter would complain at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


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


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Drops what C++ writes to standard error inside the block; errors raised there are not touched.

    TensorFlow logs before its own settings for logging are read, so no environment variable helps.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
