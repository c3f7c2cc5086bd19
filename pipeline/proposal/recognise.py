"""Recognises which platform wrote a log, by what its records hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from components.event_log.record_kinds import kind_of
from components.platforms.expressions import values_at
from components.platforms.formats import PLATFORMS, STANDARD, mapping_of

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from pipeline.proposal.look import Look

# What a record of each format has, and hardly one of another. A record fits if it has all of one
# list: Caliper 1.0 wrote `@type`.
SIGNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "open_edx": (("event_type", "event_source", "context.course_id"),),
    "xapi": (("actor", "verb.id", "object"),),
    "caliper": (
        ("type", "action", "actor", "eventTime"),
        ('"@type"', "action", "actor", "eventTime"),
    ),
}
MOST = 0.5  # of the records have to fit

LOGS = ("log", "report")  # kinds of tables that tell of everything that learners do


@dataclass(frozen=True)
class Recognised:
    """Which platform wrote a table, and what that was seen by.

    Attributes:
        format: the platform.
        why: what was seen.
        kind: which of the format's tables it is; empty for formats of one table.
    """

    format: str
    why: str
    kind: str = ""


def recognise(look: Look) -> Recognised:
    """Returns the format of a table; `standard` where no platform is recognised."""
    header = look.frame.columns
    for name in PLATFORMS:
        if kind := _kind_of(mapping_of(name), header):
            return Recognised(name, kind[1], kind[0])

    best = Recognised(STANDARD, "")
    most = MOST
    for name, signs in SIGNS.items():
        for paths in signs:
            share = _share_with(look.frame, paths)
            if share > most:
                most = share
                count = round(share * look.frame.height)
                found = f"{', '.join(paths)} in {count:,} of {look.frame.height:,} records"
                best = Recognised(name, found)
    return best


def _share_with(frame: pl.DataFrame, paths: Sequence[str]) -> float:
    """Returns the share of records that have a value at all paths."""
    known = [path for path in paths if path.split(".")[0].strip('"') in frame.columns]
    if len(known) < len(paths):
        return 0.0
    values = values_at(frame, known)
    return float(values.select(pl.all_horizontal(pl.all().is_not_null())).to_series().mean() or 0)  # type: ignore[arg-type]


def _kind_of(mapping: EventMapping, header: Sequence[str]) -> tuple[str, str] | None:
    """Returns which of a format's tables has these columns, and that in words."""
    found = kind_of(header, mapping)
    if found is None:
        return None
    kind, language = found
    name = next(name for name, one in mapping.kinds.items() if one is kind)
    if language is None:
        return name, f"{kind.title}, with the columns {', '.join(kind.has)}"
    tongue = next(name for name, one in kind.languages.items() if one is language)
    columns = [column for column in language.columns if column in header]
    return name, f"{kind.title} in {tongue}, with the columns {', '.join(columns)}"
