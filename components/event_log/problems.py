"""Problems of a log, which stop a run, and hints at oddities, which do not.

Both are collected while the log is read and reported together at the end.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from components.command.escape import printable, shorten
from components.errors import LogError

if TYPE_CHECKING:
    import polars as pl

    from components.event_log.chunks import TextFault

SHOWN_PLACES = 3
SHOWN_FILES = 3
SHOWN_COLUMNS = 30
SHOWN_LETTERS = 60
LEFT_OUT = "records left out, "  # how hints about records begin that are not events


class Place(BaseModel):
    """A row of a file and the value found there."""

    model_config = ConfigDict(frozen=True)

    row: int  # from 1: data rows of Parquet, lines of text files
    found: str


class Problem(BaseModel):
    """One kind of error in one column of one file, or in the log as a whole.

    Attributes:
        subject: the file, or the part of the log or configuration that is wrong.
        column: the column as the file calls it; empty if no single column is wrong.
        expected: which values are accepted; may end in advice.
        found: the value found, if it is the same for all rows.
        failure: what failed, instead of `expected` and `found`, where no value is wrong.
        unit: what `places` counts, `row` or `line`.
        places: the first few rows that are wrong.
        count: number of rows that are wrong.
        advice: what to do if several files have the problem.
        also: those other files, in words.
    """

    model_config = ConfigDict(frozen=True)

    subject: str
    expected: str = ""
    column: str = ""
    found: str = ""
    failure: str = ""
    unit: str = "row"
    places: tuple[Place, ...] = ()
    count: int = 0
    advice: str = ""
    also: str = ""

    def __str__(self) -> str:
        """Returns one line: the place, the expected and the found value, and how often."""
        found = self.places[0].found if self.places else self.found
        text = self.failure or f"expected {self.expected}, found {found}"

        others = [str(place.row) for place in self.places[1:]]
        more = self.count - 1 - len(others)
        if others:
            text += f"; also in {self.unit} {', '.join(others)}"
            text += f" and {more:,} more" if more else ""
        if self.also:
            text += f"; also in {self.also}{self.advice}"
        return printable(f"{self._where()}: {text}")

    def _where(self) -> str:
        where = self.subject
        if self.places:
            where += f", {self.unit} {self.places[0].row}"
        if self.column:
            where += f", column {self.column}"
        return where


def merge_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Merges problems of the same kind, file and column; sorts by file and row."""
    merged: dict[tuple[str, ...], Problem] = {}
    for problem in problems:
        key = (problem.subject, problem.column, problem.expected, problem.found, problem.failure)
        known = merged.get(key)
        merged[key] = _add_places(known, problem) if known else problem

    def order(problem: Problem) -> tuple[str, list[int], str]:
        return problem.subject, [place.row for place in problem.places], problem.column

    return sorted(merged.values(), key=order)


def _add_places(known: Problem, other: Problem) -> Problem:
    places = sorted({*known.places, *other.places}, key=lambda place: place.row)
    count = known.count + other.count
    return known.model_copy(update={"places": tuple(places[:SHOWN_PLACES]), "count": count})


def join_files(problems: Sequence[Problem]) -> list[Problem]:
    """Reports a problem once that more than a few files share, at the first of them."""
    by_cause: dict[tuple[str, ...], list[int]] = {}
    for index, problem in enumerate(problems):
        found = "" if problem.places else problem.found
        cause = (problem.column, problem.expected, found, problem.failure, problem.advice)
        by_cause.setdefault(cause, []).append(index)

    joined = dict(enumerate(problems))
    for first, *others in by_cause.values():
        if len(others) < SHOWN_FILES:
            continue
        files = _count_files([problems[index].subject for index in others])
        joined[first] = problems[first].model_copy(update={"also": files})
        for index in others:
            del joined[index]
    return list(joined.values())


def _count_files(paths: Sequence[str]) -> str:
    names = ", ".join(path.rpartition("/")[2] for path in paths[:SHOWN_FILES])
    more = ", ..." if len(paths) > SHOWN_FILES else ""
    return f"{len(paths):,} more files ({names}{more})"


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
        bad: one boolean per row.
        values: the values as they were in the file.
        numbers: the number of each row in the file.
        describe_row: returns the value of a row as text, for values that Python cannot show.
    """
    rows = bad.arg_true().head(SHOWN_PLACES).to_list()
    found = describe_row or (lambda row: describe(values[row]))
    return tuple(Place(row=numbers[row], found=found(row)) for row in rows)


def describe(value: object) -> str:
    """Returns a value as an error message shows it."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return shorten(text, SHOWN_LETTERS)


def excerpt(data: bytes | memoryview) -> str:
    """Returns the beginning of some bytes as an error message shows it, on one line."""
    return describe(b" ".join(bytes(data[:80]).splitlines()).decode(errors="replace"))


def describe_fault(fault: TextFault) -> str:
    """Returns what is wrong in a line, and how the text there begins."""
    return f"{fault.reason}: {excerpt(fault.text)}" if fault.text else fault.reason


def find_not_utf8(text: bytes, line: int) -> Place | None:
    """Returns the first line that is not UTF-8.

    Args:
        text: some lines.
        line: the number of the first.
    """
    for number, content in enumerate(text.splitlines(), start=line):
        try:
            content.decode()
        except UnicodeDecodeError as error:
            around = content[max(error.start - 20, 0) : error.end + 20]
            return Place(row=number, found=describe(around))
    return None


def explain_unreadable(path: str, error: Exception) -> Problem:
    """Returns the problem behind one of `chunks.READ_ERRORS`."""
    text = str(error).strip()
    reason = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, gzip.BadGzipFile):
        reason = f"named .gz, but not compressed with gzip, or damaged: {reason}"
    elif isinstance(error, EOFError | zlib.error):
        reason = f"compressed data is damaged or cut off: {reason}; write the file again"
    return Problem(subject=path, failure=f"could not be read ({reason})")


def repeated_column(path: str, header: Sequence[str], columns: Sequence[str]) -> Problem | None:
    """Returns the problem of a file that has a requested column twice, None if there is none."""
    names = [name for name in dict.fromkeys(columns) if header.count(name) > 1]
    if not names:
        return None
    places = [str(number) for number, name in enumerate(header, start=1) if name == names[0]]
    return Problem(
        subject=path,
        column=names[0],
        expected="one column of this name",
        found=f"{len(places)}, in the places {', '.join(places)}",
    )


class Hint(BaseModel):
    """An oddity.

    Attributes:
        text: a description without its count, such as `empty rows in events`.
        count: how often it was found.
        example: one of them, and its place.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    count: int
    example: str = ""

    def __str__(self) -> str:
        """Returns one line."""
        example = f", such as {self.example}" if self.example else ""
        return printable(f"{self.text}: {self.count:,}{example}")


def merge_hints(hints: Iterable[Hint]) -> list[Hint]:
    """Merges hints of the same text; sorts by text, and keeps the first example by name."""
    merged: dict[str, Hint] = {}
    for hint in hints:
        if known := merged.get(hint.text):
            example = min(filter(None, (hint.example, known.example)), default="")
            hint = Hint(text=hint.text, count=hint.count + known.count, example=example)
        merged[hint.text] = hint
    return [merged[text] for text in sorted(merged)]


def hint_at(
    rows: pl.Series, raw: pl.Series, numbers: Sequence[int], *, text: str, path: str, unit: str
) -> list[Hint]:
    """Returns a hint about some rows of a chunk; an empty list if there are none.

    Args:
        rows: one boolean per row.
        raw: the values of the column.
        numbers: the number of each row in the file.
        text: of the hint.
        path: of the file.
        unit: what `numbers` counts, `row` or `line`.
    """
    count = int(rows.sum())
    if not count:
        return []
    first = int(rows.arg_max())  # type: ignore[arg-type]
    example = f"{describe(raw[first])} in {path}, {unit} {numbers[first]}"
    return [Hint(text=text, count=count, example=example)]
