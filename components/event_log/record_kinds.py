"""Finds out which of a format's tables a file is, by the names of its columns.

A platform has several tables: Moodle's log, its quiz attempts, its grades. An export for people is
one as well, whose columns are named, and whose times are written, in the language of who made it:
such a file is looked through once before it is read, since only all of its dates together show
whether 3/04/24 is in April or in March.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from components.config.value_sources import Source
from components.contracts.names import TIME
from components.event_log.problems import SHOWN_COLUMNS, Problem, describe, places_of
from components.platforms.expressions import (
    column_of,
    is_in_record,
    keys_of,
    paths_to,
    values_at,
)
from components.platforms.local_times import DateOrders, read_local_times

if TYPE_CHECKING:
    from components.config.mapping import EventMapping, Language, RecordKind
    from components.event_log.chunks import Chunk
    from components.event_log.sources import LogFile

    Read = Callable[[LogFile, Sequence[str]], Iterator[Chunk | Problem]]

_ENOUGH = 2 / 3  # of a language's names: translators change one or another
_HALF = 0.5  # of the columns of a table: it is probably meant
_LIKE = str.maketrans({"’": "'", "\u00a0": " "})
_IN_WORDS = {"dmy": "day first", "mdy": "month first", "ymd": "year first"}


@dataclass(frozen=True)
class ChosenKind:
    """How a file of one kind is read.

    Attributes:
        read: reads some of its columns, by the names that the mapping knows.
        mapping: how its records become events.
    """

    read: Read
    mapping: EventMapping


def choose_kind(read: Read, file: LogFile, mapping: EventMapping) -> ChosenKind | Problem | None:
    """Returns how a file is read, by its kind, or why it cannot be; None for an empty file.

    Args:
        read: reads some of a file's own columns.
        file: the file.
        mapping: of a format with several kinds of records.
    """
    first = next(iter(read(file, [])), None)
    if first is None or isinstance(first, Problem):
        return first
    found = kind_of(first.header, mapping)
    if found is None:
        return _explain_unknown(file, first.header, mapping)
    kind, language = found
    if language is None:
        return ChosenKind(read, mapping.of_kind(kind, first.header))
    export = _LocalizedExport(read, file, kind, language, first.header)
    return export.look_through(mapping.of_kind(kind, first.header))


def kind_of(
    header: Sequence[str], mapping: EventMapping
) -> tuple[RecordKind, Language | None] | None:
    """Returns which kind of records has these columns, and in which language, if it has several.

    None if they are of no kind.
    """
    fitting = [kind for kind in mapping.kinds.values() if kind.has and {*kind.has} <= {*header}]
    if fitting:
        return max(fitting, key=lambda kind: len(kind.has)), None
    for kind in mapping.kinds.values():
        if language := _language_of(header, kind):
            return kind, language
    return None


def _explain_unknown(file: LogFile, header: Sequence[str], mapping: EventMapping) -> Problem:
    """Returns the problem that a file is none of the tables, with what the likeliest one lacks."""
    known = []
    share, likeliest = 0.0, ""
    for kind in mapping.kinds.values():
        languages = f" in {', '.join(kind.languages)}" if kind.languages else ""
        known.append(f"{kind.title}{languages}")
        missing = [name for name in kind.has if name not in header]
        if kind.has and 1 - len(missing) / len(kind.has) > max(share, _HALF):
            share = 1 - len(missing) / len(kind.has)
            likeliest = f"; for {kind.title} it lacks {', '.join(missing)}"
    return Problem(
        subject=file.path,
        expected=f"one of the tables {', '.join(known)} (data.kinds can describe others)",
        found=f"the columns {', '.join(header[:SHOWN_COLUMNS]) or '(none)'}{likeliest}",
    )


def _language_of(header: Sequence[str], kind: RecordKind) -> Language | None:
    """Returns the language in which a header names the columns of a kind, None if it does not."""
    best, most = None, 0.0
    for language in kind.languages.values():
        names = _names_for(header, language, kind)
        if len(names) != len(header):
            continue
        alike = sum(_like(name) == _like(own) for name, own in zip(names, header, strict=True))
        share = alike / len(names)
        if share >= _ENOUGH and share > most:
            best, most = language, share
    return best


def _names_for(header: Sequence[str], language: Language, kind: RecordKind) -> list[str]:
    lacks_first = kind.optional_first and len(header) == len(language.columns) - 1
    return language.columns[1:] if lacks_first else language.columns


def _like(name: str) -> str:
    return name.translate(_LIKE).strip().rstrip(":").casefold()


class _LocalizedExport:
    """A file whose columns and times are in the language of who exported it."""

    def __init__(
        self, read: Read, file: LogFile, kind: RecordKind, language: Language, header: Sequence[str]
    ) -> None:
        self._read_own = read
        self._file = file
        self._kind = kind
        self._language = language
        self._names = _names_for(header, next(iter(kind.languages.values())), kind)
        self._own = dict(zip(self._names, header, strict=True))
        self._orders = DateOrders([*language.dates])

    def look_through(self, mapping: EventMapping) -> ChosenKind | Problem:
        """Finds the order of its dates and values that it names once; returns how it is read."""
        time = self._kind.time
        if any(source.format for source in mapping.columns.get(TIME, [])):
            time = None  # a way with a format reads the text itself
        shared = [name for name in self._kind.one_per_file if is_in_record(mapping, name)]
        found: dict[str, set[str]] = {name: set() for name in shared}

        keys = [key for name in shared for key in keys_of(mapping, name)]
        for chunk in self._read(list(dict.fromkeys([*keys, *([time] if time else [])]))):
            if isinstance(chunk, Problem):
                return chunk
            if time and chunk.frame[time].dtype == pl.String:
                self._orders.narrow(chunk.frame[time])
            missing = [pl.lit(None, pl.String).alias(key) for key in keys if key not in self._own]
            records = chunk.frame.with_columns(missing)
            values = values_at(records, paths_to(mapping, shared)).select(
                column_of(mapping, name, self._file.path) for name in shared
            )
            for name in shared:
                found[name].update(values[name].drop_nulls().unique())

        if time and self._orders.example and len(self._orders.possible) != 1:
            return self._explain_order(time)
        known = {name: values.pop() for name, values in found.items() if len(values) == 1}
        with_known = {
            name: [*mapping.columns[name], Source(constant=value)] for name, value in known.items()
        }
        columns = {**mapping.columns, **with_known}
        read = self._read_with_times if time else self._read
        return ChosenKind(
            lambda _file, wanted: read(wanted), mapping.model_copy(update={"columns": columns})
        )

    def _read(self, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
        """Reads columns by the names that the mapping knows."""
        own = [self._own[name] for name in columns if name in self._own]
        known = {own: name for name, own in self._own.items()}
        for chunk in self._read_own(self._file, own):
            if isinstance(chunk, Problem):
                yield chunk
            else:
                frame = chunk.frame.rename(known, strict=False)
                newest_first = self._kind.newest_first
                yield replace(chunk, frame=frame, header=self._names, newest_first=newest_first)

    def _read_with_times(self, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
        """Reads columns, times as ISO 8601; what is no time becomes a problem."""
        order = self._orders.possible[0]
        for chunk in self._read(columns):
            if isinstance(chunk, Problem) or self._kind.time not in chunk.frame.columns:
                yield chunk
                continue
            texts = chunk.frame[self._kind.time]
            if texts.dtype != pl.String:  # a time already, as in Parquet
                yield chunk
                continue
            times = read_local_times(texts, self._language, order)
            wrong = times.is_null() & texts.is_not_null()
            if wrong.any():
                yield self._explain_times(wrong, texts, chunk)
            kept = (~wrong).arg_true()
            frame = chunk.frame.with_columns(times.alias(self._kind.time))[kept]
            yield replace(chunk, frame=frame, numbers=[chunk.numbers[row] for row in kept])

    def _explain_times(self, wrong: pl.Series, texts: pl.Series, chunk: Chunk) -> Problem:
        names = self._kind.languages
        name = next(name for name in names if names[name] is self._language)
        return Problem(
            subject=self._file.path,
            column=self._own[texts.name],
            unit=chunk.unit,
            expected=f"a date with its year and a time as written in {name} (or set "
            f'data.mapping.time: {{from: {texts.name}, format: "%d.%m.%Y %H:%M"}}, as they are)',
            places=places_of(wrong, texts, chunk.numbers),
            count=int(wrong.sum()),
        )

    def _explain_order(self, time: str) -> Problem:
        """Returns the problem that the dates fit several orders of day and month, or none."""
        example = describe(self._orders.example)
        orders = " and ".join(_IN_WORDS[order] for order in self._orders.possible)
        found = f"{example}, and every date can be read {orders}"
        return Problem(
            subject=self._file.path,
            column=self._own[time],
            expected="dates that show which of their numbers is the month (or set "
            f'data.mapping.time: {{from: {time}, format: "%d/%m/%y, %H:%M"}}, in their order)',
            found=found if orders else f"dates such as {example} that together fit no order",
        )
