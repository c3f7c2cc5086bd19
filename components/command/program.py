"""How every program of ours starts, prints and ends: an exit code and words, never a traceback.

Everything that is printed goes through `entry_point`, which wraps standard output and standard
error, so what `print`, logging, warnings and errors write never reaches a terminal raw. Tables and
colours are Rich's, whose own escape sequences have to pass: `PlainConsole` (in
`components.command.console`) escapes the text of others before it adds them.

An unforeseen error becomes one sentence; its traceback, for developers, goes to a file that
the sentence names.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import select
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.command.escape import for_terminal
from components.command.explain import explain, explain_foreseen
from components.errors import MasteryError

FAILED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141  # as shells report a program whose reader has gone; 1 would mean a failed gate
MOST_FILES = 20  # files with tracebacks of log messages, per process
PRIVATE = 0o027  # umask: others get nothing, the group reads


def start_process(name: str) -> None:
    """Prepares a process: any text can be printed, and errors are explained without a traceback.

    It changes the interpreter's hooks, and sets HOME if the user has no home folder.
    """
    _fill_closed_descriptors()
    try:
        Path.home()
    except RuntimeError:  # a user unknown to the system, as in many containers; libraries then fail
        os.environ["HOME"] = "/nonexistent"
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # closed, or none at all
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def end_of_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
            _print_error(f"{name}: {explain_with_log(ended.exc_value)}")

    threading.excepthook = end_of_thread
    # Errors of destructors, mostly while the interpreter ends: nothing is lost.
    sys.unraisablehook = lambda _: None

    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutTraceback())
    handler.addFilter(
        lambda record: record.levelno >= logging.WARNING or record.name.startswith("mastery")
    )
    logging.getLogger().addHandler(handler)


def _fill_closed_descriptors() -> None:
    """Opens standard input, output and error to nowhere if the caller closed them.

    Otherwise the next file that is opened takes such a number, and output ends up in that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def run_program(
    name: str, body: Callable[[], int | None], *, log_folder: Path | None = None
) -> int:
    """Runs a program to its end and returns its exit code: 2 after an error, 130 after Ctrl-C.

    Args:
        name: the program's name, which begins every error line.
        body: the program; it returns its exit code, None meaning 0.
        log_folder: the folder for the traceback of an unforeseen error; default: the folder for
            temporary files.
    """
    with entry_point():
        try:
            code = _exit_code_of(body)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _print_error(f"{name}: interrupted.")
            return INTERRUPTED
        except MasteryError as error:
            _print_error(f"{name}: {error}")
            return error.exit_code
        except BaseException as error:  # a panic in a library's Rust code is no Exception
            if isinstance(error, BrokenPipeError) and _reader_is_gone():
                _discard_output()
                return BROKEN_PIPE
            _print_error(f"{name}: {explain_with_log(error, log_folder)}")
            return FAILED
        return code


def _exit_code_of(body: Callable[[], int | None]) -> int:
    try:
        return body() or 0
    except SystemExit as ended:  # raised by the parser of options, after its own message
        if isinstance(ended.code, int):
            return ended.code
        return FAILED if ended.code else 0


def _reader_is_gone() -> bool:
    """Returns whether standard output's reader has closed its end, as `head` does.

    A broken socket raises the same error, although the reader is still there.
    """
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no file at all
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _discard_output() -> None:
    """Sends unwritten output nowhere; the interpreter would complain about it at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error may be closed
        print(text, file=sys.stderr, flush=True)


def explain_with_log(error: BaseException, log_folder: Path | None = None) -> str:
    """Returns the text for the user; for an unforeseen error it names a file with the traceback."""
    foreseen = explain_foreseen(error)
    if foreseen is not None:
        return foreseen

    log = write_traceback(error, log_folder)
    if log:
        where = f"The details are in {log}; please report it with that file."
    else:
        where = f"It was raised in {_place(error)}."
    return f"{explain(error).rstrip('.')}. {where}"


def write_traceback(error: BaseException, log_folder: Path | None = None) -> Path | None:
    """Writes a traceback to a new file that only this user reads; None if no folder allows it."""
    time = datetime.now(UTC).isoformat()
    head = f"{time} Python {platform.python_version()} on {platform.platform()}\n"
    text = "".join(traceback.format_exception(error))

    for folder in (log_folder, None):  # None: where temporary files go
        with contextlib.suppress(OSError):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(prefix="mastery-error-", suffix=".log", dir=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(head + text)
            return Path(path)
    return None


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"


class _WithoutTraceback(logging.Formatter):
    """Formats a message in words, and writes its traceback to a file.

    At most `MOST_FILES` files are written per process: a server may meet the same error often.
    """

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


class EscapingStream:
    """A text stream that spells out control characters, and passes on everything else.

    Attributes:
        unguarded: the stream it writes to.
    """

    def __init__(self, stream: Any) -> None:
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
    """Guards the block in which a process does all of its work.

    Inside, everything that is printed is escaped, and new files are for this user and its group
    only: logs, samples, answers and models hold what learners did. A stricter umask stays.
    """
    streams = sys.stdout, sys.stderr
    before = os.umask(0o777)
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


class _Nowhere(io.TextIOBase):
    """A text stream that drops what is written."""

    def write(self, text: str) -> int:
        return len(text)


def _guarded(stream: Any) -> Any:
    """Returns a stream that escapes what is written to `stream`; if that is closed, drops it."""
    return EscapingStream(_Nowhere() if stream is None else stream)


def write_data(text: str) -> None:
    """Writes data for programs to standard output: unchanged to files and pipes.

    To a terminal the text is escaped like any other.
    """
    stream: Any = sys.stdout
    if not stream.isatty():
        stream = getattr(stream, "unguarded", stream)
    stream.write(text)


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Drops what C++ writes to standard error inside the block, such as while TensorFlow imports.

    Python's errors pass. TensorFlow logs before its own settings for logging are read, so no
    environment variable helps.
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
