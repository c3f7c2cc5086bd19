"""Reads a whole log and checks it: the entry to this package.

The way of one row, a quiz in line 7 of `exports/2024-05.csv.gz`:

1. `spans.choose_spans` fills the placeholders of the configured patterns, and `sources.find_files`
   finds the file.
2. `readers.read_chunks` gives the file to the reader of its format. `csv_records` finds where the
   row begins and ends, `csv_reader` parses it: it is now text in a `chunks.Chunk`, with its line.
   A file of JSON is cut into a line per record first (`json_items`), envelopes are opened
   (`envelopes`), and what is nested stays JSON text (`nested_json`).
3. In the log of a platform the row is still a record. `record_kinds` tells by the names of its
   columns which of the platform's tables it is in; `mapped_reader` leaves it out, counted, if a
   rule says so, and otherwise makes the columns of events from it, as the `EventMapping` says
   (`components.platforms.expressions`, `lookups`). From here on it is a row like any other.
4. `tables.read_table` reads the columns that a `log_spec.LogSpec` names, each by its kind
   (`column_kinds`, times in `clocks`). A wrong value becomes a `problems.Problem` with file, line
   and column, and the row is left out. Whatever only the whole log can decide, as the scale of
   times (`timescales`), is counted in a `tally.Tally`.
5. `learners.Sample` leaves the row out if its learner is not in the sample.
6. `derived_outcomes.join_part` derives the outcomes of the learner, unless a table has them: the
   row may be part of an answer. `point_in_time.cross_check` brings the times of the log to one
   clock and finds the outcomes that see the row.
7. `conclusion.conclude` decides from the counts whether the log can be used; if so,
   `conclusion.summarise` describes it.

In between, the rows of a log that is too large for memory go by way of the disk (`shuffle`).
ExampleGen takes the same way (`components.example_gen.job`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.names import AS_OF, LEARNER, ORDER, UNIT
from components.errors import MasteryError
from components.event_log.clocks import read_clock
from components.event_log.conclusion import conclude, judge_reading, summarise
from components.event_log.deliveries import find_tables
from components.event_log.derived_outcomes import join_part
from components.event_log.learners import choose_sample, smallest_hashes
from components.event_log.log_spec import LogSpec, question_spec
from components.event_log.point_in_time import cross_check, fingerprint
from components.event_log.problems import raise_if_any
from components.event_log.shuffle import RunWriter, divide, join_parts
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import (
    events_table,
    outcomes_table,
    read_hashes,
    read_table,
    table_of_learners,
)
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, see

if TYPE_CHECKING:
    from components.config.root import Config
    from components.contracts.log_summary import LogSummary
    from components.event_log.clocks import ClockRead
    from components.event_log.column_kinds import Table
    from components.event_log.learners import Sample
    from components.event_log.point_in_time import Part
    from components.event_log.shuffle import Parts
    from components.event_log.sources import Listing, LogFile


@dataclass(frozen=True)
class CheckedLog:
    """A log that can be used.

    Attributes:
        part: all of its rows.
        total: the counts over them.
        spans: names of the spans that were read, oldest first.
    """

    part: Part
    total: Tally
    spans: list[str]


@dataclass
class TableRead:
    """A table of a log: its files, their usable rows, and the counts."""

    files: list[LogFile]
    chunks: list[pl.DataFrame] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)


def check_log(config: Config) -> LogSummary:
    """Reads a log as ExampleGen would, and summarises it.

    A log that is large goes by way of a temporary folder; see `shuffle`.

    Raises:
        LogError: the log cannot be used; lists all of its problems.
        MasteryError: the temporary folder cannot be written to.
    """
    spec = LogSpec.of(config)
    found = find_log(config)
    parts = divide(found.files, len(events_table(spec).kinds), spec.splits.seed, shards=1)
    if parts.count == 1:
        total = _read_whole(found, spec, splits=True, keys_only=True).total
    else:
        total = _check_by_parts(found, spec, parts)
    return summarise(total, config.label.classes, spans=found.spans)


def read_log(config: Config, *, splits: bool, keys_only: bool) -> CheckedLog:
    """Reads a log into memory, and checks it.

    Args:
        config: where it is, and what it must hold.
        splits: whether it is divided into splits, of which each must have enough examples;
            otherwise the column of folds is not read, and outcomes see all events of the past.
        keys_only: whether to forget the step features after checking them, to save memory.

    Raises:
        LogError: the log cannot be used; lists all of its problems.
    """
    spec = LogSpec.of(config) if splits else LogSpec.of(config).without_splits()
    return _read_whole(find_log(config), spec, splits=splits, keys_only=keys_only)


@dataclass(frozen=True)
class FoundLog:
    """Where a log is: its files, and the names of its spans, oldest first."""

    events: Listing
    outcomes: Listing
    spans: list[str]

    @property
    def files(self) -> list[LogFile]:
        """The files of both tables."""
        return [*self.events.files, *self.outcomes.files]


def find_log(config: Config) -> FoundLog:
    """Finds the files of the configured spans; their problems are those of the listings.

    Raises:
        LogError: there is no such span.
    """
    data = config.data
    chosen = choose_spans([*data.events, *data.outcome_files], data.span)
    tables = find_tables(config, chosen)
    return FoundLog(tables["events"], tables["outcomes"], chosen.names)


def _read_whole(found: FoundLog, spec: LogSpec, *, splits: bool, keys_only: bool) -> CheckedLog:
    """Reads a log into memory, and checks it."""
    sample = _choose_learners(spec, found)
    events = read_files(events_table(spec), found.events, sample, keys_only=keys_only)
    outcomes = read_files(outcomes_table(spec), found.outcomes, sample)
    read = merge_tallies([*events.tallies, *outcomes.tallies])

    part = None
    asking = outcomes if spec.derived is None else events
    if asking.chunks and common_clock(read.clocks) is not None:
        part = join_part(events.chunks, outcomes.chunks, spec, read, outcomes.files)
    total = conclude(read, part.tally if part else Tally(), spec, splits=splits)
    assert part is not None, "conclude refuses a log without outcomes or without one clock"
    return CheckedLog(part, total, found.spans)


def _check_by_parts(found: FoundLog, spec: LogSpec, parts: Parts) -> Tally:
    """Checks a log with one part of its learners in memory at a time; returns the counts."""
    with read_in_parts(found, spec, parts) as (read, joined):
        total = merge_tallies(part.tally for part in joined)
    return conclude(read, total, spec, splits=True)


@contextmanager
def read_in_parts(
    found: FoundLog, spec: LogSpec, parts: Parts
) -> Iterator[tuple[Tally, Iterator[Part]]]:
    """Yields the counts of reading a log, and its parts, without features, one at a time."""
    sample = _choose_learners(spec, found)
    with _scratch_folder() as folder:
        runs = RunWriter(folder, "events", parts)
        events = read_files(events_table(spec), found.events, sample, runs, keys_only=True)
        runs = RunWriter(folder, "outcomes", parts)
        outcomes = read_files(outcomes_table(spec), found.outcomes, sample, runs)
        read = merge_tallies([*events.tallies, *outcomes.tallies])
        yield read, join_parts(folder, parts.of_shard(0), spec, read, outcomes.files)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Yields a temporary folder, which is removed at the end.

    Raises:
        MasteryError: the system has none, or it is full.
    """
    try:
        with TemporaryDirectory(prefix="mastery-log-") as folder:
            yield Path(folder)
    except OSError as error:
        raise MasteryError(
            f"No temporary folder can hold the rows of the log ({error.strerror or error}). "
            "Name one with more room in the environment variable TMPDIR."
        ) from error


def _choose_learners(spec: LogSpec, found: FoundLog) -> Sample | None:
    """Returns the sample of the learners who are asked about, None for all learners."""
    if spec.sample_learners is None:
        return None
    table = table_of_learners(spec)
    files = (found.events if table.name == "events" else found.outcomes).files
    seed = spec.splits.seed
    parts = (part for file in files for part in read_hashes(file, table, seed))
    hashes = smallest_hashes(parts, spec.sample_learners)
    return choose_sample(hashes, spec.sample_learners, seed)


def read_files(
    table: Table,
    found: Listing,
    sample: Sample | None = None,
    runs: RunWriter | None = None,
    *,
    keys_only: bool = False,
) -> TableRead:
    """Reads all files of a table.

    Args:
        table: the columns they must have.
        found: the files.
        sample: the learners whose rows are returned, None for all.
        runs: where rows go instead of the result.
        keys_only: whether to keep only keys, time and order, and a hash of the other columns.
    """
    reasons = found.describe_passed_over()
    passed_over = {table.name: reasons} if reasons else {}
    result = TableRead(found.files)
    result.tallies.append(Tally(problems=found.problems, passed_over=passed_over))
    keep = result.chunks.append if runs is None else runs.add
    for file in found.files:
        for frame, tally in read_table(file, table, sample):
            result.tallies.append(tally)
            if frame is not None:
                keep(_keys_of(frame, table) if keys_only else frame)
    if runs is not None:
        runs.flush()
    return result


def _keys_of(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    learner, unit, time, *features = table.kinds
    keys = frame.select(learner, unit, time, *table.answers, ORDER)
    return keys.with_columns(fingerprint(frame)) if features else keys


def read_questions(
    config: Config, events: Sequence[str], outcomes: Sequence[str] = (), *, as_of: str | None = None
) -> Part:
    """Reads events, and for which learners, units and moments a prediction is wanted.

    Args:
        config: how they are read; its own paths are ignored.
        events: files, folders or patterns.
        outcomes: the same for a table of `learner_id`, `unit_id`, `as_of` and the columns that the
            model reads.
        as_of: instead of `outcomes`, one moment for all learners in the events, in each of their
            units.

    Returns:
        The questions as the outcomes of one part. Their order is ExampleGen's; `_order` is that of
        the files.

    Raises:
        LogError: the files cannot be used; lists all of their problems.
        MasteryError: neither or both of `outcomes` and `as_of` are given, `as_of` is not a time, or
            the model reads columns that events do not have, so that `outcomes` is needed.
    """
    if bool(outcomes) == (as_of is not None):
        raise MasteryError(
            "expected either outcomes or as_of: whose answers are wanted, and for which moments."
        )
    spec = question_spec(config)
    read = read_files(events_table(spec), find_files("events", events, spec.mapping))
    if as_of is None:
        asked = read_files(_questions_table(spec), find_files("outcomes", outcomes))
    else:
        asked = _ask_about_everybody(read, spec, as_of)

    tally = merge_tallies([*read.tallies, *asked.tallies])
    raise_if_any(judge_reading(tally, spec))
    part = cross_check(read.chunks, asked.chunks, spec, tally, asked.files)
    raise_if_any(part.tally.problems)
    return part


def _questions_table(spec: LogSpec) -> Table:
    """Returns the columns of outcomes without the label."""
    table = outcomes_table(spec)
    kinds = {name: kind for name, kind in table.kinds.items() if name != spec.label.column}
    return replace(table, kinds=kinds)


def _ask_about_everybody(events: TableRead, spec: LogSpec, as_of: str) -> TableRead:
    """Returns one question for each learner and unit in the events, in their order there."""
    if spec.outcome_columns:
        columns = ", ".join(spec.outcome_columns)
        raise MasteryError(
            f"as_of: this model also reads {columns}, which events do not have. "
            f"Give a table of outcomes with {LEARNER}, {UNIT}, {AS_OF} and these columns."
        )
    raw = pl.Series(AS_OF, [as_of])
    read = read_moment(as_of, spec.timezone)
    if not events.chunks:
        return TableRead([], tallies=[Tally(rows={"outcomes": Counter({"as_of": 1})})])

    pairs = pl.concat([chunk.select(LEARNER, UNIT, ORDER) for chunk in events.chunks]).sort(ORDER)
    pairs = pairs.unique([LEARNER, UNIT], keep="first", maintain_order=True)
    moments = read.values.new_from_index(0, len(pairs)).alias(AS_OF)
    asked = pairs.with_columns(moments).select(LEARNER, UNIT, AS_OF, ORDER)
    forms = see(read, raw, [0], timezone=spec.timezone, path="as_of", unit="row", column=AS_OF)
    counted = Tally(rows={"outcomes": Counter({"as_of": len(asked)})}, clocks={AS_OF: forms})
    return TableRead([], [asked], [counted])


def read_moment(as_of: str, timezone: str) -> ClockRead:
    """Returns one moment as a column of times would be read.

    Raises:
        MasteryError: it is not a time.
    """
    read = read_clock(pl.Series(AS_OF, [as_of]), timezone)
    assert read is not None, "text is always read"
    if read.values.null_count():
        expected = next(expected for fault, expected in read.faults if fault.any())
        raise MasteryError(f"as_of: expected {expected}, found {as_of!r}.")
    return read
