"""What `mastery predict` does: events in, a table of answers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from components.command.escape import in_one_line
from components.config import Config
from components.contracts.names import (
    AS_OF,
    BASIS,
    LEARNER,
    NUM_STEPS,
    ORDER,
    PREDICTED_CLASS,
    PREDICTION,
    UNIT,
)
from components.errors import MasteryError
from components.event_log.log import question_spec, read_questions
from components.example_gen.examples import encode, join_batches
from components.files.spreadsheet import for_spreadsheet
from serving.client import Answer, Client


@dataclass(frozen=True)
class Questions:
    """What is asked, about whom.

    Attributes:
        keys: `learner_id`, `unit_id`, `as_of`, one row a question, in the order in which they were asked.
        examples: a serialized `tf.Example` for each, with the inputs of the model only: a server need not know
            who is asked about.
    """

    keys: pl.DataFrame
    examples: list[bytes]


def questions_from_log(
    config: Config, events: Sequence[str], outcomes: Sequence[str] = (), *, as_of: str | None = None
) -> Questions:
    """Joins events and questions point in time, by the code that made the model's own training examples.

    Args:
        config: the one that the model was made with.
        events: files, folders or patterns.
        outcomes: the same for the table of questions; labels may be in it and are not read.
        as_of: instead of `outcomes`, one moment for every learner and unit in the events.

    Raises:
        LogError: the files cannot be used.
        MasteryError: see `read_questions`.
    """
    part = read_questions(config, events, outcomes, as_of=as_of)
    spec = question_spec(config)
    inputs = dict.fromkeys([NUM_STEPS, *config.context, *config.prior.group_by, *spec.features])
    batches = join_batches(part.windows, part.outcomes, list(spec.features))
    examples = [example for batch in batches for example in encode(batch, list(inputs))]
    order = part.outcomes[ORDER].arg_sort()
    keys = part.outcomes.select(LEARNER, UNIT, AS_OF)[order]
    return Questions(keys, [examples[place] for place in order])


Format = Literal["table", "csv", "jsonl"]


def predict_questions(client: Client, questions: Questions) -> pl.DataFrame:
    """Returns a row for each question, in their order.

    Columns: `learner_id`, `unit_id`, `as_of`, then `predicted_class` and a `probability_<class>` for each class, or
    `prediction`; then `basis`.

    Raises:
        PredictError: the server did not answer.
    """
    answers = client.predict(questions.examples)
    columns = [
        *_answered(answers),
        pl.Series(BASIS, [answer.basis for answer in answers], pl.String),
    ]
    return questions.keys.hstack(columns)


def _answered(answers: list[Answer]) -> list[pl.Series]:
    if answers and answers[0].prediction is not None:
        return [pl.Series(PREDICTION, [answer.prediction for answer in answers], pl.Float32)]
    probabilities = pl.DataFrame([answer.probabilities for answer in answers])
    columns = [
        column.cast(pl.Float32).alias(f"probability_{column.name}") for column in probabilities
    ]
    return [
        pl.Series(PREDICTED_CLASS, [answer.predicted_class for answer in answers], pl.String),
        *columns,
    ]


def output_format(out: Path | None, asked: Format | None) -> Format:
    """Returns the format: the one asked for, else by the file's name, else a table for people.

    Raises:
        MasteryError: a file is named whose ending says nothing.
    """
    if asked or out is None:
        return asked or "table"
    formats: dict[str, Format] = {
        ".csv": "csv",
        ".jsonl": "jsonl",
        ".ndjson": "jsonl",
        ".txt": "table",
    }
    if out.suffix not in formats:
        raise MasteryError(
            f"--out {out}: expected a name that ends in .csv, .jsonl or .txt, or --format."
        )
    return formats[out.suffix]


def format_answers(answers: pl.DataFrame, format_: Format) -> str:
    """Returns the table as text; `as_of` in ISO 8601 where it is a timestamp.

    Ids and classes are made harmless for what reads that form: CSV for a spreadsheet
    (`components.files.spreadsheet`), the table for a terminal. JSON lines have them as they are.
    """
    times = [name for name, dtype in answers.schema.items() if isinstance(dtype, pl.Datetime)]
    plain = answers.with_columns(
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for name in times
    )
    if format_ == "csv":
        return for_spreadsheet(plain).write_csv()
    if format_ == "jsonl":
        return plain.write_ndjson()
    return _table(plain)


def _table(answers: pl.DataFrame) -> str:
    """Aligns columns, numbers with four digits."""
    floats = [name for name, dtype in answers.schema.items() if dtype.is_float()]
    text = (
        answers.with_columns(pl.col(name).round(4).cast(pl.String) for name in floats)
        .cast(pl.String)
        .fill_null("")
    )
    rows = [[in_one_line(value) for value in row] for row in (text.columns, *text.rows())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(text.columns))]
    lines = (
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(line.rstrip() + "\n" for line in lines)
