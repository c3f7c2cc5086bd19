"""The join against one that is written to be obviously right."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contracts.names import (
    AS_OF,
    LEARNER,
    NUM_STEPS,
    ORDER,
    TIME,
    TIME_SINCE_PREVIOUS,
    TIME_TO_AS_OF,
    UNIT,
)
from components.event_log.point_in_time import find_windows
from components.example_gen.examples import join, join_batches

FEATURES = ["kind", "value", TIME_SINCE_PREVIOUS, TIME_TO_AS_OF]
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
IDS = st.sampled_from(["a", "b", ""])
EVENT = st.tuples(
    IDS, IDS, st.integers(0, 6), st.none() | st.sampled_from("xyz"), st.none() | st.integers(-5, 5)
)
OUTCOME = st.tuples(IDS, IDS, st.integers(-1, 7))


def as_clock(clock: str, number: int) -> object:
    """Returns the time that a number stands for: itself, so many halves, or so many minutes."""
    return {"integer": number, "float": number / 2, "timestamp": EPOCH + timedelta(minutes=number)}[
        clock
    ]


def tables(clock: str, events: list[Any], outcomes: list[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    dtype = {"integer": pl.Int64(), "float": pl.Float64(), "timestamp": pl.Datetime("us", "UTC")}[
        clock
    ]
    seen = pl.DataFrame(
        [
            (learner, unit, as_clock(clock, time), kind, value)
            for learner, unit, time, kind, value in events
        ],
        schema={
            LEARNER: pl.String,
            UNIT: pl.String,
            TIME: dtype,
            "kind": pl.String,
            "value": pl.Float32,
        },
        orient="row",
    ).with_columns(pl.int_range(pl.len()).alias(ORDER))
    asked = pl.DataFrame(
        [(learner, unit, as_clock(clock, as_of)) for learner, unit, as_of in outcomes],
        schema={LEARNER: pl.String, UNIT: pl.String, AS_OF: dtype},
        orient="row",
    )
    return seen, asked


def obvious_join(
    clock: str, events: list[Any], outcomes: list[Any], max_steps: int
) -> list[dict[str, list[Any]]]:
    scale = {"integer": 1.0, "float": 0.5, "timestamp": 60.0}[clock]
    joined = []
    for learner, unit, as_of in outcomes:
        sequence = sorted(
            (event for event in events if event[:2] == (learner, unit)), key=lambda event: event[2]
        )
        since = [0.0, *(scale * (after[2] - before[2]) for before, after in pairwise(sequence))]
        seen = [
            (event, gap) for event, gap in zip(sequence, since, strict=False) if event[2] < as_of
        ][-max_steps:]
        joined.append(
            {
                "kind": [event[3] for event, _ in seen],
                "value": [event[4] for event, _ in seen],
                TIME_SINCE_PREVIOUS: [gap for _, gap in seen],
                TIME_TO_AS_OF: [scale * (as_of - event[2]) for event, _ in seen],
            }
        )
    return joined


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["integer", "float", "timestamp"]),
    st.lists(EVENT, max_size=40),
    st.lists(OUTCOME, min_size=1, max_size=15),
    st.integers(1, 6),
    st.data(),
)
def test_equals_an_obvious_join(
    clock: str, events: list[Any], outcomes: list[Any], max_steps: int, data: st.DataObject
) -> None:
    seen, asked = tables(clock, events, outcomes)
    shuffled = seen[
        data.draw(st.permutations(range(seen.height)))
    ]  # shards and partitions arrive in any order
    joined = join(shuffled, asked, FEATURES, max_steps)
    expected = obvious_join(clock, events, outcomes, max_steps)

    assert joined.select(asked.columns).equals(asked)
    assert joined.select(FEATURES).to_dicts() == expected
    assert joined[NUM_STEPS].to_list() == [len(row["kind"]) for row in expected]


@settings(deadline=None)
@given(st.lists(EVENT, max_size=40), st.lists(OUTCOME, min_size=1, max_size=15), st.integers(1, 10))
def test_the_size_of_batches_does_not_matter(
    events: list[Any], outcomes: list[Any], steps: int
) -> None:
    seen, asked = tables("integer", events, outcomes)
    windows = find_windows(seen, asked, max_steps=5)
    batches = list(join_batches(windows, asked, FEATURES, steps))
    assert pl.concat(batches).equals(join(seen, asked, FEATURES, max_steps=5))
    assert all(batch[NUM_STEPS].sum() < steps + 5 for batch in batches)


def test_an_event_at_as_of_is_not_seen() -> None:
    seen, asked = tables(
        "timestamp", [("a", "b", 3, "x", 1), ("a", "b", 4, "y", 2)], [("a", "b", 4)]
    )
    (row,) = join(seen, asked, FEATURES, 10).select(FEATURES).to_dicts()
    assert row == {"kind": ["x"], "value": [1.0], TIME_SINCE_PREVIOUS: [0.0], TIME_TO_AS_OF: [60.0]}


def test_events_after_as_of_change_nothing() -> None:
    events = [("a", "b", time, "x", time) for time in range(5)]
    seen, asked = tables("integer", events, [("a", "b", 3)])
    later, _ = tables("integer", [*events, ("a", "b", 3, "z", 9), ("a", "b", 6, "z", 9)], [])
    assert join(seen, asked, FEATURES, 10).equals(join(later, asked, FEATURES, 10))


def test_far_apart_times_keep_their_microseconds() -> None:
    asked = pl.DataFrame({LEARNER: ["a"], UNIT: ["b"], AS_OF: [EPOCH + timedelta(microseconds=1)]})
    seen = pl.DataFrame(
        {
            LEARNER: ["a", "a"],
            UNIT: ["b", "b"],
            TIME: [datetime(1900, 1, 1, tzinfo=UTC), EPOCH],
            ORDER: [0, 1],
        }
    )
    (row,) = join(seen, asked, [TIME_TO_AS_OF], 10).to_dicts()
    assert row[TIME_TO_AS_OF][1] == pytest.approx(1e-6)
    assert math.isclose(
        row[TIME_TO_AS_OF][0],
        (EPOCH - datetime(1900, 1, 1, tzinfo=UTC)).total_seconds(),
        rel_tol=1e-7,
    )
