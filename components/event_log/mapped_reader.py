"""Turns the records of a platform into rows of events, as the mapping of their format says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from components.config.record_paths import split_path
from components.contracts.names import EVENT_TYPE, LEARNER, TIME, UNIT
from components.event_log.chunks import Chunk
from components.event_log.problems import LEFT_OUT, SHOWN_COLUMNS, Hint, Problem, hint_at
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
    from components.config.record_paths import Rule


_TOLD = {LEARNER: "a learner", UNIT: "a unit", EVENT_TYPE: "a type of event"}
_ROW = "row number"

Item = TypeVar("Item")
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
    paths = [*paths_to(mapping, wanted), *paths_of_rules(mapping.leave_out)]
    lookups = load_lookups(read_lookup, dialect, mapping, paths)
    if lookups.problems:
        yield from lookups.problems
        return
    reader = _Reader(file, columns, wanted, mapping, lookups)
    for chunk in _ahead(read(file, raw_columns(mapping, wanted))):
        if isinstance(chunk, Problem):
            yield chunk
        elif missing := _missing_keys(chunk, columns, mapping):
            yield _explain_missing(file, missing, chunk, is_log=TIME in columns)
            return
        else:
            yield reader.map(chunk)


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yields items, each of which is made in a thread while the one before it is in use."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        upcoming = thread.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield item


def _missing_keys(chunk: Chunk, columns: Sequence[str], mapping: EventMapping) -> list[str]:
    """Returns the columns without which no record is an event, where the file has none of them."""
    missing: list[str] = []
    for name in (LEARNER, UNIT, TIME):
        keys = keys_of(mapping, name) if name in columns else []
        if keys and not any(key in chunk.header for key in keys):
            missing += keys
    return [*dict.fromkeys(missing)]


def _explain_missing(file: LogFile, missing: list[str], chunk: Chunk, *, is_log: bool) -> Problem:
    names = ", ".join(map(repr, missing))
    found = f"the columns {', '.join(chunk.header[:SHOWN_COLUMNS])}" if chunk.header else "none"
    advice = "is data.format right? data.mapping says where values are found"
    if not is_log:  # the table beside derived outcomes has no times
        advice = "data.outcomes.mapping says where values are found"
    return Problem(
        subject=file.path,
        expected=f"{names} in {'events' if is_log else 'outcomes'}",
        found=f"{found}; {advice}",
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
        first: what the values of columns are unique in, for the first record, by its path.
    """

    file: LogFile
    columns: Sequence[str]
    wanted: Sequence[str]
    mapping: EventMapping
    lookups: Lookups
    first: dict[str, str] = field(default_factory=dict)

    def map(self, chunk: Chunk) -> Chunk:
        """Returns the events in a chunk of records."""
        mapping = self.mapping
        left = _Left(self.file, chunk)
        records = self._records_of(chunk)
        for rules in _in_turn(mapping):
            values = self._values_of(records, paths_of_rules(rules))
            met = values.select(meets(rule).alias(name) for name, rule in rules.items())
            records = records.filter(left.without({rule.name: rule for rule in met}))

        known = [name for name in self.wanted if name in mapping.columns or name in chunk.header]
        wholes = self._wholes()
        paths = [*paths_to(mapping, self.wanted), *wholes.values()]
        values = self._values_of(records, paths)
        # Not by `select`, which gives one row for constants alone.
        events = values.with_columns(column_of(mapping, name, self.file.path) for name in known)
        told = {what: events[name].is_null() for name, what in _TOLD.items() if name in known}
        kept = left.without({f"without {what}": rows for what, rows in told.items()})

        values = values.filter(kept)
        frame = events.filter(kept).select(name for name in self.columns if name in known)
        header = [*dict.fromkeys([*mapping.columns, *chunk.header])]
        mapped = left.as_part_of(replace(chunk, frame=frame, header=header, typed=False))
        hints = [*mapped.hints, *self.lookups.hints(values, mapped, self.file)]
        for column, path in wholes.items():
            hints += self._changes(values[path], column, mapped)
        return replace(mapped, hints=hints, origin=partial(self._origin, values))

    def _wholes(self) -> dict[str, str]:
        """Returns the path of what values are unique in, for columns that do not hold it, too."""
        return {
            column: path
            for column, path in self.mapping.unique_within.items()
            if column in self.wanted
            and path not in paths_to(self.mapping, [column])
            and split_path(path)[0] in keys_of(self.mapping, column)
        }

    def _changes(self, whole: pl.Series, column: str, chunk: Chunk) -> list[Hint]:
        """Returns a hint at records whose values may be those of others elsewhere."""
        known = whole.drop_nulls()
        first = self.first.setdefault(whole.name, known[0]) if len(known) else ""
        text = (
            f"events whose {whole.name} is not that of the first "
            f"(the same {column} is read as the same; data.mapping can name both)"
        )
        changed = (whole != first).fill_null(value=False)
        where = {"path": self.file.path, "unit": chunk.unit}
        return hint_at(changed, whole, chunk.numbers, text=text, **where)

    def _records_of(self, chunk: Chunk) -> pl.DataFrame:
        """Returns the columns of records as text; those that only other files have are empty."""
        frame = as_text(chunk.frame) if chunk.typed else chunk.frame
        rows = len(chunk.numbers)
        missing = [
            pl.repeat(None, rows, dtype=pl.String, eager=True).alias(name)
            for name in raw_columns(self.mapping, self.wanted)
            if name not in frame.columns
        ]
        # A column of every row, for mappings that read nothing of records, only names of files.
        row = pl.int_range(rows, eager=True).alias(_ROW)
        return pl.DataFrame([row, *frame.get_columns(), *missing])

    def _values_of(self, records: pl.DataFrame, paths: Sequence[str]) -> pl.DataFrame:
        """Returns the values at some paths, those in lookups included."""
        own = in_record(self.mapping, paths)
        values = values_at(records, own).get_columns() if own else []
        return self.lookups.add_to(pl.DataFrame([records[_ROW], *values]), paths)

    def _origin(self, values: pl.DataFrame, column: str, row: int) -> str:
        return origin_of(self.mapping, column, self.file.path, values[row])


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

    def without(self, reasons: Mapping[str, pl.Series]) -> pl.Series:
        """Returns which of the records that were left stay.

        Args:
            reasons: by reason in words, which of them it takes away; the first one counts.
        """
        gone = pl.repeat(False, len(self._numbers), eager=True)
        for text, rows in reasons.items():
            new = rows & ~gone
            if count := int(new.sum()):
                first = self._numbers[int(new.arg_max() or 0)]
                place = f"{self._unit} {first} of {self._path}"
                self._hints.append(Hint(text=LEFT_OUT + text, count=count, example=place))
            gone = gone | rows
        if gone.any():
            self._numbers = [self._numbers[row] for row in (~gone).arg_true()]
        return ~gone

    def as_part_of(self, chunk: Chunk) -> Chunk:
        """Returns a chunk of the rows that are left, with their numbers and the reasons."""
        lines = chunk.lines
        if lines and self._hints:
            dropped = sum(hint.count for hint in self._hints)
            lines = Counter({**lines, "rows": chunk.frame.height, "left out": dropped})
        hints = [*chunk.hints, *self._hints]
        return replace(chunk, numbers=self._numbers, lines=lines, hints=hints)
