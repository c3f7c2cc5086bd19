"""What is wrong with a log, and where: collected while it is read, told all at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import polars as pl
from pydantic import BaseModel, ConfigDict

from components.errors import LogError

SHOWN_PLACES = 3
SHOWN_FILES = 3


class Place(BaseModel):
    """A row of a file and what was found in it."""

    model_config = ConfigDict(frozen=True)

    row: int  # data rows of Parquet count from 1, lines of text files too
    found: str


class Problem(BaseModel):
    """One kind of trouble in one column of one file, or in the log as a whole.

    Attributes:
        subject: the file, or what the problem is about.
        column: the column as the file calls it; empty where the trouble is in no single column.
        expected: what would do; may end in advice.
        found: what was found, where that is the same for all rows.
        unit: what `places` counts, `row` or `line`.
        places: the first few rows that have the trouble.
        count: how many rows have it.
        advice: what to do where several files have it.
        also: those other files, in words.
    """

    model_config = ConfigDict(frozen=True)

    subject: str
    expected: str
    column: str = ""
    found: str = ""
    unit: str = "row"
    places: tuple[Place, ...] = ()
    count: int = 0
    advice: str = ""
    also: str = ""

    def __str__(self) -> str:
        """Returns one line: where, what was expected, what was found, and how often."""
        where = self.subject
        if self.places:
            where += f", {self.unit} {self.places[0].row}"
        if self.column:
            where += f", column {self.column}"
        text = f"{where}: expected {self.expected}, found {self.places[0].found if self.places else self.found}"
        others = [str(place.row) for place in self.places[1:]]
        if others:
            more = self.count - 1 - len(others)
            text += f"; so too in {self.unit} {', '.join(others)}" + (
                f" and {more:,} more" if more else ""
            )
        if self.also:
            text += f"; so too in {self.also}{self.advice}"
        return printable(text)


def merge_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Returns the problems with those of the same kind, file and column made one, in order of file and row."""
    merged: dict[tuple[str, str, str, str], Problem] = {}
    for problem in problems:
        key = (problem.subject, problem.column, problem.expected, problem.found)
        if key in merged:
            known = merged[key]
            places = sorted({*known.places, *problem.places}, key=lambda place: place.row)[
                :SHOWN_PLACES
            ]
            problem = known.model_copy(
                update={"places": tuple(places), "count": known.count + problem.count}
            )
        merged[key] = problem
    return sorted(
        merged.values(),
        key=lambda item: (item.subject, [place.row for place in item.places], item.column),
    )


def join_files(problems: Sequence[Problem]) -> list[Problem]:
    """Returns the problems; what more than a few files share is told once."""
    of_cause: dict[tuple[str, ...], list[int]] = {}
    for index, problem in enumerate(problems):
        found = "" if problem.places else problem.found
        of_cause.setdefault((problem.column, problem.expected, found, problem.advice), []).append(
            index
        )

    joined = dict(enumerate(problems))
    for first, *others in of_cause.values():
        if len(others) >= SHOWN_FILES:
            files = _count_files([problems[index].subject for index in others])
            joined[first] = problems[first].model_copy(update={"also": files})
            for index in others:
                del joined[index]
    return list(joined.values())


def _count_files(paths: Sequence[str]) -> str:
    names = ", ".join(path.rpartition("/")[2] for path in paths[:SHOWN_FILES])
    more = ", ..." if len(paths) > SHOWN_FILES else ""
    return f"{len(paths):,} more {'file' if len(paths) == 1 else 'files'} ({names}{more})"


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Raises the problems as one error.

    Raises:
        LogError: there is at least one.
    """
    if lines := [str(problem) for problem in join_files(merge_problems(problems))]:
        raise LogError(lines)


def places_of(
    bad: pl.Series,
    values: pl.Series,
    numbers: Sequence[int],
    describe_row: Callable[[int], str] | None = None,
) -> tuple[Place, ...]:
    """Returns the first rows where `bad` is true, with the values found there.

    Args:
        bad: one boolean a row.
        values: the values as they were in the file.
        numbers: what the file calls each row.
        describe_row: says what a row holds, where Python cannot show the value.
    """
    rows = bad.arg_true().head(SHOWN_PLACES).to_list()
    found = describe_row or (lambda row: describe(values[row]))
    return tuple(Place(row=numbers[row], found=found(row)) for row in rows)


def describe(value: object) -> str:
    """Returns a value as an error message shows it."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def printable(text: str) -> str:
    r"""Returns text with escape sequences for what cannot be printed.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def near_misses(names: Iterable[str], known: Iterable[str]) -> str:
    """Returns ` (did you mean 'x', 'y'?)` with known names that are close to one of `names`."""
    by_lower = {item.lower(): item for item in known}
    found = (difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6) for name in names)
    close = dict.fromkeys(repr(by_lower[match[0]]) for match in found if match)
    return f" (did you mean {', '.join(close)}?)" if close else ""
