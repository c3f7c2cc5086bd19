"""Ids that are not what they seem: how systems write that there is none, and lookalikes of others.

Lookalikes are collected while the log is read; only the whole log shows whether both are in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from components.event_log.problems import Hint

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
