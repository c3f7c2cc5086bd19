"""Columns that infer emotions are refused by name, unless a reason is given and recorded."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.config import Config, emotions, load_config
from components.config.emotions import emotion_in
from components.errors import ConfigError

BASE: dict[str, Any] = {
    "name": "small",
    "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
    "schema": "small.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"dwell": {"type": "numeric"}}},
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}
BORED = {"RES_BORED": {"type": "numeric"}}


@pytest.mark.parametrize(
    "column",
    [
        "RES_FRUSTRATED", "RES_CONFUSED", "Average_confidence(FRUSTRATED)", "boredom", "affect_1",
        "affectState", "engagement_emotion", "averageBoredom", "langeweile", "Frustration",
        "step_2_mood", "RES_ENGCON",
    ],
)  # fmt: skip
def test_names_of_emotions_are_recognised(column: str) -> None:
    assert emotion_in(column)


@pytest.mark.parametrize(
    "column",
    [
        "moodle_id", "effect", "affected_rows", "engagement", "RES_GAMING", "RES_OFFTASK",
        "enjoyable", "confusion_matrix_rank"[10:], "dwell_seconds", "satisfied", "board",
    ],
)  # fmt: skip
def test_other_names_are_not(column: str) -> None:
    assert emotion_in(column) is None


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"steps": {"features": BORED}}, "steps.features.RES_BORED"),
        ({"context": BORED}, "context.RES_BORED"),
        ({"prior": {"group_by": ["mood"]}}, "prior.group_by[0]"),
        ({"label": {"column": "frustration", "classes": ["a", "b"]}}, "label.column"),
    ],
)
def test_inputs_and_labels_that_infer_emotions_are_refused(
    changes: dict[str, Any], keys: str, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**BASE, **changes}))
    with pytest.raises(ConfigError) as found:
        load_config(file)
    assert f"{keys}: " in str(found.value)
    assert "Article 5(1)(f) of the EU AI Act forbids it in education" in str(found.value)
    assert "`emotion_reason: ...`" in str(found.value)


def test_a_reason_is_recorded_with_the_version() -> None:
    reason = "a safety alarm for operators of machines"
    steps = {"features": {"RES_BORED": {"type": "numeric", "emotion_reason": reason}}}
    recipe = Config.model_validate({**BASE, "steps": steps}).recipe
    assert recipe["steps"]["features"]["RES_BORED"]["emotion_reason"] == reason

    steps = {"features": {"RES_BORED": {"type": "numeric", "emotion_reason": "yes"}}}
    with pytest.raises(ValueError, match="at least 10 characters"):
        Config.model_validate({**BASE, "steps": steps})


def test_the_examples_are_right() -> None:
    results = doctest.testmod(emotions)
    assert results.attempted
    assert not results.failed
