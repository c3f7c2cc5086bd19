"""Turns the records of a platform into rows of events, as the mapping of their format says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.names import EVENT_TYPE, LEARNER, TIME, UNIT
from components.event_log.chunks import Chunk
from components.event_log.problems import LEFT_OUT, Hint, Problem
from components.event_log.record_kinds import ChosenKind, choose_kind
from components.event_log.record_text import as_text
from components.event_log.sources import LogFile
from components.platforms.expressions import (
    column_of,
    in_record,
    keys_of,
    meets,
    origin_of,
    paths_of_rules,
    paths_to,
    problems_of,
    raw_columns,
    values_at,
)
from components.platforms.lookups import Lookups, load_lookups

if TYPE_CHECKING:
    from components.config.mapping import EventMapping

SHOWN_COLUMNS = 30

_TOLD = {LEARNER: "a learner", UNIT: "a unit", EVENT_TYPE: "a type of event"}
_RULE = "rule "
_ROW = "row number"

Read = Callable[[LogFile, Sequence[str]], Iterator[Chunk | Problem]]


def read_mapped(
    read: Read,
    read_lookup: Read,
    file: LogFile,
    columns: Sequence[str],
    mapping: EventMapping,
    dialect: str = "",
) -> Iterator[Chunk | Problem]:
    """Yields the events in a file of records.

    Records that a rule is about, and those without a learner, a unit or a type of event, are left
    out; a hint says how many.

    Args:
        read: reads some of a file's own columns, objects and lists as their JSON.
        read_lookup: the same for the tables of lookups, which are no envelopes of records.
        file: the file.
        columns: the columns of events that are wanted.
        mapping: how they are found.
        dialect: how CSV files are written; tells apart lookups in memory.
    """
    if problems := problems_of(mapping):
        yield from problems
        return
    if mapping.kinds:
        chosen = choose_kind(read, file, mapping)
        if isinstance(chosen, Problem):
            yield chosen
        if not isinstance(chosen, ChosenKind):
            return
        read, mapping = chosen.read, chosen.mapping

    wanted = [*dict.fromkeys([*columns, *(name for name in _TOLD if name in mapping.columns)])]
    paths = [*paths_to(mapping, wanted), *paths_of_rules(mapping)]
    lookups = load_lookups(read_lookup, dialect, mapping, paths)
    if lookups.problems:
        yield from lookups.problems
        return
    reader = _Reader(file, columns, wanted, mapping, lookups)
    for chunk in read(file, raw_columns(mapping, wanted)):
        if isinstance(chunk, Problem):
            yield chunk
        elif missing := _missing_keys(chunk, columns, mapping):
            yield _explain_missing(file, missing, chunk)
            return
        else:
            yield reader.map(chunk)


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


@dataclass(frozen=True)
class _Reader:
    """Turns chunks of a file's records into events.

    Attributes:
        file: the file.
        columns: the columns of events that are asked for.
        wanted: these, and those without which a record is no event.
        mapping: how they are found.
        lookups: what it looks values up in.
    """

    file: LogFile
    columns: Sequence[str]
    wanted: Sequence[str]
    mapping: EventMapping
    lookups: Lookups

    def map(self, chunk: Chunk) -> Chunk:
        """Returns the events in a chunk of records."""
        mapping = self.mapping
        values = self._values_of(chunk)
        known = [name for name in self.wanted if name in mapping.columns or name in chunk.header]
        rules = {name: meets(rule).alias(_RULE + name) for name, rule in mapping.leave_out.items()}
        # Not by `select`, which gives one row for constants alone.
        found = values.with_columns(
            *(column_of(mapping, name, self.file.path) for name in known), *rules.values()
        )

        left_out = _LeftOut(self.file, chunk, pl.repeat(False, values.height, eager=True))
        for name in rules:
            left_out.add(name, found[_RULE + name])
        for name, what in _TOLD.items():
            if name in known:
                left_out.add(f"without {what}", found[name].is_null())

        header = [*dict.fromkeys([*mapping.columns, *chunk.header])]
        frame = found.select(name for name in self.columns if name in known)
        events = replace(chunk, frame=frame, header=header, typed=False)
        if left_out.hints:
            events = left_out.leave_out(events)
            values = values.filter(~left_out.rows)
        hints = [*chunk.hints, *left_out.hints, *self.lookups.hints(values, events, self.file)]
        return replace(events, hints=hints, origin=partial(self._origin, values))

    def _values_of(self, chunk: Chunk) -> pl.DataFrame:
        """Returns the values at all paths, those in lookups included."""
        rows = len(chunk.numbers)
        frame = as_text(chunk.frame) if chunk.typed else chunk.frame
        missing = [
            pl.repeat(None, rows, dtype=pl.String, eager=True).alias(name)
            for name in raw_columns(self.mapping, self.wanted)
            if name not in frame.columns  # another file of the log may have it
        ]
        paths = [*paths_to(self.mapping, self.wanted), *paths_of_rules(self.mapping)]
        records = pl.DataFrame([*frame.get_columns(), *missing])
        values = values_at(records, in_record(self.mapping, paths))
        # A column of every row, for mappings that read nothing of records, only names of files.
        row = pl.int_range(rows, eager=True).alias(_ROW)
        return self.lookups.add_to(pl.DataFrame([row, *values.get_columns()]))

    def _origin(self, values: pl.DataFrame, column: str, row: int) -> str:
        return origin_of(self.mapping, column, self.file.path, values[row])


@dataclass
class _LeftOut:
    """Which records of a chunk are left out, and why; each counts for the first reason."""

    file: LogFile
    chunk: Chunk
    rows: pl.Series

    def __post_init__(self) -> None:
        self.hints: list[Hint] = []

    def add(self, reason: str, found: pl.Series) -> None:
        new = found & ~self.rows
        if count := int(new.sum()):
            first = self.chunk.numbers[int(new.arg_max() or 0)]
            place = f"{self.chunk.unit} {first} of {self.file.path}"
            self.hints.append(Hint(text=LEFT_OUT + reason, count=count, example=place))
        self.rows = self.rows | new

    def leave_out(self, chunk: Chunk) -> Chunk:
        """Returns the chunk without these records."""
        kept = ~self.rows
        lines = chunk.lines
        if lines:
            dropped = int(self.rows.sum())
            lines = Counter({**lines, "rows": len(kept) - dropped, "left out": dropped})
        numbers = pl.Series(self.chunk.numbers, dtype=pl.Int64).filter(kept).to_list()
        return replace(chunk, frame=chunk.frame.filter(kept), numbers=numbers, lines=lines)
