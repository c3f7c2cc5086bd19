"""What learners did, added up for the board: by day, and by knowledge component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from components.command.suggest import did_you_mean
from components.contracts.names import EVENT_TYPE, LEARNER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.column_kinds import Kind
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks

if TYPE_CHECKING:
    from components.event_log.column_kinds import Table
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

HALF = 0.5  # an answer above counts as right
EVENT = "event"  # the type of events in a log without types

# Columns of events as they are read for this.
TYPE, COMPONENT, CORRECT, SECONDS = "_type", "_component", "_correct", "_seconds"
_KINDS = {TYPE: Kind.TEXT, COMPONENT: Kind.TEXT, CORRECT: Kind.NUMBER, SECONDS: Kind.NUMBER}


@dataclass(frozen=True)
class ActivityColumns:
    """The log's own names of columns.

    A column that the log lacks is left out, unless its name was given.

    Attributes:
        component: the knowledge component; None for the `component` of a platform's mapping, or
            `knowledge_component`, where there is one.
        correct: 1 for a right answer, 0 for a wrong one, nothing for an event without; None for
            `correct`.
        seconds: the dwell time; None for `dwell_seconds`.
    """

    component: str | None = None
    correct: str | None = None
    seconds: str | None = None

    def find(self, files: Sequence[LogFile], spec: LogSpec) -> dict[str, str]:
        """Returns the columns that a log has, by what they are read as.

        The first and the last file are looked at: the oldest and the newest, as logs are named.

        Args:
            files: of events.
            spec: how they are read.

        Raises:
            MasteryError: a column that was given is not there.
        """
        ends = {files[0], files[-1]}
        headers = [header for file in ends if (header := _header(file, spec))]
        if not headers:
            return {}
        common = [name for name in headers[0] if all(name in header for header in headers)]
        wanted = {
            TYPE: (None, EVENT_TYPE if spec.mapping else spec.columns.event_type),
            COMPONENT: (self.component, _usual_component(spec)),
            CORRECT: (self.correct, "correct"),
            SECONDS: (self.seconds, "dwell_seconds"),
        }
        found = {}
        for column, (given, default) in wanted.items():
            name = given or default
            if name in common:
                found[column] = name
            elif given is not None:
                shown = ", ".join(common)
                raise MasteryError(
                    f"--{column[1:]} {given}: expected a column of events, found {shown}"
                    f"{did_you_mean(given, common) or '.'}"
                )
        return found


def _usual_component(spec: LogSpec) -> str:
    is_mapped = spec.mapping is not None and "component" in spec.mapping.column_names
    return "component" if is_mapped else "knowledge_component"


def _header(file: LogFile, spec: LogSpec) -> Sequence[str]:
    """Returns the columns of a file; none if it cannot be read, which reading it explains."""
    chunk = next(iter(read_chunks(file, [], spec.mapping, spec.csv)), None)
    return [] if chunk is None or isinstance(chunk, Problem) else chunk.header


def with_activity(table: Table, found: dict[str, str]) -> Table:
    """Returns the table of events with the columns that activity needs."""
    kinds = {**table.kinds, **{column: _KINDS[column] for column in found}}
    return replace(table, kinds=kinds, sources={**table.sources, **found})


def daily_activity(events: pl.DataFrame) -> pl.DataFrame:
    """Returns rows of `daily_activity`, in UTC."""
    has = events.columns
    rows = events.select(
        LEARNER,
        UNIT,
        pl.col(TIME).dt.date().alias("day"),
        (pl.col(TYPE) if TYPE in has else pl.lit(None, pl.String))
        .fill_null(EVENT)
        .alias(EVENT_TYPE),
        (pl.col(CORRECT) if CORRECT in has else pl.lit(None, pl.Float32)).alias("answer"),
        (pl.col(SECONDS) if SECONDS in has else pl.lit(None, pl.Float32)).alias("seconds"),
    )
    grouped = rows.group_by(LEARNER, UNIT, "day", EVENT_TYPE, maintain_order=True)
    return grouped.agg(
        pl.len().cast(pl.Int64).alias("events"),
        pl.col("answer").is_not_null().sum().cast(pl.Int64).alias("answered"),
        (pl.col("answer") > HALF).sum().cast(pl.Int64).alias("correct"),
        pl.col("seconds").cast(pl.Float64).sum(),
    )


def component_sums(events: pl.DataFrame) -> pl.DataFrame | None:
    """Returns how many answers a learner gave per component, and how many were right.

    None for a log that does not say what an answer was about, or whether it was right.
    """
    if COMPONENT not in events.columns or CORRECT not in events.columns:
        return None
    answers = events.filter(pl.col(COMPONENT).is_not_null() & pl.col(CORRECT).is_not_null())
    grouped = answers.group_by(
        LEARNER, UNIT, pl.col(COMPONENT).alias("component"), maintain_order=True
    )
    return grouped.agg(
        pl.len().cast(pl.Int64).alias("answered"),
        (pl.col(CORRECT) > HALF).sum().cast(pl.Int64).alias("correct"),
    )
