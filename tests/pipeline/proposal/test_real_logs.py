"""`mastery init` on real logs, where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.event_log.log import check_log
from tests.end_to_end.conftest import REAL_LOGS
from tests.pipeline.proposal.conftest import Init

LABELS = {"xuetangx": "dropout", "assist2009": "mastery", "epfl": "mastery"}
CLASSES = {
    "xuetangx": ["dropped", "stayed"],
    "assist2009": ["not_mastered", "partial", "proficient"],
    "epfl": ["not_mastered", "partial", "proficient"],
}
DERIVED = {"xuetangx": "inactivity", "assist2009": "next_answers"}


def real_log(name: str) -> Path:
    folder = REAL_LOGS / name
    if not folder.is_dir():
        pytest.skip(f"the real logs are not here: expected {folder}")
    return folder


@pytest.mark.parametrize("name", LABELS)
def test_a_real_log_with_its_outcomes(init: Init, name: str) -> None:
    config = init(real_log(name))
    assert config.label.column == LABELS[name]
    assert config.label.classes == CLASSES[name]
    assert config.data.derived is None
    assert not {"grade", "score", "gender", "fold"} & {*config.context, *config.steps.features}


@pytest.mark.parametrize("name", DERIVED)
def test_outcomes_of_a_real_log_are_derived_from_its_events_alone(
    init: Init, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    shutil.copy(real_log(name) / "events.parquet", tmp_path / name)
    config = init(tmp_path / name)
    assert config.data.derived is not None
    assert config.data.derived.derive == DERIVED[name]
    counts = check_log(config).splits["test"]
    assert min(counts.values()) >= 100
