"""The pipeline of a scoring, for Beam: partitions, questions, the model, the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import polars as pl
from apache_beam.options.pipeline_options import PipelineOptions

from components.contracts.names import AS_OF
from components.event_log.tally import Tally, merge_tallies
from components.files.atomic import write_text
from serving.answers.database import open_database
from serving.answers.scoring.model import LabelRange, Model, answer
from serving.answers.store import copy_rows
from serving.answers.tables import Answer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from serving.answers.scoring.job import Batch, Job
    from serving.answers.scoring.reasons import Explaining

_READ = "read.json"  # in the scratch folder


@dataclass(frozen=True)
class Target:
    """Where answers go; a password is in the environment of every worker.

    Attributes:
        url: the address of the database; None for the one in the environment.
        version_id: of the model that answers.
        scorings: the id of the scoring of each moment.
    """

    url: str | None
    version_id: int
    scorings: dict[datetime, int]


def read_log(job: Job, options: list[str]) -> Tally:
    """Reads a log into the job's scratch folder; returns the counts."""
    path = Path(job.scratch, _READ)
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(job.groups(), reshuffle=True)
            | "Read" >> beam.Map(job.read)
            | "SumCounts" >> beam.CombineGlobally(merge_tallies)
            | "KeepCounts" >> beam.Map(_write, str(path))
        )
    return Tally.model_validate_json(path.read_bytes())


@dataclass(frozen=True)
class Asking:
    """Who answers, and how; travels to the workers.

    Attributes:
        model: that answers.
        label_range: of a regression.
        explaining: which answers are explained; None for none of them.
    """

    model: Model
    label_range: LabelRange | None = None
    explaining: Explaining | None = None


def answer_questions(job: Job, asking: Asking, target: Target, options: list[str]) -> None:
    """Asks the model about everybody in a log that was read, and writes the answers.

    Each batch is one transaction: after a scoring that was killed, another one finds its answers.
    A runner that loses a worker has a part asked about again, which changes no row: how many are
    new, only the database knows.
    """
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        _ = (
            pipeline
            | "Parts" >> beam.Create(range(job.parts.count), reshuffle=True)
            | "Ask" >> beam.FlatMap(job.ask)
            | "Answer" >> beam.ParDo(_Answer(asking))
            | "Write" >> beam.ParDo(_Write(target))
        )


class _Answer(beam.DoFn):  # type: ignore[misc]
    """Adds the model's answers and their reasons to the keys of a batch."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def process(self, batch: Batch) -> Iterator[pl.DataFrame]:
        """Yields one table per batch."""
        model, explaining = self._asking.model, self._asking.explaining
        answers = answer(model, batch.examples, self._asking.label_range)
        none = pl.lit("[]")
        reasons = none if explaining is None else explaining.reasons(model, batch, answers)
        yield batch.keys.hstack(answers.with_columns(reasons=reasons))


class _Write(beam.DoFn):  # type: ignore[misc]
    """Writes answers, each batch in one transaction; a row that is there stays."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._engine: Engine | None = None

    def setup(self) -> None:
        """Opens the database."""
        self._engine = open_database(self._target.url, upgrade=False)

    def teardown(self) -> None:
        """Closes the connections."""
        if self._engine is not None:
            self._engine.dispose()

    def process(self, answers: pl.DataFrame) -> None:
        """Writes a batch."""
        assert self._engine is not None, "Beam sets a function up before it calls it"
        target = self._target
        scorings = pl.DataFrame(
            {AS_OF: list(target.scorings), "scoring_id": list(target.scorings.values())},
            schema_overrides={AS_OF: answers.schema[AS_OF]},
        )
        rows = answers.join(scorings, on=AS_OF, how="left").with_columns(
            pl.lit(target.version_id).alias("version_id"),
            pl.lit(datetime.now(UTC)).alias("scored_at"),
        )
        with self._engine.begin() as connection:
            copy_rows(connection, Answer, rows, on_conflict="keep")


def _write(tally: Tally, path: str) -> None:
    write_text(path, tally.model_dump_json(), drafts=Path(path).parent)
