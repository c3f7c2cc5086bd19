"""Turns the records of a platform into rows of events, as the mapping of their format says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from components.config.mapping import split_path
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
    from components.config.mapping import EventMapping, Rule
    from components.event_log.chunks import Chunk
    from components.event_log.sources import LogFile

SHOWN_COLUMNS = 30

_TOLD = {LEARNER: "a learner", UNIT: "a unit", EVENT_TYPE: "a type of event"}


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
    left = _Left(file, chunk)
    records = _as_text(chunk, raw_columns(mapping, wanted))
    for rules in _in_turn(mapping):
        values = values_at(records, paths_of_rules(rules))
        met = values.select(meets(rule).alias(name) for name, rule in rules.items())
        records = left.without({f"records left out, {rule.name}": rule for rule in met}, records)

    known = [name for name in wanted if name in mapping.columns or name in chunk.header]
    values = values_at(records, paths_to(mapping, wanted))
    events = values.select(column_of(mapping, name, file.path) for name in known)
    told = {what: events[name].is_null() for name, what in _TOLD.items() if name in known}
    reasons = {f"records left out, without {what}": rows for what, rows in told.items()}
    events = left.without(reasons, events)

    frame = events.select(name for name in columns if name in known)
    header = [*dict.fromkeys([*mapping.columns, *chunk.header])]
    mapped = replace(chunk, frame=frame, header=header, typed=False)
    return left.as_part_of(mapped)


def _in_turn(mapping: EventMapping) -> list[dict[str, Rule]]:
    """Returns rules that ask for columns of records, then those that ask for values within them.

    Most records of a log may be requests of pages, whose other values need not be looked for.
    """
    turns: tuple[dict[str, Rule], dict[str, Rule]] = ({}, {})
    for name, rule in mapping.leave_out.items():
        is_within = any(len(split_path(path)) > 1 for item in rule for path in item)
        turns[is_within][name] = rule
    return [rules for rules in turns if rules]


class _Left:
    """Which records of a chunk are left, and why others are not; each counts for one reason."""

    def __init__(self, file: LogFile, chunk: Chunk) -> None:
        self._path = file.path
        self._unit = chunk.unit
        self._numbers: Sequence[int] = chunk.numbers
        self._hints: list[Hint] = []

    def without(self, reasons: Mapping[str, pl.Series], frame: pl.DataFrame) -> pl.DataFrame:
        """Returns the records that are left of those that were before.

        Args:
            reasons: by reason in words, which of the records it takes away; the first one counts.
            frame: these records.
        """
        gone = pl.repeat(False, frame.height, eager=True)
        for text, rows in reasons.items():
            new = rows & ~gone
            if count := int(new.sum()):
                first = self._numbers[int(new.arg_max() or 0)]
                place = f"{self._unit} {first} of {self._path}"
                self._hints.append(Hint(text=text, count=count, example=place))
            gone = gone | rows
        if not gone.any():
            return frame
        kept = ~gone
        self._numbers = [self._numbers[row] for row in kept.arg_true()]
        return frame.filter(kept)

    def as_part_of(self, chunk: Chunk) -> Chunk:
        """Returns a chunk of the rows that are left, with their numbers and the reasons."""
        lines = chunk.lines
        if lines and self._hints:
            dropped = sum(hint.count for hint in self._hints)
            lines = Counter({**lines, "rows": chunk.frame.height, "left out": dropped})
        return replace(chunk, numbers=self._numbers, lines=lines, hints=self._hints)


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
