"""One scoring, from the log to what pages read; nothing is lost if it is killed anywhere."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from sqlalchemy import Engine, case, func, select, text, update
from sqlalchemy.orm import Session

from components.config.reasons import require_words_fit
from components.contracts.names import NUM_STEPS
from components.database import describe
from components.errors import MasteryError
from components.event_log.log_spec import question_spec
from components.event_log.problems import raise_if_any
from components.event_log.sources import find_files
from serving.answers import derived
from serving.answers.current_sums import refresh_current_sums
from serving.answers.database import open_database
from serving.answers.scoring.activity import ActivityColumns
from serving.answers.scoring.job import ACTIVITY, COMPONENTS, LEARNERS, PAIRS, Job
from serving.answers.scoring.model import LabelRange, LocalModel, Model, ServedModel
from serving.answers.scoring.moments import Moment
from serving.answers.scoring.pipeline import Asking, Target, answer_questions, read_log
from serving.answers.scoring.reasons import Explaining, Which
from serving.answers.scoring.versions import PushedVersion, register
from serving.answers.store import sole_writer
from serving.answers.tables import Answer, Scoring

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from components.config.root import Config
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

_LOCK = 0x73636F72  # of PostgreSQL: one scoring at a time
_LOCK_SUFFIX = ".scoring-lock"  # of the file beside SQLite's


@dataclass(frozen=True)
class ScoringOptions:
    """What to score and how.

    Attributes:
        events: files, folders or patterns.
        moments: that answers are wanted for, in order.
        learners: files of the table with the columns of learners that the model reads.
        server: the address of a server that answers instead of the files of the version.
        only_new: whether to leave out learners without events since the last scoring.
        columns: what the log calls the columns that pages show.
        label_range: of a regression.
        reasons: which answers are explained, where the version can.
        words: a configuration whose section `reasons` is used instead of the version's.
        beam: options of the runner.
        partitions: how many groups of learners there are at least.
    """

    events: Sequence[str]
    moments: Sequence[datetime]
    learners: Sequence[str] = ()
    server: str | None = None
    only_new: bool = False
    columns: ActivityColumns = field(default_factory=ActivityColumns)
    label_range: LabelRange | None = None
    reasons: Which = "needed"
    words: Config | None = None
    beam: Sequence[str] = ()
    partitions: int = 1


@dataclass(frozen=True)
class Scored:
    """What a scoring did.

    Attributes:
        answers: that there are now for the moments.
        new: how many of them were not there before.
        learners: who were asked about.
        skipped: learners in the log who were not.
        unknown: learners without a row in the table of learners.
        changed: current answers that are others now.
    """

    answers: int
    new: int
    learners: int
    skipped: int
    unknown: int
    changed: int


def score(url: str | None, version: PushedVersion, options: ScoringOptions) -> Scored:
    """Scores a log into a database.

    Args:
        url: the database's address; see `open_database`.
        version: that answers.
        options: see `ScoringOptions`.

    Raises:
        LogError: the log cannot be used; lists all of its problems.
        MasteryError: something else cannot be used, or another scoring is running.
    """
    _check(version, options)
    spec, inputs = _what_the_model_reads(version, options)
    engine = open_database(url)
    try:
        with alone(engine), TemporaryDirectory(prefix="mastery-score-") as scratch:
            version_id = register(engine, version)
            moments = _moments(engine, version_id, options)
            files = _find(options, spec)
            activity = options.columns.find(files["events"], spec)
            explaining = _explaining(version, options)
            job = Job.of(
                spec, inputs, files, activity, moments, scratch, for_reasons=explaining is not None
            )
            job.check(read_log(job, list(options.beam)))

            target = Target(
                _worker_url(url, engine), version_id, _begin(engine, version_id, moments)
            )
            asking = Asking(_model(version, options), options.label_range, explaining)
            answer_questions(job, asking, target, list(options.beam))
            answers, new, changed = _finish(engine, job, target)
            counts = job.counts()
    finally:
        engine.dispose()
    return Scored(
        answers=answers,
        new=new,
        learners=counts["learners"],
        skipped=counts["skipped"],
        unknown=counts["unknown"],
        changed=changed,
    )


def _check(version: PushedVersion, options: ScoringOptions) -> None:
    label = version.config.label
    if label.task == "regression" and options.label_range is None:
        raise MasteryError(
            f"{version.name} predicts a number: expected --label-range LOWEST HIGHEST of "
            f"{label.column}, such as 0 100, which says how far a learner is from the goal."
        )


def _what_the_model_reads(
    version: PushedVersion, options: ScoringOptions
) -> tuple[LogSpec, list[str]]:
    """Returns how the log is read, and the columns of an example, as `mastery predict` has them."""
    config = version.config
    spec = question_spec(config).model_copy(update={"partitions": options.partitions})
    if spec.outcome_columns and not options.learners:
        columns = ", ".join(spec.outcome_columns)
        raise MasteryError(
            f"{version.name} also reads {columns}, which events do not have: expected --learners "
            f"with a table of {spec.columns.learner_id} and these columns, one row per learner, or "
            "a table of outcomes."
        )
    inputs = [NUM_STEPS, *config.context, *config.prior.group_by, *spec.features]
    return spec, [*dict.fromkeys(inputs)]


def _find(options: ScoringOptions, spec: LogSpec) -> dict[str, list[LogFile]]:
    """Returns the files of events, and of the table of learners if there is one."""
    found = {"events": find_files("events", options.events, spec.mapping)}
    if options.learners:
        found[LEARNERS] = find_files(LEARNERS, options.learners)
    raise_if_any([problem for listing in found.values() for problem in listing.problems])
    return {name: listing.files for name, listing in found.items()}


def _model(version: PushedVersion, options: ScoringOptions) -> Model:
    if options.server is None:
        return LocalModel(str(version.folder))
    return ServedModel(options.server, version.name, version.number)


def _explaining(version: PushedVersion, options: ScoringOptions) -> Explaining | None:
    """Returns which answers are explained; None where the version cannot, or nobody asks for it.

    Raises:
        ConfigError: the words are not for the features of the version.
    """
    if options.reasons == "none" or not version.explains:
        return None
    config = version.config
    if options.words is not None:
        config = config.model_copy(update={"reasons": options.words.reasons})
        require_words_fit(config.reasons, config.steps, config.context)
    return Explaining(config, options.reasons)


# One scoring at a time


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Keeps other scorings of the database out; the lock ends with the process.

    Raises:
        MasteryError: another one is running.
    """
    if engine.dialect.name == "sqlite":
        path = Path(f"{engine.url.database}{_LOCK_SUFFIX}")
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(engine) from None
            yield
        return

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({_LOCK})")):
            raise _busy(engine)
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))


def _busy(engine: Engine) -> MasteryError:
    return MasteryError(
        f"{describe(engine)}: another scoring is writing to it. Nothing was done; run this one "
        "again when that has finished."
    )


def _worker_url(url: str | None, engine: Engine) -> str | None:
    """Returns the address for workers; None where it is in their environment, as passwords are."""
    if engine.dialect.name == "sqlite":
        return f"sqlite:///{Path(engine.url.database or '').resolve()}"
    return url


# Before and after the answers


def _moments(engine: Engine, version_id: int, options: ScoringOptions) -> list[Moment]:
    """Returns the moments; with `only_new`, from the last scoring that finished.

    Raises:
        MasteryError: with `only_new`, there are several, or a later one was scored before.
    """
    if not options.only_new:
        return [Moment(as_of) for as_of in options.moments]
    if len(options.moments) > 1:
        raise MasteryError("--only-new: expected one moment, found several.")

    [as_of] = options.moments
    finished = select(Scoring.as_of).where(
        Scoring.version_id == version_id, Scoring.finished_at.is_not(None)
    )
    with Session(engine) as session:
        later = session.scalar(finished.where(Scoring.as_of > as_of).limit(1))
        before = session.scalar(
            finished.where(Scoring.as_of < as_of).order_by(Scoring.as_of.desc()).limit(1)
        )
    if later is not None:
        raise MasteryError(
            f"--only-new --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}: expected a moment after the last "
            f"scoring, found one of {later:%Y-%m-%dT%H:%M:%SZ}; score the past without --only-new."
        )
    return [Moment(as_of, before)]


def _begin(engine: Engine, version_id: int, moments: Sequence[Moment]) -> dict[datetime, int]:
    """Writes a row per moment into `scorings`; returns their ids."""
    started = datetime.now(UTC)
    with Session(engine) as session, session.begin():
        rows = [
            Scoring(version_id=version_id, as_of=moment.as_of, started_at=started)
            for moment in moments
        ]
        session.add_all(rows)
        session.flush()
        return {row.as_of: row.id for row in rows}


def _finish(engine: Engine, job: Job, target: Target) -> tuple[int, int, int]:
    """Derives what pages read, and marks the scorings as finished, in one transaction.

    Returns:
        How many answers there are for the moments, how many of them these scorings wrote, and how
        many current ones changed.
    """
    moments = [moment.as_of for moment in job.moments]
    with sole_writer(engine) as connection:
        derived.load_pairs(connection, _frames(job.files_of(PAIRS)))
        derived.load_components(connection, _frames(job.files_of(COMPONENTS)))
        changed = derived.update_current(connection, target.version_id, moments)
        derived.update_learners(connection)
        derived.add_activity(connection, _frames(job.files_of(ACTIVITY)))
        derived.update_components(connection, datetime.now(UTC))
        for moment in job.moments:
            carry = moment.new_since is not None
            derived.count_answers(connection, target.version_id, moment.as_of, carry=carry)
        refresh_current_sums(connection)
        answers, new = _mark_finished(connection, target)
        derived.drop_temporary(connection)
    return answers, new, changed


def _frames(paths: Sequence[Path]) -> Iterator[pl.DataFrame]:
    for path in paths:
        yield pl.read_parquet(path)


def _mark_finished(connection: Connection, target: Target) -> tuple[int, int]:
    total = total_new = 0
    for as_of, scoring in target.scorings.items():
        is_new = case((Answer.scoring_id == scoring, 1), else_=0)
        found = select(func.count(), func.coalesce(func.sum(is_new), 0)).where(
            Answer.version_id == target.version_id, Answer.as_of == as_of
        )
        answers, new = connection.execute(found).one()
        done = {"finished_at": datetime.now(UTC), "answers": answers}
        connection.execute(update(Scoring).where(Scoring.id == scoring).values(**done))
        total += answers
        total_new += new
    return total, total_new
