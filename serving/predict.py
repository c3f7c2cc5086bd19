"""What `mastery predict` does: events in, a table of answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from components.command.escape import in_one_line
from components.contracts.names import BASIS, PREDICTED_CLASS, PREDICTION
from components.errors import MasteryError
from components.files.spreadsheet import for_spreadsheet
from serving.client import Answer, Client
from serving.requests import Questions

Format = Literal["table", "csv", "jsonl"]


def predict(client: Client, questions: Questions) -> pl.DataFrame:
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


def format_of(out: Path | None, asked: Format | None) -> Format:
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


def to_text(answers: pl.DataFrame, format_: Format) -> str:
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
