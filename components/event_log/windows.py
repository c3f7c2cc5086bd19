"""Which events each outcome may see: the part of the point-in-time join that needs no columns but keys and times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import AS_OF, LEARNER, ORDER, SEQUENCE, TIME, UNIT

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
