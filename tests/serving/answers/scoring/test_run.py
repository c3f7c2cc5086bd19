"""A scoring: the model's answers about everybody, and all that pages read, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from components.config.mapping import EventMapping
from components.errors import LogError, MasteryError
from components.event_log.log_spec import LogSpec
from components.event_log.sources import LogFile
from serving.answers.need import expected_need
from serving.answers.scoring import job as job_module
from serving.answers.scoring.activity import ActivityColumns
from serving.answers.scoring.run import alone, score
from serving.answers.scoring.versions import PushedVersion
from serving.answers.tables import (
    Answer,
    ComponentResult,
    CurrentAnswer,
    DailyActivity,
    DailyCount,
    Learner,
    ModelVersion,
    Scoring,
)
from serving.predict import questions_from_log
from tests.components.serving_check.conftest import CLASSES
from tests.postgresql import PostgreSQL
from tests.serving.answers.conftest import new_database
from tests.serving.answers.scoring.conftest import CONFIG, at, events, options, people
from tests.serving.client.stand_in import serve

NEWEST = at(days=8)
Found = dict[tuple[str, str, datetime], tuple[str, list[float], str]]


def expected_answers(model: Path, log: Path, moments: list[datetime]) -> Found:
    """Returns what `mastery predict` asks and TensorFlow answers, by learner, unit and moment."""
    asked = events().with_columns(pl.lit(moments).alias("as_of")).explode("as_of")
    seen = asked.filter(pl.col("time") < pl.col("as_of"))
    pairs = seen.select("learner_id", "unit_id", "as_of").unique()
    outcomes = pairs.join(people(), on="learner_id", how="left")
    outcomes.write_parquet(log / "asked.parquet")
    files = [str(log / "events.parquet")], [str(log / "asked.parquet")]
    questions = questions_from_log(CONFIG, *files)
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    outputs = signature(examples=tf.constant(questions.examples))
    return {
        key: (predicted.decode(), [float(value) for value in probabilities], basis.decode())
        for key, predicted, probabilities, basis in zip(
            questions.keys.rows(),
            outputs["predicted_class"].numpy(),
            outputs["probabilities"].numpy(),
            outputs["basis"].numpy(),
            strict=True,
        )
    }


def stored_answers(engine: Engine) -> Found:
    """Returns the answers in a database."""
    with Session(engine) as session:
        return {
            (row.learner_id, row.unit_id, row.as_of): (
                str(row.predicted_class), row.probabilities, row.basis,
            )
            for row in session.scalars(select(Answer))
        }  # fmt: skip


def assert_same(found: Found, expected: Found) -> None:
    """Compares answers; probabilities may differ in their last bits."""
    assert found.keys() == expected.keys()
    for key, (predicted, probabilities, basis) in expected.items():
        assert found[key][0::2] == (predicted, basis)
        assert found[key][1] == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.parametrize("split", [1, 4])
def test_answers_are_those_that_predict_would_give(
    database_url: str,
    database: Engine,
    version: PushedVersion,
    saved_model: Path,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    split: int,
) -> None:
    monkeypatch.setattr("components.event_log.shuffle.VALUES_PER_PART", 2000 // split)
    monkeypatch.setattr(job_module, "QUESTIONS_AT_ONCE", 40 // split)
    monkeypatch.setattr(job_module, "STEPS_AT_ONCE", 60 // split)
    moments = [at(days=1), at(days=4, hours=7), NEWEST]
    scored = score(database_url, version, options(log, moments))

    expected = expected_answers(saved_model, log, moments)
    assert_same(stored_answers(database), expected)
    assert scored.answers == scored.new == len(expected)
    assert (scored.learners, scored.skipped, scored.unknown) == (9, 0, 1)

    again = score(database_url, version, options(log, moments))
    assert (again.answers, again.new, again.changed) == (len(expected), 0, 0)


def test_a_server_answers_the_same(
    database_url: str, database: Engine, version: PushedVersion, saved_model: Path, log: Path
) -> None:
    with serve(saved_model) as server:
        score(database_url, version, options(log, [NEWEST], server=server.grpc))
        [*_, asked] = server.asked
    assert asked.version.value == version.number
    assert_same(stored_answers(database), expected_answers(saved_model, log, [NEWEST]))


def test_what_pages_read_is_there(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    score(database_url, version, options(log, [at(days=4), NEWEST]))
    seen = events().filter(pl.col("time") < NEWEST)
    with Session(database) as session:
        row = session.scalars(select(ModelVersion)).one()
        assert (row.model, row.version, row.run, row.classes) == ("small", 7, "run-7", CLASSES)
        assert (row.metrics, row.pushed_at) == ({"accuracy": 0.75}, at(hours=12))
        for scoring in session.scalars(select(Scoring)):
            answers = select(func.count()).where(Answer.as_of == scoring.as_of)
            assert scoring.answers == session.scalar(answers.select_from(Answer))
            assert scoring.finished_at is not None

        for current in session.scalars(select(CurrentAnswer)):
            answer = session.get_one(
                Answer, (current.learner_id, current.unit_id, NEWEST, current.version_id)
            )
            assert current.need == answer.need == pytest.approx(expected_need(answer.probabilities))
            times = seen.filter(
                (pl.col("learner_id") == current.learner_id)
                & (pl.col("unit_id") == current.unit_id)
            )["time"]
            assert (current.first_event_at, current.last_event_at) == (times.min(), times.max())
        learners = session.scalars(select(Learner)).all()
        assert len(learners) == 9
        last = dict(seen.group_by("learner_id").agg(pl.col("time").max()).rows())
        assert {person.learner_id: person.last_event_at for person in learners} == last
        counted = select(func.sum(DailyCount.answers)).where(DailyCount.as_of == NEWEST)
        assert session.scalar(counted) == session.scalar(
            select(func.count()).select_from(CurrentAnswer)
        )


def test_activity_and_components_are_sums_of_the_log(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    score(database_url, version, options(log, [NEWEST]))
    rows = events()
    with Session(database) as session:
        activity = session.scalars(select(DailyActivity)).all()
        [some] = [
            row
            for row in activity
            if (row.learner_id, row.unit_id, row.event_type) == ("l0", "unit-0", "quiz")
            and row.day == date(2026, 3, 3)
        ] or [None]
        components = {
            (row.learner_id, row.unit_id, row.component): (row.answered, row.correct)
            for row in session.scalars(select(ComponentResult))
        }
    assert sum(row.events for row in activity) == rows.height
    assert sum(row.answered for row in activity) == rows["correct"].count()
    assert sum(row.correct for row in activity) == rows["correct"].sum()
    assert sum(row.seconds for row in activity) == pytest.approx(rows["dwell_seconds"].sum())
    day = rows.filter(
        (pl.col("learner_id") == "l0") & (pl.col("unit_id") == "unit-0")
        & (pl.col("event_type") == "quiz") & (pl.col("time").dt.date() == date(2026, 3, 3))
    )  # fmt: skip
    assert (some.events if some else 0) == day.height

    answered = rows.filter(
        pl.col("correct").is_not_null(), pl.col("knowledge_component").is_not_null()
    )
    expected = answered.group_by("learner_id", "unit_id", "knowledge_component").agg(
        pl.len(), pl.col("correct").sum()
    )
    assert components == {tuple(row[:3]): (row[3], int(row[4])) for row in expected.rows()}


def test_only_learners_with_new_events_are_scored(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    score(database_url, version, options(log, [at(days=8)]))
    every = events()
    later = every.filter((pl.col("time") < at(days=8)) | pl.col("learner_id").is_in(["l1", "l4"]))
    later.write_parquet(log / "events.parquet")
    scored = score(database_url, version, options(log, [at(days=9)], only_new=True))
    new = every.filter(pl.col("time").is_between(at(days=8), at(days=9), closed="left"))
    expected = set(new["learner_id"]) & {"l1", "l4"}
    assert (scored.learners, scored.skipped) == (len(expected), 9 - len(expected))

    with Session(database) as session:
        rows = session.scalars(select(CurrentAnswer)).all()
        of_new = {row.learner_id for row in rows if row.as_of == at(days=9)}
        counted = select(func.sum(DailyCount.answers)).where(DailyCount.as_of == at(days=9))
        assert session.scalar(counted) == len(rows)  # the others' answers still stand
    assert of_new == expected != set()

    with pytest.raises(MasteryError, match="expected a moment after the last scoring"):
        score(database_url, version, options(log, [at(days=5)], only_new=True))


def test_another_scoring_is_kept_out(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    with alone(database), pytest.raises(MasteryError, match="another scoring is writing to it"):
        score(database_url, version, options(log, [NEWEST]))
    assert score(database_url, version, options(log, [NEWEST])).new > 0


def test_a_log_whose_clock_is_a_number_is_refused(
    tmp_path: Path, version: PushedVersion, log: Path
) -> None:
    numbered = events().with_columns(pl.int_range(pl.len()).alias("time"))
    numbered.write_parquet(log / "events.parquet")
    with pytest.raises(MasteryError, match="expected timestamps in time, found plain numbers"):
        score(f"sqlite:///{tmp_path}/a.db", version, options(log, [NEWEST]))


def test_the_columns_of_learners_are_asked_for(
    tmp_path: Path, version: PushedVersion, log: Path
) -> None:
    with pytest.raises(MasteryError, match="small also reads level, which events do not have"):
        score(f"sqlite:///{tmp_path}/a.db", version, options(log, [NEWEST], learners=[]))


def test_a_wrong_row_of_learners_is_named(
    tmp_path: Path, version: PushedVersion, log: Path
) -> None:
    (log / "learners.csv").write_text("learner_id,level\nl0,high\n")
    with pytest.raises(LogError, match=r"learners.csv, line 2, column level: expected a number"):
        score(f"sqlite:///{tmp_path}/a.db", version, options(log, [NEWEST]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("events.parquet", "no Parquet", "events.parquet: expected a complete Parquet file"),
        ("learners.csv", "learner_id,level\n", "--learners: expected at least one row"),
    ],
)
def test_a_file_without_rows_is_named(
    tmp_path: Path, version: PushedVersion, log: Path, name: str, content: str, message: str
) -> None:
    (log / name).write_text(content)
    with pytest.raises(MasteryError) as raised:
        score(f"sqlite:///{tmp_path}/a.db", version, options(log, [NEWEST]))
    assert message in str(raised.value)


def test_a_column_that_was_named_has_to_be_there(
    tmp_path: Path, version: PushedVersion, log: Path
) -> None:
    columns = ActivityColumns(component="knowledge_compnent")
    with pytest.raises(MasteryError, match="did you mean knowledge_component"):
        score(f"sqlite:///{tmp_path}/a.db", version, options(log, [NEWEST], columns=columns))


@pytest.mark.parametrize(
    ("mapped", "found"), [("component", "component"), ("unit_id", "knowledge_component")]
)
def test_the_component_of_a_mapping_is_the_one_of_pages(
    tmp_path: Path, mapped: str, found: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("learner_id,unit_id,time,skill,component,knowledge_component\n"
                    "l1,u,2026-01-01T00:00:00Z,add,mod_quiz,sum\n")  # fmt: skip
    mapping = EventMapping.model_validate({"columns": {mapped: "skill"}})
    spec = LogSpec.of(CONFIG).model_copy(update={"mapping": mapping})
    columns = ActivityColumns().find([LogFile(str(path), "csv", 0)], spec)
    assert columns == {"_component": found}


def test_a_log_without_those_columns_is_scored(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    bare = events().drop("knowledge_component", "dwell_seconds")
    bare.write_parquet(log / "events.parquet")
    score(database_url, version, options(log, [NEWEST]))
    with Session(database) as session:
        assert session.scalar(select(func.sum(DailyActivity.seconds))) == 0
        assert session.scalar(select(func.count()).select_from(ComponentResult)) == 0


def test_scored_at_is_now(
    database_url: str, database: Engine, version: PushedVersion, log: Path
) -> None:
    before = datetime.now(UTC)
    score(database_url, version, options(log, [NEWEST]))
    with Session(database) as session:
        [first] = session.scalars(select(func.min(Answer.scored_at)))
    assert before - timedelta(seconds=1) <= first <= datetime.now(UTC)


def test_address_and_password_may_both_come_from_the_environment(
    postgresql: PostgreSQL, version: PushedVersion, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTERY_ANSWERS_URL", new_database(postgresql))
    monkeypatch.setenv("MASTERY_ANSWERS_PASSWORD", "secret")
    assert score(None, version, options(log, [at(days=8)])).new > 0
