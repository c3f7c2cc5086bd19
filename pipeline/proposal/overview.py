"""Reads a log once, as the pipeline will, and keeps what a proposal is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.config.csv_dialect import CsvDialect
from components.config.data import Data
from components.contracts.names import AS_OF, LEARNER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.clocks import Clock, to_clock
from components.event_log.column_kinds import Kind, Table
from components.event_log.learners import Sample
from components.event_log.moments import units_per_second
from components.event_log.sources import find_files
from components.event_log.tables import read_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock
from pipeline.proposal.reading import csv_of

if TYPE_CHECKING:
    from pipeline.proposal.look import Look
    from pipeline.proposal.reading import Reading

MOST_ROWS = 2_000_000  # kept in memory; of a larger log those of some learners
SEED = "mastery"  # the default of `data.splits.seed`
_EVERYBODY = int(np.iinfo(np.uint64).max)


@dataclass(frozen=True)
class Overview:
    """The events of a log, of all learners or a fair sample of them.

    Attributes:
        events: `learner_id`, `unit_id`, `time` on the log's clock, and the fields.
        clock: what times are.
        highest: the largest hash of a learner who is here.
        tally: all counts of reading the log, its problems among them.
    """

    events: pl.DataFrame
    clock: Clock
    highest: int
    tally: Tally

    @property
    def share(self) -> float:
        """The share of the learners that are here."""
        return self.highest / _EVERYBODY

    @property
    def per_second(self) -> float | None:
        """How many of the clock's units make a second; None for a clock of the log's own."""
        return 1e6 if self.clock is Clock.TIMESTAMP else units_per_second(self.tally)

    @property
    def sample(self) -> Sample:
        """The learners whose events are here."""
        return Sample(SEED, self.highest)


def read_events(reading: Reading) -> Overview:
    """Returns an overview of the events.

    Raises:
        MasteryError: no event can be read.
    """
    kinds = {LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK}
    for item in reading.fields:
        kinds[item.name] = Kind.TEXT if item.kind == "categorical" else Kind.NUMBER
    data = Data.model_validate({**reading.data, "outcomes": "outcomes"})
    mapping = data.event_mapping
    columns = reading.columns if mapping is None else {}
    table = Table(
        "events",
        kinds,
        columns,
        timezone=reading.timezone,
        mapping=mapping,
        nan_as_missing=True,
        csv=data.csv,
    )
    frame, tally, highest = _read(table, reading.look.patterns)
    if frame is None:
        raise _unreadable("event", tally)

    clock = common_clock(tally.clocks)
    if clock is None:
        raise MasteryError(
            f"{reading.look.patterns[0]}: expected times of one kind, found several (timestamps "
            "beside numbers, or seconds beside milliseconds); name another column with --time."
        )
    events = frame.with_columns(to_clock(frame[TIME], clock, reading.timezone).alias(TIME))
    return Overview(events, clock, highest, tally)


def read_outcomes(
    look: Look, columns: dict[str, str], label: str, timezone: str
) -> tuple[pl.DataFrame, Clock]:
    """Returns the outcomes in a table, their labels as text.

    Args:
        look: at the table.
        columns: its names of `learner_id`, `unit_id` and `as_of`.
        label: its column with the label.
        timezone: of times without one.

    Raises:
        MasteryError: no row can be read.
    """
    kinds = {LEARNER: Kind.KEY, UNIT: Kind.KEY, AS_OF: Kind.CLOCK, label: Kind.TEXT}
    csv = CsvDialect.model_validate(csv_of(look))
    table = Table("outcomes", kinds, columns, timezone=timezone, nan_as_missing=True, csv=csv)
    frame, tally, _ = _read(table, look.patterns)
    clock = common_clock(tally.clocks)
    if frame is None or clock is None:
        raise _unreadable("outcome", tally)
    return frame.with_columns(to_clock(frame[AS_OF], clock, timezone).alias(AS_OF)), clock


def _unreadable(what: str, tally: Tally) -> MasteryError:
    """Returns the error that a table has no row that can be read."""
    shown = [f"  - {problem}" for problem in tally.problems[:5]]
    why = shown or [f"  - {hint}" for hint in tally.hints[:5]]
    return MasteryError("\n".join([f"No {what} of the log can be read:", *why]))


def _read(table: Table, patterns: Sequence[str]) -> tuple[pl.DataFrame | None, Tally, int]:
    """Returns rows, all counts, and the largest hash of the learners whose rows they are.

    As more rows come than are kept, those of half of the learners are dropped, by their hash.
    """
    highest = _EVERYBODY
    kept: list[pl.DataFrame] = []
    tallies: list[Tally] = []
    rows = 0
    for file in find_files(table.name, patterns, table.mapping).files:
        for frame, tally in read_table(file, table):
            tallies.append(tally)
            if frame is None:
                continue
            kept.append(frame if highest == _EVERYBODY else Sample(SEED, highest).of(frame))
            rows += kept[-1].height
            while rows > MOST_ROWS and highest > _EVERYBODY >> 20:
                highest >>= 1
                kept = [Sample(SEED, highest).of(frame) for frame in kept]
                rows = sum(frame.height for frame in kept)
    joined = pl.concat(kept) if kept else None
    return (
        (None if joined is None or joined.is_empty() else joined),
        merge_tallies(tallies),
        highest,
    )
