"""Reads the cases of a trial: each lot with what was done, and what came true."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import and_, select

from components.effect.estimate import Trial
from serving.answers.feedback import HELP, VERDICTS
from serving.answers.tables import Action, Assignment, Group, ModelVersion, Outcome

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NOTHING = "none"  # was done about a learner


@dataclass(frozen=True)
class Sources:
    """The tables that a trial is read from: all rows, or those that a viewer may see."""

    assignments: Any = Assignment
    outcomes: Any = Outcome
    actions: Any = Action
    groups: Any = Group
    versions: Any = ModelVersion


@dataclass(frozen=True)
class Case:
    """A lot about a learner, and what followed.

    Attributes:
        stratum: within which the lot was drawn, with the share of then.
        actions: kinds of verdicts while the lot held, each time, the earliest first.
        outcome: 1 or 0 for a good outcome or another one, or a number; None without one in time.
        is_over: whether the time for an outcome is over.
    """

    learner_id: str
    group_id: str | None
    stratum: str
    probability: float
    named: bool
    actions: tuple[str, ...]
    outcome: float | None
    is_over: bool

    @property
    def first_action(self) -> str:
        """What was done first, or `none`."""
        return self.actions[0] if self.actions else NOTHING

    @property
    def was_helped(self) -> bool:
        """Whether somebody called or helped."""
        return any(kind in HELP for kind in self.actions)


def read_cases(
    session: Session,
    sources: Sources,
    classes: list[str],
    good: Collection[str],
    within: timedelta,
    *,
    now: datetime,
    since: datetime | None = None,
) -> list[Case]:
    """Returns the cases of the versions that answer with these classes.

    Args:
        session: of the answers' database.
        sources: what to read.
        classes: of the label; none for a regression.
        good: of which outcomes are good.
        within: how long after a lot an outcome in its unit counts; the last one does.
        now: when the trial is looked at.
        since: the earliest lot; None for all.
    """
    versions = session.execute(select(sources.versions.id, sources.versions.classes))
    matching = [id_ for id_, found in versions if [*found] == classes]
    lots = sources.assignments
    chosen = [lots.version_id.in_(matching), lots.at <= now]
    if since is not None:
        chosen.append(lots.at >= since)

    outcomes = _outcomes(session, sources, chosen)
    actions = _actions(session, sources, chosen)
    columns = (lots.learner_id, lots.unit_id, lots.at, lots.until, lots.group_id, lots.stratum,
               lots.share, lots.probability, lots.held_out)  # fmt: skip
    cases = []
    for row in session.execute(select(*columns).where(*chosen).order_by(lots.at, lots.learner_id)):
        until = row.at + within
        found = [
            _value(label, value, good)
            for as_of, label, value in outcomes.get((row.learner_id, row.unit_id), ())
            if row.at < as_of <= until
        ]
        done = actions.get(row.learner_id, ())
        cases.append(Case(
            learner_id=row.learner_id, group_id=row.group_id,
            stratum=f"{row.stratum} {row.share:g}", probability=row.probability,
            named=not row.held_out,
            actions=tuple(kind for at, kind in done if row.at <= at < row.until),
            outcome=found[-1] if found else None, is_over=until < now,
        ))  # fmt: skip
    return cases


def as_trial(cases: Iterable[Case], values: Iterable[float]) -> Trial:
    """Returns cases as arrays, with a number of each in place of the outcome."""
    listed = [*cases]
    return Trial(
        outcome=np.array([*values], np.float64),
        named=np.array([case.named for case in listed], np.bool_),
        stratum=_numbers([case.stratum for case in listed]),
        learner=_numbers([case.learner_id for case in listed]),
    )


def _numbers(names: list[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    known = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], np.int64)


def _value(label: str | None, value: float | None, good: Collection[str]) -> float | None:
    return float(label in good) if label is not None else value


def _outcomes(
    session: Session, sources: Sources, chosen: list[Any]
) -> dict[tuple[str, str], list[tuple[datetime, str | None, float | None]]]:
    """Returns the outcomes later than a lot, by learner and unit, the earliest first."""
    lots, outcomes = sources.assignments, sources.outcomes
    is_after = and_(
        lots.learner_id == outcomes.learner_id,
        lots.unit_id == outcomes.unit_id,
        lots.at < outcomes.as_of,
    )
    query = (
        select(outcomes.learner_id, outcomes.unit_id, outcomes.as_of, outcomes.label,
               outcomes.value)
        .where(select(lots.learner_id).where(is_after, *chosen).exists())
        .order_by(outcomes.as_of)
    )  # fmt: skip
    found: dict[tuple[str, str], list[tuple[datetime, str | None, float | None]]] = {}
    for learner, unit, as_of, label, value in session.execute(query):
        found.setdefault((learner, unit), []).append((as_of, label, value))
    return found


def _actions(
    session: Session, sources: Sources, chosen: list[Any]
) -> dict[str, list[tuple[datetime, str]]]:
    """Returns the verdicts about learners of the trial, the earliest first."""
    lots, actions = sources.assignments, sources.actions
    is_after = and_(lots.learner_id == actions.learner_id, lots.at <= actions.at)
    query = (
        select(actions.learner_id, actions.at, actions.kind)
        .where(actions.kind.in_(VERDICTS))
        .where(select(lots.learner_id).where(is_after, *chosen).exists())
        .order_by(actions.at, actions.id)
    )
    found: dict[str, list[tuple[datetime, str]]] = {}
    for learner, at, kind in session.execute(query):
        found.setdefault(learner, []).append((at, kind))
    return found
