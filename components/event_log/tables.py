"""The two tables of a log: which columns they must have, and how a file becomes their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.left_out import LeftOutList, read_left_out
from components.contracts.names import (
    AS_OF,
    DERIVED_STEPS,
    DWELL,
    EVENT_TYPE,
    FOLD,
    LEARNER,
    ORDER,
    SAMPLE_HASH,
    TIME,
    UNIT,
)
from components.event_log.chunks import orders_of
from components.event_log.clocks import describe_time
from components.event_log.column_kinds import Kind, Table, read_column, type_of
from components.event_log.derived_tables import answer_columns, starts_of_units, table_beside
from components.event_log.learners import hash_ids
from components.event_log.missing_columns import explain_missing
from components.event_log.odd_ids import lookalikes, looks_missing
from components.event_log.problems import Hint, Problem, describe, hint_at, places_of
from components.event_log.readers import read_chunks
from components.event_log.splits import folds_of_units
from components.event_log.tally import Tally
from components.event_log.timescales import see

if TYPE_CHECKING:
    from components.event_log.chunks import Chunk
    from components.event_log.column_kinds import ColumnRead
    from components.event_log.learners import Hashes, Sample
    from components.event_log.log_spec import FeatureType, LogSpec
    from components.event_log.sources import LogFile


def events_table(spec: LogSpec) -> Table:
    """Returns the columns of events: keys, time, and all step features that are not computed."""
    features = {
        name: _kind_of(type_) for name, type_ in spec.features.items() if name not in DERIVED_STEPS
    }
    answers = answer_columns(spec.derived)
    columns = spec.columns
    sources = {
        LEARNER: columns.learner_id,
        UNIT: columns.unit_id,
        TIME: columns.time,
        EVENT_TYPE: columns.event_type,
    }
    return Table(
        name="events",
        kinds={LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK, **answers, **features},
        sources=sources if spec.mapping is None else {},
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
        left_out=_left_out(spec),
        mapping=spec.mapping,
        csv=spec.csv,
        optional=frozenset([] if spec.dwell_cap_seconds is None else [DWELL]),
        answers=tuple(answers),
        with_unit_starts=spec.derived is not None and spec.derived.after == "unit",
    )


def outcomes_table(spec: LogSpec) -> Table:
    """Returns the columns of outcomes: keys, moment, label, columns to group and slice by, fold.

    Columns that the model reads have the type of the configuration, so that a log with whole
    numbers gives the same schema. Where outcomes are derived, the table has a row per learner, or
    per learner and unit: neither a moment nor, unless the grade is in it, a label.
    """
    if spec.derived is not None:
        given = outcomes_table(spec.model_copy(update={"derived": None}))
        return table_beside(given, spec.derived, spec.label.column)
    label = Kind.SCORE if spec.label.task == "regression" else Kind.CLASS
    others = {
        name: _kind_of(spec.inputs[name]) if name in spec.inputs else Kind.ANY
        for name in spec.outcome_columns
    }
    keys = {LEARNER: Kind.KEY, UNIT: Kind.KEY, AS_OF: Kind.CLOCK}
    columns = spec.columns
    sources = {LEARNER: columns.learner_id, UNIT: columns.unit_id, AS_OF: columns.as_of}
    if spec.splits.column is not None:
        others[FOLD] = Kind.FOLD
        sources[FOLD] = spec.splits.column
    return Table(
        name="outcomes",
        kinds={**keys, spec.label.column: label, **others},
        sources=sources,
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
        classes=tuple(spec.label.classes),
        folds=spec.splits.folds or 0,
        units_have_folds=spec.splits.by == "unit",
        left_out=_left_out(spec),
        csv=spec.outcomes_csv,
    )


def table_of_learners(spec: LogSpec) -> Table:
    """Returns the table whose learners are asked about: outcomes, or events to derive them from."""
    return outcomes_table(spec) if spec.derived is None else events_table(spec)


def _left_out(spec: LogSpec) -> Callable[[pl.Series], pl.Series] | None:
    known = read_left_out(spec.left_out)
    return None if known is None else partial(are_left_out, known=known)


def _kind_of(feature: FeatureType) -> Kind:
    return Kind.TEXT if feature == "categorical" else Kind.NUMBER


def read_table(
    file: LogFile, table: Table, *samples: Sample | None
) -> Iterator[tuple[pl.DataFrame | None, Tally]]:
    """Reads a file of a table in bounded memory.

    Args:
        file: the file.
        table: the columns it must have.
        samples: the rows of learners who are in all of them are returned; None is everybody. Rows
            of other learners are checked, and neither yielded nor counted; nor are those of
            learners who are left out.

    Yields:
        For every chunk its usable rows, as `convert` returns them, or None if there are none; and
        its counts. Reading ends at a missing column, or one of a wrong type.
    """
    # One source may have two roles, so names are made unique.
    columns = list(dict.fromkeys(table.source(name) for name in table.kinds))
    for chunk in read_chunks(file, columns, table.mapping, table.csv):
        if isinstance(chunk, Problem):
            yield None, Tally(problems=[chunk])
            continue
        chunk = _with_optional(chunk, table)
        if missing := [name for name in columns if name not in chunk.frame.columns]:
            yield None, Tally(problems=[explain_missing(file, table, missing, chunk.header)])
            return
        if chunk.lines or chunk.hints:
            lines = {table.name: chunk.lines} if chunk.lines else {}
            yield None, Tally(lines=lines, hints=[*chunk.hints])

        frame, tally = convert(file, table, chunk)
        if frame is None:
            yield None, tally
            return
        frame = _without_left_out(frame, table, tally)
        if table.with_unit_starts:
            tally.unit_starts = starts_of_units(frame, table.timezone)
        for sample in samples:
            if sample is not None and not frame.is_empty():
                frame = sample.of(frame)
        if frame.is_empty():
            yield None, tally
            continue
        tally.rows[table.name] = Counter({file.path: frame.height})
        tally.types = _open_types(frame, table, typed=chunk.typed)
        if FOLD in frame.columns and table.units_have_folds:
            tally.folds = folds_of_units(frame)
        yield frame, tally


def _with_optional(chunk: Chunk, table: Table) -> Chunk:
    """Adds columns without values for those that the file may lack."""
    absent = [
        pl.lit(None, pl.Float32 if chunk.typed else pl.String).alias(table.source(name))
        for name in table.optional
        if name in table.kinds and table.source(name) not in chunk.frame.columns
    ]
    return replace(chunk, frame=chunk.frame.with_columns(absent)) if absent else chunk


def _without_left_out(frame: pl.DataFrame, table: Table, tally: Tally) -> pl.DataFrame:
    """Drops the rows of learners who are left out, and counts them; their ids are not shown."""
    if table.left_out is None or frame.is_empty():
        return frame
    kept = frame.filter(~table.left_out(frame[LEARNER]))
    if dropped := frame.height - kept.height:
        text = f"{table.name} of learners in data.left_out (not used)"
        tally.hints.append(Hint(text=text, count=dropped))
    return kept


def are_left_out(learners: pl.Series, known: LeftOutList) -> pl.Series:
    """Returns which ids are on a list: one boolean per row.

    Args:
        learners: ids, with repetitions, without nulls.
        known: the list.
    """
    digests = known.digests
    listed = [name for name in learners.unique() if known.digest(name) in digests]
    return learners.is_in(listed)


def read_hashes(file: LogFile, table: Table, seed: str) -> Iterator[Hashes]:
    """Yields the hashes of the learners in each chunk of a file, each once.

    Only the column of learners is read, and problems are ignored: they are reported when the rows
    of the file are read.
    """
    source = table.source(LEARNER)
    for chunk in read_chunks(file, [source], table.mapping, table.csv):
        if isinstance(chunk, Problem) or source not in chunk.frame.columns:
            return
        column = read_column(table.kinds[LEARNER], chunk.frame[source], table, typed=chunk.typed)
        if column is not None:
            learners = column.values.alias(LEARNER).drop_nulls()
            if table.left_out is not None:
                learners = learners.filter(~table.left_out(learners))
            yield hash_ids(learners, seed)[SAMPLE_HASH].to_numpy()


def _open_types(frame: pl.DataFrame, table: Table, *, typed: bool) -> dict[str, str]:
    """Returns the type of each column that the configuration leaves open, if it has values."""
    names = [name for name, kind in table.kinds.items() if kind is Kind.ANY]
    types = {name: type_of(frame[name], typed=typed) for name in names}
    return {name: type_ for name, type_ in types.items() if type_}


def convert(file: LogFile, table: Table, chunk: Chunk) -> tuple[pl.DataFrame | None, Tally]:
    """Reads the columns of a chunk as `table` describes them.

    Returns:
        The correct rows, with standard names and types and `_order`, or None if a column is of a
        wrong type. A column of kind `ANY` keeps its type, which is text if the file has no types;
        times that are numbers stay numbers. And the chunk's counts: problems, times by form, hints.
    """
    columns: dict[str, pl.Series] = {}
    tally = Tally()
    bad = pl.repeat(False, chunk.frame.height, eager=True)
    for name, kind in table.kinds.items():
        raw = chunk.frame[table.source(name)]
        read = read_column(kind, raw, table, typed=chunk.typed)
        if read is None:
            tally.problems += [_wrong_type(file, raw, kind)] if len(raw) else []
            continue
        columns[name] = read.values.alias(name)
        source = _Source(file, table, name, raw, chunk)
        bad |= source.add_faults(read, tally)
        if len(raw):
            source.add_notes(read, tally)

    if len(columns) < len(table.kinds):
        return (None if tally.problems else pl.DataFrame()), tally
    if table.clock is not None:
        bad |= columns[table.clock].is_null()
    numbers = pl.Series(ORDER, chunk.numbers, dtype=pl.Int64)
    order = orders_of(numbers, file.index, newest_first=chunk.newest_first)
    frame = pl.DataFrame([*columns.values(), order])
    return (frame.filter(~bad) if bad.any() else frame), tally


@dataclass(frozen=True)
class _Source:
    """A column of a chunk, and where it is from."""

    file: LogFile
    table: Table
    name: str
    raw: pl.Series
    chunk: Chunk

    def add_faults(self, read: ColumnRead, tally: Tally) -> pl.Series:
        """Adds the column's faults to the problems; returns the rows that have one."""
        bad = pl.repeat(False, len(self.raw), eager=True)
        for fault, expected in read.faults:
            count = int(fault.sum())
            if not count:
                continue
            problem = Problem(
                subject=self.file.path,
                column=self.raw.name,
                unit=self.chunk.unit,
                expected=expected,
                places=places_of(
                    fault, self.raw, self.chunk.numbers, partial(self._describe, read)
                ),
                count=count,
            )
            tally.problems.append(problem)
            bad |= fault
        return bad

    def _describe(self, read: ColumnRead, row: int) -> str:
        """Returns the value of a row, and of a mapped column where it is from."""
        shown = read.clock.describe if read.clock else None
        text = describe(self.raw[row]) if shown is None else shown(row)
        origin = self.chunk.origin(self.raw.name, row) if self.chunk.origin else ""
        return f"{text} ({origin})" if origin else text

    def add_notes(self, read: ColumnRead, tally: Tally) -> None:
        """Adds the hints of the column, and counts that are judged over the whole log."""
        kind = self.table.kinds[self.name]
        if kind is Kind.CLOCK and read.clock:
            self._note_times(read, tally)
        elif kind is Kind.KEY:
            self._note_ids(read.values, tally)

    def _note_times(self, read: ColumnRead, tally: Tally) -> None:
        assert read.clock is not None
        zone = self.table.timezone
        where = {"path": self.file.path, "unit": self.chunk.unit, "column": self.raw.name}
        tally.clocks[self.name] = see(
            read.clock, self.raw, self.chunk.numbers, timezone=zone, **where
        )
        if read.clock.moved is not None:
            text = (
                f"dates in {self.raw.name} whose midnight was skipped by the clocks of {zone} "
                "(read as the first moment of the day)"
            )
            self._hint(tally, text, read.clock.moved, self.raw)
        if read.clock.twice is not None:
            text = (
                f"times in {self.raw.name} that {zone} had twice, as its clocks went back "
                "(read as the first)"
            )
            self._hint(tally, text, read.clock.twice, self.raw)

    def _note_ids(self, ids: pl.Series, tally: Tally) -> None:
        source = self.raw.name
        different = ids.unique()
        missing = different.filter(looks_missing(different))
        if not missing.is_empty():
            text = f"{self.table.name} whose {source} looks like a missing value (read as an id)"
            self._hint(tally, text, ids.is_in(missing.implode()), ids)

        of_folder = self.file.partition.get(source)
        if of_folder is not None:
            text = (
                f"{self.table.name} whose {source} differs from the name of their folder "
                "(the column counts)"
            )
            self._hint(tally, text, (ids != of_folder).fill_null(False), ids)

        if found := lookalikes(different):
            tally.lookalikes[self.name] = found

    def _hint(self, tally: Tally, text: str, rows: pl.Series, shown: pl.Series) -> None:
        path, unit = self.file.path, self.chunk.unit
        tally.hints += hint_at(rows, shown, self.chunk.numbers, text=text, path=path, unit=unit)


_EXPECTED_TYPES = {
    Kind.KEY: "text or integers",
    Kind.CLOCK: "timestamps or numbers",
    Kind.NUMBER: "numbers",
    Kind.CLASS: "text, integers or booleans",
    Kind.SCORE: "numbers",
    Kind.FOLD: "whole numbers",
}


def _wrong_type(file: LogFile, raw: pl.Series, kind: Kind) -> Problem:
    expected = _EXPECTED_TYPES.get(kind, "numbers, text, booleans or times")
    found = str(raw.dtype)
    first = raw.head(100).drop_nulls().head(1)
    if len(first):
        is_time = isinstance(raw.dtype, pl.Date | pl.Datetime)
        found += f", such as {describe_time(first, 0) if is_time else describe(first.to_list()[0])}"
    return Problem(subject=file.path, column=raw.name, expected=expected, found=found)
