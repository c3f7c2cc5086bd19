"""`mastery init` on the logs of platforms."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from components.event_log.log import read_log
from components.platforms.formats import PLATFORMS
from components.simulator.simulate import simulate
from tests.pipeline.proposal.conftest import Init

FEATURES = [
    "event_type", "component", "dwell_seconds", "correct", "completed", "playback_speed",
    "time_since_previous", "time_to_as_of",
]  # fmt: skip


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_is_recognised_with_the_outcomes_beside_it(
    init: Init, tmp_path: Path, platform: str
) -> None:
    simulate(400, 3, tmp_path / "log", format=platform)
    config = init(tmp_path / "log")
    assert config.data.format == platform
    assert config.data.outcome_files == [str(tmp_path / "log" / "outcomes.csv")]
    assert set(FEATURES) <= {*config.steps.features}
    assert config.label.classes == ["not_mastered", "partial", "proficient"]

    simulate(400, 3, tmp_path / "table")
    truth = pl.read_parquet(tmp_path / "table" / "events.parquet")
    found = read_log(config, splits=True, keys_only=True).total
    assert found.count_rows("events") == truth.height


@pytest.mark.parametrize("platform", PLATFORMS)
def test_outcomes_are_derived_from_a_platforms_log_alone(
    init: Init, tmp_path: Path, platform: str
) -> None:
    simulate(500, 3, tmp_path / "log", format=platform)
    (tmp_path / "log" / "outcomes.csv").unlink()
    config = init(tmp_path / "log")
    assert config.data.format == platform
    derived = config.data.derived
    assert derived is not None
    assert derived.derive in ("next_answers", "grade")
    log = read_log(config, splits=True, keys_only=True)
    assert log.part.outcomes.height > 300
