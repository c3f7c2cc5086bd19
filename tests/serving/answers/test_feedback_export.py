"""Feedback as outcomes: what the next training reads, and what is left out, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from components.config import Config
from components.errors import LogError, MasteryError
from components.event_log.log import check_log, read_log
from serving.answers.database import open_database
from serving.answers.feedback_export import export_feedback
from serving.answers.tables import Action, ModelVersion, Outcome

CLASSES = ["not_mastered", "partial", "proficient"]
MOMENT = datetime(2026, 3, 2, 6, tzinfo=UTC)
LEARNERS = 120

Say = Callable[..., None]


@pytest.fixture
def say(database: Engine) -> Say:
    """Returns a function that stores an action about an answer."""
    with Session(database) as session, session.begin():
        session.add_all(
            ModelVersion(id=number, model=model, version=version, run=None, pushed_at=None,
                         classes=CLASSES, metrics={}, report=None)
            for number, model, version in ((1, "sample", 7), (2, "sample", 8), (3, "other", 7))
        )  # fmt: skip

    def store(
        learner: str, label: str | None, *, user: str = "ada", unit: str = "u0", minute: int = 0,
        version: int = 1, kind: str = "wrong", as_of: datetime = MOMENT,
    ) -> None:  # fmt: skip
        with Session(database) as session, session.begin():
            session.add(
                Action(
                    learner_id=learner, unit_id=unit, kind=kind, note="a note", user=user,
                    at=MOMENT + timedelta(hours=1, minutes=minute), as_of=as_of,
                    version_id=version, predicted_class="partial", label=label, snooze_until=None,
                )
            )  # fmt: skip

    return store


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    """Returns a function that writes a log, and a configuration that reads it."""
    rows = [(f"l{number}", f"u{unit}") for number in range(LEARNERS) for unit in range(2)]
    days = [MOMENT - timedelta(days=day) for day in (40, 30, 20, 10, 1)]
    events = pl.DataFrame(
        [(*row, day, "quiz", 1.0) for row in rows for day in days],
        schema=["who", "unit_id", "time", "event_type", "dwell"], orient="row",
    )  # fmt: skip
    outcomes = pl.DataFrame(
        [(*row, MOMENT - timedelta(days=5), CLASSES[place % 3], "junior", 3 + int(row[1][1]))
         for place, row in enumerate(rows)],
        schema=["who", "unit_id", "judged", "mastery", "job_level", "lessons"], orient="row",
    )  # fmt: skip
    events.write_parquet(tmp_path / "events.parquet")
    outcomes.write_parquet(tmp_path / "outcomes.parquet")

    def build(*more: str, **changes: Any) -> Config:
        names = {"learner_id": "who", "as_of": "judged"}
        return Config.model_validate(
            {
                "name": "sample",
                "schema": "s",
                "data": {
                    "events": str(tmp_path / "events.parquet"),
                    "outcomes": [str(tmp_path / "outcomes.parquet"), *more],
                    "columns": names,
                    "min_class_examples": 1,
                },
                "label": {"column": "mastery", "classes": CLASSES},
                "steps": {"features": {"event_type": {"type": "categorical"},
                                       "dwell": {"type": "numeric"}}},
                "context": {"job_level": {"type": "categorical", "vocabulary": 10, "embedding": 2}},
                "evaluation": {"slices": ["lessons"]},
                "gates": [{"metric": "accuracy", "min": 0}],
                **changes,
            }
        )  # fmt: skip

    return build


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_next_training_takes_what_people_said(
    database: Engine, say: Say, configure: Callable[..., Config], tmp_path: Path, ending: str
) -> None:
    say("l1", "proficient")
    say("l2", "not_mastered", kind="called", unit="u1")
    say("l3", None, kind="called")  # nobody said what is true
    say("l4", "partial", as_of=MOMENT - timedelta(days=5))  # the log has an outcome of this moment
    out = tmp_path / f"feedback.{ending}"

    before = check_log(configure())
    exported = export_feedback(database, out, config=configure())
    assert exported.describe().splitlines() == [
        f"2 outcomes written to {out}.",
        "1 left out: there is an outcome of the same learner, unit and as_of already, "
        "which counts.",
    ]
    config = configure(str(out))
    after = check_log(config)
    assert after.outcomes == before.outcomes + 2

    part = read_log(config, splits=True, keys_only=False).part
    new = part.outcomes.with_row_index("row").filter(pl.col("as_of") == MOMENT).sort("learner_id")
    read = new.select("learner_id", "unit_id", "mastery", "job_level", "lessons").rows()
    assert read == [
        ("l1", "u0", "proficient", "junior", 3),
        ("l2", "u1", "not_mastered", "junior", 4),
    ]
    assert [*part.windows.num_steps[new["row"]]] == [5, 5]


def test_an_outcome_that_is_there_twice_stops_the_training(
    database: Engine, say: Say, configure: Callable[..., Config], tmp_path: Path
) -> None:
    say("l1", "proficient")
    once, again = tmp_path / "a.parquet", tmp_path / "b.parquet"
    export_feedback(database, once, config=configure())
    export_feedback(database, again, config=configure())
    with pytest.raises(LogError, match="one row per learner, unit and as_of"):
        check_log(configure(str(once), str(again)))

    # The export that knows of the first one has nothing to add, and its empty file is no obstacle.
    assert export_feedback(database, again, config=configure(str(once))).rows == 0
    assert check_log(configure(str(once), str(again))).outcomes == 2 * LEARNERS + 1


def test_who_changes_a_mind_counts_once_and_who_disagrees_not_at_all(
    database: Engine, say: Say, tmp_path: Path
) -> None:
    say("l1", "partial")
    say("l1", "proficient", minute=1)
    say("l1", "proficient", user="max")
    say("l2", "partial")
    say("l2", "proficient", user="max")
    say("l3", "partial")
    say("l3", "partial", version=2, user="max")  # another version's answer: the truth is the same
    exported = export_feedback(database, tmp_path / "f.parquet")

    assert (exported.rows, exported.superseded, exported.disputed) == (2, 1, 1)
    assert "learner 'l2', unit 'u0', as_of 2026-03-02" in exported.describe()
    rows = pl.read_parquet(exported.out).select("learner_id", "label").rows()
    assert rows == [("l1", "proficient"), ("l3", "partial")]


def test_an_outcome_that_came_in_counts_more_than_what_somebody_said(
    database: Engine, say: Say, tmp_path: Path
) -> None:
    say("l1", "partial")
    say("l2", "partial")
    with Session(database) as session, session.begin():
        session.add(
            Outcome(learner_id="l1", unit_id="u0", as_of=MOMENT, label="proficient", value=None,
                    received_at=MOMENT, version_id=None, answered_as_of=None, predicted_class=None,
                    prediction=None, rule_warned=None, group_id=None)
        )  # fmt: skip
    exported = export_feedback(database, tmp_path / "f.csv")
    assert exported.known == 1
    assert exported.out.read_text() == (
        "learner_id,unit_id,as_of,label\nl2,u0,2026-03-02T06:00:00Z,partial\n"
    )


def test_a_column_on_which_earlier_outcomes_disagree_leaves_the_row_out(
    database: Engine, say: Say, configure: Callable[..., Config], tmp_path: Path
) -> None:
    path = tmp_path / "outcomes.parquet"
    config = configure()
    level = pl.when(pl.col("who") == "l1", pl.col("unit_id") == "u1").then(pl.lit("senior"))
    pl.read_parquet(path).with_columns(
        level.otherwise("job_level").alias("job_level")
    ).write_parquet(path)

    say("l1", "partial", unit="u1")  # the learner's earlier outcome in the unit says senior
    say("l1", "partial", unit="u7")  # neither the learner nor the unit says
    say("l2", "partial", unit="u7")  # the learner's outcomes in other units agree on the level only
    exported = export_feedback(database, tmp_path / "f.parquet", config=config)

    assert (exported.rows, exported.unplaced) == (1, 2)
    assert "training also reads job_level, lessons" in exported.describe()
    assert pl.read_parquet(exported.out)["job_level"].to_list() == ["senior"]


def test_the_table_has_every_action(database: Engine, say: Say, tmp_path: Path) -> None:
    say("=cmd", None, kind="called")
    say("l2", "partial", version=2)
    exported = export_feedback(database, tmp_path / "t.csv", form="table")
    assert exported.describe() == f"2 actions written to {tmp_path}/t.csv."
    table = pl.read_csv(tmp_path / "t.csv")
    assert table["learner_id"].to_list() == ["'=cmd", "l2"]  # no formula in a spreadsheet
    assert table.select("version", "kind", "label", "predicted_class").rows() == [
        (7, "called", None, "partial"),
        (8, "wrong", "partial", "partial"),
    ]


def test_ids_that_a_spreadsheet_would_run_are_not_written_as_csv(
    database: Engine, say: Say, tmp_path: Path
) -> None:
    say("=cmd", "partial")
    with pytest.raises(MasteryError, match=r"learner_id '=cmd' would run as a formula"):
        export_feedback(database, tmp_path / "f.csv")
    assert not (tmp_path / "f.csv").exists()
    assert export_feedback(database, tmp_path / "f.parquet").rows == 1
    assert pl.read_parquet(tmp_path / "f.parquet")["learner_id"].to_list() == ["=cmd"]


def test_models_are_not_mixed(
    database: Engine, say: Say, configure: Callable[..., Config], tmp_path: Path
) -> None:
    out = tmp_path / "f.csv"
    say("l1", "partial")
    assert export_feedback(database, out).rows == 1
    say("l2", "partial", version=3)
    with pytest.raises(MasteryError, match=r"several models \(other, sample\)"):
        export_feedback(database, out)
    assert export_feedback(database, out, model="other").rows == 1
    with pytest.raises(MasteryError, match=r"--model none: expected one .*\(other, sample\)"):
        export_feedback(database, out, model="none")
    with pytest.raises(MasteryError, match=r"ends in \.csv or \.parquet"):
        export_feedback(database, tmp_path / "f.txt", model="other")
    others = configure(label={"column": "mastery", "classes": ["low", "high"]})
    with pytest.raises(MasteryError, match="found none called 'partial'"):
        export_feedback(database, out, model="sample", config=others)


def test_the_command_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.cli.feedback_commands import export

    open_database(f"{tmp_path}/answers.db").dispose()
    export(tmp_path / "f.csv", db=f"{tmp_path}/answers.db")
    assert capsys.readouterr().out == f"0 outcomes written to {tmp_path}/f.csv.\n"
