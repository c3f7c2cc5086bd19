"""One simulated log, written by each platform and as a table, gives the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from components.config import load_config
from components.config.root import Config
from components.event_log.log import check_log
from components.example_gen.examples import examples_as_written, examples_from_log
from components.simulator.platform_logs import FILES, next_seconds, whole_seconds
from components.simulator.simulate import TABLES, simulate

LEARNERS, SEED = 300, 4
# What the simulated table calls the standard columns.
RENAMED = {"knowledge_component": "component", "exercise_completed": "completed"}
FEATURES = {
    "event_type": "categorical",
    "component": "categorical",
    "dwell_seconds": "numeric",
    "completed": "numeric",
    "correct": "numeric",
    "playback_speed": "numeric",
    "time_since_previous": "numeric",
    "time_to_as_of": "numeric",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "as recorded": {"dwell_cap_seconds": None},
    "with gaps as dwell": {"dwell_cap_seconds": 600.0},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the log as a table, at the whole seconds that platforms record."""
    folder = tmp_path_factory.mktemp("table")
    simulate(LEARNERS, SEED, folder)
    events, outcomes = (pl.read_parquet(folder / f"{name}.parquet") for name in TABLES)
    whole_seconds(events).rename(RENAMED).write_parquet(folder / "events.parquet")
    next_seconds(outcomes).write_parquet(folder / "outcomes.parquet")
    return folder


@pytest.fixture(scope="module", params=FILES)
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder, named after its format, with the log as a platform writes it."""
    folder = tmp_path_factory.mktemp("platforms") / str(request.param)
    simulate(LEARNERS, SEED, folder, format=request.param)
    return folder


def configure(folder: Path, *, history: str = "unit", **data: Any) -> Config:
    """Returns the configuration of a log in a folder."""
    is_platform = folder.name in FILES
    events = FILES.get(folder.name, "events.parquet")
    outcomes = "outcomes.csv" if is_platform else "outcomes.parquet"
    document = {
        "name": "formats",
        "data": {
            "format": folder.name if is_platform else "parquet",
            "events": str(folder / events),
            "outcomes": str(folder / outcomes),
            "max_cold_start_share": 0.1,
            **data,
        },
        "schema": "schema.pbtxt",
        "gates": [{"metric": "f1_macro", "min": 0.5}],
        "label": {"column": "mastery", "classes": ["not_mastered", "partial", "proficient"]},
        "steps": {
            "max_steps": 32,
            "history": history,
            "features": {name: {"type": type_} for name, type_ in FEATURES.items()},
        },
    }
    file = folder.parent / f"{folder.name}.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize("data", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("history", ["unit", "learner"])
def test_every_example_is_the_same(
    log: Path, table: Path, history: str, data: dict[str, Any]
) -> None:
    found = [*examples_from_log(configure(log, history=history, **data))]
    expected = [*examples_from_log(configure(table, history=history, **data))]
    assert len(found) > LEARNERS
    assert found == expected


def test_shared_examples_are_the_same(log: Path, table: Path) -> None:
    found = [*examples_as_written(configure(log))]
    assert found == [*examples_as_written(configure(table, dwell_cap_seconds=1800.0))]


def test_gaps_change_the_examples(log: Path) -> None:
    """Without this, the comparison with gaps would be the one without them again."""
    recorded, filled = ([*examples_from_log(configure(log, **data))] for data in SETTINGS.values())
    assert recorded != filled


def test_the_same_is_counted(log: Path, table: Path) -> None:
    found, expected = (check_log(configure(folder)) for folder in (log, table))
    for name in ("events", "outcomes", "learners", "units", "cold_starts", "steps", "splits"):
        assert getattr(found, name) == getattr(expected, name)
    assert any("records left out" in warning for warning in found.warnings)
