"""`mastery answers outcomes`: from a table of outcomes to the board's page of versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from serving.answers.database import open_database
from serving.answers.tables import Outcome
from tests.pipeline.cli.typed import mastery
from tests.serving.answers.classroom import CLASSES, fill

Capture = pytest.CaptureFixture[str]

CONFIG = f"""
name: sample
data: {{events: events.csv, outcomes: outcomes.csv}}
schema: schema.pbtxt
label: {{column: mastery, classes: [{", ".join(CLASSES)}]}}
steps: {{max_steps: 8, features: {{event_type: {{type: categorical}}}}}}
gates: [{{metric: f1_macro, min: 0.5}}]
"""
MARCH = """learner_id,unit_id,as_of,mastery
learner-0001,unit-0,2026-03-02T09:00:00Z,partial
learner-0002,unit-1,2026-03-03T09:00:00Z,proficient
stranger,unit-1,2026-03-03T09:00:00Z,proficient
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """The command for a classroom's database, a configuration and a table of March."""
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    fill(engine, learners=4, units=2)
    engine.dispose()
    (tmp_path / "sample.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "march.csv").write_text(MARCH, encoding="utf-8")
    return ["answers", "outcomes", "--db", f"{tmp_path}/answers.db", "--config",
            str(tmp_path / "sample.yaml"), "--outcomes", str(tmp_path / "march.csv")]  # fmt: skip


def test_outcomes_are_stored_once(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for _ in range(2):
        assert mastery(monkeypatch, *arguments) == 0
        printed = capsys.readouterr().out
        assert "2 outcomes stored, 2 of them with an answer in the 28 days before." in printed
        assert "1 left out: their learners, such as 'stranger'" in printed
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Outcome)) == 2
    engine.dispose()


def test_wrong_label_is_named_and_nothing_is_stored(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "march.csv").write_text(MARCH.replace("partial", "great"), encoding="utf-8")
    assert mastery(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert "march.csv, line 2, column mastery" in error
    assert "found 'great'" in error
    engine = open_database(f"sqlite:///{tmp_path}/answers.db")
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Outcome)) == 0
    engine.dispose()


@pytest.mark.parametrize("model", [[], ["--config", "a.yaml", "--model", "serving/1"]])
def test_configuration_comes_from_one_place(
    arguments: list[str], model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert mastery(monkeypatch, *arguments[:4], *arguments[6:], *model) == 2
    assert "expected either --config or --model" in capsys.readouterr().err
