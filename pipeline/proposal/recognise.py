"""Recognises which platform wrote a log, by what its records hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

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
_ENOUGH = 2 / 3  # of the names of a localized export


@dataclass(frozen=True)
class Recognised:
    """Which platform wrote a log, and what that was seen by."""

    format: str
    why: str


def recognise(look: Look) -> Recognised:
    """Returns the format of a table; `standard` where no platform is recognised."""
    header = look.frame.columns
    for name in PLATFORMS:
        if seen := _table_of(mapping_of(name), header):
            return Recognised(name, seen)

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


def _table_of(mapping: EventMapping, header: Sequence[str]) -> str:
    """Returns which of a format's tables has these columns, in words; empty for none of them."""
    for kind in mapping.kinds.values():
        if kind.has and {*kind.has} <= {*header}:
            return f"{kind.title}: columns {', '.join(kind.has)}"
        for language, names in kind.languages.items():
            known = [name for name in names.columns if name in header]
            if len(known) > _ENOUGH * len(names.columns):
                return f"{kind.title} in {language}: columns {', '.join(known)}"
    return ""


def settings_of(found: Recognised) -> dict[str, Any]:
    """Returns what `data` says about the format."""
    return {} if found.format == STANDARD else {"format": found.format}
