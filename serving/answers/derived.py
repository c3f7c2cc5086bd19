"""Derives what pages read from the answers: the current ones, the learners', the sums by day.

Everything is set-based SQL in the caller's transaction, and touches only rows of the learners who
were scored; a row that would stay the same is not written. First the caller loads what the log says
of them into temporary tables (`load_pairs`, `load_components`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, bindparam, text

from serving.answers import current_sums, outcome_sums
from serving.answers.store import copy_rows
from serving.answers.tables import DailyActivity, UtcTime

PRIOR_ANSWERS = 5  # a component's share of right answers counts as much as this many of a learner

_temporary = MetaData()
_Pairs = Table(
    "scored_pairs",
    _temporary,
    Column("learner_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("first_event_at", UtcTime),
    Column("last_event_at", UtcTime),
    prefixes=["TEMPORARY"],
)
_LatePairs = Table(
    "late_pairs",
    _temporary,
    Column("learner_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    prefixes=["TEMPORARY"],
)
_MovedLearners = Table(
    "moved_learners",
    _temporary,
    Column("learner_id", Text, primary_key=True),
    Column("old_group", Text),
    Column("new_group", Text),
    prefixes=["TEMPORARY"],
)
_Components = Table(
    "scored_components",
    _temporary,
    Column("learner_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("component", Text, primary_key=True),
    Column("answered", Integer, nullable=False),
    Column("correct", Integer, nullable=False),
    prefixes=["TEMPORARY"],
)

# Columns that a current answer takes from the answer as they are.
_TAKEN = (
    "learner_id", "unit_id", "as_of", "version_id", "predicted_class", "probabilities",
    "prediction", "need", "basis", "reasons", "prediction_set", "answer_text",
    "prediction_interval", "unfamiliar", "decisions", "scored_at",
)  # fmt: skip


def load_pairs(connection: Connection, parts: Iterable[pl.DataFrame]) -> None:
    """Takes in which learners and units were scored, and when their events were.

    Args:
        connection: in a transaction.
        parts: `learner_id`, `unit_id`, `first_event_at`, `last_event_at`; no pair twice.
    """
    _load(connection, _Pairs, parts)


def load_components(connection: Connection, parts: Iterable[pl.DataFrame]) -> None:
    """Takes in what the learners answered: `learner_id`, `unit_id`, `component` and two counts."""
    _load(connection, _Components, parts)


def _load(connection: Connection, table: Table, parts: Iterable[pl.DataFrame]) -> None:
    _make(connection, table)
    for rows in parts:
        copy_rows(connection, table, rows)
    connection.exec_driver_sql(f"ANALYZE {table.name}")


def _make(connection: Connection, table: Table) -> None:
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table.name}")
    table.create(connection)


def drop_temporary(connection: Connection) -> None:
    """Removes the temporary tables, which belong to a connection that others may use next."""
    for table in (_Pairs, _LatePairs, _Components, _MovedLearners):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table.name}")


def update_current(connection: Connection, version_id: int, moments: Sequence[datetime]) -> int:
    """Brings the current answers of the scored pairs up to date; returns how many rows changed.

    The newest moment wins, and of several versions at one moment the one that was registered last.
    Where the scoring is newer than all before, as each night, `since` follows from the current
    answer. Where it is not, or there are several moments, it is found among all answers of the
    pair.
    """
    _make(connection, _LatePairs)
    newest = max(moments)
    parameters = {"as_of": newest, "version_id": version_id}
    if len(moments) > 1:
        _run(connection, "INSERT INTO late_pairs SELECT learner_id, unit_id FROM scored_pairs")
    else:
        _run(connection, _FIND_LATE, parameters)
    connection.exec_driver_sql("ANALYZE late_pairs")

    changed = _run(connection, _ADD_NEWEST, parameters) if len(moments) == 1 else 0
    return changed + _run(connection, _FROM_HISTORY, parameters)


_FIND_LATE = """
INSERT INTO late_pairs
SELECT current.learner_id, current.unit_id
FROM scored_pairs pair
JOIN current_answers current
  ON current.learner_id = pair.learner_id AND current.unit_id = pair.unit_id
WHERE current.as_of > :as_of OR (current.as_of = :as_of AND current.version_id <> :version_id)
"""

_EARLIER = """CASE WHEN current_answers.first_event_at < excluded.first_event_at
    THEN current_answers.first_event_at ELSE excluded.first_event_at END"""
_SAME = "current_answers.predicted_class IS NOT DISTINCT FROM excluded.predicted_class"
_SET_TAKEN = ", ".join(f"{name} = excluded.{name}" for name in _TAKEN[2:])
_ANSWER = ", ".join(f"answer.{name}" for name in _TAKEN)

_ADD_NEWEST = f"""
INSERT INTO current_answers ({", ".join(_TAKEN)},
    since, previous_class, group_id, first_event_at, last_event_at)
SELECT {_ANSWER}, answer.as_of, NULL, learner.group_id, pair.first_event_at, pair.last_event_at
FROM scored_pairs pair
JOIN answers answer
  ON answer.learner_id = pair.learner_id AND answer.unit_id = pair.unit_id
 AND answer.as_of = :as_of AND answer.version_id = :version_id
LEFT JOIN learners learner ON learner.learner_id = pair.learner_id
WHERE true
ON CONFLICT (learner_id, unit_id) DO UPDATE SET {_SET_TAKEN},
    since = CASE WHEN {_SAME} THEN current_answers.since ELSE excluded.since END,
    previous_class = CASE WHEN {_SAME}
        THEN current_answers.previous_class ELSE current_answers.predicted_class END,
    first_event_at = {_EARLIER},
    last_event_at = excluded.last_event_at
WHERE current_answers.as_of < excluded.as_of
"""

_FROM_HISTORY = f"""
INSERT INTO current_answers ({", ".join(_TAKEN)},
    since, previous_class, group_id, first_event_at, last_event_at)
WITH every AS (
    SELECT answer.learner_id, answer.unit_id, answer.as_of, answer.version_id,
           answer.predicted_class,
           ROW_NUMBER() OVER (
               PARTITION BY answer.learner_id, answer.unit_id, answer.as_of
               ORDER BY answer.version_id DESC) AS place
    FROM late_pairs pair
    JOIN answers answer
      ON answer.learner_id = pair.learner_id AND answer.unit_id = pair.unit_id
), history AS (
    SELECT learner_id, unit_id, as_of, version_id, predicted_class,
           FIRST_VALUE(as_of) OVER path AS newest_as_of,
           FIRST_VALUE(version_id) OVER path AS newest_version,
           FIRST_VALUE(predicted_class) OVER path AS newest_class
    FROM every WHERE place = 1
    WINDOW path AS (PARTITION BY learner_id, unit_id ORDER BY as_of DESC)
), other AS (
    SELECT learner_id, unit_id, MAX(as_of) AS as_of
    FROM history WHERE predicted_class IS DISTINCT FROM newest_class
    GROUP BY learner_id, unit_id
), found AS (
    SELECT history.learner_id, history.unit_id,
           MAX(history.newest_as_of) AS as_of, MAX(history.newest_version) AS version_id,
           MIN(CASE WHEN other.as_of IS NULL OR history.as_of > other.as_of
               THEN history.as_of END) AS since,
           MAX(CASE WHEN history.as_of = other.as_of
               THEN history.predicted_class END) AS previous_class
    FROM history
    LEFT JOIN other
      ON other.learner_id = history.learner_id AND other.unit_id = history.unit_id
    GROUP BY history.learner_id, history.unit_id
)
SELECT {_ANSWER}, found.since, found.previous_class, learner.group_id,
       pair.first_event_at, pair.last_event_at
FROM found
JOIN answers answer
  ON answer.learner_id = found.learner_id AND answer.unit_id = found.unit_id
 AND answer.as_of = found.as_of AND answer.version_id = found.version_id
JOIN scored_pairs pair
  ON pair.learner_id = found.learner_id AND pair.unit_id = found.unit_id
LEFT JOIN learners learner ON learner.learner_id = found.learner_id
WHERE true
ON CONFLICT (learner_id, unit_id) DO UPDATE SET {_SET_TAKEN},
    since = excluded.since,
    previous_class = excluded.previous_class,
    first_event_at = {_EARLIER},
    last_event_at = CASE WHEN current_answers.last_event_at > excluded.last_event_at
        THEN current_answers.last_event_at ELSE excluded.last_event_at END
WHERE current_answers.as_of <> excluded.as_of
   OR current_answers.version_id <> excluded.version_id
   OR current_answers.since <> excluded.since
   OR current_answers.previous_class IS DISTINCT FROM excluded.previous_class
"""


def update_learners(connection: Connection) -> int:
    """Brings the scored learners' greatest needs up to date; returns how many rows changed.

    New learners get a row. Names and groups, which others write, stay.
    """
    return _run(connection, _UPDATE_LEARNERS)


_UPDATE_LEARNERS = """
INSERT INTO learners (learner_id, unit_id, predicted_class, need, decisions, units, last_event_at)
SELECT learner_id, unit_id, predicted_class, need, decisions, units, last_event_at FROM (
    SELECT learner_id, unit_id, predicted_class, need, decisions,
           COUNT(*) OVER (PARTITION BY learner_id) AS units,
           MAX(last_event_at) OVER (PARTITION BY learner_id) AS last_event_at,
           ROW_NUMBER() OVER (PARTITION BY learner_id ORDER BY need DESC, unit_id) AS place
    FROM current_answers
    WHERE learner_id IN (SELECT learner_id FROM scored_pairs)
) ranked
WHERE place = 1
ON CONFLICT (learner_id) DO UPDATE SET
    unit_id = excluded.unit_id, predicted_class = excluded.predicted_class,
    need = excluded.need, decisions = excluded.decisions,
    units = excluded.units, last_event_at = excluded.last_event_at
WHERE learners.unit_id IS DISTINCT FROM excluded.unit_id
   OR learners.predicted_class IS DISTINCT FROM excluded.predicted_class
   OR learners.decisions IS DISTINCT FROM excluded.decisions
   OR learners.need <> excluded.need OR learners.units <> excluded.units
   OR learners.last_event_at IS DISTINCT FROM excluded.last_event_at
"""


def count_answers(
    connection: Connection, version_id: int, as_of: datetime, *, carry: bool = False
) -> None:
    """Writes the sums of a moment into `daily_counts`.

    Args:
        connection: in a transaction.
        version_id: whose answers are counted.
        as_of: the moment.
        carry: whether to count the current answers of all learners instead, because the moment has
            answers only of those with new events.
    """
    parameters = {"as_of": as_of, "version_id": version_id}
    _run(
        connection,
        "DELETE FROM daily_counts WHERE as_of = :as_of AND version_id = :version_id",
        parameters,
    )
    source = "current_answers" if carry else "answers"
    moment = "<=" if carry else "="
    _run(
        connection,
        f"""
        INSERT INTO daily_counts
            (as_of, version_id, group_id, unit_id, predicted_class, answers, need)
        SELECT :as_of, :version_id,
               COALESCE(learner.group_id, ''), answer.unit_id,
               COALESCE(answer.predicted_class, ''), COUNT(*), SUM(answer.need)
        FROM {source} answer
        LEFT JOIN learners learner ON learner.learner_id = answer.learner_id
        WHERE answer.version_id = :version_id AND answer.as_of {moment} :as_of
        GROUP BY COALESCE(learner.group_id, ''), answer.unit_id,
                 COALESCE(answer.predicted_class, '')
        """,
        parameters,
    )


def add_activity(connection: Connection, parts: Iterable[pl.DataFrame]) -> int:
    """Writes rows of `daily_activity`; returns how many changed. The days of the log are whole."""
    return sum(copy_rows(connection, DailyActivity, rows, on_conflict="replace") for rows in parts)


def update_components(connection: Connection, now: datetime) -> int:
    """Writes how the scored learners did per component; returns how many rows changed.

    Mastery is the share of right answers, with `PRIOR_ANSWERS` more at the share of all learners:
    one wrong answer says little.
    """
    return _run(connection, _UPDATE_COMPONENTS, {"now": now, "prior": float(PRIOR_ANSWERS)})


_UPDATE_COMPONENTS = """
INSERT INTO component_results
    (learner_id, unit_id, component, answered, correct, mastery, group_id, updated_at)
WITH every AS (
    SELECT component, answered, correct FROM scored_components
    UNION ALL
    SELECT known.component, known.answered, known.correct FROM component_results known
    WHERE NOT EXISTS (
        SELECT 1 FROM scored_components new
        WHERE new.learner_id = known.learner_id AND new.unit_id = known.unit_id
          AND new.component = known.component)
), shares AS (
    SELECT component, SUM(correct) * 1.0 / SUM(answered) AS share FROM every GROUP BY component
)
SELECT new.learner_id, new.unit_id, new.component, new.answered, new.correct,
       (new.correct + :prior * shares.share) / (new.answered + :prior), learner.group_id, :now
FROM scored_components new
JOIN shares ON shares.component = new.component
LEFT JOIN learners learner ON learner.learner_id = new.learner_id
WHERE true
ON CONFLICT (learner_id, unit_id, component) DO UPDATE SET
    answered = excluded.answered, correct = excluded.correct, mastery = excluded.mastery,
    updated_at = excluded.updated_at
WHERE component_results.answered <> excluded.answered
   OR component_results.correct <> excluded.correct
   OR ABS(component_results.mastery - excluded.mastery) > 1e-9
"""


def move_learners(connection: Connection, moved: pl.DataFrame) -> None:
    """Takes over that learners are in other groups: in every row that repeats it, and in sums.

    In `daily_counts` the answers that were given about them at a moment move; of a moment that
    scored only learners with new events, those that it carried on stay where they were.

    Args:
        connection: in a transaction.
        moved: `learner_id`, `old_group`, `new_group`.
    """
    _load(connection, _MovedLearners, [moved])
    for table in ("current_answers", "component_results", "outcomes"):
        _run(
            connection,
            f"""
            UPDATE {table} SET group_id = (
                SELECT new_group FROM moved_learners moved
                WHERE moved.learner_id = {table}.learner_id)
            WHERE learner_id IN (SELECT learner_id FROM moved_learners)
            """,
        )
    _run(connection, _MOVE_COUNTS)
    _run(connection, "DELETE FROM daily_counts WHERE answers <= 0")

    versions = _run_ids(
        connection,
        """
        SELECT DISTINCT version_id FROM outcomes
        WHERE version_id IS NOT NULL
          AND learner_id IN (SELECT learner_id FROM moved_learners)
        """,
    )
    outcome_sums.refresh_sums(connection, versions)
    current_sums.refresh_current_sums(connection)
    drop_temporary(connection)


_MOVE_COUNTS = """
INSERT INTO daily_counts (as_of, version_id, group_id, unit_id, predicted_class, answers, need)
WITH given AS (
    SELECT answer.as_of, answer.version_id, answer.unit_id, answer.need,
           COALESCE(answer.predicted_class, '') AS class,
           COALESCE(moved.old_group, '') AS old_group, COALESCE(moved.new_group, '') AS new_group
    FROM moved_learners moved
    JOIN answers answer ON answer.learner_id = moved.learner_id
    WHERE EXISTS (
        SELECT 1 FROM scorings scoring
        WHERE scoring.version_id = answer.version_id AND scoring.as_of = answer.as_of
          AND scoring.finished_at IS NOT NULL)
), change AS (
    SELECT as_of, version_id, old_group AS group_id, unit_id, class, -1 AS answers, -need AS need
    FROM given
    UNION ALL
    SELECT as_of, version_id, new_group, unit_id, class, 1, need FROM given
)
SELECT as_of, version_id, group_id, unit_id, class, SUM(answers), SUM(need)
FROM change WHERE true
GROUP BY as_of, version_id, group_id, unit_id, class
ON CONFLICT (as_of, version_id, group_id, unit_id, predicted_class) DO UPDATE SET
    answers = daily_counts.answers + excluded.answers, need = daily_counts.need + excluded.need
"""


def _run_ids(connection: Connection, statement: str) -> list[int]:
    return [int(row[0]) for row in connection.execute(text(statement))]


def _run(connection: Connection, statement: str, parameters: dict[str, Any] | None = None) -> int:
    """Runs a statement; times among its parameters are written as the database keeps them."""
    given = {name: value for name, value in (parameters or {}).items() if f":{name}" in statement}
    times = [name for name, value in given.items() if isinstance(value, datetime)]
    prepared = text(statement).bindparams(*(bindparam(name, type_=UtcTime()) for name in times))
    return connection.execute(prepared, given).rowcount
