"""When an older model can be the baseline of a newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.config import Config
from components.contracts.model_card import ModelCard
from components.evaluator.evaluator_settings import EvaluatorSettings, why_not_comparable

VALUES: dict[str, Any] = {
    "name": "small",
    "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
    "schema": "small.pbtxt",
    "label": {"column": "mastery", "classes": ["low", "high"]},
    "steps": {"features": {"dwell": {"type": "numeric"}}},
    "context": {"unit_id": {"type": "categorical"}},
    "gates": [{"metric": "accuracy", "min": 0.5}],
}


def _write_card(folder: Path, **sections: Any) -> Path:
    config = Config.model_validate(VALUES | sections)
    card = ModelCard(
        name="small", task="classification", config=config.model_dump(mode="json", by_alias=True)
    )
    card.write(folder)
    return folder


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({}, None),
        ({"label": {"column": "mastery", "classes": ["high", "low"]}}, None),
        ({"context": {}, "training": {"epochs": 3}}, None),
        (
            {"label": {"column": "mastery", "classes": ["low", "mid", "high"]}},
            "for another label: expected classes ['high', 'low'], found ['high', 'low', 'mid']",
        ),
        (
            {"label": {"column": "dropout", "classes": ["low", "high"]}},
            "made for another label: expected column mastery, found dropout",
        ),
        (
            {
                "steps": {
                    "features": {name: {"type": "numeric"} for name in ("speed", "dwell", "hints")}
                }
            },
            "the blessed model reads columns that are no longer inputs: hints, speed",
        ),
        ({"prior": {"group_by": ["company"]}}, "no longer inputs: company"),
    ],
)
def test_a_model_of_another_label_or_of_removed_columns_is_not_a_baseline(
    tmp_path: Path, sections: dict[str, Any], problem: str | None
) -> None:
    found = why_not_comparable(
        _write_card(tmp_path, **sections), EvaluatorSettings.of(Config.model_validate(VALUES))
    )
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_a_model_without_a_card_is_not_checked(tmp_path: Path) -> None:
    assert why_not_comparable(tmp_path, EvaluatorSettings.of(Config.model_validate(VALUES))) is None


def test_of_beam_only_its_options_evaluate_again() -> None:
    def settings(beam: dict[str, Any]) -> str:
        config = Config.model_validate({**VALUES, "beam": beam})
        return EvaluatorSettings.of(config).to_property()

    assert settings({"workers": 3, "partitions": 2}) == settings({})
    assert settings({"args": ["--runner=FlinkRunner"]}) != settings({})
