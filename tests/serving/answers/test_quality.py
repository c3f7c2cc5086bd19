"""Expected and realised quality of stored answers, by version, week, horizon and slice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from components.config.data import Label
from components.contracts.quality_report import QualityGroup, QualityReport, VersionQuality
from serving.answers.outcomes import store_outcomes
from serving.answers.quality import measure_quality
from serving.answers.tables import Answer, ModelVersion, Outcome
from tests.serving.answers.classroom import CLASSES, DAYS, NOW, fill


def add_outcomes(engine: Engine, *, worse: bool = False) -> None:
    """Draws an outcome from each answer's probabilities; worse ones are always of the class above.

    They are those of the answers five days before `NOW`.
    """
    rng = np.random.default_rng(1)
    with Session(engine) as session:
        rows = session.scalars(
            select(Answer)
            .where(Answer.as_of == NOW - timedelta(days=5))
            .order_by(Answer.learner_id, Answer.unit_id)
        ).all()
        drawn = [
            {
                "learner_id": row.learner_id,
                "unit_id": row.unit_id,
                "as_of": row.as_of + timedelta(hours=1),
                "mastery": CLASSES[
                    (CLASSES.index(str(row.predicted_class)) + 1) % 3
                    if worse
                    else rng.choice(3, p=np.array(row.probabilities) / sum(row.probabilities))
                ],
            }
            for row in rows
        ]
    label = Label(column="mastery", classes=CLASSES)
    store_outcomes(engine, pl.DataFrame(drawn), label, now=NOW)


@pytest.fixture
def classroom(database: Engine) -> Iterator[Engine]:
    fill(database)
    add_outcomes(database)
    return database


def of_version(engine: Engine) -> VersionQuality:
    [found] = measure_quality(engine, now=NOW).versions
    return found


def by_value(groups: list[QualityGroup]) -> dict[str, QualityGroup]:
    return {group.value: group for group in groups}


def test_the_last_answer_of_a_week_counts(classroom: Engine) -> None:
    quality = of_version(classroom)
    weeks = quality.of("week")
    mondays = ["2026-02-02", "2026-02-09", "2026-02-16", "2026-02-23", "2026-03-02"]
    assert [week.value for week in weeks] == mondays  # DAYS days up to Monday, March 2
    assert [week.answers for week in weeks] == [120] * 5
    assert {week.learners for week in weeks} == {30}
    assert quality.whole.answers == 120  # one per learner and unit

    sunday = NOW - timedelta(days=1)
    with Session(classroom) as session:
        shares = session.scalars(select(Answer.probabilities).where(Answer.as_of == sunday)).all()
    accuracy = by_value(weeks)["2026-02-23"].find("accuracy")
    assert accuracy is not None
    assert accuracy.value == pytest.approx(
        np.mean([max(row) / sum(row) for row in shares]), abs=1e-5
    )


def test_outcomes_stand_beside_what_was_expected_of_them(classroom: Engine) -> None:
    quality = of_version(classroom)
    week = by_value(quality.of("week"))["2026-02-23"]
    assert (week.outcomes, week.outcome_learners) == (120, 30)
    with Session(classroom) as session:
        rows = session.scalars(select(Outcome)).all()
    right = np.mean([row.label == row.predicted_class for row in rows])
    realised = week.find("accuracy", realised=True)
    assert realised is not None
    assert realised.value == pytest.approx(right)
    [there] = [item for item in week.expected_there if item.measure == "accuracy"]
    assert there.low is not None
    assert there.high is not None
    assert there.low <= right <= there.high
    assert not quality.contradictions
    assert sum(week.outcomes for week in quality.of("week")) == 120


def test_slices_and_horizons_are_parts_of_the_whole(classroom: Engine) -> None:
    quality = of_version(classroom)
    slices = quality.of("slice")
    for column in ("unit_id", "region"):
        mine = [group for group in slices if group.column == column]
        assert sum(group.answers for group in mine) == quality.whole.answers
        assert sum(group.outcomes for group in mine) == quality.whole.outcomes
    assert {group.value for group in slices if group.column == "region"} == {"north", "south"}
    horizons = quality.of("horizon")
    assert sum(group.answers for group in horizons) == sum(
        group.answers for group in quality.of("week")
    )
    assert horizons[0].value.startswith("week ")


def test_worse_outcomes_than_expected_are_a_contradiction(database: Engine) -> None:
    fill(database)
    add_outcomes(database, worse=True)
    quality = of_version(database)
    whole, week = quality.contradictions
    assert (whole.kind, week.value) == ("all", "2026-02-23")


def test_answers_long_before_an_outcome_are_not_judged_by_it(database: Engine) -> None:
    fill(database)
    rows = pl.DataFrame(
        {
            "learner_id": ["learner-0000", "learner-0001"],
            "unit_id": ["unit-0"] * 2,
            "as_of": [NOW + timedelta(hours=47), NOW + timedelta(hours=49)],
            "mastery": [CLASSES[0]] * 2,
        }
    )
    store_outcomes(database, rows, Label(column="mastery", classes=CLASSES), now=NOW)
    [quality] = measure_quality(database, now=NOW + timedelta(days=3)).versions
    assert quality.whole.outcomes == 1


def test_earlier_weeks_and_later_moments_do_not_count(classroom: Engine) -> None:
    [quality] = measure_quality(classroom, now=NOW - timedelta(days=6), weeks=2).versions
    assert [week.value for week in quality.of("week")] == ["2026-02-16", "2026-02-23"]
    assert quality.whole.outcomes == 0  # they are of the day after
    assert not measure_quality(classroom, now=NOW - timedelta(days=DAYS + 1)).versions


def test_a_regression_has_realised_quality_alone(database: Engine) -> None:
    fill(database)
    with Session(database) as session, session.begin():
        session.execute(update(ModelVersion).values(classes=[]))
        session.execute(update(Answer).values(predicted_class=None, prediction=40.0))
    rows = pl.DataFrame(
        {
            "learner_id": [f"learner-{number:04}" for number in range(20)],
            "unit_id": ["unit-0"] * 20,
            "as_of": [NOW - timedelta(hours=1)] * 20,
            "score": [30.0, 44.0] * 10,
        }
    )
    store_outcomes(database, rows, Label(column="score", task="regression"), now=NOW)
    report = measure_quality(database, now=NOW)
    whole = report.versions[0].whole
    assert not whole.expected
    [error] = whole.realised
    assert (error.measure, error.value) == ("mean_absolute_error", 7)
    assert error.low is not None
    assert report.notes[0].startswith("sample 1795328170 answers with numbers")


def test_the_report_says_what_it_cannot_see(classroom: Engine, tmp_path: Path) -> None:
    report = measure_quality(classroom, now=NOW)
    assert "cannot see a change of that relation" in report.assumes
    report.write(tmp_path)
    assert QualityReport.read(tmp_path) == report
