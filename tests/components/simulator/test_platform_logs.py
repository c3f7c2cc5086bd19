"""What the logs of all platforms have in common: reading gives back every value."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import find_files
from components.platforms.formats import mapping_of
from components.simulator.platform_logs import FILES, whole_seconds
from components.simulator.simulate import simulate

LEARNERS = 60
# The columns of events, and what the simulated table calls them.
COLUMNS = {
    "learner_id": "learner_id",
    "unit_id": "unit_id",
    "time": "time",
    "event_type": "event_type",
    "component": "knowledge_component",
    "dwell_seconds": "dwell_seconds",
    "completed": "exercise_completed",
    "correct": "correct",
    "playback_speed": "playback_speed",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The simulated events as a table, at whole seconds."""
    folder = tmp_path_factory.mktemp("table")
    simulate(LEARNERS, 3, folder)
    events = whole_seconds(pl.read_parquet(folder / "events.parquet"))
    return events.select(pl.col(old).alias(new) for new, old in COLUMNS.items())


@pytest.fixture(scope="module", params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, named after its format, with the log as a platform writes it."""
    path = tmp_path_factory.mktemp("platforms") / str(request.param)
    simulate(LEARNERS, 3, path, format=request.param)
    return path


def test_reading_gives_back_every_value(folder: Path, table: pl.DataFrame) -> None:
    mapping = mapping_of(folder.name)
    [file] = find_files("events", [str(folder / FILES[folder.name])], mapping).files
    frames = []
    for chunk in read_chunks(file, [*COLUMNS], mapping):
        assert not isinstance(chunk, Problem), str(chunk)
        frames.append(chunk.frame)

    texts = pl.concat(frames)
    found = texts.with_columns(
        pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC"),
        pl.col("dwell_seconds", "playback_speed").cast(pl.Float32),
        pl.col("correct").cast(pl.Int8),
        pl.col("completed").cast(pl.Int8).cast(pl.Boolean),
    )
    assert_frame_equal(found, table, check_exact=True)
    assert texts["dwell_seconds"].null_count() > 0
    assert set(texts["correct"]) == {"0", "1", None}


def test_the_log_is_the_same_for_the_same_seed(folder: Path, tmp_path: Path) -> None:
    simulate(LEARNERS, 3, tmp_path, format=folder.name)

    names = {path.name for path in folder.iterdir()}
    assert {FILES[folder.name], "outcomes.csv"} < names
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
