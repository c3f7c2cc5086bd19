"""Errors that are meant to be read by the person who caused them."""

from __future__ import annotations


class MasteryError(Exception):
    """Something the user can fix; the text says what happened, to what, and what to do.

    The command line prints such an error without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class ConfigError(MasteryError):
    """The configuration cannot be used."""


class LogError(MasteryError):
    """The behaviour log cannot be used.

    Attributes:
        problems: one line per problem, with its file, row or column, and what is wrong there; the
            text of the error lists the first twenty.
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


class VersionError(MasteryError):
    """The version must not be loaded."""
