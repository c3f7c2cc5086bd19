"""One learner: where he or she stands in each unit, and what could be worth doing next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from components.contracts.names import BASIS_PRIOR
from serving.answers.feedback import user_names
from serving.answers.next_step import (
    NEARLY_HIGHEST,
    Standing,
    Step,
    next_steps,
    weakest_first,
)
from serving.answers.words import reasons_in
from serving.board.links import from_segment, learner_link
from serving.board.pages.heat_map_rows import natural
from serving.board.rendering import language_of, render
from serving.board.shown_answer import ShownAnswer, show_answer, trust_notes

STEPS = 3  # shown at once; the others unfold
ACTIONS = 50
TREND_DAYS = 28


@dataclass(frozen=True)
class UnitLine:
    """A unit with its current answer.

    Attributes:
        answer: a row of `current_answers`.
        notes: how sure it is, what is unlike the learners of the fit, and the decisions, in words.
        reasons: sentences, the most important first.
        trend: need by day for the last days, the newest last; None on days without an answer.
    """

    unit_id: str
    title: str
    course: str | None
    link: str
    answer: Any
    shown: ShownAnswer
    notes: list[str]
    reasons: list[str]
    trend: list[float | None]


@dataclass(frozen=True)
class StepLine:
    """A step with the facts that it rests on.

    Attributes:
        line: the unit's answer; None without one.
        after: titles of prerequisites that are not mastered.
        opens: titles of the units that build on this one.
        circular: titles of prerequisites that build on this unit.
        weakest: the rows of the components in which the learner did worst.
        is_estimate: whether the answer rests on too few events.
    """

    title: str
    link: str
    step: Step
    line: UnitLine | None
    after: list[str]
    opens: list[str]
    circular: list[str]
    weakest: list[Any]
    is_estimate: bool


def show(request: Request) -> Response:
    """Returns the page."""
    learner_id = from_segment(request.path_params["learner_id"])
    with Session(request.app.state.engine) as session:
        learner = find_learner(request, session, learner_id)
        reader = LearnerReader(request, session, learner.learner_id)
        lines = reader.lines()
        results = reader.results()
        actions = reader.actions()
        people = user_names(session, {action.user for action in actions})
        steps = reader.steps(lines, results)
    return render(
        request,
        "learner.html.j2",
        learner=learner,
        lines=lines,
        steps=steps[:STEPS],
        further=steps[STEPS:],
        actions=actions,
        titles=reader.titles,
        people=people,
        trend_days=TREND_DAYS,
    )


ROUTES = [Route("/learners/{learner_id}", show)]


def find_learner(request: Request, session: Session, learner_id: str | None) -> Any:
    """Returns a learner with the group's name.

    Raises:
        HTTPException: the viewer may not see the learner, or there is none: the same answer.
    """
    learners, groups = request.state.visible.learners, request.state.visible.groups
    found = (
        select(
            learners.learner_id, learners.name, learners.last_event_at, learners.snoozed_until,
            learners.units, groups.name.label("group"),
        )
        .outerjoin_from(learners, groups, groups.group_id == learners.group_id)
        .where(learners.learner_id == learner_id)
    )  # fmt: skip
    learner = session.execute(found).one_or_none() if learner_id is not None else None
    if learner is None:
        raise HTTPException(404)
    return learner


class LearnerReader:
    """Reads what the page shows of a learner: one query per method."""

    def __init__(self, request: Request, session: Session, learner_id: str) -> None:
        self._session = session
        self._visible = request.state.visible
        self._language = language_of(request)
        self._now: datetime = request.app.state.now()
        self._learner_id = learner_id

        units = self._visible.units
        catalogue = select(units.unit_id, units.title, units.course, units.prerequisites)
        self._units = {row.unit_id: row for row in session.execute(catalogue)}
        self.titles: dict[str, str] = {unit_id: row[1] for unit_id, row in self._units.items()}
        versions = self._visible.model_versions
        rows = session.execute(select(versions.id, versions.classes, versions.trust)).all()
        self.classes: dict[int, list[str]] = {row.id: row.classes for row in rows}
        self._trust = {row.id: row.trust for row in rows}

    def title(self, unit_id: str) -> str:
        """Returns what people call a unit."""
        return self.titles.get(unit_id, unit_id)

    def prerequisites(self, unit_id: str) -> list[str]:
        """Returns the units to master before one."""
        unit = self._units.get(unit_id)
        return list(unit.prerequisites) if unit else []

    def lines(self, *, with_trends: bool = True) -> list[UnitLine]:
        """Returns the units with an answer, in their natural order."""
        answers = self._visible.current_answers
        of_learner = select(answers).where(answers.learner_id == self._learner_id)
        trends = self._trends() if with_trends else {}
        lines = [
            UnitLine(
                unit_id=answer.unit_id,
                title=self.title(answer.unit_id),
                course=unit.course if (unit := self._units.get(answer.unit_id)) else None,
                link=learner_link(self._learner_id, answer.unit_id),
                answer=answer,
                shown=show_answer(answer, self.classes.get(answer.version_id, ()), self._language),
                notes=trust_notes(answer, self._trust.get(answer.version_id), self._language),
                reasons=reasons_in(answer.reasons, self._language),
                trend=trends.get(answer.unit_id, [None] * TREND_DAYS),
            )
            for answer in self._session.scalars(of_learner)
        ]
        return sorted(lines, key=lambda line: (line.course or "", natural(line.title)))

    def _trends(self) -> dict[str, list[float | None]]:
        answers = self._visible.answers
        begin = self._now - timedelta(days=TREND_DAYS)
        recent = (
            select(answers.unit_id, answers.as_of, answers.need)
            .where(answers.learner_id == self._learner_id, answers.as_of > begin)
            .where(answers.as_of <= self._now)
            .order_by(answers.as_of, answers.version_id)
        )
        trends: dict[str, list[float | None]] = {}
        for unit_id, as_of, need in self._session.execute(recent):
            days = trends.setdefault(unit_id, [None] * TREND_DAYS)
            days[TREND_DAYS - 1 - (self._now - as_of).days] = need
        return trends

    def results(self, unit_id: str | None = None) -> dict[str, list[Any]]:
        """Returns the results by knowledge component, by unit, the weakest first."""
        results = self._visible.component_results
        of_learner = select(
            results.unit_id, results.component, results.answered, results.correct, results.mastery
        ).where(results.learner_id == self._learner_id)
        if unit_id is not None:
            of_learner = of_learner.where(results.unit_id == unit_id)
        by_unit: dict[str, list[Any]] = {}
        for row in self._session.execute(of_learner):
            by_unit.setdefault(row.unit_id, []).append(row)
        return by_unit

    def actions(self) -> Sequence[Any]:
        """Returns what people did about the learner, the newest first."""
        actions = self._visible.actions
        of_learner = select(actions).where(actions.learner_id == self._learner_id)
        return self._session.scalars(
            of_learner.order_by(actions.at.desc(), actions.id.desc()).limit(ACTIONS)
        ).all()

    def steps(
        self, lines: Sequence[UnitLine], results: Mapping[str, Sequence[Any]]
    ) -> list[StepLine]:
        """Returns what could be worth doing next, with the facts; reads nothing."""
        by_unit = {line.unit_id: line for line in lines}
        standings = [self._standing(unit_id, by_unit) for unit_id in {*self._units, *by_unit}]
        return [
            StepLine(
                title=self.title(step.unit_id),
                link=learner_link(self._learner_id, step.unit_id),
                step=step,
                line=by_unit.get(step.unit_id),
                after=[self.title(unit) for unit in step.after],
                opens=[self.title(unit) for unit in step.opens],
                circular=[self.title(unit) for unit in step.circular],
                weakest=weakest_first(results.get(step.unit_id, ()))[:2],
                is_estimate=step.unit_id in by_unit
                and by_unit[step.unit_id].answer.basis == BASIS_PRIOR,
            )
            for step in next_steps(standings)
        ]

    def _standing(self, unit_id: str, lines: Mapping[str, UnitLine]) -> Standing:
        line = lines.get(unit_id)
        before = tuple(self.prerequisites(unit_id))
        if line is None:
            return Standing(unit_id, prerequisites=before)
        answer = line.answer
        return Standing(
            unit_id,
            need=answer.need,
            mastered=is_mastered(answer, self.classes.get(answer.version_id, ())),
            from_events=answer.basis != BASIS_PRIOR,
            prerequisites=before,
        )


def is_mastered(answer: Any, classes: Sequence[str]) -> bool:
    """Returns whether the answer is the highest class, or without classes a need close to 0."""
    if answer.predicted_class is None or not classes:
        return bool(answer.need < NEARLY_HIGHEST)
    return bool(answer.predicted_class == classes[-1])
