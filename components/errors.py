"""Errors that are meant to be read by the person who caused them."""

from __future__ import annotations

import errno
from collections.abc import Iterator


class MasteryError(Exception):
    """Something the user can put right; the text says what was expected, what was found and what to do.

    The command line prints such an error without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class ConfigError(MasteryError):
    """The configuration cannot be used."""


class LogError(MasteryError):
    """The behaviour log cannot be used.

    Attributes:
        problems: one line per problem, each naming file, row or column, what was expected and what was found;
            the text of the error has the first twenty.
    """

    SHOWN = 20

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"  - {problem}" for problem in problems[: self.SHOWN]]
        if len(problems) > self.SHOWN:
            lines.append(f"  and {len(problems) - self.SHOWN} more")
        super().__init__("\n".join([f"The log has {count}:", *lines]))

    def __reduce__(self) -> tuple[type[LogError], tuple[list[str]]]:
        return type(self), (self.problems,)


class AnomalyError(MasteryError):
    """The examples do not fit the curated schema."""


class TrainingError(MasteryError):
    """The model cannot be fitted to these examples."""


class GateError(MasteryError):
    """A gate failed; nothing was pushed."""

    exit_code = 1


# What the operating system refuses, and what to do about it. Libraries often pass on only the text of such an error.
_ADVICE = {
    errno.ENOSPC: ("No space left on device", "Make room there"),
    errno.EDQUOT: ("Disk quota exceeded", "Make room there"),
    errno.EROFS: ("Read-only file system", "Name a folder that can be written"),
    errno.EACCES: ("Permission denied", "Give this user the right to it, or name another place"),
    errno.EPERM: (
        "Operation not permitted",
        "Give this user the right to it, or name another place",
    ),
    errno.EEXIST: ("File exists", "Name another place"),
    errno.ENOTDIR: ("Not a directory", "Name a folder"),
    errno.EISDIR: ("Is a directory", "Name a file"),
    errno.ENAMETOOLONG: ("File name too long", "Choose a shorter path"),
    errno.ELOOP: ("Too many levels of symbolic links", "Name another place"),
    errno.EMFILE: ("Too many open files", "Raise the limit (`ulimit -n`)"),
    errno.ENFILE: ("Too many open files in system", "End what holds them"),
    errno.EIO: ("Input/output error", "Look after the disk"),
}
_LONGEST = 500  # characters of an unforeseen error's own text


def explain(error: BaseException) -> str:
    """Returns the text for the user, in words and without a traceback.

    It is that of the `MasteryError` among an error and its causes, else what the operating system refused, else the
    kind and the first line of an error that nobody foresaw.

    >>> explain(KeyError("learner"))
    "unexpected KeyError: 'learner'"
    """
    foreseen = explain_foreseen(error)
    if foreseen is not None:
        return foreseen
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:_LONGEST]}" if lines else type(error).__name__
    return f"unexpected {text}"


def explain_foreseen(error: BaseException) -> str | None:
    """Returns the text for the user, or None for an error that nobody foresaw."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MasteryError):
            return str(cause)
    for cause in chain:
        if isinstance(cause, MemoryError):
            return "out of memory. Lower steps.max_steps or training.batch_size, or use a machine with more."
        if refused := _refused(cause):
            return refused
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        # `raise ... from None` says that what came before is not the cause.
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _refused(error: BaseException) -> str | None:
    """Returns what the operating system refused, if that is what an error is about."""
    if isinstance(error, OSError) and error.errno in _ADVICE:
        text, advice = _ADVICE[error.errno]
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        return f"{where}{text.lower()}. {advice}, and give the same command again."
    full = _ADVICE[errno.ENOSPC]
    if full[0] in str(error):  # of C++ code, which raises errors of its own
        return f"{full[0].lower()}. {full[1]}, and give the same command again."
    return None
