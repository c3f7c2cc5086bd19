"""One chunk of simulated learners, and the log that it makes."""

from __future__ import annotations

import polars as pl
import pytest

from components.simulator.sequences import CHUNK, Sequences, draw
from components.simulator.tables import events_table, outcomes_table


@pytest.fixture(scope="session")
def sequences() -> Sequences:
    return draw(seed=0, chunk=0)


@pytest.fixture(scope="session")
def events(sequences: Sequences) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(events_table(sequences, CHUNK)))


@pytest.fixture(scope="session")
def outcomes(sequences: Sequences) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(outcomes_table(sequences, CHUNK)))
