"""What pages read equals what follows from all answers, in whatever order they were scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from serving.answers import derived
from serving.answers.need import expected_need
from serving.answers.store import copy_rows, sole_writer
from serving.answers.tables import (
    Answer,
    ComponentResult,
    CurrentAnswer,
    DailyCount,
    Learner,
    ModelVersion,
    Scoring,
    Table,
)

CLASSES = ["low", "high"]
START = datetime(2026, 3, 1, 6, tzinfo=UTC)
Known = dict[tuple[str, str, datetime, int], int]  # class by learner, unit, moment, version
PAIRS = [("ann", "a"), ("ann", "b"), ("bob", "a")]


@dataclass(frozen=True)
class Scored:
    """A scoring: of one version, on some days, with the class of each pair (0, 1; None: none)."""

    version: int
    days: tuple[int, ...]
    classes: tuple[int | None, ...]


SCORED = st.builds(
    Scored,
    version=st.integers(1, 2),
    days=st.sets(st.integers(0, 5), min_size=1, max_size=2).map(lambda days: tuple(sorted(days))),
    classes=st.tuples(*[st.sampled_from([0, 1, None])] * len(PAIRS)),
)


def _moment(day: int) -> datetime:
    return START + timedelta(days=day)


def _clear(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in reversed(Table.metadata.sorted_tables):
            connection.execute(table.delete())
        versions = {"model": "m", "classes": [CLASSES], "metrics": "{}"}
        for number in (1, 2):
            row = pl.DataFrame({"id": [number], "version": [number], **versions})
            copy_rows(connection, ModelVersion, row)
        scoring = {"id": [1], "version_id": [1], "as_of": [START], "started_at": [START]}
        copy_rows(connection, Scoring, pl.DataFrame(scoring))


def _score(engine: Engine, scored: Scored, known: Known) -> None:
    """Writes the answers of a scoring and derives; notes them in `known`."""
    rows = []
    for day in scored.days:
        for (learner, unit), class_ in zip(PAIRS, scored.classes, strict=True):
            key = (learner, unit, _moment(day), scored.version)
            if class_ is not None:
                rows.append((*key, known.setdefault(key, class_)))
    if not rows:
        return

    answers = pl.DataFrame(
        {
            "learner_id": [row[0] for row in rows],
            "unit_id": [row[1] for row in rows],
            "as_of": [row[2] for row in rows],
            "version_id": scored.version,
            "scoring_id": 1,
            "predicted_class": [CLASSES[row[4]] for row in rows],
            "probabilities": [_probabilities(row[4]) for row in rows],
            "need": [expected_need(_probabilities(row[4])) for row in rows],
            "basis": "sequence",
            "reasons": "[]",
            "scored_at": START,
        }
    )
    newest = _moment(max(scored.days))
    pairs = answers.select("learner_id", "unit_id").unique()
    pairs = pairs.with_columns(
        pl.lit(START - timedelta(days=9)).alias("first_event_at"),
        pl.lit(newest - timedelta(hours=1)).alias("last_event_at"),
    )
    with sole_writer(engine) as connection:
        copy_rows(connection, Answer, answers, on_conflict="keep")
        derived.load_pairs(connection, [pairs])
        moments = [_moment(day) for day in scored.days]
        derived.update_current(connection, scored.version, moments)
        derived.update_learners(connection)
        for moment in moments:
            derived.count_answers(connection, scored.version, moment)
        derived.drop_temporary(connection)


def _probabilities(class_: int) -> list[float]:
    return [0.75, 0.25] if class_ == 0 else [0.25, 0.75]


def _expected(
    known: Known, learner: str, unit: str
) -> tuple[datetime, int, str, datetime, str | None] | None:
    """Returns moment, version, class, since and class before of a pair, from all answers."""
    path: dict[datetime, tuple[int, int]] = {}
    for (of, about, moment, version), class_ in sorted(known.items(), key=str):
        if (of, about) == (learner, unit):
            path[moment] = max(path.get(moment, (0, 0)), (version, class_))
    if not path:
        return None
    moments = sorted(path)
    newest = moments[-1]
    since, before = newest, None
    for moment in reversed(moments):
        if path[moment][1] != path[newest][1]:
            before = CLASSES[path[moment][1]]
            break
        since = moment
    return newest, path[newest][0], CLASSES[path[newest][1]], since, before


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(scorings=st.lists(SCORED, min_size=1, max_size=5))
def test_current_answers_follow_from_all_answers(database: Engine, scorings: list[Scored]) -> None:
    _clear(database)
    known: Known = {}
    for scored in scorings:
        _score(database, scored, known)

    with Session(database) as session:
        for learner, unit in PAIRS:
            row = session.get(CurrentAnswer, (learner, unit))
            found = row and (
                row.as_of, row.version_id, row.predicted_class, row.since, row.previous_class,
            )  # fmt: skip
            assert found == _expected(known, learner, unit)
        for person in session.scalars(select(Learner)):
            current = select(CurrentAnswer).where(CurrentAnswer.learner_id == person.learner_id)
            rows = session.scalars(current).all()
            top = min(rows, key=lambda row: (-row.need, row.unit_id))
            assert (person.unit_id, person.units) == (top.unit_id, len(rows))
            assert person.predicted_class == top.predicted_class
            assert person.need == pytest.approx(top.need)
            assert person.last_event_at == max(row.last_event_at or START for row in rows)
        counts = {
            (row.as_of, row.version_id, row.unit_id, row.predicted_class): row.answers
            for row in session.scalars(select(DailyCount))
        }
    told = Counter(
        (moment, version, unit, CLASSES[class_])
        for (_, unit, moment, version), class_ in known.items()
    )
    assert counts == dict(told)


def test_only_what_changed_is_written(database: Engine) -> None:
    _clear(database)
    known: Known = {}
    _score(database, Scored(1, (0,), (0, 0, 1)), known)
    _score(database, Scored(1, (1,), (1, None, None)), known)
    with Session(database) as session:
        rows = session.scalars(select(CurrentAnswer))
        moments = {(row.learner_id, row.unit_id): row.as_of for row in rows}
    assert moments == dict(zip(PAIRS, [_moment(1), _moment(0), _moment(0)], strict=True))

    changed: list[int] = []

    @event.listens_for(database, "after_cursor_execute")
    def note(_connection, cursor, statement, *_rest: object) -> None:  # type: ignore[no-untyped-def]
        if "INSERT INTO current_answers" in statement or "INSERT INTO learners" in statement:
            changed.append(cursor.rowcount)

    _score(database, Scored(1, (1,), (1, None, None)), known)  # the same again
    assert changed == [0, 0, 0]


def test_mastery_of_a_component_is_drawn_to_everybodys(database: Engine) -> None:
    _clear(database)

    def load(rows: list[tuple[str, int, int]]) -> None:
        components = pl.DataFrame(
            {
                "learner_id": [row[0] for row in rows],
                "unit_id": "a",
                "component": "fractions",
                "answered": [row[1] for row in rows],
                "correct": [row[2] for row in rows],
            }
        )
        with sole_writer(database) as connection:
            derived.load_components(connection, [components])
            derived.update_components(connection, START)
            derived.drop_temporary(connection)

    load([("ann", 10, 10), ("bob", 10, 0)])
    load([("ann", 12, 12), ("cid", 0 + 1, 0)])
    with Session(database) as session:
        found = {row.learner_id: row.mastery for row in session.scalars(select(ComponentResult))}
    share = 12 / 23  # of all learners now; bob's row is as it was when it was last scored
    assert found["ann"] == pytest.approx((12 + 5 * share) / 17)
    assert found["cid"] == pytest.approx((0 + 5 * share) / 6)
    assert found["bob"] == pytest.approx((0 + 5 * 0.5) / 15)
