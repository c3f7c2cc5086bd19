"""Reads a log into two tables, alters it, and writes it again."""

from __future__ import annotations

import glob
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.config.data import Columns
from components.contracts.names import AS_OF, FOLD, LEARNER, ORDER, TIME, UNIT
from components.event_log.clocks import to_clock
from components.event_log.conclusion import judge_reading
from components.event_log.derived_outcomes import derive
from components.event_log.log import find_log, read_files
from components.event_log.problems import raise_if_any
from components.event_log.sources import Listing, find_files
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import merge_tallies
from components.event_log.timescales import common_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.config.root import Config
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

Files = dict[str, list["LogFile"]]  # by table

MARK = "altered by the audit"
_CUT = "_cut"
_RANK = "_rank"


def files_of(config: Config) -> Files:
    """Returns the files of a configured log.

    Raises:
        LogError: there are none.
    """
    found = find_log(config)
    raise_if_any([*found.events.problems, *found.outcomes.problems])
    return {"events": found.events.files, "outcomes": found.outcomes.files}


@dataclass(frozen=True)
class Log:
    """The tables of a log as ExampleGen reads them, on one clock, with the names it gives columns.

    Attributes:
        events: `learner_id`, `unit_id`, `time`, `_order` and the columns of steps.
        outcomes: `learner_id`, `unit_id`, `as_of`, `_order`, the label and other columns.
        spec: how they are read.
    """

    events: pl.DataFrame
    outcomes: pl.DataFrame
    spec: LogSpec

    @classmethod
    def read(cls, files: Files, spec: LogSpec) -> Log:
        """Reads a log, with all of its learners.

        Raises:
            LogError: it cannot be used.
        """
        tables = {
            table.name: read_files(table, Listing(files[table.name]))
            for table in (events_table(spec), outcomes_table(spec))
        }
        tally = merge_tallies([item for table in tables.values() for item in table.tallies])
        raise_if_any(judge_reading(tally, spec))
        clock = common_clock(tally.clocks)
        assert clock is not None, "judge_reading refuses a log without one clock"

        def join(name: str, time: str) -> pl.DataFrame:
            chunks = [
                chunk.with_columns(to_clock(chunk[time], clock, spec.timezone))
                for chunk in tables[name].chunks
            ]
            return pl.concat(chunks, how="vertical_relaxed").sort(ORDER)

        events = join("events", TIME)
        if spec.derived is None:
            return cls(events, join("outcomes", AS_OF), spec)
        table = tables["outcomes"]
        outcomes, derived = derive(events, table.chunks, spec, tally, table.files)
        raise_if_any(derived.problems)
        return cls(events, outcomes, spec)

    def of_learners(self, learners: pl.Series) -> Log:
        """Returns the rows of some learners."""
        is_one = pl.col(LEARNER).is_in(learners.unique().implode())
        return Log(self.events.filter(is_one), self.outcomes.filter(is_one), self.spec)

    def with_labels(self, labels: pl.Series) -> Log:
        """Returns the log with other labels, in the order of `outcomes`."""
        column = self.spec.label.column
        typed = labels.cast(self.outcomes.schema[column]).alias(column)
        return Log(self.events, self.outcomes.with_columns(typed), self.spec)

    def write(self, folder: Path) -> Files:
        """Writes both tables to a new folder, for `written_spec` to read; returns their files."""
        fold = self.spec.splits.column
        outcomes = self.outcomes
        if fold is not None:
            outcomes = outcomes.with_columns(pl.col(FOLD).alias(fold)).drop(FOLD)
        files = {}
        for name, table in (("events", self.events), ("outcomes", outcomes)):
            path = folder / name / "all.parquet"
            path.parent.mkdir(parents=True)
            table.drop(ORDER).write_parquet(path, compression="lz4")
            files[name] = find_files(name, [glob.escape(str(path))]).files
        return files

    @property
    def written_spec(self) -> LogSpec:
        """How the log is read after it was written: the same, but with names and zone as here."""
        as_tables = {"columns": Columns(), "mapping": None, "derived": None}
        everybody = {"timezone": "UTC", "sample_learners": None}
        return self.spec.model_copy(update={**as_tables, **everybody})

    def rounds(self, most: int) -> Iterator[Round]:
        """Yields rounds that ask each sequence once, of the sequences that have more to ask.

        Each outcome is in one of them, if `most` allows, in an order without meaning.
        """
        keys = _sequence_keys(self.spec)
        rank = pl.struct(LEARNER, UNIT, AS_OF).hash(seed=1).rank("ordinal").over(keys) - 1
        ranked = self.outcomes.with_columns(rank.alias(_RANK))
        ranks = ranked[_RANK].unique().sort().head(most)

        for number in ranks:
            asked = ranked.filter(pl.col(_RANK) == number).drop(_RANK)
            others = self.outcomes.clear()
            if self.spec.splits.by == "unit":  # a column may say which fold a unit is in
                others = self.outcomes.join(asked, on=UNIT, how="anti").unique(UNIT)
            events = self.events.join(asked.select(keys), on=keys, how="semi").sort(ORDER)
            log = Log(events, pl.concat([asked, others]).sort(ORDER), self.spec)
            yield Round(log, asked)


@dataclass(frozen=True)
class Round:
    """A log in which one outcome of each sequence is asked about.

    Attributes:
        log: the sequences of these outcomes.
        asked: the outcomes.
    """

    log: Log
    asked: pl.DataFrame

    def with_other_future(self) -> Log:
        """Returns the log with all that happens from `as_of` on altered.

        Every event at or after the `as_of` of the sequence's outcome gets other values and comes
        one moment later; its original stays, as an event that is added; and there is a new one at
        `as_of` itself.
        """
        events = self._with_cut()
        later = events.filter(pl.col(TIME) >= pl.col(_CUT))
        moved = later.with_columns(_moved(pl.col(TIME), later.schema[TIME], 1))
        return self._replace_events(events, self._mark(moved), self._new_events(0))

    def with_step_before(self) -> Log:
        """Returns the log with an event of each outcome's future moved to just before its `as_of`.

        It is the first at or after `as_of`, and gets other values; where there is none, it is a new
        event.
        """
        events = self._with_cut()
        is_later = pl.col(TIME) >= pl.col(_CUT)
        first = pl.col(TIME).filter(is_later).min().over(_sequence_keys(self.log.spec))
        stay = events.filter((pl.col(TIME) != first).fill_null(value=True))
        return self._replace_events(stay, self._new_events(-1))

    def _with_cut(self) -> pl.DataFrame:
        """Returns the events with the `as_of` of their sequence's outcome."""
        keys = _sequence_keys(self.log.spec)
        cuts = self.asked.select(*keys, pl.col(AS_OF).alias(_CUT))
        return self.log.events.join(cuts, on=keys, how="left", maintain_order="left")

    def _new_events(self, moments: int) -> pl.DataFrame:
        """Returns one event for each outcome, in its unit, some moments after its `as_of`."""
        time = _moved(pl.col(AS_OF), self.asked.schema[AS_OF], moments).alias(TIME)
        new = self.asked.select(LEARNER, UNIT, time)
        values = [
            pl.lit(None, dtype).alias(name)
            for name, dtype in self.log.events.schema.items()
            if name not in new.columns
        ]
        return self._mark(new.with_columns(values))

    def _mark(self, events: pl.DataFrame) -> pl.DataFrame:
        """Returns events with values that no event of the log has."""
        return events.with_columns(
            _mark_for(column)
            for column in self.log.events.iter_columns()
            if column.name not in (LEARNER, UNIT, TIME, ORDER)
        )

    def _replace_events(self, *tables: pl.DataFrame) -> Log:
        columns = self.log.events.columns
        events = pl.concat([table.select(columns) for table in tables])
        order = pl.int_range(pl.len(), dtype=pl.Int64).alias(ORDER)
        return Log(events.with_columns(order), self.log.outcomes, self.log.spec)


def _sequence_keys(spec: LogSpec) -> list[str]:
    """Returns the columns that an outcome shares with the events that it may see."""
    return [LEARNER, UNIT] if spec.history == "unit" else [LEARNER]


def _mark_for(column: pl.Series) -> pl.Expr:
    """Returns a value that a column does not have."""
    if column.dtype == pl.String:
        return pl.lit(MARK).alias(column.name)
    highest = column.abs().fill_nan(None).max()
    number = 2 * float(highest) + 1 if isinstance(highest, int | float) else 1.0
    return pl.lit(number, column.dtype).alias(column.name)


def _moved(time: pl.Expr, dtype: pl.DataType, moments: int) -> pl.Expr:
    """Returns a time some moments later, each the shortest that the clock can tell apart."""
    if not dtype.is_float():
        return (time.to_physical() + moments).cast(dtype)
    if moments == 0:
        return time
    way = math.copysign(math.inf, moments)
    return time.map_batches(
        lambda values: pl.Series(np.nextafter(values.to_numpy(), way)), return_dtype=dtype
    )
