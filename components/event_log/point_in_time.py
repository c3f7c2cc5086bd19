"""Which events each outcome may see, and what only shows when both tables are seen together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time as time_of_day

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import (
    AS_OF,
    FINGERPRINT,
    LEARNER,
    ORDER,
    SEQUENCE,
    SPLIT,
    SPLIT_HASH,
    TIME,
    UNIT,
)
from components.event_log.clocks import Clock, to_clock
from components.event_log.learners import hash_learners, split_of
from components.event_log.problems import SHOWN_PLACES, Hint, Place, Problem, describe, find_twins
from components.event_log.sources import LogFile
from components.event_log.tables import FILE_SHIFT, LogSpec
from components.event_log.tally import Tally
from components.event_log.timescales import common_clock

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """For every outcome a range of rows of `events`.

    Attributes:
        events: the events of every sequence that has an outcome, one sequence after the other, each in time order.
        first: row of the sequence's first event, one per outcome.
        start: row of the first event that is seen, after truncation to the last `max_steps`.
        stop: row after the last event with `time < as_of`.
        end: row after the sequence's last event, seen or not.
    """

    events: pl.DataFrame
    first: Positions
    start: Positions
    stop: Positions
    end: Positions

    @property
    def num_steps(self) -> Positions:
        """Number of events that are seen, one per outcome."""
        return self.stop - self.start


def find_windows(events: pl.DataFrame, outcomes: pl.DataFrame, max_steps: int) -> Windows:
    """Finds for every outcome the last `max_steps` events of its learner and unit with `time < as_of`.

    Sequences are numbered, times replaced by their rank among all times and `as_of`s, and both packed into one
    integer; two binary searches per outcome then do, whatever the clock (integer, float, timestamp).

    Args:
        events: columns `learner_id`, `unit_id`, `time`, `_order` and any others, in any order of rows.
        outcomes: columns `learner_id`, `unit_id`, `as_of` (of the same type as `time`) and any others.
        max_steps: how many of the last events are seen.

    Returns:
        One range per row of `outcomes`, in its order.

    Raises:
        ValueError: `time` and `as_of` are of different types, and so cannot be compared.
    """
    if events.schema[TIME] != outcomes.schema[AS_OF]:
        raise ValueError(
            f"expected {AS_OF} of the type of {TIME}, {events.schema[TIME]}, found {outcomes.schema[AS_OF]}"
        )
    keys = [LEARNER, UNIT]
    sequences = outcomes.select(keys).unique(maintain_order=True).with_row_index(SEQUENCE)
    of_outcome = outcomes.select(keys).join(sequences, on=keys, how="left", maintain_order="left")
    seen = events.join(sequences, on=keys, how="inner").sort(SEQUENCE, TIME, ORDER)

    event_sequence = seen[SEQUENCE].cast(pl.Int64).to_numpy()
    outcome_sequence = of_outcome[SEQUENCE].cast(pl.Int64).to_numpy()
    moments = np.concatenate(
        [seen[TIME].to_physical().to_numpy(), outcomes[AS_OF].to_physical().to_numpy()]
    )
    distinct, rank = np.unique(moments, return_inverse=True)
    span = len(distinct)
    stop = np.searchsorted(
        event_sequence * span + rank[: seen.height],
        outcome_sequence * span + rank[seen.height :],
        side="left",
    )
    first = np.searchsorted(event_sequence, outcome_sequence, side="left")
    end = np.searchsorted(event_sequence, outcome_sequence, side="right")
    return Windows(seen.drop(SEQUENCE), first, np.maximum(stop - max_steps, first), stop, end)


_TYPES = {"integer": pl.Int64(), "float": pl.Float64(), "text": pl.String()}


@dataclass(frozen=True)
class Part:
    """A part of the log that holds all rows of some learners.

    Attributes:
        outcomes: in an order that depends on nothing but their content, with their split as `_split`.
        windows: the events that each of them sees.
        tally: what was counted.
    """

    outcomes: pl.DataFrame
    windows: Windows
    tally: Tally


def cross_check(
    events: Sequence[pl.DataFrame],
    outcomes: Sequence[pl.DataFrame],
    spec: LogSpec,
    read: Tally,
    files: Sequence[LogFile],
) -> Part:
    """Finds every outcome's events and split, and counts.

    Args:
        events: chunks of events as `read_table` gives them.
        outcomes: chunks of outcomes of the same learners, at least one.
        spec: how the log is read.
        read: what was counted in reading the *whole* log: its one clock, and what its open columns are.
        files: the files of outcomes, for messages.
    """
    clock = common_clock(read.clocks)
    assert clock, "judge_reading comes first"
    columns = [pl.col(name).cast(_type_of(name, spec, read)) for name in spec.outcome_columns]
    rows = _sort(
        pl.concat(_on_clock(chunk, AS_OF, clock, spec).with_columns(columns) for chunk in outcomes),
        spec,
    )
    steps = {
        name: pl.String if kind == "categorical" else pl.Float32
        for name, kind in spec.features.items()
    }
    no_events = pl.DataFrame(
        schema={LEARNER: pl.String, UNIT: pl.String, TIME: clock.dtype, **steps, ORDER: pl.Int64}
    )
    seen = (
        pl.concat(_on_clock(chunk, TIME, clock, spec) for chunk in events) if events else no_events
    )
    windows = find_windows(seen, rows, spec.max_steps)
    tally = _count(rows, windows, spec, files)
    tally.twins = {
        name: find_twins(candidates, [seen[name], rows[name]])
        for name, candidates in read.lookalikes.items()
    }
    tally.used_events = windows.events.height
    tally.unused = _unused(seen, rows) if windows.events.height < seen.height else ""
    tally.hints = [*_repeated(windows.events), *_without_hour(windows, rows, spec.timezone)]
    return Part(rows, windows, tally)


def _type_of(name: str, spec: LogSpec, read: Tally) -> pl.DataType:
    """Returns the type of a column of outcomes: what the configuration says, or what the whole log has."""
    if name in spec.inputs:
        return pl.String() if spec.inputs[name] == "categorical" else pl.Float32()
    return _TYPES[read.types.get(name, "text")]


def _on_clock(chunk: pl.DataFrame, column: str, clock: Clock, spec: LogSpec) -> pl.DataFrame:
    return chunk.with_columns(to_clock(chunk[column], clock, spec.timezone))


def _sort(outcomes: pl.DataFrame, spec: LogSpec) -> pl.DataFrame:
    """Orders by the hash of the learner: mixed, as training wants it, and the same for rows in any order."""
    hashes = hash_learners(outcomes[LEARNER], spec.splits.seed)
    hashed = outcomes.join(hashes, on=LEARNER, maintain_order="left").with_columns(
        split_of(spec.splits).alias(SPLIT)
    )
    return hashed.sort(SPLIT_HASH, LEARNER, UNIT, AS_OF, ORDER)


def _count(
    outcomes: pl.DataFrame, windows: Windows, spec: LogSpec, files: Sequence[LogFile]
) -> Tally:
    label = pl.col(spec.label.column) if spec.label.task == "classification" else pl.lit("")
    classes: dict[str, Counter[str]] = {}
    for split, name, count in outcomes.group_by(SPLIT, label.alias("class")).len().iter_rows():
        classes.setdefault(split, Counter())[name] = count
    unseen = (windows.num_steps == 0) & (windows.end > windows.first)
    return Tally(
        learners=outcomes[LEARNER].n_unique(),
        units=set(outcomes[UNIT].unique()),
        classes=classes,
        steps=Counter(dict(pl.Series(windows.num_steps).value_counts().iter_rows())),
        truncated=int((windows.start > windows.first).sum()),
        too_late=int(unseen.sum()),
        problems=_duplicates(outcomes, files),
    )


def fingerprint(events: pl.DataFrame) -> pl.Series:
    """Returns a hash of each event's features: what is left of them where only keys are kept."""
    features = [name for name in events.columns if name not in (LEARNER, UNIT, TIME, ORDER)]
    return (
        events.select(features).hash_rows().alias(FINGERPRINT)
        if features
        else pl.Series(FINGERPRINT, [], pl.UInt64)
    )


def _unused(events: pl.DataFrame, outcomes: pl.DataFrame) -> str:
    """Returns the first learner and unit by name that have events and no outcome."""
    keys = [LEARNER, UNIT]
    others = events.select(keys).join(outcomes.select(keys), on=keys, how="anti")
    learner, unit = others.unique().sort(keys).row(0)
    return f"learner {describe(learner)}, unit {describe(unit)}"


def _repeated(events: pl.DataFrame) -> list[Hint]:
    """Returns a hint at events that are like another in every column."""
    hashes = events.drop(ORDER).hash_rows()
    if not (count := len(hashes) - hashes.n_unique()):
        return []
    [(learner, unit, time)] = (
        events.filter(hashes.is_duplicated()).select(LEARNER, UNIT, TIME).sort(pl.all())[:1].rows()
    )
    example = f"learner {describe(learner)}, unit {describe(unit)}, {TIME} {time}"
    return [
        Hint(
            text="events that are copies of another, alike in every column that is read",
            count=count,
            example=example,
        )
    ]


def _without_hour(windows: Windows, outcomes: pl.DataFrame, timezone: str) -> list[Hint]:
    """Returns a hint at outcomes that see an event of the same day by its date: it may have been after them."""
    if not isinstance(outcomes.schema[AS_OF], pl.Datetime):
        return []
    seen = pl.Series(windows.num_steps > 0)
    last = windows.events[TIME].gather((windows.stop - 1)[seen.to_numpy()])
    pairs = outcomes.filter(seen).select(LEARNER, UNIT, AS_OF, last)
    time, as_of = (pl.col(name).dt.convert_time_zone(timezone) for name in (TIME, AS_OF))
    found = pairs.filter((time.dt.time() == time_of_day()) & (time.dt.date() == as_of.dt.date()))
    if found.is_empty():
        return []
    text = f"outcomes that see an event at midnight of their own day (where {TIME} is a date, later hours are seen)"
    example = _moment(found.select(LEARNER, UNIT, AS_OF).sort(pl.all()).row(0))
    return [Hint(text=text, count=len(found), example=example)]


def _duplicates(outcomes: pl.DataFrame, files: Sequence[LogFile]) -> list[Problem]:
    keys = [LEARNER, UNIT, AS_OF]
    first = pl.col(ORDER).first().over(keys)
    again = (
        outcomes.select(*keys, ORDER, first.alias("first"))
        .filter(pl.col(ORDER) != pl.col("first"))
        .sort(ORDER)
    )
    problems = []
    for (index,), rows in again.group_by(pl.col(ORDER) // (1 << FILE_SHIFT), maintain_order=True):
        file = files[index]
        shown = rows.head(SHOWN_PLACES).iter_rows()
        problems.append(
            Problem(
                subject=file.path,
                expected="one row per learner, unit and as_of",
                unit=file.unit,
                places=tuple(
                    Place(
                        row=_row(order),
                        found=f"{_moment(key)} again, after {_where(files, before)}",
                    )
                    for *key, order, before in shown
                ),
                count=len(rows),
            )
        )
    return problems


def _row(order: int) -> int:
    return order & ((1 << FILE_SHIFT) - 1)


def _where(files: Sequence[LogFile], order: int) -> str:
    file = files[order >> FILE_SHIFT]
    return f"{file.unit} {_row(order)} of {file.path}"


def _moment(key: Sequence[object]) -> str:
    learner, unit, as_of = key
    return f"learner {describe(learner)}, unit {describe(unit)}, as_of {as_of}"
