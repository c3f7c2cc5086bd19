"""Answers again what a version was asked about a learner, and compares that with what was kept.

The learner's events before the moment are joined by the code that made the training examples, and
the version's own SavedModel answers. The prediction log knows no learners, only hashes of inputs,
so its row is found by the hash of the input that was made again; the answers' database knows
learner, unit, moment and version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from components.contracts.left_out import read_left_out
from components.contracts.names import (
    ANSWER_TEXT,
    BASIS,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
)
from components.errors import MasteryError
from components.event_log.clocks import Clock, to_clock
from components.event_log.known_outcomes import read_known_outcomes
from components.event_log.log import read_moment
from components.reasons.ranking import asked_in, find_reasons
from components.reasons.wording import Wording
from serving.answers.outcomes import WITHIN
from serving.answers.scoring.model import LocalModel
from serving.answers.scoring.versions import open_version
from serving.answers.tables import Answer, ModelVersion, Outcome
from serving.prediction_log.frames import answers_as_logged
from serving.prediction_log.log_store import LogStore, Query
from serving.replay.compare import Compared, compare
from serving.replay.in_service import InService, find_version, require_there
from serving.replay.inputs import LateEvent, LearnerLog, Question, Variant, format_moment
from serving.replay.result import Replayed, TurnedOut

if TYPE_CHECKING:
    from components.config import Config
    from serving.answers.scoring.versions import PushedVersion
    from serving.models.storage import Storage

Answers = list[dict[str, Any]]
PREDICTION_LOG = "prediction log"
DATABASE = "answers' database"


@dataclass(frozen=True)
class Asked:
    """What to replay.

    Attributes:
        learner: the id.
        as_of: the moment, as the log writes times.
        unit: one unit; None for all in which the learner has events before the moment.
        version: the number of the version; None for the one that was in service.
        learners: files with the columns of learners that the model reads; empty for the outcomes.
    """

    learner: str
    as_of: str
    unit: str | None = None
    version: int | None = None
    learners: Sequence[str] = ()


@dataclass(frozen=True)
class Kept:
    """Where answers were kept.

    Attributes:
        log: the prediction log; None without.
        database: the answers' database; None without.
    """

    log: LogStore | None = None
    database: Engine | None = None


def replay(storage: Storage, config: Config, asked: Asked, kept: Kept) -> list[Replayed]:
    """Returns what the version says, by unit.

    Args:
        storage: the serving folder.
        config: where the log is, and who is left out.
        asked: what to replay.
        kept: where answers were kept.

    Raises:
        LogError: the log cannot be used.
        MasteryError: the learner is left out or not in the log, no version can answer, or nothing
            was kept.
    """
    _refuse_left_out(config, asked.learner)
    chosen = None if asked.version is None else InService(asked.version, "as asked for")
    if chosen is None:
        chosen = find_version(storage, _as_time(asked.as_of, config.data.timezone))
    require_there(storage, chosen.version)

    with storage.local_copy(chosen.version) as folder:
        version = open_version(folder)
        log = LearnerLog(_reading(version.config, config), asked.learner, asked.learners or None)
        moment = log.moment(asked.as_of)
        units = [asked.unit] if asked.unit is not None else log.units(moment)
        if not units:
            raise MasteryError(
                f"the learner {asked.learner} has no event before {asked.as_of}; --unit asks about "
                "a unit all the same."
            )
        found = [_Replay(version, asked, kept, log.question(unit, moment)) for unit in units]
        replayed = [one.run(chosen.why, config) for one in found]
    if (kept.log or kept.database) and not any(item.kept for item in replayed):
        raise MasteryError(_nothing_kept(replayed))
    return replayed


class _Replay:
    """One question to one version."""

    def __init__(
        self, version: PushedVersion, asked: Asked, kept: Kept, question: Question
    ) -> None:
        self._version = version
        self._asked = asked
        self._kept = kept
        self._question = question
        self._model = LocalModel(str(version.folder))
        # One at a time, as most requests come: a batch may add numbers in another order.
        self._answers: dict[bytes, dict[str, Any]] = {}

    def run(self, why: str, config: Config) -> Replayed:
        """Answers and compares."""
        question, first = self._question, self._question.variants[0]
        answer = self._answer(first)
        kept: list[Compared] = []
        not_found: list[str] = []
        for where, found in self._compared():
            if found is None:
                not_found.append(where)
            else:
                kept.append(found)
        return Replayed(
            learner_id=self._asked.learner,
            unit_id=question.unit_id,
            as_of=format_moment(question.as_of),
            version=self._version.number,
            why_version=why,
            events=question.events,
            last_event=format_moment(question.last_event) if question.events else None,
            input_hash=first.hash,
            answer=answer,
            reasons=self._reasons(first),
            kept=kept,
            not_found=not_found,
            outcome=self._outcome(answer, config),
        )

    def _answer(self, variant: Variant) -> dict[str, Any]:
        if variant.example not in self._answers:
            outputs = self._model.outputs([variant.example])
            [self._answers[variant.example]] = answers_as_logged(outputs)
        return self._answers[variant.example]

    def _reasons(self, variant: Variant) -> list[str]:
        if not self._version.explains or self._answer(variant).get(BASIS) == "prior":
            return []
        config = self._version.config
        classes = None if config.label.task == "regression" else [""]
        outputs = self._model.explain([variant.example], classes)
        asked = asked_in(self._question.joined, config)
        [found] = find_reasons(outputs, asked, Wording.of(config))
        return [reason.text[next(iter(reason.text))] for reason in found.towards]

    # What was kept

    def _compared(self) -> Iterator[tuple[str, Compared | None]]:
        if self._kept.log is not None:
            yield PREDICTION_LOG, self._logged(self._kept.log)
        if self._kept.database is not None:
            yield DATABASE, self._stored(self._kept.database)

    def _logged(self, log: LogStore) -> Compared | None:
        """Returns how the logged answer compares; None where none of the inputs was logged."""
        version = self._version.number
        first, *others = self._question.variants
        rows = [*log.read(Query(version=version, input_hash=first.hash))]
        variant = first
        if not rows:
            variants = {item.hash: item for item in others}
            as_of = self._question.as_of
            since = as_of if isinstance(as_of, datetime) else None
            for row in log.read(Query(version=version, since=since)):
                # Of several, the one that lacks the fewest events.
                found = variants.get(row.input_hash)
                if found is not None and (variant is first or len(found.late) <= len(variant.late)):
                    rows = [*rows, row] if found is variant else [row]
                    variant = found
        if not rows:
            return None
        last = max(rows, key=lambda row: row.at)
        return self._compare(PREDICTION_LOG, last.answer, last.at, variant, len(rows))

    def _compare(
        self, where: str, answer: dict[str, Any], at: datetime, variant: Variant, count: int
    ) -> Compared:
        verdict, differences = compare(self._answer(self._question.variants[0]), answer)
        late: tuple[LateEvent, ...] = ()
        if variant.late:  # the input was another one, whatever the answer is
            verdict = "differs"
            differences = differences or ["the same answer to another input"]
            then, _ = compare(self._answer(variant), answer)
            late = variant.late if then != "differs" else ()
        return Compared(
            where=where,
            at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            count=count,
            verdict=verdict,
            differences=differences,
            late=list(late),
        )

    def _stored(self, engine: Engine) -> Compared | None:
        """Returns how the answer in the database compares; None where there is none."""
        if not isinstance(self._question.as_of, datetime):
            return None
        wanted = (
            select(Answer)
            .join(ModelVersion, ModelVersion.id == Answer.version_id)
            .where(
                ModelVersion.model == self._version.name,
                ModelVersion.version == self._version.number,
                Answer.learner_id == self._asked.learner,
                Answer.unit_id == self._question.unit_id,
                Answer.as_of == self._question.as_of.astimezone(UTC),
            )
        )
        with Session(engine) as session:
            row = session.scalar(wanted)
            if row is None:
                return None
            stored, at = _stored_answer(row), row.scored_at

        variants = self._question.variants
        verdict, differences = compare(_as_stored(self._answer(variants[0]), stored), stored)
        late: Sequence[LateEvent] = ()
        if verdict == "differs":
            for variant in variants[1:]:
                then = _as_stored(self._answer(variant), stored)
                if compare(then, stored)[0] != "differs":
                    late = variant.late
                    break
        return Compared(
            where=DATABASE,
            at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            verdict=verdict,
            differences=differences,
            late=list(late),
        )

    # Whether it was right

    def _outcome(self, answer: dict[str, Any], config: Config) -> TurnedOut | None:
        as_of = self._question.as_of
        if not isinstance(as_of, datetime):
            return None
        found = self._stored_outcome(as_of) or self._logged_outcome(as_of, config)
        if found is None:
            return None
        label, when = found
        if PREDICTION in answer:
            value = np.ravel(answer[PREDICTION])[0]
            return TurnedOut(
                label=label, as_of=format_moment(when), off_by=float(value) - float(label)
            )
        right = answer[PREDICTED_CLASS] == label
        return TurnedOut(label=label, as_of=format_moment(when), right=right)

    def _stored_outcome(self, as_of: datetime) -> tuple[str | float, datetime] | None:
        if self._kept.database is None:
            return None
        wanted = (
            select(Outcome.label, Outcome.value, Outcome.as_of)
            .where(
                Outcome.learner_id == self._asked.learner,
                Outcome.unit_id == self._question.unit_id,
                Outcome.as_of >= as_of,
                Outcome.as_of <= as_of + WITHIN,
            )
            .order_by(Outcome.as_of)
            .limit(1)
        )
        with Session(self._kept.database) as session:
            row = session.execute(wanted).first()
        if row is None:
            return None
        return row.label if row.label is not None else float(row.value or 0), row.as_of

    def _logged_outcome(
        self, as_of: datetime, config: Config
    ) -> tuple[str | float, datetime] | None:
        rows = _outcomes(config, self._version.config).filter(
            learner_id=self._asked.learner, unit_id=self._question.unit_id
        )
        column = self._version.config.label.column
        for row in rows.sort("as_of").iter_rows(named=True):
            if as_of <= row["as_of"] <= as_of + WITHIN:
                return row[column], row["as_of"]
        return None


def _stored_answer(row: Answer) -> dict[str, Any]:
    """Returns a stored answer with the names and types of the model's outputs."""
    stored: dict[str, Any] = {BASIS: row.basis}
    if row.prediction is not None:
        stored[PREDICTION] = _single(row.prediction)
    else:
        stored[PREDICTED_CLASS] = row.predicted_class
        stored[PROBABILITIES] = _single(row.probabilities)
    if row.answer_text is not None:
        stored[ANSWER_TEXT] = row.answer_text
    return stored


def _as_stored(answer: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the outputs that are stored, as they are stored."""
    found = {name: answer.get(name) for name in stored}
    if PREDICTION in found:
        found[PREDICTION] = np.asarray(found[PREDICTION]).ravel().tolist()[0]
    numbers = (PREDICTION, PROBABILITIES)
    return {name: _single(value) if name in numbers else value for name, value in found.items()}


def _single(values: Any) -> Any:
    """Returns numbers as the model gives them: of single precision."""
    single = np.asarray(values, np.float32)
    return single.tolist()


def _outcomes(config: Config, of_version: Config) -> pl.DataFrame:
    return read_known_outcomes(_reading(of_version, config))


def _reading(of_version: Config, config: Config) -> Config:
    """Returns the version's configuration, with the log that is there now."""
    return of_version.model_copy(update={"data": config.data})


def _refuse_left_out(config: Config, learner: str) -> None:
    known = read_left_out(config.data.left_out)
    if known is None or not known.holds(learner):
        return
    reason = next(item.reason for item in known.learners if item.digest == known.digest(learner))
    raise MasteryError(
        f"the learner {learner} {'was erased' if reason == 'erased' else 'opted out'} "
        f"(data.left_out: {config.data.left_out}), so no version is asked about them."
    )


def _as_time(text: str, timezone: str) -> datetime:
    """Returns a moment as a time of the audit log.

    Raises:
        MasteryError: it is a number of a clock of the log's own.
    """
    values = to_clock(read_moment(text, timezone).values, Clock.TIMESTAMP, timezone)
    moment = values.to_list()[0]
    if not isinstance(moment, datetime):
        raise MasteryError(
            f"--as-of {text}: expected a date or time to find the version that was in service; "
            "--version names one for a log with a clock of its own."
        )
    return moment.astimezone(UTC)


def _nothing_kept(replayed: Sequence[Replayed]) -> str:
    first = replayed[0]
    return (
        f"version {first.version} would have answered {json.dumps(first.answer)}, but nothing was "
        f"kept to compare with: not found in the {' or the '.join(first.not_found)} for unit "
        f"{first.unit_id} as of {first.as_of}, nor for an input that lacks events which may have "
        "arrived late. Another version may have answered (--version), the log may keep a sample, "
        "or its rows were purged."
    )
