"""Changes of course: from some week on, a simulated platform is no longer what it was.

    intake    other learners come: three in four are juniors. What events say of a learner stays.
    content   a unit is replaced by a new one, with components, event types and dwell times of its
              own: what the model reads looks different.
    relation  answers are passed around: exercises and quizzes are done, and right, without knowing.
              What they say of a learner changes, and a model of before takes learners for better
              than they are.

Changes add up, and last. `docs/simulator.md` says what each does to inputs and labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from components.errors import MasteryError
from components.simulator import learner_model as model

if TYPE_CHECKING:
    from components.simulator.learner_model import Floats, Integers, Teaching

INTAKE, CONTENT, RELATION = KINDS = ("intake", "content", "relation")

# intake: the share of each job level among those who come.
JOB_LEVELS: Floats = np.array([0.75, 0.15, 0.07, 0.03])

# content: which unit goes, and what comes in its place.
OLD_UNIT, NEW_UNIT = "sql-basics", "data-stories"
NEW_COMPONENTS = ("questions", "charts", "contexts", "narratives")
TYPE_FACTOR: Floats = np.array([2.0, 0.4, 1.0, 1.5, 0.6])  # [event type]: of how often
DWELL_FACTOR: Floats = np.array([1.6, 1.2, 1.0, 1.6, 1.2])  # [event type]: of the median

# relation: right without knowing; exercises completed; and the time that exercises and quizzes take
# whatever the class, as a share of the middle class's median.
GUESS = 0.5
COMPLETED: Floats = np.array([0.70, 0.88, 0.98])  # [class]
DWELL_OF_ANSWERS = 0.9


@dataclass(frozen=True)
class Change:
    """A change of course.

    Attributes:
        kind: one of `KINDS`.
        week: the first week in which it holds; the first of the log is 1.
    """

    kind: str
    week: int

    def __str__(self) -> str:
        """Returns it as it is written on the command line."""
        return f"{self.kind}:{self.week}"


def read_changes(texts: Sequence[str], weeks: int) -> list[Change]:
    """Returns changes from texts such as `relation:20`, sorted by week.

    >>> [str(change) for change in read_changes(["relation:20", "intake:9"], weeks=52)]
    ['intake:9', 'relation:20']

    Args:
        texts: a kind and the first week in which it holds.
        weeks: how many weeks the log has.

    Raises:
        MasteryError: a text is no change, its week is outside the log, or a kind is there twice.
    """
    changes = sorted((_read_change(text, weeks) for text in texts), key=lambda item: item.week)
    kinds = [change.kind for change in changes]
    for kind in KINDS:
        if kinds.count(kind) > 1:
            raise MasteryError(f"--change {kind}: expected once, found {kinds.count(kind)} times.")
    return changes


def _read_change(text: str, weeks: int) -> Change:
    kind, _, number = text.partition(":")
    if kind not in KINDS or not number.isdecimal():
        raise MasteryError(
            f"--change: expected KIND:WEEK with a kind of {', '.join(KINDS)}, such as intake:5, "
            f"found {text!r}."
        )
    if not 1 <= int(number) <= weeks:
        raise MasteryError(f"--change {text}: expected a week from 1 to {weeks}, found {number}.")
    return Change(kind, int(number))


def kinds_in(changes: Sequence[Change], week: int) -> set[str]:
    """Returns the kinds of the changes that hold in a week; the first week is 1."""
    return {change.kind for change in changes if change.week <= week}


def teaching_after(kinds: Collection[str]) -> Teaching:
    """Returns what a platform teaches, and what events look like, after changes of some kinds."""
    teaching = model.TEACHING
    if CONTENT in kinds:
        teaching = _with_new_unit(teaching)
    return _with_shared_answers(teaching) if RELATION in kinds else teaching


def _with_new_unit(teaching: Teaching) -> Teaching:
    """Returns the same teaching with the new unit in the place of the old one."""
    place = [*teaching.catalogue].index(OLD_UNIT)
    catalogue = {
        NEW_UNIT if unit == OLD_UNIT else unit: NEW_COMPONENTS if unit == OLD_UNIT else components
        for unit, components in teaching.catalogue.items()
    }

    types, dwell = teaching.types.copy(), teaching.dwell.copy()
    weighted = types[place] * TYPE_FACTOR
    types[place] = weighted / weighted.sum(axis=1, keepdims=True)
    dwell[place] *= DWELL_FACTOR
    return replace(teaching, catalogue=catalogue, types=types, dwell=dwell)


def _with_shared_answers(teaching: Teaching) -> Teaching:
    """Returns the same teaching, where answers can be had from others."""
    answers = [model.EXERCISE, model.QUIZ]
    middle = model.CLASSES.index("partial")
    dwell = teaching.dwell.copy()
    dwell[:, :, answers] = dwell[:, [middle]][:, :, answers] * DWELL_OF_ANSWERS
    completed, knows = (
        np.broadcast_to(of_unit, of_all.shape)
        for of_unit, of_all in (
            (COMPLETED, teaching.completed),
            (model.knows(GUESS), teaching.knows),
        )
    )
    return replace(teaching, dwell=dwell, completed=completed, knows=knows)


def admitted(
    job_level: Integers, learners: int, kinds: Collection[str], seed: list[int]
) -> Integers:
    """Returns who of the drawn learners come, ascending: the first ones, without other intake.

    People are chosen by their job level only, so what their events say of them stays the same.

    Args:
        job_level: of each drawn learner, index into the job levels.
        learners: how many come.
        kinds: of the changes that hold.
        seed: of the random numbers.

    Raises:
        ValueError: too few learners of a job level were drawn.
    """
    if INTAKE not in kinds:
        return np.arange(learners)
    wanted = np.random.default_rng(seed).choice(len(JOB_LEVELS), size=learners, p=JOB_LEVELS)
    chosen = []
    for level in range(len(JOB_LEVELS)):
        count = int(np.sum(wanted == level))
        found = np.flatnonzero(job_level == level)[:count]
        if len(found) < count:
            raise ValueError(f"expected {count} learners of job level {level}, drew {len(found)}")
        chosen.append(found)
    return np.sort(np.concatenate(chosen))
