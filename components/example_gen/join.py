"""The point-in-time join: every outcome with the last events that were known before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa

from components.contracts.names import AS_OF, NUM_STEPS, TIME, TIME_SINCE_PREVIOUS, TIME_TO_AS_OF
from components.event_log.windows import Positions, Windows, find_windows

STEPS_PER_BATCH = 1_000_000  # bounds the memory of one batch of joined rows


def join(
    events: pl.DataFrame, outcomes: pl.DataFrame, features: Sequence[str], max_steps: int
) -> pl.DataFrame:
    """Joins every outcome with its last `max_steps` events before `as_of`.

    Args:
        events: `learner_id`, `unit_id`, `time`, `_order` and the columns in `features`.
        outcomes: `learner_id`, `unit_id`, `as_of` and any others.
        features: names of step features; `time_since_previous` and `time_to_as_of` are computed.
        max_steps: how many of the last events are kept.

    Returns:
        `outcomes`, row by row, with `num_steps` and one list column per feature, each of `num_steps` values
        in time order; events at the same time keep the order of the log.
    """
    batches = list(join_batches(find_windows(events, outcomes, max_steps), outcomes, features))
    return pl.concat(batches, rechunk=False)


def join_batches(
    windows: Windows, outcomes: pl.DataFrame, features: Sequence[str], steps: int = STEPS_PER_BATCH
) -> Iterator[pl.DataFrame]:
    """Yields the joined rows in order, in batches of about `steps` steps; at least one batch, maybe empty."""
    events = windows.events
    if TIME_SINCE_PREVIOUS in features:
        events = events.with_columns(_time_since_previous(windows))
    cuts = np.cumsum(windows.num_steps) // steps
    bounds = [0, *(np.flatnonzero(np.diff(cuts)) + 1), outcomes.height]
    for low, high in pairwise(bounds):
        yield _gather(
            events, outcomes[low:high], windows.start[low:high], windows.stop[low:high], features
        )


def _time_since_previous(windows: Windows) -> pl.Series:
    """Returns the time since the event before it in the sequence, 0 for the sequence's first."""
    times = windows.events[TIME].to_physical().to_numpy()
    since = np.diff(times, prepend=times[:1])
    since[windows.first[windows.first < len(since)]] = (
        0  # an empty sequence's first row is the next one's
    )
    return pl.Series(
        TIME_SINCE_PREVIOUS, since / _units_per_second(windows.events), dtype=pl.Float32
    )


def _gather(
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    start: Positions,
    stop: Positions,
    features: Sequence[str],
) -> pl.DataFrame:
    """Copies the rows `start` to `stop` of `events` behind each outcome, as lists."""
    num_steps = stop - start
    offsets = np.concatenate([[0], np.cumsum(num_steps)])
    rows = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], num_steps)
    steps = events.select(TIME, *(name for name in features if name != TIME_TO_AS_OF))[rows]
    if TIME_TO_AS_OF in features:
        as_of = outcomes[AS_OF].to_physical().to_numpy().repeat(num_steps)
        left = (as_of - steps[TIME].to_physical().to_numpy()) / _units_per_second(events)
        steps = steps.with_columns(pl.Series(TIME_TO_AS_OF, left, dtype=pl.Float32))
    lists = {name: _lists(offsets, steps[name]) for name in features}
    return outcomes.with_columns(pl.Series(NUM_STEPS, num_steps), **lists)


def _lists(offsets: Positions, values: pl.Series) -> pl.Series:
    return pl.Series(
        pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), values.to_arrow()))
    )


def _units_per_second(events: pl.DataFrame) -> float:
    """Returns by what to divide: timestamps count microseconds and become seconds, numbers stay as they are."""
    return 1e6 if isinstance(events.schema[TIME], pl.Datetime) else 1.0
