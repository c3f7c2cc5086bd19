"""Fills an empty database with the answers about a large school, drawn and written in bulk.

Only what pages read is like a real school's: how many rows there are of each kind, and how they
are spread over learners, units, groups and days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy import Table as SqlTable

from serving.answers.current_sums import refresh_current_sums
from serving.answers.outcome_sums import refresh_sums
from serving.answers.store import copy_rows
from serving.answers.tables import (
    Action,
    Answer,
    ComponentResult,
    CurrentAnswer,
    DailyActivity,
    DailyCount,
    Group,
    Learner,
    Membership,
    ModelVersion,
    Outcome,
    Scoring,
    Table,
    Unit,
    User,
)

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
CLASSES = ("not_mastered", "partial", "proficient")
COURSES, REGIONS = 4, 8
SLOW_TO_INDEX = (Answer, CurrentAnswer, ComponentResult)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class School:
    """How large the school is.

    Attributes:
        days: of sums by day.
        answer_days: of answers about every learner and unit, and of activity.
    """

    learners: int = 100_000
    units: int = 20
    groups: int = 200
    days: int = 28
    answer_days: int = 2

    @property
    def learner_ids(self) -> pl.Series:
        """The ids of all learners."""
        return pl.Series("learner_id", [f"learner-{number:06}" for number in range(self.learners)])

    @property
    def group_ids(self) -> pl.Series:
        """The group of each learner."""
        return pl.Series(
            "group_id", [f"group-{number % self.groups:03}" for number in range(self.learners)]
        )


def fill(engine: Engine, school: School) -> None:
    """Writes the school: users `teacher` (two groups), `manager` (a fifth of them) and `admin`."""
    draw = np.random.default_rng(1)
    with engine.begin() as connection:
        _add_people(connection, school)
    level = draw.beta(2, 2, size=(school.units, school.learners))
    drift = draw.normal(0, 0.01, size=level.shape)
    days = [NOW - timedelta(days=back) for back in reversed(range(school.days))]

    definitions = _drop_indexes(engine)
    needs, classes = np.zeros_like(level), np.empty(level.shape, object)
    for unit in range(school.units):
        with engine.begin() as connection:
            for place, day in enumerate(days):
                back = school.days - 1 - place
                rows = _answers(school, unit, level[unit] - drift[unit] * back)
                if back < school.answer_days:
                    _add_answers(connection, rows, day, place + 1)
                _add_counts(connection, rows, day)
            needs[unit], classes[unit] = rows["need"], rows["predicted_class"]
            _add_current(connection, rows, days)
            _add_components(connection, school, draw, unit)
            _add_activity(connection, school, draw, unit)
            _add_outcomes(connection, rows, draw, unit)

    with engine.begin() as connection:
        for definition in definitions:
            connection.execute(text(definition))
        _add_learners_needs(connection, school, needs, classes)
        _add_actions(connection, school, draw)
        refresh_current_sums(connection)
        refresh_sums(connection, [1])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _drop_indexes(engine: Engine) -> list[str]:
    """Drops the indexes that would slow the writing down; returns how to make them again."""
    names = [table.__tablename__ for table in SLOW_TO_INDEX]
    with engine.begin() as connection:
        found = connection.execute(
            text(
                "SELECT indexname, indexdef FROM pg_indexes "
                "WHERE tablename = ANY(:names) AND indexname LIKE 'ix_%'"
            ),
            {"names": names},
        ).all()
        for name, _ in found:
            connection.execute(text(f"DROP INDEX {name}"))
    return [definition for _, definition in found]


def _add_people(connection: Connection, school: School) -> None:
    def add(table: type[Table], rows: list[dict[str, object]]) -> None:
        connection.execute(insert(table), rows)

    groups = [f"group-{number:03}" for number in range(school.groups)]
    add(Group, [
        {"group_id": group, "name": f"Class {place}", "region": f"region {place % REGIONS}"}
        for place, group in enumerate(groups)
    ])  # fmt: skip
    add(Unit, [
        {"unit_id": f"unit-{unit:02}", "title": f"Unit {unit}",
         "course": f"course {unit % COURSES}",
         "prerequisites": [f"unit-{unit - COURSES:02}"] if unit >= COURSES else []}
        for unit in range(school.units)
    ])  # fmt: skip
    roles = ("teacher", "manager", "admin")
    add(User, [{"user": role, "name": role.title(), "role": role} for role in roles])
    seen = {"teacher": groups[:2], "manager": groups[: max(2, school.groups // 5)]}
    add(Membership, [{"user": user, "group_id": group} for user in seen for group in seen[user]])
    add(ModelVersion, [
        {"model": "sample", "version": 1795328170, "run": None, "pushed_at": NOW,
         "classes": list(CLASSES), "metrics": {"accuracy": 0.93}, "report": None, "card": None}
    ])  # fmt: skip
    count = school.learners * school.units
    moments = [NOW - timedelta(days=back) for back in reversed(range(school.days))]
    add(Scoring, [
        {"version_id": 1, "as_of": moment, "started_at": moment, "finished_at": moment,
         "answers": count}
        for moment in moments
    ])  # fmt: skip
    learners = pl.DataFrame([school.learner_ids, school.group_ids]).with_columns(
        name=pl.format("Learner {}", pl.col("learner_id").str.slice(8)),
        need=pl.lit(0.0), units=pl.lit(school.units),
    )  # fmt: skip
    copy_rows(connection, Learner, learners)


def _answers(school: School, unit: int, level: Floats) -> pl.DataFrame:
    """Returns the answers about a unit, one row per learner."""
    level = np.clip(level, 0.02, 0.98)
    probabilities = np.stack([(1 - level) ** 2, 2 * level * (1 - level), level**2], axis=1)
    return pl.DataFrame(
        [
            school.learner_ids,
            school.group_ids,
            pl.Series("probabilities", probabilities.round(4)).cast(pl.List(pl.Float64)),
            pl.Series("predicted_class", np.array(CLASSES)[probabilities.argmax(axis=1)]),
            pl.Series("need", 1 - level),
        ]
    ).with_columns(
        unit_id=pl.lit(f"unit-{unit:02}"),
        version_id=pl.lit(1),
        basis=pl.lit("sequence"),
        reasons=pl.lit("[]"),
    )


def _add_answers(
    connection: Connection, rows: pl.DataFrame, as_of: datetime, scoring_id: int
) -> None:
    answers = rows.drop("group_id").with_columns(
        as_of=pl.lit(as_of), scored_at=pl.lit(as_of), scoring_id=pl.lit(scoring_id)
    )
    copy_rows(connection, Answer, answers)


def _add_counts(connection: Connection, rows: pl.DataFrame, as_of: datetime) -> None:
    counts = rows.group_by("group_id", "unit_id", "predicted_class").agg(
        pl.len().cast(pl.Int64).alias("answers"), pl.col("need").sum()
    )
    copy_rows(
        connection, DailyCount, counts.with_columns(as_of=pl.lit(as_of), version_id=pl.lit(1))
    )


def _add_current(connection: Connection, rows: pl.DataFrame, days: list[datetime]) -> None:
    current = rows.with_columns(
        as_of=pl.lit(NOW), scored_at=pl.lit(NOW), since=pl.lit(days[len(days) // 2]),
        previous_class=pl.lit("partial"), first_event_at=pl.lit(days[0]),
        last_event_at=pl.lit(NOW - timedelta(days=1)),
    )  # fmt: skip
    copy_rows(connection, CurrentAnswer, current)


def _add_components(
    connection: Connection, school: School, draw: np.random.Generator, unit: int
) -> None:
    answered = draw.integers(1, 12, size=school.learners)
    correct = draw.integers(0, answered + 1)
    for name in "ab":
        results = pl.DataFrame([school.learner_ids, school.group_ids]).with_columns(
            unit_id=pl.lit(f"unit-{unit:02}"), component=pl.lit(f"unit-{unit:02}-{name}"),
            answered=pl.Series(answered), correct=pl.Series(correct),
            mastery=pl.Series((correct + 1) / (answered + 2)), updated_at=pl.lit(NOW),
        )  # fmt: skip
        copy_rows(connection, ComponentResult, results)


def _add_activity(
    connection: Connection, school: School, draw: np.random.Generator, unit: int
) -> None:
    """Writes a day of events for every tenth learner of each of the last days."""
    for back in range(1, school.answer_days + 7):
        chosen = draw.integers(0, school.learners, size=school.learners // 10)
        ids = school.learner_ids.gather(np.unique(chosen)).to_frame()
        rows = ids.with_columns(
            unit_id=pl.lit(f"unit-{unit:02}"), day=pl.lit((NOW - timedelta(days=back)).date()),
            event_type=pl.lit("exercise"), events=pl.lit(3), answered=pl.lit(3), correct=pl.lit(2),
            seconds=pl.lit(120.0),
        )  # fmt: skip
        copy_rows(connection, DailyActivity, rows)


def _add_outcomes(
    connection: Connection, rows: pl.DataFrame, draw: np.random.Generator, unit: int
) -> None:
    """Writes an outcome for every fourth learner, in one of six months."""
    chosen = rows.gather_every(4, offset=unit % 4)
    label = np.where(draw.random(chosen.height) < 0.8, chosen["predicted_class"], "partial")
    outcomes = chosen.select("learner_id", "unit_id", "group_id", "version_id", "predicted_class")
    warned = np.where(draw.random(chosen.height) < 0.3, "t", "f")
    outcomes = outcomes.with_columns(
        as_of=pl.lit(NOW - timedelta(days=30 * (unit % 6))), label=pl.Series(label),
        received_at=pl.lit(NOW), answered_as_of=pl.lit(NOW - timedelta(days=30 * (unit % 6) + 7)),
        lowest_probability=chosen["probabilities"].list.first(),
        rule_warned=pl.Series(warned),
    )  # fmt: skip
    copy_rows(connection, Outcome, outcomes)


def _add_learners_needs(
    connection: Connection, school: School, needs: Floats, classes: NDArray[np.object_]
) -> None:
    """Writes where help is expected to bring most, as a scoring does."""
    unit = needs.argmax(axis=0)
    rows = pl.DataFrame([school.learner_ids, school.group_ids]).with_columns(
        name=pl.format("Learner {}", pl.col("learner_id").str.slice(8)),
        need=pl.Series(needs.max(axis=0)), units=pl.lit(school.units),
        unit_id=pl.Series([f"unit-{place:02}" for place in unit]),
        predicted_class=pl.Series(classes[unit, np.arange(school.learners)].tolist()),
        last_event_at=pl.lit(NOW - timedelta(days=1)),
    )  # fmt: skip
    copy_rows(connection, Learner, rows, on_conflict="replace")


def _add_actions(connection: Connection, school: School, draw: np.random.Generator) -> None:
    count = school.learners // 5
    learners = school.learner_ids.gather(draw.integers(0, school.learners, size=count))
    kinds = ("called", "helped", "wrong", "not_applicable")
    rows = learners.to_frame().with_columns(
        unit_id=pl.lit("unit-00"), kind=pl.Series([kinds[place % 4] for place in range(count)]),
        user=pl.lit("teacher"), as_of=pl.lit(NOW), version_id=pl.lit(1),
        predicted_class=pl.lit(CLASSES[0]),
        at=pl.Series([NOW - timedelta(minutes=5 * place) for place in range(count)]),
        key=pl.Series([f"key-{place}" for place in range(count)]),
    )  # fmt: skip
    copy_rows(connection, Action, rows)


def rows_of(engine: Engine) -> dict[str, int]:
    """Returns about how many rows each table has."""
    names: list[SqlTable] = [*Table.metadata.sorted_tables]
    with engine.connect() as connection:
        counts = connection.execute(
            text("SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r'")
        )
        known = {name: int(count) for name, count in counts}
    return {table.name: known.get(table.name, 0) for table in names if known.get(table.name, 0) > 0}
