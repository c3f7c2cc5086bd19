"""What people did about answers: stored once, undone, and counted as precision in use.

`serving.answers.feedback_export` writes it for the next training.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from components.errors import MasteryError
from serving.answers.tables import Action, Answer, Learner, ModelVersion, User

HELP = ("called", "helped")  # what counts towards a user's capacity
VERDICTS = (*HELP, "not_applicable", "wrong")  # what says whether an answer was of use
SNOOZE = "snooze"
KINDS = (*VERDICTS, SNOOZE)

LONGEST_NOTE = 500  # characters
LONGEST_SNOOZE = timedelta(days=366)
UNDO_WITHIN = timedelta(hours=12)  # a working day

_Z = 1.959964  # of the normal distribution, for 95%


class FeedbackError(MasteryError):
    """What a user says cannot be stored. The text is a message of the board's catalogs."""


@dataclass(frozen=True)
class Feedback:
    """What a user did about an answer, or says about it.

    Attributes:
        as_of: with `version_id`, the answer that the user saw.
        kind: one of `KINDS`.
        label: the class that is true; None if the user does not say.
        snooze_until: of a `snooze`.
        form: a random text that the form carried, new for each form shown.
    """

    user: str
    learner_id: str
    unit_id: str
    as_of: datetime
    version_id: int
    kind: str
    note: str = ""
    label: str | None = None
    snooze_until: datetime | None = None
    form: str = ""

    @property
    def key(self) -> str:
        """The same for a second click; another one if the same form says something else."""
        said = (self.form, self.user, self.learner_id, self.unit_id, self.kind, self.note,
                self.label, self.snooze_until)  # fmt: skip
        return hashlib.sha256(repr(said).encode()).hexdigest()


def record(session: Session, feedback: Feedback, at: datetime) -> Action:
    """Stores what a user says; a second click on the same form stores nothing more.

    Whether the user may see the learner is for the caller to check.

    Raises:
        FeedbackError: it contradicts itself, or is about an answer that was never given.
    """
    known = session.scalar(select(Action).where(Action.key == feedback.key))
    if known is not None:
        return known

    answered = _check(session, feedback, at)
    until = feedback.snooze_until if feedback.kind == SNOOZE else None
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = insert(Action).values(
        learner_id=feedback.learner_id, unit_id=feedback.unit_id, kind=feedback.kind,
        note=feedback.note, user=feedback.user, at=at, as_of=feedback.as_of,
        version_id=feedback.version_id, predicted_class=answered, label=feedback.label,
        snooze_until=until, key=feedback.key,
    )  # fmt: skip
    action: Action | None = session.scalar(
        row.on_conflict_do_nothing(index_elements=["key"]).returning(Action)
    )
    if action is None:  # the other click was faster
        return session.scalars(select(Action).where(Action.key == feedback.key)).one()

    if feedback.kind == SNOOZE:
        _set_snooze(session, feedback.learner_id, feedback.snooze_until)
    return action


def undo(session: Session, action_id: int, learner_id: str, user: str, at: datetime) -> bool:
    """Deletes an action; returns false, and changes nothing, if it cannot be undone any more.

    It can be if it is the user's own, the newest about the learner, and younger than `UNDO_WITHIN`.
    """
    action = session.get(Action, action_id)
    if action is None or action.learner_id != learner_id or not can_undo(action, user, at):
        return False

    newest = select(Action.id).where(Action.learner_id == learner_id)
    newest = newest.order_by(Action.at.desc(), Action.id.desc()).limit(1)
    if session.scalar(newest) != action_id:
        return False
    gone = session.execute(delete(Action).where(Action.id == action_id).returning(Action.id))
    if gone.scalar_one_or_none() is None:  # the other click was faster
        return False

    if action.kind == SNOOZE:
        earlier = select(Action.snooze_until).where(
            Action.learner_id == learner_id, Action.kind == SNOOZE
        )
        before = session.scalar(earlier.order_by(Action.at.desc(), Action.id.desc()).limit(1))
        _set_snooze(session, learner_id, before)
    return True


def can_undo(action: Action, user: str, at: datetime) -> bool:
    """Returns whether a user may still undo an action, if it is the newest about its learner."""
    return action.user == user and at - action.at <= UNDO_WITHIN


def user_names(session: Session, users: Collection[str]) -> dict[str, str]:
    """Returns what people call those who did something, by user; unknown users are absent."""
    if not users:
        return {}
    found = session.execute(select(User.user, User.name).where(User.user.in_(users)))
    return {row.user: row.name for row in found}


def _check(session: Session, feedback: Feedback, at: datetime) -> str | None:
    """Returns the class that the answer named."""
    if feedback.kind not in KINDS:
        raise FeedbackError("Nothing is stored: choose what was done.")
    if len(feedback.note) > LONGEST_NOTE:
        raise FeedbackError("The note is too long: at most 500 characters are kept.")

    until = feedback.snooze_until
    if feedback.kind == SNOOZE and (until is None or not at < until <= at + LONGEST_SNOOZE):
        raise FeedbackError("A learner can be hidden until a day from tomorrow to one year ahead.")

    key = (feedback.learner_id, feedback.unit_id, feedback.as_of, feedback.version_id)
    answer = session.get(Answer, key)
    if answer is None:
        raise FeedbackError("This answer is no longer there: load the page again.")
    if feedback.label is not None:
        version = session.get_one(ModelVersion, feedback.version_id)
        if feedback.label not in version.classes:
            raise FeedbackError("This class is none that the model knows.")
        if feedback.kind == "wrong" and feedback.label == answer.predicted_class:
            raise FeedbackError("The answer cannot be wrong if the class that it names is true.")
    return answer.predicted_class


def _set_snooze(session: Session, learner_id: str, until: datetime | None) -> None:
    change = update(Learner).where(Learner.learner_id == learner_id)
    session.execute(change.values(snoozed_until=until))


# Precision in use.


@dataclass(frozen=True)
class PrecisionInUse:
    """How many of a version's answers that somebody acted upon were right.

    An answer is right if the class that a user says is true is the one it named; where nobody says
    so, if the learner was called or helped. It is not right if it was called wrong or not
    applicable. Of each user the newest verdict counts.

    Attributes:
        right: answers.
        acted: answers with a verdict on which all agree.
        disputed: answers on which users disagree; they are not among `acted`.
    """

    right: int
    acted: int
    disputed: int

    @property
    def share(self) -> float | None:
        """The right ones among those acted upon; None without any."""
        return self.right / self.acted if self.acted else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the share lies with 95% confidence; None without any."""
        return wilson_interval(self.right, self.acted) if self.acted else None


def precision_in_use(
    session: Session,
    actions: type[Action] = Action,
    *,
    version_ids: Collection[int] | None = None,
) -> dict[int, PrecisionInUse]:
    """Returns the precision in use by the id of the version; versions without a verdict are absent.

    Args:
        session: of the answers' database.
        actions: all of them, or those that a viewer may see.
        version_ids: of which versions; None for all.
    """
    said = case((actions.label == actions.predicted_class, 1), else_=0)
    done = case((actions.kind.in_(HELP), 1), else_=0)
    answer: tuple[Any, ...] = (
        actions.learner_id, actions.unit_id, actions.as_of, actions.version_id,
    )  # fmt: skip
    place = func.row_number().over(
        partition_by=(*answer, actions.user), order_by=(actions.at.desc(), actions.id.desc())
    )
    verdicts = select(
        *answer,
        case((actions.label.is_not(None), said), else_=done).label("right"),
        place.label("place"),
    ).where(actions.kind.in_(VERDICTS))
    if version_ids is not None:
        verdicts = verdicts.where(actions.version_id.in_(version_ids))
    newest = verdicts.subquery()

    by_answer = (
        select(
            newest.c.version_id,
            func.min(newest.c.right).label("all_right"),
            func.max(newest.c.right).label("any_right"),
        )
        .where(newest.c.place == 1)
        .group_by(newest.c.learner_id, newest.c.unit_id, newest.c.as_of, newest.c.version_id)
        .subquery()
    )
    disputed = func.sum(by_answer.c.any_right - by_answer.c.all_right)
    counts = select(
        by_answer.c.version_id, func.sum(by_answer.c.all_right), func.count(), disputed
    ).group_by(by_answer.c.version_id)
    return {
        version_id: PrecisionInUse(int(right), int(answers - different), int(different))
        for version_id, right, answers, different in session.execute(counts)
    }


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """Returns Wilson's 95% interval of a share; unlike the usual one it also holds for few trials.

    Args:
        successes: among the trials.
        trials: independent ones, at least one; may be a fraction, as an effective number is.

    >>> [round(end, 3) for end in wilson_interval(8, 10)]
    [0.49, 0.943]
    >>> [round(end, 3) for end in wilson_interval(3, 3)]
    [0.438, 1.0]
    """
    share = successes / trials
    centre = share + _Z**2 / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    scale = 1 + _Z**2 / trials
    low = (centre - half) / scale if successes else 0.0  # exactly: rounding would leave 1e-19
    high = (centre + half) / scale if successes < trials else 1.0
    return low, high
