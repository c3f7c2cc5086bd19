"""Errors that are meant to be read by the person who caused them."""

from __future__ import annotations

import traceback


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


def explain(error: BaseException) -> str:
    """Returns the text for the user: that of the MasteryError at the bottom, or the last line of the traceback."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MasteryError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return "".join(traceback.format_exception_only(error)).strip()
