"""What is wrong with a log, and what is odd in it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

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


LOOKS_MISSING = frozenset(
    {
        "nan",
        "null",
        "none",
        "nil",
        "na",
        "n/a",
        "#n/a",
        "nat",
        "<na>",
        "<null>",
        "(null)",
        "undefined",
        "\\n",
        "-",
        "?",
    }
)
MAX_LOOKALIKES = (
    1000  # ids of one column that are looked for; the first by name of those that could be another
)
_PLAIN = r"^[\x21-\x7e]*$"
_NUMBER = r"^(?:\+|(-))?0*(\d+)(?:\.0*)?$"
_REWRITTEN = (
    r"^(?:\+\d+|-?0\d+|-?\d+\.0*)(?:\.0*)?$"  # a number that is usually written in another way
)


class Hint(BaseModel):
    """Something odd.

    Attributes:
        text: what it is, as the title of a list would say it.
        count: how often.
        example: one of them, and where.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    count: int
    example: str = ""

    def __str__(self) -> str:
        """Returns one line."""
        return printable(
            f"{self.text}: {self.count:,}" + (f", such as {self.example}" if self.example else "")
        )


def merge_hints(hints: Iterable[Hint]) -> list[Hint]:
    """Returns the hints with those of one text made one, by text; the first example stays."""
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
    """Returns a hint at rows of a chunk, none where there are none."""
    if not (count := int(rows.sum())):
        return []
    first = int(rows.arg_max())  # type: ignore[arg-type]
    return [
        Hint(
            text=text,
            count=count,
            example=f"{describe(raw[first])} in {path}, {unit} {numbers[first]}",
        )
    ]


def looks_missing(ids: pl.Series) -> pl.Series:
    """Says of each id whether it is how some system writes that there is none."""
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
    """Returns those of different ids that people would take for another, by that other."""
    is_plain, is_rewritten = ids.str.contains(_PLAIN), ids.str.contains(_REWRITTEN)

    odd = ids.filter(~is_plain).unique()
    pairs = [(plain_id(item), item) for item in odd]

    # Ids with leading zeros may be as many as learners: no loop over them.
    written = ids.filter(is_plain & is_rewritten).unique().alias("written")
    numbers = pl.DataFrame([written, written.str.replace(_NUMBER, "${1}${2}").alias("plain")])
    numbers = numbers.filter(pl.col("plain") != pl.col("written"))
    first = numbers["plain"].unique().sort().head(MAX_LOOKALIKES)
    pairs += (
        numbers.filter(pl.col("plain").is_in(first.implode())).select("plain", "written").rows()
    )

    return merge_lookalikes({plain: [item]} for plain, item in pairs if plain != item)


def merge_lookalikes(parts: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Returns the first `MAX_LOOKALIKES` of all parts, with at most two ways to write each."""
    merged: dict[str, set[str]] = {}
    for part in parts:
        for plain, written in part.items():
            merged.setdefault(plain, set()).update(written)
    return {plain: sorted(merged[plain])[:2] for plain in sorted(merged)[:MAX_LOOKALIKES]}


def find_twins(candidates: Mapping[str, Sequence[str]], ids: Iterable[pl.Series]) -> set[str]:
    """Returns which of the plain ids of `lookalikes` are ids of the log themselves."""
    if not candidates:
        return set()
    wanted = pl.Series(list(candidates), dtype=pl.String)
    return {
        twin for column in ids for twin in column.filter(column.is_in(wanted.implode())).unique()
    }


def describe_lookalikes(
    column: str, candidates: Mapping[str, Sequence[str]], twins: Iterable[str]
) -> list[Hint]:
    """Returns hints at ids that differ by what nobody sees, or only in how a number is written.

    Args:
        column: what the log calls the column.
        candidates: what `lookalikes` found in the whole log.
        twins: what `find_twins` found of them.
    """
    known = set(twins)
    pairs = {plain: written[0] for plain, written in candidates.items() if plain in known}
    pairs |= {
        written[1]: written[0]
        for plain, written in candidates.items()
        if len(written) > 1 and plain not in pairs
    }
    numbers = {
        plain: other
        for plain, other in pairs.items()
        if re.match(_REWRITTEN, other.strip(), re.ASCII)
    }
    hints = []
    for found, how in (
        (
            {plain: other for plain, other in pairs.items() if plain not in numbers},
            "by characters that nobody sees",
        ),
        (numbers, "in how a number is written"),
    ):
        if found:
            plain, other = min(found.items())
            text = f"ids in {column} that differ from another only {how} (each is an id of its own)"
            hints.append(Hint(text=text, count=len(found), example=f"{other!a} beside {plain!a}"))
    return hints
