"""The section `fairness`: what it compares by default, and what it refuses."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from components.config import Config, fairness
from components.config.fairness import compared_columns

BASE: dict[str, Any] = {
    "name": "small",
    "data": {"events": "events.parquet", "outcomes": "outcomes.parquet"},
    "schema": "small.pbtxt",
    "label": {"column": "mastery", "classes": ["no", "yes"]},
    "steps": {"features": {"dwell": {"type": "numeric"}}},
    "decisions": [{"name": "call", "class": "no", "recall": 0.9}],
    "evaluation": {"slices": ["gender", "unit_id", ["gender", "region"], ["gender", "unit_id"]]},
    "gates": [{"metric": "f1_macro", "min": 0.5}],
}
GATE = {"metric": "recall", "class": "no", "max_gap": 0.05}


def _load(**section: Any) -> Config:
    return Config.model_validate({**BASE, "fairness": section})


def test_protected_slices_are_compared_unless_columns_are_named() -> None:
    config = _load()
    compared = compared_columns(config.fairness, config.evaluation, config.protected)
    assert compared == [["gender"], ["gender", "region"]]

    config = _load(columns=["native_language", ["gender", "native_language"]])
    compared = compared_columns(config.fairness, config.evaluation, config.protected)
    assert compared == [["native_language"], ["gender", "native_language"]]
    assert "native_language" in config.outcome_columns


def test_a_reweighed_column_is_carried_by_examples() -> None:
    assert "age_band" in _load(reweigh="age_band").outcome_columns


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"gates": [{**GATE, "class": "maybe"}]}, "expected one of no, yes, found maybe"),
        ({"gates": [{"metric": "recall", "max_gap": 0}]}, "expected one of"),
        ({"gates": [{**GATE, "metric": "mae"}]}, "expected one of recall, precision"),
        ({"gates": [{**GATE, "decision": "call"}]}, "found both"),
        (
            {"gates": [{"metric": "abroca", "decision": "call", "max_gap": 0}]},
            "expected one of recall, precision, alarm_rate beside `decision`",
        ),
        (
            {"gates": [{"metric": "recall", "decision": "cal", "max_gap": 0}]},
            "found cal; did you mean call",
        ),
        ({"gates": [{**GATE, "columns": "unit_id"}]}, "expected one of gender, gender × region"),
        ({"gates": [{**GATE, "confidence": 0.9999}]}, "expected evaluation.draws of 20000 or more"),
        ({"gates": [{**GATE, "max_gap": -0.1}]}, "greater than or equal to 0"),
        ({"reweigh": "unit_id"}, "expected a column listed in `protected`, found unit_id"),
        ({"reweigh": "dwell"}, "expected a column that is not"),
    ],
)
def test_what_does_not_fit_is_refused(section: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected.replace("|", r"\|")):
        _load(**section)


def test_gates_need_columns_to_compare() -> None:
    with pytest.raises(ValueError, match="expected columns to compare, found none"):
        Config.model_validate({**BASE, "evaluation": {}, "fairness": {"gates": [GATE]}})


def test_the_examples_are_right() -> None:
    results = doctest.testmod(fairness)
    assert results.attempted
    assert not results.failed
