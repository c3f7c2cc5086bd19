"""Errors that are meant to be read by the person who caused them."""

from __future__ import annotations


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
        problems: one line per problem, each naming file, row or column, what was expected and what was found.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"The log has {count}:", *(f"  - {problem}" for problem in problems)]))

    def __reduce__(self) -> tuple[type[LogError], tuple[list[str]]]:
        return type(self), (self.problems,)


class AnomalyError(MasteryError):
    """The examples do not fit the curated schema."""


class GateError(MasteryError):
    """A gate failed; nothing was pushed."""

    exit_code = 1
