"""Makes the rows of examples: copies the events that each outcome sees, and encodes `tf.Example`s.

Which events an outcome sees, `components.event_log.point_in_time` has found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.contracts.names import (
    AS_OF,
    DWELL,
    GAP,
    LEARNER,
    NEXT,
    NUM_STEPS,
    OUTCOME_STEPS,
    SAME_UNIT,
    STEP_UNIT,
    TIME,
    TIME_SINCE_PREVIOUS,
    TIME_TO_AS_OF,
    UNIT,
)

if TYPE_CHECKING:
    from components.config.root import Config
    from components.event_log.log_spec import LogSpec
    from components.event_log.point_in_time import Positions, Windows

STEPS_PER_BATCH = 1_000_000  # bounds the memory of one batch of joined rows


def feature_columns(spec: LogSpec) -> list[str]:
    """Returns the names of an example's features: keys, label, columns of outcomes, steps."""
    keys = [LEARNER, UNIT, AS_OF, NUM_STEPS]
    return [*keys, spec.label.column, *spec.outcome_columns, *spec.features]


def question_columns(config: Config) -> list[str]:
    """Returns the features of an example that a version is asked about: what the model reads."""
    names = [NUM_STEPS, *config.context, *config.prior.group_by, *config.steps.features]
    return [*dict.fromkeys(names)]


def join_batches(
    windows: Windows, outcomes: pl.DataFrame, features: Sequence[str], steps: int = STEPS_PER_BATCH
) -> Iterator[pl.DataFrame]:
    """Yields the joined rows in order, in batches of about `steps` steps.

    There is at least one batch, which may be empty. Rows that have no `num_steps` get the number of
    their steps.
    """
    events = windows.events
    if TIME_SINCE_PREVIOUS in features:
        events = events.with_columns(_time_since_previous(windows))
    if STEP_UNIT in features:
        events = events.with_columns(pl.col(UNIT).alias(STEP_UNIT))

    cuts = np.cumsum(windows.num_steps) // steps
    bounds = [0, *(np.flatnonzero(np.diff(cuts)) + 1), outcomes.height]
    for low, high in pairwise(bounds):
        start = windows.start[low:high]
        stop = windows.stop[low:high]
        yield _gather(events, outcomes[low:high], start, stop, features)


def _time_since_previous(windows: Windows) -> pl.Series:
    """Returns the time since the previous event of the sequence, 0 for its first."""
    times = windows.events[TIME].to_physical().to_numpy()
    since = np.diff(times, prepend=times[:1])
    # The first row of an empty sequence is that of the next one, or beyond the last event.
    since[windows.first[windows.first < len(since)]] = 0
    seconds = since / _units_per_second(windows.events)
    return pl.Series(TIME_SINCE_PREVIOUS, seconds, dtype=pl.Float32)


def _gather(
    events: pl.DataFrame,
    outcomes: pl.DataFrame,
    start: Positions,
    stop: Positions,
    features: Sequence[str],
) -> pl.DataFrame:
    """Adds the rows `start` to `stop` of `events` to each outcome, as lists."""
    num_steps = stop - start
    offsets = np.concatenate([[0], np.cumsum(num_steps)])
    rows = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], num_steps)
    held = [name for name in (NEXT, GAP) if name in events.columns]
    named = [name for name in features if name not in OUTCOME_STEPS]
    steps = events.select(TIME, *named, *held)[rows]

    if held:
        moments = outcomes[AS_OF].gather(np.repeat(np.arange(outcomes.height), num_steps))
        gap = pl.when(pl.col(NEXT) < moments).then(pl.col(GAP))  # later, nobody knows it yet
        steps = steps.with_columns(pl.coalesce(DWELL, gap))
    if TIME_TO_AS_OF in features:
        as_of = outcomes[AS_OF].to_physical().to_numpy().repeat(num_steps)
        left = (as_of - steps[TIME].to_physical().to_numpy()) / _units_per_second(events)
        steps = steps.with_columns(pl.Series(TIME_TO_AS_OF, left, dtype=pl.Float32))
    if SAME_UNIT in features:
        asked = np.repeat(np.arange(outcomes.height), num_steps)
        same = events[UNIT].gather(rows) == outcomes[UNIT].gather(asked)
        steps = steps.with_columns(same.cast(pl.Float32).alias(SAME_UNIT))

    lists = {name: _cut_into_lists(offsets, steps[name]) for name in features}
    if NUM_STEPS not in outcomes.columns:
        outcomes = outcomes.with_columns(pl.Series(NUM_STEPS, num_steps))
    return outcomes.with_columns(**lists)


def _cut_into_lists(offsets: Positions, values: pl.Series) -> pl.Series:
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values.to_arrow())
    return pl.Series(pl.from_arrow(lists))


def _units_per_second(events: pl.DataFrame) -> float:
    """Returns the divisor of times: timestamps in microseconds become seconds, numbers stay."""
    return 1e6 if isinstance(events.schema[TIME], pl.Datetime) else 1.0


def encode(joined: pl.DataFrame, columns: Sequence[str]) -> list[bytes]:
    """Encodes the named columns of each row as one `tf.Example`.

    tfx-bsl's coder writes a map's entries in an order that changes from process to process. So
    every column is encoded alone and a row's parts are joined: by definition of the format,
    concatenated messages are one merged message, and TensorFlow's and tfx-bsl's parsers read them
    so. The same rows give the same bytes.

    Args:
        joined: text becomes bytes, timestamps int64 microseconds, integers int64, floats float32; a
            list column becomes a feature of as many values (a null in it: `b""`, NaN), other
            columns features of one value.
        columns: which columns, in which order.

    Returns:
        One message per row; a null that is not in a list leaves its feature out.
    """
    coder = RecordBatchToExamplesEncoder()
    parts = [_encode_column(coder, name, joined[name]) for name in columns]
    return [b"".join(row) for row in zip(*parts, strict=True)]


def _encode_column(
    coder: RecordBatchToExamplesEncoder, name: str, column: pl.Series
) -> list[bytes]:
    values = _feature_lists(column)
    encoded: list[bytes] = coder.encode(pa.RecordBatch.from_arrays([values], [name]))
    if not values.null_count:
        return encoded
    missing = values.is_null().to_pylist()
    return [b"" if absent else part for absent, part in zip(missing, encoded, strict=True)]


def _feature_lists(column: pl.Series) -> pa.Array:
    """Returns the column as lists of one of the three types of features."""
    array = column.to_arrow()
    if not isinstance(column.dtype, pl.List):
        offsets = pa.array(range(len(array) + 1), pa.int64())
        mask = array.is_null()
        return pa.LargeListArray.from_arrays(offsets, _feature_values(array), mask=mask)

    values = _feature_values(array.values)
    if values.null_count:
        missing = b"" if pa.types.is_large_binary(values.type) else float("nan")
        values = pc.fill_null(values, missing)
    return pa.LargeListArray.from_arrays(array.offsets, values)


def _feature_values(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type) or pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float32())
    return array.cast(pa.large_string()).cast(pa.large_binary())
