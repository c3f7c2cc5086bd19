"""From a scoring to a report, through the commands: alerts with a hold-out, outcomes, effect."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from components.contracts.effect_report import EffectReport
from components.errors import MasteryError
from pipeline.cli.main import app
from serving.answers.database import open_database
from serving.answers.scoring.versions import PushedVersion
from serving.answers.tables import Assignment
from tests.components.serving_check.conftest import CLASSES
from tests.serving.answers.scoring.conftest import at, events, people
from tests.serving.answers.scoring.test_commands import run

LEARNERS = 150
SETTINGS = """
channels: {teachers: {kind: file, path: told.jsonl}}
alerts:
  rules: [{name: call, when: need >= 0, capacity: unlimited, to: [teachers]}]
"""
HOLD_OUT = "effect: {hold_out: 0.2, cost_per_action: {called: 12}}\n"
CONFIG = f"""
name: small
data: {{events: events.csv, outcomes: outcomes.csv}}
schema: schema.pbtxt
label: {{column: mastery, classes: [{", ".join(CLASSES)}]}}
steps: {{max_steps: 8, features: {{event_type: {{type: categorical}}}}}}
gates: [{{metric: f1_macro, min: 0.5}}]
"""


@pytest.fixture
def scored(version: PushedVersion, tmp_path: Path) -> Path:
    """A folder with a scored database, settings and a configuration."""
    events(6 * LEARNERS, LEARNERS).write_parquet(tmp_path / "events.parquet")
    people(LEARNERS + 1).write_csv(tmp_path / "people.csv")
    run(
        "score", "--model", str(version.folder), "--events", str(tmp_path / "events.parquet"),
        "--learners", str(tmp_path / "people.csv"), "--as-of", "2026-03-11",
        "--to", f"sqlite:///{tmp_path}/answers.db",
    )  # fmt: skip
    (tmp_path / "answers.yaml").write_text(SETTINGS + HOLD_OUT)
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path


def effect(folder: Path, *more: str) -> str:
    return run("effect", "--config", str(folder / "small.yaml"), "--answers",
               str(folder / "answers.yaml"), "--db", str(folder / "answers.db"), *more)  # fmt: skip


def lots(folder: Path) -> list[Assignment]:
    engine = open_database(str(folder / "answers.db"))
    with Session(engine) as session:
        found = [*session.scalars(select(Assignment).order_by(Assignment.learner_id))]
    engine.dispose()
    return found


def test_from_a_scoring_to_the_effect(version: PushedVersion, scored: Path) -> None:
    database, answers = str(scored / "answers.db"), str(scored / "answers.yaml")
    alerts = ["--db", database, "--answers", answers, "--as-of", "2026-03-11T06:00"]
    assert "(held out)" in run("alerts", "test", *alerts)
    assert lots(scored) == []
    assert "(held out)" in run("alerts", "run", *alerts)
    drawn = lots(scored)
    assert len(drawn) == LEARNERS
    strata = {lot.stratum for lot in drawn}
    held_out = sum(lot.held_out for lot in drawn)
    assert abs(held_out - 0.2 * LEARNERS) < len(strata)
    assert "Too few outcomes came in" in effect(scored)

    # Whoever was named does well, and one in five of the others.
    rows = pl.DataFrame({
        "learner_id": [lot.learner_id for lot in drawn],
        "unit_id": [lot.unit_id for lot in drawn],
        "as_of": [at(days=20)] * len(drawn),
        "mastery": [CLASSES[-1] if not lot.held_out or place % 5 == 0 else CLASSES[0]
                    for place, lot in enumerate(drawn)],
    })  # fmt: skip
    rows.write_parquet(scored / "came-in.parquet")
    run("answers", "outcomes", "--db", database, "--model", str(version.folder),
        "--outcomes", str(scored / "came-in.parquet"))  # fmt: skip

    said = effect(scored)
    assert said.startswith("Naming learners helped: good outcomes +")
    assert "held out" in said
    found = EffectReport.from_json(effect(scored, "--json"))
    assert found.verdict == "better"
    assert (found.named.cases, found.held_out.cases) == (LEARNERS - held_out, held_out)
    assert found.difference is not None
    assert 0.5 < found.difference.value < 1
    later = EffectReport.from_json(effect(scored, "--json", "--since", "2026-03-12"))
    assert later.verdict == "no_hold_out"


def test_without_a_hold_out_it_cannot_be_known(scored: Path) -> None:
    (scored / "answers.yaml").write_text(SETTINGS)
    said = " ".join(effect(scored).split())
    assert "It cannot be known from these data what calling changes" in said
    assert "would mislead" in said
    assert EffectReport.from_json(effect(scored, "--json")).difference is None


def test_a_day_that_is_none_is_an_error(scored: Path) -> None:
    arguments = ["effect", "--config", str(scored / "small.yaml"), "--answers",
                 str(scored / "answers.yaml"), "--db", str(scored / "answers.db")]  # fmt: skip
    done = CliRunner().invoke(app, [*arguments, "--since", "spring"])
    assert isinstance(done.exception, MasteryError)
    assert "--since: expected a day such as 2026-03-02, found 'spring'" in str(done.exception)
