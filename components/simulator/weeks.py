"""A simulated platform week by week: each delivery has the learners whose courses end in it.

A delivery is whole: all events of its learners, which began up to some weeks before, and all their
outcomes, whose `as_of` is in the week. What its learners did after the week is in no delivery. No
learner is in two deliveries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import MasteryError
from components.simulator import learner_model as model
from components.simulator.bias import planted
from components.simulator.changes import Change, admitted, kinds_in, teaching_after
from components.simulator.sequences import Sequences, draw
from components.simulator.tables import events_table, outcomes_table

if TYPE_CHECKING:
    import pyarrow as pa

    from components.simulator.learner_model import Integers, Teaching

FIRST_MONDAY = date(2026, 1, 5)
WEEK = 7 * 86400.0  # seconds

# Of a chunk so many learners come, so that there are enough juniors in it for any intake.
MOST_OF_CHUNK = 2000
MOST_CHUNKS = 100  # in a week: by these the numbers of learners of a week begin
_STREAM, _PLACES, _INTAKE = 3, 4, 5  # streams of random numbers


@dataclass(frozen=True)
class Delivery:
    """A part of one week's log: the learners of a chunk.

    Attributes:
        week: the first one is 1.
        sequences: of the learners; times are seconds since `FIRST_DAY`.
        teaching: what the platform teaches in this week.
    """

    week: int
    sequences: Sequences
    teaching: Teaching

    def events(self) -> pa.Table:
        """Returns the rows of events."""
        return events_table(self.sequences, catalogue=self.teaching.catalogue)

    def outcomes(self) -> pa.Table:
        """Returns the rows of outcomes."""
        return outcomes_table(self.sequences, catalogue=self.teaching.catalogue)


def monday_of(week: int, first_day: date = FIRST_MONDAY) -> date:
    """Returns the first day of a week; that of week 1 is `first_day`.

    >>> monday_of(2).isoformat()
    '2026-01-12'
    """
    return first_day + timedelta(weeks=week - 1)


def require_weeks(weeks: int, learners: int) -> None:
    """Checks how many weeks are asked for, and how many learners in each.

    Raises:
        MasteryError: there are no weeks, or too many learners.
    """
    if weeks < 1:
        raise MasteryError(f"--weeks: expected one week or more, found {weeks}.")
    most = MOST_OF_CHUNK * MOST_CHUNKS
    if learners > most:
        raise MasteryError(
            f"--learners: expected at most {most:,} new ones a week, found {learners:,}."
        )


def draw_week(
    seed: int,
    week: int,
    learners: int,
    changes: Sequence[Change] = (),
    bias: str | None = None,
    first_day: date = FIRST_MONDAY,
) -> Iterator[Delivery]:
    """Draws the learners whose courses end in a week, part by part.

    The same arguments give the same learners. A change leaves the weeks before it as they are.

    ```python
    [part] = draw_week(seed=1, week=3, learners=300, changes=[Change("relation", 3)])
    part.sequences.label
    ```

    Args:
        seed: of the log.
        week: which one; the first is 1.
        learners: how many are new in this week.
        changes: of course.
        bias: see `components.simulator.bias`.
        first_day: of week 1; it begins at midnight in UTC.

    Yields:
        At most `MOST_OF_CHUNK` learners at a time.
    """
    kinds = kinds_in(changes, week)
    teaching = teaching_after(kinds)
    for part, first in enumerate(range(0, learners, MOST_OF_CHUNK)):
        chunk = (week - 1) * MOST_CHUNKS + part
        drawn = planted(draw(seed, chunk, teaching, (_STREAM,)), bias, seed, chunk)
        count = min(MOST_OF_CHUNK, learners - first)
        job_level = drawn.attributes["job_level"][_first_rows(drawn)]
        come = admitted(job_level, count, kinds, [seed, chunk, _INTAKE])
        chosen = _rows_of(drawn, come + drawn.learner[0])
        yield Delivery(week, _moved(chosen, seed, chunk, monday_of(week, first_day)), teaching)


def _first_rows(sequences: Sequences) -> Integers:
    """Returns the first row of each learner."""
    rows: Integers = np.flatnonzero(np.diff(sequences.learner, prepend=-1))
    return rows


def _rows_of(sequences: Sequences, learners: Integers) -> Sequences:
    """Returns the sequences of some learners only."""
    kept = np.isin(sequences.learner, learners)
    values: dict[str, Any] = {
        field.name: getattr(sequences, field.name)[kept]
        for field in fields(sequences)
        if field.name != "attributes"
    }
    attributes = {name: codes[kept] for name, codes in sequences.attributes.items()}
    return Sequences(attributes=attributes, **values)


def _moved(sequences: Sequences, seed: int, chunk: int, monday: date) -> Sequences:
    """Returns the sequences with each `as_of` somewhere in the week, without what comes after it.

    Whole sequences are moved, so that what lies between two events stays.
    """
    start = (np.datetime64(monday, "s") - model.FIRST_DAY) / np.timedelta64(1, "s")
    chance = np.random.default_rng([seed, chunk, _PLACES]).random(len(sequences.as_of))
    moved = np.floor(start + chance * WEEK - sequences.as_of)
    moved = np.where(sequences.as_of + moved < start, moved + 1, moved)
    time, as_of = sequences.time + moved[:, None], sequences.as_of + moved

    in_week = np.arange(time.shape[1]) < sequences.events[:, None]
    events = np.sum(in_week & (time < start + WEEK), axis=1)
    return replace(sequences, time=time, as_of=as_of, events=events)
