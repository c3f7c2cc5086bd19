"""A small database of answers, as four weeks of scoring, day by day, would leave it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from serving.answers.current_sums import refresh_current_sums
from serving.answers.need import expected_need
from serving.answers.tables import (
    Answer,
    ComponentResult,
    CurrentAnswer,
    DailyActivity,
    DailyCount,
    Group,
    Learner,
    Membership,
    ModelVersion,
    Scoring,
    Unit,
    User,
)

CLASSES = ["not_mastered", "partial", "proficient"]
NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)  # a Monday, and the newest `as_of`
DAYS = 28


def fill(engine: Engine, *, learners: int = 30, units: int = 4, groups: int = 3) -> None:
    """Fills an empty database; the same call writes the same rows.

    There are users `ada` (teacher of group-0), `max` (manager of group-0 and group-1) and `root`
    (admin); every answer has a daily history, activity and two knowledge components.
    """
    draw = random.Random(1)
    with Session(engine) as session, session.begin():
        _add_people(session, learners, units, groups)
        version = ModelVersion(
            model="sample", version=1795328170, run="20260201-060000-abc123", pushed_at=NOW,
            classes=CLASSES, metrics={"f1_macro": 0.93}, report=None,
        )  # fmt: skip
        session.add(version)
        session.flush()
        moments = [NOW - timedelta(days=days) for days in reversed(range(DAYS))]
        scorings = [
            Scoring(version_id=version.id, as_of=moment, started_at=moment, finished_at=moment,
                    answers=learners * units)
            for moment in moments
        ]  # fmt: skip
        session.add_all(scorings)
        session.flush()

        counts: dict[tuple[datetime, str, str, str], list[float]] = {}
        for number in range(learners):
            group = f"group-{number % groups}"
            needs: list[tuple[float, str, str]] = []
            for place in range(units):
                key = {"learner_id": f"learner-{number:04}", "unit_id": f"unit-{place}"}
                path = _path(draw, moments)
                for scoring, probabilities in zip(scorings, path, strict=True):
                    row = _answered(probabilities)
                    session.add(Answer(**key, **row, as_of=scoring.as_of, version_id=version.id,
                                       scoring_id=scoring.id, scored_at=scoring.as_of))  # fmt: skip
                    count = counts.setdefault(
                        (scoring.as_of, group, key["unit_id"], str(row["predicted_class"])),
                        [0, 0.0],
                    )
                    count[0] += 1
                    count[1] += float(row["need"])  # type: ignore[arg-type]
                    _add_activity(session, draw, key, scoring.as_of)
                _add_current(session, key, path, moments, version.id, group)
                _add_components(session, draw, key, group)
                newest = _answered(path[-1])
                needs.append((float(newest["need"]), key["unit_id"],  # type: ignore[arg-type]
                              str(newest["predicted_class"])))  # fmt: skip
            learner = session.get_one(Learner, f"learner-{number:04}")
            learner.need, learner.unit_id, learner.predicted_class = max(needs)
            learner.units, learner.last_event_at = units, NOW - timedelta(hours=number + 1)
        rows = [
            {"as_of": as_of, "version_id": version.id, "group_id": group, "unit_id": unit,
             "predicted_class": class_, "answers": int(count), "need": need}
            for (as_of, group, unit, class_), (count, need) in counts.items()
        ]  # fmt: skip
        session.execute(insert(DailyCount), rows)
        session.flush()
        refresh_current_sums(session.connection())


def _add_people(session: Session, learners: int, units: int, groups: int) -> None:
    session.add_all(
        Group(
            group_id=f"group-{place}", name=f"Group {place}", region=("north", "south")[place % 2]
        )
        for place in range(groups)
    )
    session.add_all(
        Unit(unit_id=f"unit-{place}", title=f"Unit {place}", course=f"course-{place % 2}",
             prerequisites=[f"unit-{place - 1}"] if place else [])
        for place in range(units)
    )  # fmt: skip
    session.flush()
    session.add_all(
        Learner(learner_id=f"learner-{number:04}", name=f"Learner {number}",
                group_id=f"group-{number % groups}")
        for number in range(learners)
    )  # fmt: skip
    session.add_all([
        User(user="ada", name="Ada", role="teacher"),
        User(user="max", name="Max", role="manager"),
        User(user="root", name="Root", role="admin"),
    ])  # fmt: skip
    session.flush()
    session.add_all(
        Membership(user=user, group_id=group)
        for user, group in (("ada", "group-0"), ("max", "group-0"), ("max", "group-1"))
    )


def _path(draw: random.Random, moments: list[datetime]) -> list[list[float]]:
    """Returns probabilities per day, which drift up or down."""
    level, drift = draw.random(), draw.uniform(-0.03, 0.03)
    path = []
    for _ in moments:
        level = min(0.98, max(0.02, level + drift + draw.gauss(0, 0.01)))
        path.append([round((1 - level) ** 2, 6), round(2 * level * (1 - level), 6),
                     round(level**2, 6)])  # fmt: skip
    return path


def _answered(probabilities: list[float]) -> dict[str, object]:
    return {
        "predicted_class": CLASSES[probabilities.index(max(probabilities))],
        "probabilities": probabilities,
        "prediction": None,
        "need": expected_need(probabilities),
        "basis": "sequence",
        "reasons": [],
    }


def _add_current(
    session: Session,
    key: dict[str, str],
    path: list[list[float]],
    moments: list[datetime],
    version_id: int,
    group: str,
) -> None:
    classes = [_answered(probabilities)["predicted_class"] for probabilities in path]
    first = len(classes) - 1
    while first and classes[first - 1] == classes[-1]:
        first -= 1
    session.add(
        CurrentAnswer(
            **key, **_answered(path[-1]), as_of=NOW, version_id=version_id, scored_at=NOW,
            since=moments[first], previous_class=classes[first - 1] if first else None,
            group_id=group, first_event_at=NOW - timedelta(days=DAYS),
            last_event_at=NOW - timedelta(days=1),
        )
    )  # fmt: skip


def _add_activity(
    session: Session, draw: random.Random, key: dict[str, str], as_of: datetime
) -> None:
    if draw.random() < 0.5:
        return
    day = (as_of - timedelta(days=1)).date()
    answered = draw.randint(1, 6)
    session.add_all([
        DailyActivity(**key, day=day, event_type="video", events=2, answered=0, correct=0,
                      seconds=300.0),
        DailyActivity(**key, day=day, event_type="exercise", events=answered, answered=answered,
                      correct=draw.randint(0, answered), seconds=60.0 * answered),
    ])  # fmt: skip


def _add_components(session: Session, draw: random.Random, key: dict[str, str], group: str) -> None:
    for name in ("a", "b"):
        answered = draw.randint(1, 10)
        correct = draw.randint(0, answered)
        session.add(
            ComponentResult(
                **key, component=f"{key['unit_id']}-{name}", answered=answered, correct=correct,
                mastery=(correct + 1) / (answered + 2), group_id=group, updated_at=NOW,
            )
        )  # fmt: skip
