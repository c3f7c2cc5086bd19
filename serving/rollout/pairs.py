"""Answers of two versions to the same questions, from the prediction log.

The log holds no learners, only hashes of inputs. Whoever has the learners' events can make the
inputs again, and so knows whom a pair is about and what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import polars as pl

from components.contracts.names import (
    AS_OF,
    CLASSES,
    LEARNER,
    ORDER,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    UNIT,
)
from components.event_log.log import read_log
from components.event_log.log_spec import LogSpec
from components.event_log.spans import choose_spans
from components.example_gen.encoding import encode, join_batches, question_columns
from serving.predict import questions_from_log
from serving.prediction_log.log_store import Query

if TYPE_CHECKING:
    from components.config import Config
    from serving.prediction_log.frames import Row
    from serving.prediction_log.log_store import LogStore

INPUT_HASH = "input_hash"


@dataclass(frozen=True)
class Said:
    """What a version answered, as far as it is compared.

    Attributes:
        predicted_class: None from a regression.
        probabilities: by class; empty from a regression.
        prediction: None from a classification.
    """

    predicted_class: str | None
    probabilities: dict[str, float]
    prediction: float | None

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Said | None:
        """Returns what a row of the log says; None if it is no answer of this kind."""
        if PREDICTION in answer:
            number = answer[PREDICTION]
            return cls(None, {}, number) if isinstance(number, int | float) else None
        if PREDICTED_CLASS not in answer:
            return None
        values = zip(answer.get(CLASSES, ()), answer.get(PROBABILITIES, ()), strict=False)
        return cls(answer[PREDICTED_CLASS], dict(values), None)


@dataclass(frozen=True)
class Pair:
    """Two versions' answers to one question.

    Attributes:
        input_hash: of the question.
        at: when the later of both was asked; from then on there is a pair.
        champion: what the version in service answered.
        challenger: what the other one did.
    """

    input_hash: str
    at: datetime
    champion: Said
    challenger: Said


@dataclass(frozen=True)
class Asked:
    """Whom a question was about, and what became of it.

    Attributes:
        learner: the id.
        label: the outcome: a class or a number; None as long as it is not known.
    """

    learner: str
    label: str | float | None = None


def read_pairs(store: LogStore, champion: int, challenger: int) -> list[Pair]:
    """Returns the questions that both versions have answered, each once, in the order of time."""
    found = _first_answers(store.read(Query(version=challenger, shadow=None)))
    if not found:
        return []
    others = _first_answers(store.read(Query(version=champion, shadow=None)))
    pairs = [
        Pair(digest, max(at, others[digest][0]), others[digest][1], said)
        for digest, (at, said) in found.items()
        if digest in others
    ]
    return sorted(pairs, key=lambda pair: (pair.at, pair.input_hash))


def _first_answers(rows: Iterable[Row]) -> dict[str, tuple[datetime, Said]]:
    """Returns when each question was first answered, and how."""
    found: dict[str, tuple[datetime, Said]] = {}
    for row in rows:
        said = Said.of(row.answer)
        if said is not None and (row.input_hash not in found or row.at < found[row.input_hash][0]):
            found[row.input_hash] = (row.at, said)
    return found


def find_asked(
    config: Config, *, questions: Sequence[str] = (), moments: Sequence[str] = ()
) -> dict[str, Asked]:
    """Returns whom questions were about by the hash of their input, from a configuration's log.

    An input that several learners have is left out.

    Args:
        config: the configuration that the versions were made with; its log has the outcomes.
        questions: tables of what was asked, besides the outcomes themselves, as
            `mastery predict --outcomes` reads them.
        moments: as of which all learners were asked about, as `mastery predict --as-of` has them.

    Raises:
        LogError: the log cannot be used.
    """
    outcomes = _outcomes(config)
    data = config.data
    events = choose_spans([*data.events, *data.outcome_files], data.span).fill(data.events)
    asked = [outcomes]
    given = [{"outcomes": [*questions]}] if questions else []
    for one in (*given, *({"as_of": moment} for moment in moments)):
        made = questions_from_log(config, events, **one)  # type: ignore[arg-type]
        keys = made.keys.with_columns(
            pl.Series(INPUT_HASH, [sha256(example).hexdigest() for example in made.examples])
        )
        asked.append(_with_next_outcome(keys, outcomes, config.label.column))

    # An input that several learners have, such as that of a cold start, is about none of them.
    table = pl.concat(asked, how="vertical_relaxed")
    table = table.filter(pl.col(LEARNER).n_unique().over(INPUT_HASH) == 1)
    table = table.unique(INPUT_HASH, keep="first", maintain_order=True)
    rows = table.select(INPUT_HASH, LEARNER, config.label.column).iter_rows()
    return {digest: Asked(str(learner), label) for digest, learner, label in rows}


def _outcomes(config: Config) -> pl.DataFrame:
    """Returns the outcomes with the hash of the question of their own moment."""
    part = read_log(config, splits=False, keys_only=False).part
    spec = LogSpec.of(config)
    examples: list[bytes] = []
    for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
        examples += encode(batch, question_columns(config))
    hashes = [sha256(example).hexdigest() for example in examples]
    table = part.outcomes.sort(ORDER) if len(examples) != len(part.outcomes) else part.outcomes
    return table.select(LEARNER, UNIT, AS_OF, config.label.column).with_columns(
        pl.Series(INPUT_HASH, hashes)
    )


def _with_next_outcome(keys: pl.DataFrame, outcomes: pl.DataFrame, label: str) -> pl.DataFrame:
    """Returns questions, each with the first outcome of its learner and unit from then on."""
    asked = keys.with_columns(pl.col(AS_OF).cast(outcomes.schema[AS_OF])).sort(AS_OF)
    known = outcomes.drop(INPUT_HASH).sort(AS_OF)
    found = asked.join_asof(
        known, on=AS_OF, by=[LEARNER, UNIT], strategy="forward", check_sortedness=False
    )
    return found.select(LEARNER, UNIT, AS_OF, label, INPUT_HASH)
