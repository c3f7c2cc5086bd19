"""Problems of a log, which stop a run, and hints at oddities, which do not.

Both are collected while the log is read and reported together at the end.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import polars as pl
from pydantic import BaseModel, ConfigDict

from components.command.escape import shorten
from components.errors import LogError

SHOWN_PLACES = 3
SHOWN_FILES = 3
SHOWN_LETTERS = 60

# How systems write that there is no id.
LOOKS_MISSING = frozenset(
    {
        "nan", "null", "none", "nil", "na", "n/a", "#n/a", "nat", "<na>", "<null>", "(null)",
        "undefined", "\\n", "-", "?",
    }
)  # fmt: skip
# Ids per column that are compared with the others: the first by name among the candidates.
MAX_LOOKALIKES = 1000

_PLAIN = r"^[\x21-\x7e]*$"
_NUMBER = r"^(?:\+|(-))?0*(\d+)(?:\.0*)?$"
# A number with a plus sign, leading zeros or an empty fraction.
_REWRITTEN = r"^(?:\+\d+|-?0\d+|-?\d+\.0*)(?:\.0*)?$"


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


def printable(text: str) -> str:
    r"""Returns text with escape sequences for characters that cannot be printed.

    >>> print(printable("two\nlines"))
    two\nlines
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


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


def looks_missing(ids: pl.Series) -> pl.Series:
    """Returns for each id whether it is how some system writes that there is no id."""
    return ids.str.to_lowercase().is_in(list(LOOKS_MISSING))


def plain_id(text: str) -> str:
    r"""Returns an id as people read it: composed, without invisible characters, numbers by digits.

    >>> plain_id("S0001\u200b"), plain_id("0123"), plain_id("123.0")
    ('S0001', '123', '123')
    """
    composed = unicodedata.normalize("NFC", text)
    visible = "".join(_visible(character) for character in composed)
    spaced = " ".join(visible.split())
    number = re.match(_NUMBER, spaced, re.ASCII)
    return (number[1] or "") + number[2] if number else spaced


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Zs", "Zl", "Zp", "Cc"):
        return " "
    return "" if category == "Cf" else character


def lookalikes(ids: pl.Series) -> dict[str, list[str]]:
    """Finds ids that people would read as another id.

    Args:
        ids: different ids.

    Returns:
        For each id as people would read it, how it is written.
    """
    is_plain = ids.str.contains(_PLAIN)
    is_rewritten = ids.str.contains(_REWRITTEN)

    odd = ids.filter(~is_plain).unique()
    pairs = [(plain_id(item), item) for item in odd]

    # Ids with leading zeros may be as many as learners: no loop over them.
    written = ids.filter(is_plain & is_rewritten).unique().alias("written")
    numbers = pl.DataFrame([written, written.str.replace(_NUMBER, "${1}${2}").alias("plain")])
    numbers = numbers.filter(pl.col("plain") != pl.col("written"))
    first = numbers["plain"].unique().sort().head(MAX_LOOKALIKES)
    kept = numbers.filter(pl.col("plain").is_in(first.implode()))
    pairs += kept.select("plain", "written").rows()

    return merge_lookalikes({plain: [item]} for plain, item in pairs if plain != item)


def merge_lookalikes(parts: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Returns the first `MAX_LOOKALIKES` of all parts, with at most two spellings of each."""
    merged: dict[str, set[str]] = {}
    for part in parts:
        for plain, written in part.items():
            merged.setdefault(plain, set()).update(written)
    return {plain: sorted(merged[plain])[:2] for plain in sorted(merged)[:MAX_LOOKALIKES]}


def find_twins(candidates: Mapping[str, Sequence[str]], ids: Iterable[pl.Series]) -> set[str]:
    """Returns which of the plain ids of `lookalikes` are ids of the log themselves."""
    if not candidates:
        return set()
    wanted = pl.Series(list(candidates), dtype=pl.String).implode()
    return {twin for column in ids for twin in column.filter(column.is_in(wanted)).unique()}


def describe_lookalikes(
    column: str, candidates: Mapping[str, Sequence[str]], twins: Iterable[str]
) -> list[Hint]:
    """Returns hints at ids that differ by invisible characters, or only in how a number is written.

    Args:
        column: its name in the log.
        candidates: what `lookalikes` returned for the whole log.
        twins: what `find_twins` returned for them.
    """
    known = set(twins)
    pairs = {plain: written[0] for plain, written in candidates.items() if plain in known}
    for plain, written in candidates.items():
        if len(written) > 1 and plain not in pairs:
            pairs[written[1]] = written[0]

    invisible: dict[str, str] = {}
    numbers: dict[str, str] = {}
    for one, other in pairs.items():
        is_number = re.match(_REWRITTEN, other.strip(), re.ASCII)
        (numbers if is_number else invisible)[one] = other

    differences = {"by invisible characters": invisible, "in how a number is written": numbers}
    hints = []
    for how, found in differences.items():
        if not found:
            continue
        one, other = min(found.items())
        text = f"ids in {column} that differ from another only {how} (each counts as its own id)"
        hints.append(Hint(text=text, count=len(found), example=f"{other!a} beside {one!a}"))
    return hints
