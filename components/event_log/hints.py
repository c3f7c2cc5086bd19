"""What is odd in a log and does not stop it: counted while it goes by, told in a line each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from pydantic import BaseModel, ConfigDict

from components.event_log.problems import describe, printable

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
