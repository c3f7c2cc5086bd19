"""Reads a log into two tables, alters it, and writes it again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.config.data import Columns
from components.contracts.names import AS_OF, LEARNER, ORDER, TIME, UNIT
from components.event_log.clocks import to_clock
from components.event_log.conclusion import judge_reading
from components.event_log.log import read_files
from components.event_log.log_spec import LogSpec
from components.event_log.problems import raise_if_any
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import merge_tallies
from components.event_log.timescales import common_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.config.root import Config
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
    data = config.data
    chosen = choose_spans([*data.events, *data.outcomes], data.span)
    found = {
        "events": find_files("events", chosen.fill(data.events)),
        "outcomes": find_files("outcomes", chosen.fill(data.outcomes)),
    }
    raise_if_any(problem for listing in found.values() for problem in listing.problems)
    return {table: listing.files for table, listing in found.items()}


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
    def read(cls, config: Config) -> Log:
        """Reads a configured log, with all of its learners.

        Raises:
            LogError: it cannot be used.
        """
        spec = LogSpec.of(config)
        data = config.data
        chosen = choose_spans([*data.events, *data.outcomes], data.span)
        events = read_files(events_table(spec), find_files("events", chosen.fill(data.events)))
        outcomes = read_files(
            outcomes_table(spec), find_files("outcomes", chosen.fill(data.outcomes))
        )
        tally = merge_tallies([*events.tallies, *outcomes.tallies])
        raise_if_any(judge_reading(tally))

        clock = common_clock(tally.clocks)
        assert clock is not None, "judge_reading refuses a log without one clock"
        tables = [
            pl.concat(
                [
                    chunk.with_columns(to_clock(chunk[name], clock, spec.timezone))
                    for chunk in table.chunks
                ],
                how="vertical_relaxed",
            ).sort(ORDER)
            for table, name in ((events, TIME), (outcomes, AS_OF))
        ]
        return cls(*tables, spec)

    def of_learners(self, learners: pl.Series) -> Log:
        """Returns the rows of some learners."""
        is_one = pl.col(LEARNER).is_in(learners.unique().implode())
        return Log(self.events.filter(is_one), self.outcomes.filter(is_one), self.spec)

    def write(self, folder: Path) -> Files:
        """Writes both tables for `written_spec` to read, and returns their files."""
        sources = outcomes_table(self.spec).sources
        fold = self.spec.splits.column
        outcomes = self.outcomes.rename(
            {name: fold for name, source in sources.items() if source == fold and name != fold}
            if fold is not None and fold not in self.outcomes.columns
            else {}
        )
        for name, table in (("events", self.events), ("outcomes", outcomes)):
            (folder / name).mkdir(parents=True)
            table.drop(ORDER).write_parquet(folder / name / "all.parquet", compression="lz4")
        return {
            name: find_files(name, [str(folder / name / "all.parquet")]).files
            for name in ("events", "outcomes")
        }

    @property
    def written_spec(self) -> LogSpec:
        """How the log is read after it was written: the same, but with names and zone as here."""
        return self.spec.model_copy(
            update={
                "columns": Columns(),
                "timezone": "UTC",
                "sample_learners": None,
                "max_cold_start_share": 1.0,
            }
        )

    @property
    def sequence_keys(self) -> list[str]:
        """The columns that an outcome shares with the events that it may see."""
        return [LEARNER] if getattr(self.spec, "history", "unit") == "learner" else [LEARNER, UNIT]

    @cached_property
    def _ranked(self) -> pl.DataFrame:
        """The outcomes, those of a sequence numbered in an order without meaning."""
        drawn = pl.struct(LEARNER, UNIT, AS_OF).hash(seed=1)
        rank = drawn.rank("ordinal").over(self.sequence_keys) - 1
        return self.outcomes.with_columns(rank.alias(_RANK))

    def rounds(self, most: int) -> Iterator[Log]:
        """Yields logs that ask each sequence once, of the sequences that have more to ask.

        Each outcome is in one of them, if `most` allows. The events are those of their sequences.

        Args:
            most: how many logs.
        """
        last = min(most - 1, int(self._ranked[_RANK].max() or 0))  # type: ignore[arg-type]
        for rank in range(last + 1):
            chosen = self._ranked.filter(pl.col(_RANK) == rank).drop(_RANK)
            events = self.events.join(
                chosen.select(self.sequence_keys), on=self.sequence_keys, how="semi"
            )
            yield Log(events.sort(ORDER), chosen, self.spec)

    def with_other_future(self) -> Log:
        """Returns the log with all that happens from `as_of` on altered, for one ask a sequence.

        Every event at or after the outcome's `as_of` gets other values and comes one moment later;
        its original stays, as an event that is added; and there is an event at `as_of` itself.
        """
        events = self._with_cut()
        later = events.filter(pl.col(TIME) >= pl.col(_CUT))
        moved = self._mark(later.with_columns(_moved(pl.col(TIME), later.schema[TIME], 1)))
        tables = [events, moved, self._ask(0)]
        return self._replace_events(pl.concat([table.select(events.columns) for table in tables]))

    def with_step_before(self) -> Log:
        """Returns the log with one event of each outcome's future moved before its `as_of`.

        It is the first one at or after `as_of`, with other values; one that has no future gets an
        event.
        """
        events = self._with_cut()
        later = pl.col(TIME) >= pl.col(_CUT)
        first = pl.col(TIME).filter(later).min().over(self.sequence_keys)
        stay = events.filter(~(later & (pl.col(TIME) == first)).fill_null(value=False))
        return self._replace_events(
            pl.concat([stay, self._ask(-1).select(stay.columns)], how="vertical")
        )

    def with_labels(self, labels: pl.Series) -> Log:
        """Returns the log with other labels, in the order of `outcomes`."""
        column = self.spec.label.column
        typed = labels.cast(self.outcomes.schema[column]).alias(column)
        return Log(self.events, self.outcomes.with_columns(typed), self.spec)

    def _with_cut(self) -> pl.DataFrame:
        cuts = self.outcomes.select(*self.sequence_keys, pl.col(AS_OF).alias(_CUT))
        return self.events.join(cuts, on=self.sequence_keys, how="left", maintain_order="left")

    def _ask(self, steps: int) -> pl.DataFrame:
        """Returns one marked event per outcome, some moments from its `as_of`."""
        asked = self.outcomes.select(
            LEARNER,
            UNIT,
            _moved(pl.col(AS_OF), self.outcomes.schema[AS_OF], steps).alias(TIME),
            pl.col(AS_OF).alias(_CUT),
            pl.lit(0, pl.Int64).alias(ORDER),
        )
        values = [
            pl.lit(None, dtype).alias(name)
            for name, dtype in self.events.schema.items()
            if name not in asked.columns
        ]
        return self._mark(asked.with_columns(values))

    def _mark(self, events: pl.DataFrame) -> pl.DataFrame:
        """Returns events with values that no event of the log has."""
        keys = {LEARNER, UNIT, TIME, ORDER, _CUT}
        marks = []
        for name, dtype in events.schema.items():
            if name in keys:
                continue
            if dtype == pl.String:
                marks.append(pl.lit(MARK).alias(name))
            else:
                highest = self.events[name].fill_nan(None).max()
                number = 1.0 if highest is None else float(highest) * 2 + 1  # type: ignore[arg-type]
                marks.append(pl.lit(abs(number), dtype).alias(name))
        return events.with_columns(marks)

    def _replace_events(self, events: pl.DataFrame) -> Log:
        order = pl.int_range(pl.len(), dtype=pl.Int64).alias(ORDER)
        return Log(events.drop(_CUT).with_columns(order), self.outcomes, self.spec)


def _moved(time: pl.Expr, dtype: pl.DataType, steps: int) -> pl.Expr:
    """Returns a time some moments later, the shortest that the clock can tell apart."""
    if dtype.is_float():
        way = np.copysign(np.inf, steps)
        return (
            time
            if not steps
            else time.map_batches(
                lambda values: pl.Series(np.nextafter(values.to_numpy(), way)), return_dtype=dtype
            )
        )
    return (time.to_physical() + steps).cast(dtype)
