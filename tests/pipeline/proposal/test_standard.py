"""`mastery init` on tables of events as this project writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.event_log.log import check_log
from components.simulator.simulate import simulate
from tests.pipeline.proposal.conftest import Init


@pytest.mark.parametrize("table_format", ["parquet", "csv", "jsonl"])
def test_a_folder_with_both_tables_is_proposed_as_its_makers_meant_it(
    init: Init, tmp_path: Path, table_format: str
) -> None:
    log = tmp_path / "courses"
    simulate(400, 3, log, format=table_format)
    config = init(log)
    assert config.name == "courses"
    assert config.data.events == [str(log / f"events.{table_format}")]
    assert config.data.outcome_files == [str(log / f"outcomes.{table_format}")]
    assert config.data.event_mapping is None
    assert config.label.column == "mastery"
    assert config.label.classes == ["not_mastered", "partial", "proficient"]
    assert {name: item.type for name, item in config.steps.features.items()} == {
        "event_type": "categorical",
        "knowledge_component": "categorical",
        "dwell_seconds": "numeric",
        "exercise_completed": "numeric",
        "correct": "numeric",
        "playback_speed": "numeric",
        "time_since_previous": "numeric",
        "time_to_as_of": "numeric",
    }
    assert list(config.context) == ["unit_id"]
    assert ["gender"] in config.evaluation.slices
    assert check_log(config).outcomes > 400
