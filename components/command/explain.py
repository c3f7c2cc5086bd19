"""Errors in words for the reader: Mastery's, the system's, Pydantic's and unforeseen ones."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any

from components.command.escape import for_error, shorten
from components.command.suggest import did_you_mean
from components.errors import MasteryError

LONGEST = 200  # characters of a value that was found, in an error text
# What the operating system refuses, and what to do about it. Libraries often pass on only the text
# of such an error.
_ADVICE = {
    errno.ENOSPC: ("No space left on device", "Make room there"),
    errno.EDQUOT: ("Disk quota exceeded", "Make room there"),
    errno.EROFS: ("Read-only file system", "Name a folder that can be written"),
    errno.EACCES: ("Permission denied", "Give this user permission, or name another place"),
    errno.EPERM: (
        "Operation not permitted",
        "Give this user permission, or name another place",
    ),
    errno.EEXIST: ("File exists", "Name another place"),
    errno.ENOTDIR: ("Not a directory", "Name a folder"),
    errno.EISDIR: ("Is a directory", "Name a file"),
    errno.ENAMETOOLONG: ("File name too long", "Choose a shorter path"),
    errno.ELOOP: ("Too many levels of symbolic links", "Name another place"),
    errno.EMFILE: ("Too many open files", "Raise the limit (`ulimit -n`)"),
    errno.ENFILE: ("Too many open files in system", "Close programs that hold many"),
    errno.EIO: ("Input/output error", "Check the disk"),
    errno.EPIPE: ("Connection closed by the other end", "Check that it is still running"),
    errno.ECONNRESET: ("Connection reset by the other end", "Check that it is still running"),
}
_UNFORESEEN = 500  # characters of an unforeseen error's own text


def explain(error: BaseException) -> str:
    """Returns the text for the user, in words and without a traceback.

    It is the text of the first `MasteryError` among an error and its causes, otherwise what the
    operating system refused, otherwise the type and the first line of the unforeseen error.

    >>> explain(KeyError("learner"))
    "unexpected KeyError: 'learner'"
    """
    foreseen = explain_foreseen(error)
    if foreseen is not None:
        return foreseen
    lines = str(error).strip().splitlines()
    kind = type(error).__name__
    return f"unexpected {kind}: {shorten(lines[0], _UNFORESEEN)}" if lines else f"unexpected {kind}"


def explain_foreseen(error: BaseException) -> str | None:
    """Returns the text for the user, or None for an unforeseen error."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MasteryError):
            return str(cause)

    for cause in chain:
        if isinstance(cause, MemoryError):
            return (
                "out of memory. Lower steps.max_steps or training.batch_size, "
                "or use a machine with more memory."
            )
        if refused := _refused(cause):
            return refused
    return None


def explain_invalid(problem: Mapping[str, Any]) -> str:
    """Returns one of Pydantic's error details in our words: `expected ..., found ...`.

    Args:
        problem: an item of `ValidationError.errors()`, with its `type`, `msg`, `input` and `ctx`.

    >>> explain_invalid({"type": "int_parsing", "msg": "Input should be", "input": "many"})
    "expected a whole number, found 'many'"
    >>> context = {"expected": "'cpu' or 'gpu'"}
    >>> explain_invalid({"type": "literal_error", "msg": "", "input": "gpus", "ctx": context})
    "expected 'cpu' or 'gpu', found 'gpus'; did you mean gpu?"
    """
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind in _COMPLETE:
        return _COMPLETE[kind].format_map(context)

    value = context.get("tag", problem["input"])
    found = shorten(for_error(value), LONGEST)
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format_map(context)
        known = _QUOTED.findall(expected) if kind in _CHOICES else []
        return f"expected {expected}, found {found}{did_you_mean(str(value), known)}"

    message = str(problem["msg"])
    message = f"{message[:1].lower()}{message[1:]}".replace("input should be ", "expected ", 1)
    return f"{message}, found {found}"


def as_sentence(text: str) -> str:
    """Returns a text with a full stop, unless it ends in a question.

    >>> as_sentence("found 'gpus'; did you mean gpu?"), as_sentence("found 7")
    ("found 'gpus'; did you mean gpu?", 'found 7.')
    """
    return text if text.endswith("?") else f"{text.rstrip('.')}."


# Pydantic's types of errors in our words; `{...}` is filled in from the error's context.
_COMPLETE = {
    "extra_forbidden": "this key is not known",
    "json_invalid": "the text is not valid JSON ({error})",
    "missing": "this key is required and was not found",
}
_CHOICES = ("enum", "literal_error", "union_tag_invalid")
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "string_type": "text (a number or date that is meant as text stands in quotes)",
    "string_unicode": "Unicode text",
    "too_short": "a length of at least {min_length}",
    "tuple_type": "a list",
    "union_tag_invalid": "{discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "a mapping with the key {discriminator}",
}
_QUOTED = re.compile(r"'([^']*)'")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        # `raise ... from None` hides the error that was being handled.
        context = None if cause.__suppress_context__ else cause.__context__
        cause = cause.__cause__ or context


def _refused(error: BaseException) -> str | None:
    """Returns what the operating system refused, if that is what an error is about."""
    if isinstance(error, OSError) and error.errno in _ADVICE:
        text, advice = _ADVICE[error.errno]
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        return f"{where}{text.lower()}. {advice}, and run the same command again."

    text, advice = _ADVICE[errno.ENOSPC]
    if text in str(error):  # raised by C++ code, as another type
        return f"{text.lower()}. {advice}, and run the same command again."
    return None
