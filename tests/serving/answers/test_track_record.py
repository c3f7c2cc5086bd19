"""What a version got right: its numbers against scikit-learn's, its intervals against draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    mean_absolute_error,
    precision_score,
    recall_score,
    root_mean_squared_error,
)
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from serving.answers.feedback import wilson_interval
from serving.answers.outcome_sums import EVERY_MONTH, refresh_sums
from serving.answers.tables import ModelVersion, Outcome, OutcomeSum
from serving.answers.track_record import Measured, TrackRecord

CLASSES = ["not_mastered", "partial", "proficient"]
LOWEST = CLASSES[0]
START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
DRAWS = 1000


def outcomes_of(learners: int, units: int, *, seed: int = 3) -> pl.DataFrame:
    """Draws outcomes that are alike within a learner, beside answers and the rule."""
    draw = np.random.default_rng(seed)
    ability = np.repeat(draw.normal(size=learners), units)
    score = ability + draw.normal(scale=0.5, size=learners * units)
    guess = score + np.repeat(draw.normal(scale=0.6, size=learners), units)
    classes = np.array(CLASSES)
    rows = np.arange(learners * units)
    return pl.DataFrame(
        {
            "learner_id": [f"learner-{row // units}" for row in rows],
            "unit_id": [f"unit-{row % units}" for row in rows],
            "as_of": [START + timedelta(days=int(row % units) * 20) for row in rows],
            "label": classes[np.digitize(score, [-0.5, 0.5])],
            "predicted_class": classes[np.digitize(guess, [-0.5, 0.5])],
            "lowest_probability": 1 / (1 + np.exp(2 * (guess + 0.5))),
            "rule_warned": score + draw.normal(size=len(rows)) < -0.7,
            "group_id": [(None, "a", "b")[row // units % 3] for row in rows],
        }
    )


def add_version(engine: Engine, classes: list[str], rows: pl.DataFrame) -> int:
    """Adds a version with outcomes, and their sums; returns its id."""
    with Session(engine) as session, session.begin():
        version = ModelVersion(
            model="sample", version=1, run=None, pushed_at=START, classes=classes, metrics={},
            report=None, card=None,
        )  # fmt: skip
        session.add(version)
        session.flush()
        common = {"received_at": START, "answered_as_of": START, "version_id": version.id}
        session.execute(insert(Outcome), [row | common for row in rows.to_dicts()])
        refresh_sums(session.connection(), [version.id])
        return version.id


def record_of(
    engine: Engine, classes: list[str], *, month: str = EVERY_MONTH, groups: str = "ab "
) -> TrackRecord:
    """Returns the sums of a month over some groups; a blank is that of no group."""
    with Session(engine) as session:
        rows = session.scalars(
            select(OutcomeSum)
            .where(OutcomeSum.month == month)
            .where(OutcomeSum.group_id.in_([name.strip() for name in groups]))
        ).all()
    return TrackRecord.of(classes, rows)


def figures(rows: pl.DataFrame) -> dict[str, float]:
    """Returns what scikit-learn says of outcomes."""
    label = rows["label"].to_numpy()
    told = rows["predicted_class"].to_numpy()
    is_low, warned = label == LOWEST, rows["rule_warned"].to_numpy()
    recall, rule_recall = recall_score(is_low, told == LOWEST), recall_score(is_low, warned)
    precision = precision_score(is_low, told == LOWEST)
    rule_precision = precision_score(is_low, warned)
    return {
        "accuracy": accuracy_score(label, told),
        "recall": recall,
        "precision": precision,
        "rule_recall": rule_recall,
        "rule_precision": rule_precision,
        "recall_gain": recall - rule_recall,
        "precision_gain": precision - rule_precision,
    }


@pytest.fixture
def sqlite(tmp_path: object) -> Engine:
    """An empty database in a file."""
    from serving.answers.database import open_database

    return open_database(f"sqlite:///{tmp_path}/answers.db")


def test_numbers_are_those_of_scikit_learn(database: Engine) -> None:
    rows = outcomes_of(60, 5)
    add_version(database, CLASSES, rows)
    record = record_of(database, CLASSES)
    for name, value in figures(rows).items():
        assert getattr(record, name).value == pytest.approx(value), name
    labels, told = rows["label"].to_list(), rows["predicted_class"].to_list()
    expected = confusion_matrix(labels, told, labels=CLASSES)
    np.testing.assert_array_equal(record.confusion, expected)
    assert record.outcomes == 300


def test_bins_are_those_of_scikit_learn(database: Engine) -> None:
    rows = outcomes_of(60, 5)
    add_version(database, CLASSES, rows)
    happened, said = calibration_curve(
        (rows["label"] == LOWEST).to_numpy(), rows["lowest_probability"].to_numpy(), n_bins=10
    )
    found = record_of(database, CLASSES).calibration
    np.testing.assert_allclose([item.happened for item in found], happened)
    np.testing.assert_allclose([item.said for item in found], said)
    assert sum(item.outcomes for item in found) == 300


def test_months_and_groups_add_up(database: Engine) -> None:
    rows = outcomes_of(60, 5)
    add_version(database, CLASSES, rows)
    months = rows.with_columns(pl.col("as_of").dt.strftime("%Y-%m").alias("month"))
    with Session(database) as session:
        known = set(session.scalars(select(OutcomeSum.month)))
    assert known == {EVERY_MONTH, *months["month"]}  # the first is in January, in UTC
    for (month,), part in months.group_by("month"):
        mine = part.filter(pl.col("group_id").is_in(["a"]))
        record = record_of(database, CLASSES, month=str(month), groups="a")
        assert record.outcomes == mine.height
        assert record.accuracy.value == pytest.approx(figures(mine)["accuracy"])
        assert record.accuracy.learners == mine["learner_id"].n_unique()


@pytest.mark.parametrize("units", [1, 8])
def test_intervals_are_as_wide_as_those_of_draws_of_learners(sqlite: Engine, units: int) -> None:
    """For outcomes that are alike within a learner, and for one outcome each."""
    rows = outcomes_of(240, units)
    add_version(sqlite, CLASSES, rows)
    record = record_of(sqlite, CLASSES)

    learners = rows.partition_by("learner_id")
    draw = np.random.default_rng(1)
    drawn = [
        figures(pl.concat([learners[place] for place in draw.integers(240, size=240)]))
        for _ in range(DRAWS // 5)
    ]
    for name in drawn[0]:
        found: Measured = getattr(record, name)
        assert found.low is not None, name
        assert found.high is not None, name
        spread = float(np.std([item[name] for item in drawn])) * 2 * 1.96
        assert found.high - found.low == pytest.approx(spread, rel=0.25), name
        assert found.low < (found.value or 0.0) < found.high, name


def test_one_outcome_each_gives_wilsons_interval(sqlite: Engine) -> None:
    rows = outcomes_of(400, 1)
    add_version(sqlite, CLASSES, rows)
    accuracy = record_of(sqlite, CLASSES).accuracy
    assert accuracy.value is not None
    low, high = wilson_interval(accuracy.value * 400, 400)
    assert accuracy.low == pytest.approx(low, abs=1e-3)  # learners / (learners - 1)
    assert accuracy.high == pytest.approx(high, abs=1e-3)


def test_all_right_so_far_is_not_certain(sqlite: Engine) -> None:
    rows = outcomes_of(20, 4).with_columns(predicted_class=pl.col("label"))
    add_version(sqlite, CLASSES, rows)
    accuracy = record_of(sqlite, CLASSES).accuracy
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(
        wilson_interval(20, 20)[0]
    )  # of learners, not of 80 outcomes


def test_few_learners_have_no_interval(sqlite: Engine) -> None:
    rows = outcomes_of(9, 30)
    add_version(sqlite, CLASSES, rows)
    record = record_of(sqlite, CLASSES)
    assert record.accuracy.value is not None
    assert record.accuracy.learners == 9
    assert (record.accuracy.low, record.accuracy.high) == (None, None)
    assert (record.recall_gain.low, record.recall_gain.high) == (None, None)


def test_no_outcomes_of_the_lowest_class_leave_recall_open(sqlite: Engine) -> None:
    rows = outcomes_of(30, 2).filter(pl.col("label") != LOWEST)
    add_version(sqlite, CLASSES, rows)
    record = record_of(sqlite, CLASSES)
    assert record.recall == Measured(None, None, None, 0, 0)
    assert record.recall_gain.value is None
    assert record.precision.value == 0.0


def test_regression_has_errors(database: Engine) -> None:
    draw = np.random.default_rng(5)
    truth = np.repeat(draw.normal(50, 10, size=50), 4) + draw.normal(size=200)
    rows = pl.DataFrame(
        {
            "learner_id": [f"learner-{row // 4}" for row in range(200)],
            "unit_id": [f"unit-{row % 4}" for row in range(200)],
            "as_of": [START] * 200,
            "value": truth,
            "prediction": truth + 2 + np.repeat(draw.normal(scale=3, size=50), 4),
        }
    )
    add_version(database, [], rows)
    record = record_of(database, [], groups=" ")
    predicted = rows["prediction"].to_numpy()
    assert record.mean_absolute_error.value == pytest.approx(mean_absolute_error(truth, predicted))
    rmse = record.root_mean_squared_error
    assert rmse.value == pytest.approx(root_mean_squared_error(truth, predicted))
    assert rmse.low is not None
    assert rmse.high is not None
    assert rmse.low < (rmse.value or 0.0) < rmse.high
    bias = record.bias
    assert bias.value == pytest.approx(float(np.mean(predicted - truth)))
    # Errors within a learner are equal: the interval is that of 50 learners.
    assert bias.high is not None
    expected = 1.96 * float(np.std((predicted - truth)[::4], ddof=1)) / 50**0.5
    assert bias.high - (bias.value or 0.0) == pytest.approx(expected, rel=0.01)
