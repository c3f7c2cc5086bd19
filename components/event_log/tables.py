"""The two tables of a log: what they have to hold, and how a file becomes their rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import polars as pl

from components.config import Config
from components.config.data import Columns, Label, Splits
from components.config.section import Section
from components.contracts.names import AS_OF, DERIVED_STEPS, EVENT_TYPE, LEARNER, ORDER, TIME, UNIT
from components.event_log.chunks import Chunk
from components.event_log.clocks import describe_time
from components.event_log.column_kinds import Kind, Read, Table, read_column, type_of
from components.event_log.learners import Sample
from components.event_log.problems import (
    Problem,
    describe,
    hint_at,
    lookalikes,
    looks_missing,
    near_misses,
    places_of,
)
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.event_log.tally import Tally
from components.event_log.timescales import see

FeatureType = Literal["categorical", "numeric"]


class LogSpec(Section):
    """How a log is read, checked, joined and split; for the fields see the sections of `Config` they come from.

    Attributes:
        features: the type of each step feature.
        inputs: the type of each column of outcomes that the model reads.
    """

    columns: Columns
    timezone: str
    max_cold_start_share: float
    nan_as_missing: bool
    min_class_examples: int
    splits: Splits
    sample_learners: int | None
    label: Label
    max_steps: int
    features: dict[str, FeatureType]
    outcome_columns: list[str]
    inputs: dict[str, FeatureType]
    partitions: int

    @classmethod
    def of(cls, config: Config) -> LogSpec:
        """Returns the part of `config` that examples depend on; how a feature is scaled, say, is none of it."""
        data = config.data
        return cls(
            columns=data.columns,
            timezone=data.timezone,
            max_cold_start_share=data.max_cold_start_share,
            nan_as_missing=data.nan_as_missing,
            min_class_examples=data.min_class_examples,
            splits=data.splits,
            sample_learners=data.sample_learners,
            label=config.label,
            max_steps=config.steps.max_steps,
            features={name: feature.type for name, feature in config.steps.features.items()},
            outcome_columns=config.outcome_columns,
            inputs=_inputs(config),
            partitions=config.beam.partitions,
        )


def _inputs(config: Config) -> dict[str, FeatureType]:
    """Returns how the model reads columns of outcomes: as names where it groups by them, unless they are numbers."""
    groups: dict[str, FeatureType] = dict.fromkeys(config.prior.group_by, "categorical")
    return groups | {name: feature.type for name, feature in config.context.items()}


def events_table(spec: LogSpec) -> Table:
    """Returns what events have to hold: the keys, the time, and every step feature that is not computed."""
    features = {
        name: _kind(type_) for name, type_ in spec.features.items() if name not in DERIVED_STEPS
    }
    columns = spec.columns
    return Table(
        name="events",
        kinds={LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK, **features},
        sources={
            LEARNER: columns.learner_id, UNIT: columns.unit_id, TIME: columns.time, EVENT_TYPE: columns.event_type,
        },
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
    )  # fmt: skip


def outcomes_table(spec: LogSpec) -> Table:
    """Returns what outcomes have to hold: the keys, the moment, the label, and columns to group and slice by.

    What a model reads has the type that the configuration says, so that a log of whole numbers is no other log.
    """
    label = Kind.SCORE if spec.label.task == "regression" else Kind.CLASS
    others = {
        name: _kind(spec.inputs[name]) if name in spec.inputs else Kind.ANY
        for name in spec.outcome_columns
    }
    columns = spec.columns
    return Table(
        name="outcomes",
        kinds={
            LEARNER: Kind.KEY,
            UNIT: Kind.KEY,
            AS_OF: Kind.CLOCK,
            spec.label.column: label,
            **others,
        },
        sources={LEARNER: columns.learner_id, UNIT: columns.unit_id, AS_OF: columns.as_of},
        timezone=spec.timezone,
        nan_as_missing=spec.nan_as_missing,
        classes=tuple(spec.label.classes),
    )


def _kind(feature: FeatureType) -> Kind:
    return Kind.TEXT if feature == "categorical" else Kind.NUMBER


SHOWN_COLUMNS = 30
SHOWN_LETTERS = (
    60  # of a column's name: what is no table at all may have a first line of a megabyte
)


def read_table(
    file: LogFile, table: Table, sample: Sample | None = None
) -> Iterator[tuple[pl.DataFrame | None, Tally]]:
    """Reads a file of a table in bounded memory.

    Args:
        file: the file.
        table: what it should hold.
        sample: the learners whose rows are wanted, None for all. Rows of others are looked at for what is wrong with
            them, and are neither yielded nor counted.

    Yields:
        For every chunk its usable rows, if there are any, as `convert` describes them; and what was counted.
        A missing column or one of a wrong type ends it.
    """
    columns = list(
        dict.fromkeys(table.source(name) for name in table.kinds)
    )  # one may have two roles
    for chunk in read_chunks(file, columns):
        if isinstance(chunk, Problem):
            yield None, Tally(problems=[chunk])
            continue
        if missing := [name for name in columns if name not in chunk.frame.columns]:
            yield None, Tally(problems=[_explain_missing(file, table, missing, chunk.header)])
            return
        if chunk.lines:
            yield None, Tally(lines={table.name: chunk.lines})
        frame, tally = convert(file, table, chunk)
        if frame is None:
            yield None, tally
            return
        if sample is not None and not frame.is_empty():
            frame = sample.of(frame)
        if frame.is_empty():
            yield None, tally
        else:
            tally.rows[table.name] = Counter({file.path: frame.height})
            tally.types = {
                name: type_
                for name, kind in table.kinds.items()
                if kind is Kind.ANY and (type_ := type_of(frame[name], typed=chunk.typed))
            }
            yield frame, tally


def _explain_missing(
    file: LogFile, table: Table, missing: list[str], header: Sequence[str]
) -> Problem:
    """Returns one problem for all missing columns of a file, with its likely cause."""
    names = ", ".join(repr(name) for name in missing)
    header = [
        name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}..." for name in header
    ]
    expected = (
        f"a column {names} in {table.name}"
        if len(missing) == 1
        else f"the columns {names} in {table.name}"
    )
    close = near_misses(missing, header)
    more = f" and {len(header) - SHOWN_COLUMNS} more" if len(header) > SHOWN_COLUMNS else ""
    found = (
        f"the columns {', '.join(header[:SHOWN_COLUMNS])}{more}{close}" if header else "no columns"
    )

    if file.format == "csv":
        if header[0].startswith("sep="):
            found += "; remove this line, which is Excel's own"
        elif any(mark in name for name in header for mark in ";\t|") and len(missing) > 1:
            found += "; separate the fields by commas"
        elif len(missing) > 2 and any(
            re.fullmatch(r"[+-]?\d[\d.:T Z/+-]*", name) for name in header
        ):
            found += "; the first line has to name the columns"
    keys = [name for name in missing if name in (table.source(LEARNER), table.source(UNIT))]
    advice = (
        f"; if {' and '.join(keys)} is in the names of the files, write it into a column"
        if keys
        else ""
    )
    return Problem(subject=file.path, expected=expected, found=found, advice=advice)


FILE_SHIFT = 40  # bits of ORDER that count rows; those above count files


def convert(file: LogFile, table: Table, chunk: Chunk) -> tuple[pl.DataFrame | None, Tally]:
    """Reads the columns of a chunk as `table` has them.

    Returns:
        The rows that are as expected, with standard names and types and `_order` (a column of kind `ANY` keeps the
        type it has, text where the file does not say; so do times that are numbers), or None where a column
        is of a wrong type; and what was found on the way: problems, times by form, and what is odd.
    """
    columns: dict[str, pl.Series] = {}
    tally = Tally()
    bad = pl.repeat(False, chunk.frame.height, eager=True)
    for name, kind in table.kinds.items():
        source = table.source(name)
        raw = chunk.frame[source]
        read = read_column(kind, raw, table, typed=chunk.typed)
        if read is None:
            tally.problems += [_wrong_type(file, source, kind, raw)] if len(raw) else []
            continue
        columns[name] = read.values.alias(name)
        bad |= _keep_faults(file, source, read, raw, chunk, tally)
        if len(raw):
            _keep_notes(file, table, name, read, raw, chunk, tally)

    if len(columns) < len(table.kinds):
        return (None if tally.problems else pl.DataFrame()), tally
    bad |= columns[table.clock].is_null()
    order = pl.Series(ORDER, chunk.numbers, dtype=pl.Int64) + (file.index << FILE_SHIFT)
    frame = pl.DataFrame([*columns.values(), order])
    return (frame.filter(~bad) if bad.any() else frame), tally


def _keep_faults(
    file: LogFile, source: str, read: Read, raw: pl.Series, chunk: Chunk, tally: Tally
) -> pl.Series:
    """Adds a column's faults to the problems; returns the rows that have one."""
    bad = pl.repeat(False, len(raw), eager=True)
    describe_row = read.clock.describe if read.clock else None
    for fault, expected in read.faults:
        if not (count := int(fault.sum())):
            continue
        places = places_of(fault, raw, chunk.numbers, describe_row)
        where = {"subject": file.path, "column": source, "unit": file.unit}
        tally.problems.append(Problem(**where, expected=expected, places=places, count=count))
        bad |= fault
    return bad


def _keep_notes(
    file: LogFile, table: Table, name: str, read: Read, raw: pl.Series, chunk: Chunk, tally: Tally
) -> None:
    """Adds what only the whole log can judge, and what is odd."""
    kind, source = table.kinds[name], table.source(name)
    where = {"path": file.path, "unit": file.unit}
    if kind is Kind.CLOCK and read.clock:
        forms = see(read.clock, raw, chunk.numbers, timezone=table.timezone, column=source, **where)
        tally.clocks[name] = forms
        if read.clock.moved is not None:
            text = f"dates in {source} without a midnight, which {table.timezone} skipped (their first hour counts)"
            tally.hints += hint_at(read.clock.moved, raw, chunk.numbers, text=text, **where)
        if read.clock.twice is not None:
            text = f"times in {source} that {table.timezone} had twice, as its clocks went back (the first counts)"
            tally.hints += hint_at(read.clock.twice, raw, chunk.numbers, text=text, **where)
    elif kind is Kind.KEY:
        text = f"{table.name} with a {source} that looks like a missing value (it is read as an id)"
        different = read.values.unique()
        if not (missing := different.filter(looks_missing(different))).is_empty():
            rows = read.values.is_in(missing.implode())
            tally.hints += hint_at(rows, read.values, chunk.numbers, text=text, **where)
        if (of_folder := file.partition.get(source)) is not None:
            text = f"{table.name} with another {source} than their folder is named after (the column counts)"
            rows = (read.values != of_folder).fill_null(False)
            tally.hints += hint_at(rows, read.values, chunk.numbers, text=text, **where)
        if found := lookalikes(different):
            tally.lookalikes[name] = found


def _wrong_type(file: LogFile, source: str, kind: Kind, raw: pl.Series) -> Problem:
    expected = {
        Kind.KEY: "text or integers", Kind.CLOCK: "timestamps or numbers", Kind.NUMBER: "numbers",
        Kind.CLASS: "text, integers or booleans", Kind.SCORE: "numbers",
    }.get(kind, "numbers, text, booleans or times")  # fmt: skip
    first = raw.head(100).drop_nulls().head(1)
    is_time = isinstance(raw.dtype, pl.Date | pl.Datetime)
    value = (
        f", such as {describe_time(first, 0) if is_time else describe(first.to_list()[0])}"
        if len(first)
        else ""
    )
    return Problem(subject=file.path, column=source, expected=expected, found=f"{raw.dtype}{value}")
