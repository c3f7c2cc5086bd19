"""The inputs that a server was asked with about a learner, as the prediction log knows them.

The prediction log holds no ids, only hashes of inputs. Whoever has the learner's events can make
the inputs again, of every moment that is known to have been asked about, and so find the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import Engine, select

from components.contracts.names import AS_OF, LEARNER, UNIT
from components.event_log.known_outcomes import derive_outcomes
from components.event_log.log import read_questions
from serving.answers.tables import Answer
from serving.predict import questions_from_log

if TYPE_CHECKING:
    from components.config import Config

Asked = tuple[str, datetime]  # unit and moment


def asked_about(engine: Engine, learner: str) -> list[Asked]:
    """Returns the units and moments that a learner was scored for."""
    with engine.connect() as connection:
        rows = select(Answer.unit_id, Answer.as_of).where(Answer.learner_id == learner).distinct()
        return [(row.unit_id, row.as_of) for row in connection.execute(rows)]


def input_hashes(config: Config, learner: str, asked: Iterable[Asked]) -> set[str]:
    """Returns the hashes of a learner's inputs, in hexadecimal.

    Args:
        config: of the model; its log still has the learner.
        learner: the id.
        asked: units and moments, besides those of the log's outcomes. Other columns that the model
            reads are taken from the learner's first outcome, and are missing without one.

    Raises:
        LogError: the log cannot be used.
    """
    data = config.data.model_copy(update={"left_out": None, "sample_learners": None})
    config = config.model_copy(update={"data": data})
    if data.derived is None:
        outcomes = read_questions(config, data.events, data.outcome_files).outcomes
    else:
        outcomes = pl.concat(derive_outcomes(config))
    mine = outcomes.filter(pl.col(LEARNER) == learner)
    rows = mine.select(name for name in mine.columns if not name.startswith("_"))
    further = pl.DataFrame([*asked], schema=[UNIT, AS_OF], orient="row")
    if further.height and isinstance(rows.schema[AS_OF], pl.Datetime):
        keys = further.with_columns(
            pl.lit(learner).alias(LEARNER), pl.col(AS_OF).cast(rows.schema[AS_OF])
        )
        first = rows.head(1) if rows.height else rows.clear(1)  # a row without values
        rest = first.drop(LEARNER, UNIT, AS_OF)
        rows = pl.concat([rows, keys.join(rest, how="cross") if rest.width else keys],
                         how="diagonal").unique([UNIT, AS_OF], keep="first")  # fmt: skip
    if rows.is_empty():
        return set()

    columns = data.columns
    sources = {LEARNER: columns.learner_id, UNIT: columns.unit_id, AS_OF: columns.as_of}
    with TemporaryDirectory(prefix="mastery-learner-") as folder:
        table = Path(folder, "questions.parquet")
        rows.rename(sources).write_parquet(table)
        questions = questions_from_log(config, data.events, [str(table)])
    return {hashlib.sha256(example).hexdigest() for example in questions.examples}
