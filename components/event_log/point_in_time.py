"""Joins both tables of a log point in time: finds which events each outcome sees, and checks both.

Here an outcome only gets the range of its events; `components.example_gen.encoding` copies them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import (
    AS_OF,
    DWELL,
    FINGERPRINT,
    FOLD,
    GAP,
    LEARNER,
    NEXT,
    ORDER,
    SEQUENCE,
    SPLIT,
    SPLIT_HASH,
    TIME,
    UNIT,
)
from components.event_log.chunks import FILE_SHIFT, number_of
from components.event_log.clocks import to_clock
from components.event_log.learners import hash_ids
from components.event_log.odd_ids import find_twins
from components.event_log.problems import SHOWN_PLACES, Hint, Place, Problem, describe
from components.event_log.splits import assign_splits, learner_in_two_folds, show_events
from components.event_log.tally import Tally
from components.event_log.timescales import common_clock

if TYPE_CHECKING:
    from components.event_log.clocks import Clock
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

Positions = npt.NDArray[np.int64]

KEYS = (LEARNER, UNIT, AS_OF)

_LABELS = {LEARNER: "learner", UNIT: "unit", AS_OF: "as_of"}
_NAMES = {KEYS: "learner, unit and as_of", (LEARNER, UNIT): "learner, or per learner and unit"}
_TYPES = {"integer": pl.Int64(), "float": pl.Float64(), "text": pl.String()}


@dataclass(frozen=True)
class Windows:
    """For every outcome a range of rows of `events`.

    Attributes:
        events: the events of every sequence that has an outcome, one sequence after the other, each
            in time order.
        first: `[outcomes]`, row of the sequence's first event.
        start: `[outcomes]`, row of the first event that is seen, after truncation to the last
            `max_steps`.
        stop: `[outcomes]`, row after the last event with `time < as_of`.
        end: `[outcomes]`, row after the sequence's last event, seen or not.
    """

    events: pl.DataFrame
    first: Positions
    start: Positions
    stop: Positions
    end: Positions

    @property
    def num_steps(self) -> Positions:
        """Number of events that are seen, `[outcomes]`."""
        return self.stop - self.start


def find_windows(
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    max_steps: int,
    keys: Sequence[str] = (LEARNER, UNIT),
) -> Windows:
    """Finds for every outcome the last `max_steps` events of its sequence with `time < as_of`.

    A sequence is all events with the same `keys`. With numbers for sequences, a few binary searches
    per outcome are enough.

    Args:
        events: columns `learner_id`, `unit_id`, `time`, `_order` and any others, in any order of
            rows.
        outcomes: columns `learner_id`, `unit_id`, `as_of` (of the type of `time`) and any others.
        max_steps: how many of the last events are seen.
        keys: columns of both tables that make a sequence.

    Returns:
        One range per row of `outcomes`, in its order.

    Raises:
        ValueError: `time` and `as_of` are of different types, and cannot be compared.
    """
    expected = events.schema[TIME]
    found = outcomes.schema[AS_OF]
    if expected != found:
        raise ValueError(f"expected {AS_OF} of the type of {TIME}, {expected}, found {found}")

    sequences = outcomes.select(keys).unique(maintain_order=True).with_row_index(SEQUENCE)
    asked = outcomes.select(keys).join(sequences, on=keys, how="left", maintain_order="left")
    seen = events.join(sequences, on=keys, how="inner").sort(SEQUENCE, TIME, ORDER)
    event_sequence = seen[SEQUENCE].cast(pl.Int64).to_numpy()
    outcome_sequence = asked[SEQUENCE].cast(pl.Int64).to_numpy()

    times = seen[TIME].to_physical().to_numpy()
    moments = outcomes[AS_OF].to_physical().to_numpy()
    [stop] = first_not_before(event_sequence, times, outcome_sequence, [moments])
    first = np.searchsorted(event_sequence, outcome_sequence, side="left")
    end = np.searchsorted(event_sequence, outcome_sequence, side="right")
    start = np.maximum(stop - max_steps, first)
    return Windows(seen.drop(SEQUENCE), first, start, stop, end)


def first_not_before(
    sequence_of_event: Positions,
    times: npt.NDArray[Any],
    sequence: Positions,
    moments: Sequence[npt.NDArray[Any]],
) -> list[Positions]:
    """Finds the first event of a sequence at or after a moment.

    Times are replaced by their rank among all times and moments, so that a sequence and a rank fit
    into one integer, for any clock (integer, float, timestamp).

    Args:
        sequence_of_event: the number of each event's sequence, `[events]`, sorted.
        times: of the events, `[events]`, sorted within a sequence.
        sequence: the sequences that are asked about, `[questions]`.
        moments: one or several arrays of moments, `[questions]` each.

    Returns:
        For each array of moments the positions among the events, `[questions]`; where a sequence
        has no such event, that after its last one.
    """
    distinct, rank = np.unique(np.concatenate([times, *moments]), return_inverse=True)
    packed = sequence_of_event * len(distinct) + rank[: len(times)]
    ranks = np.split(rank[len(times) :], len(moments))
    return [np.searchsorted(packed, sequence * len(distinct) + found) for found in ranks]


@dataclass(frozen=True)
class Part:
    """A part of the log with all rows of some learners.

    Attributes:
        outcomes: in an order that depends only on their content, with their split as `_split`.
        windows: the events that each of them sees.
        tally: the counts over both.
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
    """Finds the events and the split of every outcome, and counts both.

    Args:
        events: chunks of events from `read_table`.
        outcomes: chunks of outcomes of the same learners, at least one.
        spec: how the log is read.
        read: the counts of reading the *whole* log: its one clock, and the types of its columns.
        files: the files of outcomes, for messages.
    """
    clock = common_clock(read.clocks)
    assert clock is not None, "judge_reading refuses a log without one clock"
    rows = _sort(join_outcomes(outcomes, clock, spec, read), spec)
    seen = join_events(events, clock, spec)
    shown = show_events(seen, rows, spec.splits, read.folds) if spec.hides_units else seen
    windows = find_windows(with_gaps(shown, spec), rows, spec.max_steps, spec.sequence_keys)
    used = windows.events
    if spec.hides_units:  # an event may be in several sequences, or hidden from all
        used = seen.join(rows.select(LEARNER).unique(), on=LEARNER, how="semi")

    tally = _count(rows, windows, spec, files)
    tally.twins = {
        name: find_twins(candidates, [seen[name], rows[name]])
        for name, candidates in read.lookalikes.items()
    }
    tally.used_events = used.height
    tally.unused = _find_unused(seen, rows, spec) if used.height < seen.height else ""
    tally.hints = [
        *_hint_at_copies(used),
        *_hint_at_dates(windows, rows, spec.timezone),
    ]
    return Part(rows, windows, tally)


def with_gaps(events: pl.DataFrame, spec: LogSpec) -> pl.DataFrame:
    """Adds to every event when the learner's next one is, in any unit, and the seconds until then.

    They stand for a missing `dwell_seconds`, but only for outcomes that see the next event too: see
    `components.example_gen.encoding`.

    Args:
        events: `learner_id`, `time`, `_order` and any others; with `_split`, the next event is one
            that the split sees.
        spec: how the log is read.

    Returns:
        The events with `_next` and `_gap`, in another order; or as they are, where no dwell time is
        read, gaps stay gaps, or times are no timestamps.
    """
    cap = spec.dwell_cap_seconds
    is_wanted = cap is not None and DWELL in events.columns
    if not is_wanted or not isinstance(events.schema[TIME], pl.Datetime):
        return events

    owner = [LEARNER, SPLIT] if SPLIT in events.columns else [LEARNER]
    following = pl.col(TIME).shift(-1).over(owner)
    seconds = (pl.col(NEXT) - pl.col(TIME)).dt.total_microseconds() / 1e6
    ordered = events.sort(*owner, TIME, ORDER).with_columns(following.alias(NEXT))
    return ordered.with_columns(seconds.clip(upper_bound=cap).cast(pl.Float32).alias(GAP))


def join_outcomes(
    chunks: Sequence[pl.DataFrame], clock: Clock, spec: LogSpec, read: Tally
) -> pl.DataFrame:
    """Returns the outcomes of all chunks as one table, on one clock, each column of one type."""
    typed = [pl.col(name).cast(type_of_column(name, spec, read)) for name in spec.outcome_columns]
    return pl.concat(_on_clock(chunk, AS_OF, clock, spec).with_columns(typed) for chunk in chunks)


def join_events(chunks: Sequence[pl.DataFrame], clock: Clock, spec: LogSpec) -> pl.DataFrame:
    """Returns the events of all chunks as one table, on one clock."""
    if chunks:
        return pl.concat(_on_clock(chunk, TIME, clock, spec) for chunk in chunks)
    steps = {
        name: pl.String if kind == "categorical" else pl.Float32
        for name, kind in spec.features.items()
    }
    return pl.DataFrame(
        schema={LEARNER: pl.String, UNIT: pl.String, TIME: clock.dtype, **steps, ORDER: pl.Int64}
    )


def type_of_column(name: str, spec: LogSpec, read: Tally) -> pl.DataType:
    """Returns the type of a column of outcomes: the configured one, or else that of the log."""
    if name in spec.inputs:
        return pl.String() if spec.inputs[name] == "categorical" else pl.Float32()
    return _TYPES[read.types.get(name, "text")]


def _on_clock(chunk: pl.DataFrame, column: str, clock: Clock, spec: LogSpec) -> pl.DataFrame:
    return chunk.with_columns(to_clock(chunk[column], clock, spec.timezone))


def _sort(outcomes: pl.DataFrame, spec: LogSpec) -> pl.DataFrame:
    """Sorts by the hash of the learner: shuffled for training, the same for rows in any order."""
    hashes = hash_ids(outcomes[LEARNER], spec.splits.seed)
    hashed = outcomes.join(hashes, on=LEARNER, maintain_order="left")
    split = assign_splits(hashed, spec.splits)
    return hashed.with_columns(split).sort(SPLIT_HASH, LEARNER, UNIT, AS_OF, ORDER)


def _count(
    outcomes: pl.DataFrame, windows: Windows, spec: LogSpec, files: Sequence[LogFile]
) -> Tally:
    label = pl.col(spec.label.column) if spec.label.task == "classification" else pl.lit("")
    classes: dict[str, Counter[str]] = {}
    for split, name, count in outcomes.group_by(SPLIT, label.alias("class")).len().iter_rows():
        classes.setdefault(split, Counter())[name] = count

    has_folds = FOLD in outcomes.columns and spec.splits.by == "learner"
    steps = pl.Series(windows.num_steps).value_counts()
    too_late = (windows.num_steps == 0) & (windows.end > windows.first)
    return Tally(
        learners=outcomes[LEARNER].n_unique(),
        units=set(outcomes[UNIT].unique()),
        classes=classes,
        steps=Counter(dict(steps.iter_rows())),
        folds=learner_in_two_folds(outcomes) if has_folds else {},
        truncated=int((windows.start > windows.first).sum()),
        too_late=int(too_late.sum()),
        problems=find_duplicates(outcomes, files),
    )


def fingerprint(events: pl.DataFrame) -> pl.Series:
    """Returns a hash of each event's features, which stands for them if only keys are kept."""
    features = events.drop(LEARNER, UNIT, TIME, ORDER)
    return features.hash_rows().alias(FINGERPRINT)


def _find_unused(events: pl.DataFrame, outcomes: pl.DataFrame, spec: LogSpec) -> str:
    """Returns the first learner, or learner and unit, by name that has events and no outcome."""
    keys = (LEARNER, UNIT) if spec.history == "unit" else (LEARNER,)
    others = events.select(keys).join(outcomes.select(keys), on=keys, how="anti")
    learner, *unit = others.unique().sort(keys).row(0)
    return ", ".join([f"learner {describe(learner)}", *(f"unit {describe(name)}" for name in unit)])


def _hint_at_copies(events: pl.DataFrame) -> list[Hint]:
    """Returns a hint at events that equal another in every column."""
    hashes = events.drop(ORDER, NEXT, GAP, strict=False).hash_rows()
    count = len(hashes) - hashes.n_unique()
    if not count:
        return []
    copies = events.filter(hashes.is_duplicated()).select(LEARNER, UNIT, TIME)
    learner, unit, time = copies.sort(pl.all()).row(0)
    example = f"learner {describe(learner)}, unit {describe(unit)}, {TIME} {time}"
    text = "events that are copies of another, equal in every column that is read"
    return [Hint(text=text, count=count, example=example)]


def _hint_at_dates(windows: Windows, outcomes: pl.DataFrame, timezone: str) -> list[Hint]:
    """Returns a hint at outcomes whose last event is at midnight of their own day.

    If that time is only a date, the event may have been later than the outcome.
    """
    if not isinstance(outcomes.schema[AS_OF], pl.Datetime):
        return []
    has_steps = windows.num_steps > 0
    last = windows.events[TIME].gather((windows.stop - 1)[has_steps])
    pairs = outcomes.filter(pl.Series(has_steps)).select(LEARNER, UNIT, AS_OF, last)

    time = pl.col(TIME).dt.convert_time_zone(timezone)
    as_of = pl.col(AS_OF).dt.convert_time_zone(timezone)
    is_midnight = time.dt.time() == time_of_day()
    found = pairs.filter(is_midnight & (time.dt.date() == as_of.dt.date()))
    if found.is_empty():
        return []
    text = (
        "outcomes that see an event at midnight of their own day "
        f"(if its {TIME} is only a date, it may have been later)"
    )
    example = _describe_key(KEYS, found.select(KEYS).sort(pl.all()).row(0))
    return [Hint(text=text, count=len(found), example=example)]


def find_duplicates(
    outcomes: pl.DataFrame, files: Sequence[LogFile], keys: Sequence[str] = KEYS
) -> list[Problem]:
    """Returns a problem per file whose outcomes repeat an earlier one of the same key.

    Args:
        outcomes: the keys and `_order`, of all files; rows of a key in the order of the files.
        files: the files, for messages.
        keys: of which there is one row.
    """
    first = pl.col(ORDER).first().over(keys).alias("first")
    again = outcomes.select(*keys, ORDER, first)
    again = again.filter(pl.col(ORDER) != pl.col("first")).sort(ORDER)

    problems = []
    for (index,), rows in again.group_by(pl.col(ORDER) // (1 << FILE_SHIFT), maintain_order=True):
        places = [
            Place(
                row=number_of(order),
                found=f"{_describe_key(keys, key)} again, after {_where(files, before)}",
            )
            for *key, order, before in rows.head(SHOWN_PLACES).iter_rows()
        ]
        problem = Problem(
            subject=files[index].path,
            expected=f"one row per {_NAMES[tuple(keys)]}",
            unit=files[index].unit,
            places=tuple(places),
            count=len(rows),
        )
        problems.append(problem)
    return problems


def _where(files: Sequence[LogFile], order: int) -> str:
    file = files[order >> FILE_SHIFT]
    return f"{file.unit} {number_of(order)} of {file.path}"


def _describe_key(names: Sequence[str], key: Sequence[object]) -> str:
    shown = [
        f"{_LABELS[name]} {value if name == AS_OF else describe(value)}"
        for name, value in zip(names, key, strict=True)
        if value is not None
    ]
    return ", ".join(shown)
