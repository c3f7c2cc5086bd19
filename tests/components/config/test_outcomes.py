"""How outcomes are derived: what a configuration may say, and what its errors say."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.config import Config, load_config
from components.config.outcomes import DerivedOutcomes, parse_duration, parse_moment
from components.errors import ConfigError
from components.event_log.log_spec import LogSpec

FILE = """\
name: silent
data:
  events: events.csv
  outcomes:
    {outcomes}
schema: silent.pbtxt
label: {{column: activity, {label}}}
steps: {{features: {{event_type: {{type: categorical}}, kind: {{type: categorical}}}}}}
gates: [{{metric: {gate}, min: 0}}]
{rest}
"""
TWO = "classes: [inactive, active]"
THREE = "classes: [low, middle, high]"
NUMBER = "task: regression"


def load(folder: Path, outcomes: str, label: str = TWO, rest: str = "") -> Config:
    """Loads a configuration whose outcomes are derived."""
    gate = "rmse" if label == NUMBER else "accuracy"
    text = FILE.format(outcomes=outcomes, label=label, gate=gate, rest=rest)
    (folder / "log.yaml").write_text(text)
    return load_config(folder / "log.yaml")


@pytest.mark.parametrize(
    ("outcomes", "label", "error"),
    [
        (
            "{derive: inactive, at: 7d}",
            TWO,
            "line 5, data.outcomes.derive: expected 'inactivity', ",
        ),
        ("{derive: inactive, at: 7d}", TWO, "found 'inactive'; did you mean inactivity?"),
        ("{derive: inactivity, window: 7d}", TWO, "data.outcomes.at: this key is required"),
        ("{derive: inactivity, at: 7d}", TWO, "data.outcomes.window: this key is required"),
        ("{derive: inactivity, at: 7d, windw: 7d}", TWO, "did you mean data.outcomes.window?"),
        ("{derive: inactivity, at: week, window: 7d}", TWO, "at: expected a duration such as"),
        ("{derive: inactivity, at: [7d, 3], window: 7d}", TWO, "found durations and numbers"),
        ("{derive: inactivity, at: [7d, 168h], window: 7d}", TWO, "expected moments that differ"),
        ("{derive: inactivity, at: 7d, window: 3}", TWO, "window: expected a duration, found 3"),
        ("{derive: inactivity, at: 7, window: 3d}", TWO, "window: expected a number, as at has"),
        ("{derive: inactivity, at: 7d, window: 0d}", TWO, "found '0d'"),
        ("{derive: inactivity, at: 7d, window: 7d, until: 7d}", TWO, "until: expected a date such"),
        ("{derive: inactivity, at: 99999999w, window: 7d}", TWO, "at most 14,600 days"),
        ("{derive: inactivity, at: 7d, window: 7d, after: clock}", TWO, "expected numbers in at"),
        ("{derive: completion, at: 2026-03-01, after: unit}", TWO, "found dates"),
        ("{derive: passed, at: 7d}", TWO, "min_score, event_types or both"),
        ("{derive: completion, at: 7d, next: 3}", TWO, "next: expected with derive: next_answers"),
        ("{derive: completion, at: 7d}", THREE, "label.classes: expected two classes with derive"),
        ("{derive: completion, at: 7d}", NUMBER, "label.task: expected two classes"),
        ("{derive: completion, at: 7d, mapping: {x: y}}", TWO, "mapping: expected with the key ta"),
        ("{derive: grade, at: 7d, cuts: [2, 1]}", THREE, "cuts: expected rising numbers"),
        ("{derive: grade, at: 7d, cuts: [1]}", THREE, "expected one class more than data.outcomes"),
        ("{derive: grade, at: 7d}", THREE, "cuts: expected the lowest scores of"),
        ("{derive: next_answers, at: 7d}", TWO, "cuts: expected the lowest right answers"),
        ("{derive: next_answers, at: 7d, cuts: [3]}", NUMBER, "cuts: expected none with task"),
        (
            "{derive: grade, at: 7d, values: {A: high}}",
            THREE,
            "values: expected with the key table",
        ),
        (
            "{derive: grade, at: 7d, table: t.csv, values: {A: hi}}",
            THREE,
            "values: expected classes of label.classes (low, middle, high), found hi",
        ),
        (
            "{derive: grade, at: 7d, table: t.csv, event_column: s}",
            THREE,
            "expected the grades of table or those of events, found both",
        ),
        (
            "{derive: completion, at: 7d, event_column: kind}",
            TWO,
            "steps.features.kind.type: expected numeric, since outcomes are derived from kind",
        ),
        ("[]", TWO, "data.outcomes: expected a length of at least 1"),
        ("7", TWO, "data.outcomes: expected a list, found 7"),
    ],
)
def test_an_error_names_line_and_key(tmp_path: Path, outcomes: str, label: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, outcomes, label)
    assert error in str(caught.value)
    assert "line " in str(caught.value)


def test_columns_come_from_the_table(tmp_path: Path) -> None:
    derived = "{derive: inactivity, at: 7d, window: 7d"
    slices = "evaluation: {slices: [gender, horizon_days]}"
    with pytest.raises(ConfigError, match="table: expected a table with gender, which derived"):
        load(tmp_path, derived + "}", rest=slices)
    config = load(tmp_path, derived + ", table: learners.csv}", rest=slices)
    assert config.data.outcome_files == [str(tmp_path / "learners.csv")]
    assert config.outcome_columns == ["gender", "horizon_days"]

    dates = "{derive: inactivity, at: 2026-03-01, window: 7d}"
    with pytest.raises(ConfigError, match="expected durations or numbers, since horizon_days"):
        load(tmp_path, dates, rest="evaluation: {slices: [horizon_days]}")
    load(tmp_path, dates, rest="evaluation: {slices: [moment]}")
    with pytest.raises(ConfigError, match="table: expected a table with fold"):
        load_config(tmp_path / "log.yaml", ["data.splits={folds: 4, column: fold}"])


def test_an_option_replaces_derived_outcomes_by_a_table(tmp_path: Path) -> None:
    load(tmp_path, "{derive: inactivity, at: 7d, window: 7d}")
    config = load_config(tmp_path / "log.yaml", ["data.outcomes=outcomes.csv"])
    assert config.data.derived is None
    assert config.data.outcome_files == [str(Path.cwd() / "outcomes.csv")]


def test_a_configuration_travels(tmp_path: Path) -> None:
    mapping = "{unit_id: {template: '{course} {term}'}, grade: final}"
    text = (
        "{derive: grade, at: [2026-03-01, 2026-04-01], table: t.csv, mapping: "
        f"{mapping}, values: {{1: low, Pass: high, W: null}}}}"
    )
    config = load(tmp_path, text, THREE)
    assert Config.model_validate(config.recipe).data == config.data
    spec = LogSpec.of(config)
    assert LogSpec.from_property(spec.to_property()) == spec
    assert spec.derived is not None
    assert spec.derived.values == {"1": "low", "Pass": "high", "W": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", timedelta(days=7)),
        ("1.5 h", timedelta(minutes=90)),
        ("-10", -10.0),
        ("2026-03-01", datetime.fromisoformat("2026-03-01")),
        ("2026-03-01T12:00", datetime.fromisoformat("2026-03-01 12:00")),
    ],
)
def test_a_moment_is_read(text: str, expected: Any) -> None:
    assert parse_moment(text) == expected


@pytest.mark.parametrize("text", ["7", "d", "7 days", "-7d"])
def test_another_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 7d, 36h or 2w"):
        parse_duration(text)


def test_yaml_s_numbers_are_moments() -> None:
    derived = DerivedOutcomes.model_validate(
        {"derive": "inactivity", "at": [7, 14.5], "window": 3, "after": "clock"}
    )
    assert derived.moments == [7.0, 14.5]
    assert derived.length == 3.0
