"""From events to a table of answers, for `mastery predict` and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from components.command.escape import in_one_line
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
from components.event_log.log import read_questions
from components.event_log.log_spec import question_spec
from components.example_gen.encoding import encode, join_batches
from components.files.spreadsheet import for_spreadsheet

if TYPE_CHECKING:
    from components.config.root import Config
    from serving.client import Answer, Client

Format = Literal["table", "csv", "jsonl"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "table",
}


@dataclass(frozen=True)
class Questions:
    """The learners and units to predict for, and the requests to send.

    Attributes:
        keys: `learner_id`, `unit_id`, `as_of`, one row per question, in the order asked.
        examples: a serialized `tf.Example` per question. It holds only the inputs of the model: a
            server need not know the learner.
    """

    keys: pl.DataFrame
    examples: list[bytes]


def questions_from_log(
    config: Config, events: Sequence[str], outcomes: Sequence[str] = (), *, as_of: str | None = None
) -> Questions:
    """Joins events and questions point in time, by the code that made the training examples.

    Args:
        config: the configuration that the model was trained with.
        events: files, folders or patterns.
        outcomes: the same for the table of questions; labels in it are not read.
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


def predict_questions(client: Client, questions: Questions) -> pl.DataFrame:
    """Returns a row per question, in their order.

    Columns: `learner_id`, `unit_id`, `as_of`; then `predicted_class` and a `probability_<class>`
    per class, or `prediction`; then `basis`.

    Raises:
        PredictError: the server did not answer.

    >>> from serving.client import connect
    >>> keys = {"learner_id": ["ann"], "unit_id": ["algebra"], "as_of": [7]}
    >>> with connect(SERVER, model="sample") as client:
    ...     answers = predict_questions(client, Questions(pl.DataFrame(keys), EXAMPLES))
    >>> answers.select("learner_id", "predicted_class", "basis").row(0)
    ('ann', 'high', 'prior')
    """
    answers = client.predict(questions.examples)
    basis = pl.Series(BASIS, [answer.basis for answer in answers], pl.String)
    return questions.keys.hstack([*_predictions(answers), basis])


def _predictions(answers: list[Answer]) -> list[pl.Series]:
    if answers and answers[0].prediction is not None:
        return [pl.Series(PREDICTION, [answer.prediction for answer in answers], pl.Float32)]

    classes = [answer.predicted_class for answer in answers]
    probabilities = pl.DataFrame([answer.probabilities for answer in answers])
    columns = [item.cast(pl.Float32).alias(f"probability_{item.name}") for item in probabilities]
    return [pl.Series(PREDICTED_CLASS, classes, pl.String), *columns]


def output_format(out: Path | None, requested: Format | None) -> Format:
    """Returns the format: the requested one, else by the file's name, else a table for people.

    Raises:
        MasteryError: the file's name has another ending.

    >>> output_format(Path("answers.csv"), None), output_format(None, None)
    ('csv', 'table')
    """
    if requested or out is None:
        return requested or "table"
    if out.suffix not in _FORMATS:
        raise MasteryError(
            f"--out {out}: expected a name that ends in .csv, .jsonl or .txt, or --format."
        )
    return _FORMATS[out.suffix]


def format_answers(answers: pl.DataFrame, format_: Format) -> str:
    """Returns the table as text; `as_of` in ISO 8601 if it is a timestamp.

    Ids and classes are made harmless for the reader of the format: CSV for a spreadsheet
    (`components.files.spreadsheet`), the table for a terminal. JSON lines keep them as they are.
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
    """Returns aligned columns, numbers with four digits."""
    floats = [name for name, dtype in answers.schema.items() if dtype.is_float()]
    rounded = answers.with_columns(pl.col(name).round(4).cast(pl.String) for name in floats)
    text = rounded.cast(pl.String).fill_null("")

    rows = [[in_one_line(value) for value in row] for row in (text.columns, *text.rows())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(text.columns))]
    lines = (
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(line.rstrip() + "\n" for line in lines)
