"""Compares the columnar point-in-time join with one by row, on the same simulated log.

.venv/bin/python benchmarks/join.py [LEARNERS]
"""

from __future__ import annotations

import bisect
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import polars as pl

from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, ORDER, TIME, UNIT
from components.example_gen.examples import join
from components.simulator.simulate import simulate

FEATURES = ["event_type", "dwell_seconds", "correct"]
MAX_STEPS = 32


def row_by_row(events: pl.DataFrame, outcomes: pl.DataFrame) -> list[dict[str, list[object]]]:
    """Joins in the obvious way: a dictionary of sequences, and a slice for each outcome."""
    sequences = defaultdict(list)
    for event in events.sort(TIME, ORDER).iter_rows(named=True):
        sequences[event[LEARNER], event[UNIT]].append(event)

    joined = []
    for outcome in outcomes.iter_rows(named=True):
        sequence = sequences[outcome[LEARNER], outcome[UNIT]]
        stop = bisect.bisect_left(sequence, outcome[AS_OF], key=lambda event: event[TIME])
        seen = sequence[max(0, stop - MAX_STEPS) : stop]
        joined.append({name: [event[name] for event in seen] for name in FEATURES})
    return joined


def main(learners: int) -> None:
    """Prints the seconds of both joins, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        simulate(learners, 1, Path(folder))
        events = pl.read_parquet(Path(folder, "events.parquet")).with_row_index(ORDER)
        outcomes = pl.read_parquet(Path(folder, "outcomes.parquet"))

    started = time.perf_counter()
    rows = row_by_row(events, outcomes)
    between = time.perf_counter()
    columns = join(events, outcomes, FEATURES, MAX_STEPS)
    ended = time.perf_counter()

    assert columns[NUM_STEPS].to_list() == [len(row[FEATURES[0]]) for row in rows]
    slow = between - started
    fast = ended - between
    print(f"{events.height:,} events, {outcomes.height:,} outcomes")
    print(f"row by row {slow:.2f} s, columnar {fast:.2f} s: {slow / fast:.0f} times as fast")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
