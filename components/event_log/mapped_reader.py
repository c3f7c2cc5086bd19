"""Turns the records of a platform into rows of events, as the mapping of their format says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.names import EVENT_TYPE, LEARNER, TIME, UNIT
from components.event_log.problems import Hint, Problem
from components.event_log.record_kinds import ChosenKind, choose_kind
from components.platforms.expressions import (
    column_of,
    keys_of,
    meets,
    paths_of_rules,
    paths_to,
    raw_columns,
    values_at,
)

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.event_log.chunks import Chunk
    from components.event_log.sources import LogFile

SHOWN_COLUMNS = 30

_TOLD = {LEARNER: "a learner", UNIT: "a unit", EVENT_TYPE: "a type of event"}
_RULE = "rule "


def read_mapped(
    read: Callable[[LogFile, Sequence[str]], Iterator[Chunk | Problem]],
    file: LogFile,
    columns: Sequence[str],
    mapping: EventMapping,
) -> Iterator[Chunk | Problem]:
    """Yields the events in a file of records.

    Records that a rule is about, and those without a learner, a unit or a type of event, are left
    out; a hint says how many.

    Args:
        read: reads some of a file's own columns, objects and lists as their JSON.
        file: the file.
        columns: the columns of events that are wanted.
        mapping: how they are found.
    """
    if mapping.kinds:
        chosen = choose_kind(read, file, mapping)
        if isinstance(chosen, Problem):
            yield chosen
        if not isinstance(chosen, ChosenKind):
            return
        read, mapping = chosen.read, chosen.mapping
    wanted = [*dict.fromkeys([*columns, *(name for name in _TOLD if name in mapping.columns)])]
    for chunk in read(file, raw_columns(mapping, wanted)):
        if isinstance(chunk, Problem):
            yield chunk
        elif missing := _missing_keys(chunk, columns, mapping):
            yield _explain_missing(file, missing, chunk)
            return
        else:
            yield _map(chunk, file, columns, wanted, mapping)


def _missing_keys(chunk: Chunk, columns: Sequence[str], mapping: EventMapping) -> list[str]:
    """Returns the columns without which no record is an event, where the file has none of them."""
    missing: list[str] = []
    for name in (LEARNER, UNIT, TIME):
        keys = keys_of(mapping, name) if name in columns else []
        if keys and not any(key in chunk.header for key in keys):
            missing += keys
    return [*dict.fromkeys(missing)]


def _explain_missing(file: LogFile, missing: list[str], chunk: Chunk) -> Problem:
    names = ", ".join(map(repr, missing))
    found = f"the columns {', '.join(chunk.header[:SHOWN_COLUMNS])}" if chunk.header else "none"
    return Problem(
        subject=file.path,
        expected=f"{names} in events",
        found=f"{found}; is data.format right? data.mapping says where values are found",
    )


def _map(
    chunk: Chunk,
    file: LogFile,
    columns: Sequence[str],
    wanted: Sequence[str],
    mapping: EventMapping,
) -> Chunk:
    records = _as_text(chunk, raw_columns(mapping, wanted))
    values = values_at(records, [*paths_to(mapping, wanted), *paths_of_rules(mapping)])
    known = [name for name in wanted if name in mapping.columns or name in chunk.header]
    rules = {name: meets(rule).alias(_RULE + name) for name, rule in mapping.leave_out.items()}
    found = values.select(*(column_of(mapping, name, file.path) for name in known), *rules.values())

    left_out = _LeftOut(file, chunk, pl.repeat(False, values.height, eager=True))
    for name in rules:
        left_out.add(f"records left out, {name}", found[_RULE + name])
    for name, what in _TOLD.items():
        if name in known:
            left_out.add(f"records left out, without {what}", found[name].is_null())

    header = [*dict.fromkeys([*mapping.columns, *chunk.header])]
    frame = found.select(name for name in columns if name in known)
    mapped = replace(chunk, frame=frame, header=header, typed=False, hints=left_out.hints)
    return left_out.leave_out(mapped) if left_out.hints else mapped


@dataclass
class _LeftOut:
    """Which records of a chunk are left out, and why; each counts for the first reason."""

    file: LogFile
    chunk: Chunk
    rows: pl.Series

    def __post_init__(self) -> None:
        self.hints: list[Hint] = []

    def add(self, text: str, found: pl.Series) -> None:
        new = found & ~self.rows
        if count := int(new.sum()):
            first = self.chunk.numbers[int(new.arg_max() or 0)]
            place = f"{self.chunk.unit} {first} of {self.file.path}"
            self.hints.append(Hint(text=text, count=count, example=place))
        self.rows = self.rows | new

    def leave_out(self, chunk: Chunk) -> Chunk:
        """Returns the chunk without these records."""
        kept = (~self.rows).arg_true()
        lines = chunk.lines
        if lines:
            dropped = len(self.rows) - len(kept)
            lines = Counter({**lines, "rows": len(kept), "left out": dropped})
        numbers = [self.chunk.numbers[row] for row in kept]
        return replace(chunk, frame=chunk.frame[kept], numbers=numbers, lines=lines)


def _as_text(chunk: Chunk, columns: Sequence[str]) -> pl.DataFrame:
    """Returns columns of records as text, those that the file does not have without values."""
    frame = chunk.frame
    missing = [pl.lit(None, pl.String).alias(name) for name in columns if name not in frame.columns]
    if chunk.typed:
        frame = pl.DataFrame([_text_of(column) for column in frame.iter_columns()])
    return frame.with_columns(missing)


def _text_of(column: pl.Series) -> pl.Series:
    """Returns a typed column as the same text that CSV or JSON would hold."""
    dtype = column.dtype
    if isinstance(dtype, pl.Struct):
        return column.struct.json_encode()
    if isinstance(dtype, pl.Datetime | pl.Date):
        return column.dt.to_string("iso:strict")
    if dtype.is_float():
        whole = column.drop_nulls()
        if (whole == whole.floor()).all():  # pandas writes integers with gaps as floats
            return column.cast(pl.Int64, strict=False).cast(pl.String)
    return column.cast(pl.String)
