"""Decisions, the early warning and gates on decisions: what is refused, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.config.decisions import Decision
from components.config.load import load_config
from tests.components.config.test_load import message, write

CALL = {"name": "call", "class": "no", "cost": {"miss": 5, "false_alarm": 1}}
FIND = {"name": "find", "class": "no", "recall": 0.9}


def gate(**values: Any) -> dict[str, Any]:
    return {"decisions": [CALL, FIND], "gates": [{"metric": "recall", "min": 0.5, **values}]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"decisions": [{**CALL, "class": "nope"}]},
            "decisions[0].class: expected one of ['no', 'yes'], found 'nope'; did you mean no?",
        ),
        ({"decisions": [CALL, CALL]}, "decisions[0].name: expected names that differ, found call"),
        (
            {"decisions": [{**CALL, "recall": 0.9}]},
            "expected exactly one of cost, recall, precision, capacity, threshold, found cost and "
            "recall",
        ),
        ({"decisions": [{"name": "call", "class": "no"}]}, "capacity, threshold, found none"),
        ({"decisions": [{**CALL, "name": "Call"}]}, "decisions[0].name: "),
        (
            {"decisions": [CALL], "evaluation": {"slices": ["decision_call"]}, "gates": [
                {"metric": "auc", "min": 0.5}]},
            "decisions[0].name: expected a name without a column of its own",
        ),
        (
            gate(decision="cal"),
            "gates[0].decision: expected one of call, find, found 'cal'; did you mean call?",
        ),
        (
            gate(decision="call") | {"decisions": []},
            "gates[0].decision: expected a decision of `decisions`, found 'call'",
        ),
        (
            gate(decision="call", metric="auc"),
            "gates[0].metric: expected one of precision, recall, alarm_rate, cost beside "
            "`decision:`, found auc",
        ),
        (gate(metric="alarm_rate"), "metric alarm_rate: expected `decision:` beside it"),
        (
            gate(decision="call", **{"class": "no"}),
            "gates[0].class: expected none beside `decision:`, which has a class",
        ),
        (
            gate(decision="find", metric="cost"),
            "gates[0].metric: expected another metric than cost: decision find has no `cost:`",
        ),
        (
            gate(decision="call", max_spread=0.1),
            "gates[0].max_spread: expected none beside `decision:`",
        ),
        (
            {"evaluation": {"early_warning": {"days": [7, 3]}}},
            "evaluation.early_warning.days: expected days that rise, found [7.0, 3.0]",
        ),
        (
            {"evaluation": {"early_warning": {"by": "mastery"}}},
            "evaluation.early_warning.by: expected a column that is not a key",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_error_at_its_key(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    assert expected in message(tmp_path, **changes)


def test_the_columns_of_the_early_warning_are_columns_of_examples(tmp_path: Path) -> None:
    early = {"by": "horizon_days", "outcome_day": "known_on"}
    config = load_config(write(tmp_path, evaluation={"early_warning": early}, decisions=[CALL]))
    assert config.outcome_columns[-2:] == ["horizon_days", "known_on"]
    fixed = {"by": "horizon_days", "outcome_day": 30}
    config = load_config(write(tmp_path, evaluation={"early_warning": fixed}, decisions=[CALL]))
    assert config.outcome_columns[-1] == "horizon_days"


@pytest.mark.parametrize(
    ("values", "purpose", "aim"),
    [(CALL, "cost", None), (FIND, "recall", 0.9), ({**FIND, "recall": None, "capacity": 20},
      "capacity", 20)],
)  # fmt: skip
def test_a_decision_has_one_purpose(
    values: dict[str, Any], purpose: str, aim: float | None
) -> None:
    decision = Decision.model_validate(values)
    assert (decision.purpose, decision.aim) == (purpose, aim)
