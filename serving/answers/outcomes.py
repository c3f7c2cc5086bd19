"""Stores outcomes that came in, each beside what had been answered before it.

An outcome belongs to the last answer about its learner and unit as of its own moment or earlier, at
most `WITHIN` back: an older one says little about a version that would have answered again since.
Learners whom the database does not know are not stored: nobody could see them, and a learner who
was erased stays erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    Engine,
    Exists,
    Float,
    MetaData,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    null,
    select,
    text,
    update,
)
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects import postgresql, sqlite

from components.contracts.names import AS_OF
from components.errors import MasteryError
from serving.answers.outcome_sums import refresh_sums
from serving.answers.store import copy_rows
from serving.answers.tables import (
    Answer,
    DailyActivity,
    Id,
    Learner,
    ModelVersion,
    Outcome,
    UtcTime,
)

if TYPE_CHECKING:
    from components.config.data import Label

WITHIN = timedelta(days=28)  # how far back the last answer may be
RULE_DAYS = 7  # "no visit in 7 days", which the model is compared with
_LOCK = 0x6F757463  # of PostgreSQL: one import at a time
_KEYS = ("learner_id", "unit_id", "as_of")

_staging = MetaData()
_STAGED = SqlTable(
    "staged_outcomes",
    _staging,
    Column("learner_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("as_of", UtcTime, primary_key=True),
    Column("oldest", UtcTime, nullable=False),
    Column("label", Text),
    Column("value", Float),
    Column("answered_as_of", UtcTime),
    Column("version_id", Id),
    prefixes=["TEMPORARY"],
)
_MOMENTS = SqlTable(
    "staged_moments",
    _staging,
    Column("answered_as_of", UtcTime, primary_key=True),
    Column("first_day", Date, nullable=False),
    Column("day", Date, nullable=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True)
class StoredOutcomes:
    """What became of the outcomes of some files.

    Attributes:
        stored: how many the table holds now.
        answered: of these, how many had an answer before.
        unknown: how many were left out because nobody knows their learner.
        example: one of these learners; empty if there is none.
    """

    stored: int
    answered: int
    unknown: int
    example: str

    def describe(self) -> str:
        """Returns one or two lines for people."""
        lines = [
            f"{self.stored:,} outcomes stored, {self.answered:,} of them with an answer in the "
            f"{WITHIN.days} days before."
        ]
        if self.unknown:
            lines.append(
                f"{self.unknown:,} left out: their learners, such as {self.example!r}, have never "
                "been scored into this database."
            )
        return "\n".join(lines)


def store_outcomes(
    engine: Engine, rows: pl.DataFrame, label: Label, *, now: datetime
) -> StoredOutcomes:
    """Stores outcomes, and adds up those of every version again; a repetition changes nothing.

    Args:
        engine: the answers' database.
        rows: `learner_id`, `unit_id`, `as_of` and the label, one row per key.
        label: what the label is.
        now: when the outcomes came in.

    Raises:
        MasteryError: no version in the database answers with these classes.
    """
    with engine.begin() as connection:
        _take_turns(connection)
        versions = _versions_of(connection, label)
        _stage(connection, rows, label)
        _find_answers(connection, versions)

        touched = _versions_beside(connection)
        _upsert(connection, label, now)
        touched |= _versions_beside(connection)
        refresh_sums(connection, touched)
        result = _count(connection)
        _staging.drop_all(connection, checkfirst=False)
    return result


def _take_turns(connection: Connection) -> None:
    """Waits until no other import runs, to the end of the transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def _versions_of(connection: Connection, label: Label) -> list[int]:
    """Returns the versions that answer with the label's classes."""
    known = connection.execute(select(ModelVersion.id, ModelVersion.classes)).all()
    matching = [id_ for id_, classes in known if classes == label.classes]
    if matching:
        return matching

    wanted = ", ".join(label.classes) or "a number (a regression)"
    found = sorted({", ".join(classes) or "a number" for _, classes in known})
    raise MasteryError(
        f"label.classes: expected those of a version in the database, "
        f"{' or '.join(found) or 'which has none yet'}; found {wanted}. Is this the configuration "
        "of the model that answered, and was it scored with `mastery score`?"
    )


def _stage(connection: Connection, rows: pl.DataFrame, label: Label) -> None:
    """Writes the outcomes into a temporary table."""
    _staging.create_all(connection, checkfirst=False)
    is_number = label.task == "regression"
    truth = pl.col(label.column)
    staged = rows.select(
        "learner_id",
        "unit_id",
        pl.col(AS_OF).alias("as_of"),
        (pl.col(AS_OF) - WITHIN).alias("oldest"),
        (pl.lit(None, pl.String) if is_number else truth).alias("label"),
        (truth.cast(pl.Float64) if is_number else pl.lit(None, pl.Float64)).alias("value"),
    )
    copy_rows(connection, _STAGED, staged)


def _find_answers(connection: Connection, versions: list[int]) -> None:
    """Writes beside each staged outcome the last answer before it: one look into an index each."""
    staged = _STAGED.c
    is_same = and_(
        Answer.learner_id == staged.learner_id,
        Answer.unit_id == staged.unit_id,
        Answer.version_id.in_(versions),
    )
    latest = (
        select(func.max(Answer.as_of))
        .where(is_same, Answer.as_of <= staged.as_of, Answer.as_of >= staged.oldest)
        .scalar_subquery()
    )
    newest_version = (
        select(func.max(Answer.version_id))
        .where(is_same, Answer.as_of == staged.answered_as_of)
        .scalar_subquery()
    )
    connection.execute(update(_STAGED).values(answered_as_of=latest))
    connection.execute(update(_STAGED).values(version_id=newest_version))

    asked = select(staged.answered_as_of).where(staged.answered_as_of.is_not(None)).distinct()
    moments = [
        {
            "answered_as_of": moment,
            "first_day": moment.date() - timedelta(days=RULE_DAYS),
            "day": moment.date(),
        }
        for moment in connection.scalars(asked)
    ]
    if moments:
        connection.execute(insert(_MOMENTS), moments)


def _upsert(connection: Connection, label: Label, now: datetime) -> None:
    """Writes the staged outcomes of known learners; one that is there already is replaced."""
    is_class = label.task == "classification"
    lowest = Answer.probabilities[0].as_float() if is_class else null()
    values: dict[str, Any] = {
        "learner_id": _STAGED.c.learner_id,
        "unit_id": _STAGED.c.unit_id,
        "as_of": _STAGED.c.as_of,
        "label": _STAGED.c.label,
        "value": _STAGED.c.value,
        "received_at": bindparam("now", now, UtcTime),
        "version_id": _STAGED.c.version_id,
        "answered_as_of": _STAGED.c.answered_as_of,
        "predicted_class": Answer.predicted_class,
        "prediction": Answer.prediction,
        "lowest_probability": lowest,
        "rule_warned": case((_MOMENTS.c.day.is_not(None), ~_visited()), else_=null()),
        "group_id": Learner.group_id,
    }
    is_answer = and_(
        Answer.learner_id == _STAGED.c.learner_id,
        Answer.unit_id == _STAGED.c.unit_id,
        Answer.as_of == _STAGED.c.answered_as_of,
        Answer.version_id == _STAGED.c.version_id,
    )
    rows = (
        select(*(value.label(name) for name, value in values.items()))
        .select_from(_STAGED)
        .join(Learner, Learner.learner_id == _STAGED.c.learner_id)
        .outerjoin(_MOMENTS, _MOMENTS.c.answered_as_of == _STAGED.c.answered_as_of)
        .outerjoin(Answer, is_answer)
        .where(_STAGED.c.as_of.is_not(None))  # SQLite would take ON CONFLICT for a join's ON
    )

    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(Outcome).from_select([*values], rows)
    changed = {name: statement.excluded[name] for name in values if name not in _KEYS}
    is_same = and_(
        Outcome.label.is_not_distinct_from(statement.excluded.label),
        Outcome.value.is_not_distinct_from(statement.excluded.value),
    )
    changed["received_at"] = case(
        (is_same, Outcome.received_at), else_=statement.excluded.received_at
    )
    connection.execute(statement.on_conflict_do_update(index_elements=_KEYS, set_=changed))


def _visited() -> Exists:
    """Returns whether the learner had an event in the unit on the days before the answer's."""
    return exists().where(
        DailyActivity.learner_id == _STAGED.c.learner_id,
        DailyActivity.unit_id == _STAGED.c.unit_id,
        DailyActivity.day >= _MOMENTS.c.first_day,
        DailyActivity.day < _MOMENTS.c.day,
    )


def _versions_beside(connection: Connection) -> set[int]:
    """Returns the versions that the table has beside the staged outcomes."""
    found = connection.scalars(select(Outcome.version_id).join(_STAGED, _is_staged()).distinct())
    return {version for version in found if version is not None}


def _count(connection: Connection) -> StoredOutcomes:
    stored = select(func.count(), func.count(Outcome.version_id)).join_from(
        Outcome, _STAGED, _is_staged()
    )
    strangers = (
        select(func.count(), func.min(_STAGED.c.learner_id))
        .outerjoin_from(_STAGED, Learner, Learner.learner_id == _STAGED.c.learner_id)
        .where(Learner.learner_id.is_(None))
    )
    unknown, example = connection.execute(strangers).one()
    return StoredOutcomes(*connection.execute(stored).one(), unknown, example or "")


def _is_staged() -> ColumnElement[bool]:
    return and_(
        Outcome.learner_id == _STAGED.c.learner_id,
        Outcome.unit_id == _STAGED.c.unit_id,
        Outcome.as_of == _STAGED.c.as_of,
    )
