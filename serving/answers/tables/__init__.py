"""The tables of the answers' database, in one place for SQLite and PostgreSQL.

Ids of learners, units and groups are the log's own text. Times are in UTC. What a page shows for
many learners at once is kept ready: `current_answers` holds the newest answer of each learner and
unit, `learners` the unit in which help is expected to bring most, `daily_counts` the sums that
managers read. `serving.answers.store` derives these three from `answers`. `unit_sums` and
`component_sums` are derived from what is current (`serving.answers.current_sums`).
"""

from serving.answers.tables.answers import (
    Answer,
    ComponentResult,
    ComponentSum,
    CurrentAnswer,
    DailyActivity,
    DailyCount,
    ModelVersion,
    Scoring,
    UnitSum,
)
from serving.answers.tables.base import Id, Json, MaybeJson, Table, UtcTime
from serving.answers.tables.messages import Alert, Message, ServedAnswer
from serving.answers.tables.people import Group, Learner, Membership, Session, Unit, User
from serving.answers.tables.responses import Action, Assignment, Outcome, OutcomeSum

__all__ = [
    "Action", "Alert", "Answer", "Assignment", "ComponentResult", "ComponentSum", "CurrentAnswer",
    "DailyActivity", "DailyCount", "Group", "Id", "Json", "Learner", "MaybeJson", "Membership",
    "Message", "ModelVersion", "Outcome", "OutcomeSum", "Scoring", "ServedAnswer", "Session",
    "Table", "Unit", "UnitSum", "User", "UtcTime",
]  # fmt: skip
