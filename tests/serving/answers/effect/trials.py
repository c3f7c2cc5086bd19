"""A trial whose truth is known: learners in need, lots as the product draws them, outcomes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from serving.answers.alerts.evaluation import run_alerts
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Action, Assignment, Outcome
from tests.serving.answers.alerts.told import DAY, MONDAY, score, settings_with

REPORTED = MONDAY + 60 * DAY


def settings_of(share: float = 0.2, **effect: Any) -> AnswersSettings:
    """Returns settings with one rule for everybody, and a share that is held out."""
    rule = {"when": "need >= 0", "capacity": "unlimited"}
    settings = settings_with(rule).model_dump(exclude={"board"})
    return AnswersSettings.model_validate(settings | {"effect": {"hold_out": share, **effect}})


def lows(count: int) -> dict[tuple[str, str], float]:
    """Returns the probability of the lowest class, by learner and unit."""
    return {
        (f"learner-{place:04}", f"unit-{place % 2}"): 0.3 + place % 13 / 20
        for place in range(count)
    }


def run_trial(
    engine: Engine, settings: AnswersSettings, *, learners: int = 400, effect: float = 0.3
) -> None:
    """Names learners on a Monday; a week later outcomes come in, better where they were named."""
    known = lows(learners)
    groups = {name: f"group-{place % 3}" for place, (name, _) in enumerate(known)}
    score(engine, known, groups=groups)
    run_alerts(engine, settings, MONDAY)
    add_outcomes(engine, known, effect)


def add_outcomes(engine: Engine, known: Mapping[tuple[str, str], float], effect: float) -> None:
    """Writes what came true, and that most of those who were named were called."""
    chance = random.Random(7)
    with Session(engine) as session, session.begin():
        lots = session.scalars(select(Assignment).order_by(Assignment.learner_id)).all()
        outcomes, actions = [], []
        for lot in lots:
            good = 1 - known[lot.learner_id, lot.unit_id] - 0.05 + effect * (not lot.held_out)
            about = {"learner_id": lot.learner_id, "unit_id": lot.unit_id}
            label = "middle" if chance.random() < good else "low"
            # Before the lot, in time, and too late: only the second one counts.
            for days, said in ((-1, "low"), (7, label), (40, "low")):
                moment = MONDAY + days * DAY
                outcomes.append({
                    **about, "as_of": moment, "label": said, "received_at": moment,
                    "group_id": lot.group_id,
                })  # fmt: skip
            if chance.random() < (0.05 if lot.held_out else 0.75):
                actions.append({
                    **about, "kind": "called" if chance.random() < 0.6 else "helped",
                    "user": "ada", "at": MONDAY + DAY, "as_of": lot.as_of,
                    "version_id": lot.version_id,
                })  # fmt: skip
        session.execute(insert(Outcome), outcomes)
        session.execute(insert(Action), actions)
