"""From events to a table of answers, for `mastery predict` and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from components.command.escape import in_one_line
from components.command.suggest import did_you_mean
from components.contracts.names import (
    ANSWER_TEXT,
    AS_OF,
    BASIS,
    EXPLAINED_CLASS,
    LEARNER,
    ORDER,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_SET,
    UNFAMILIAR,
    UNIT,
    decision_output,
)
from components.errors import MasteryError
from components.event_log.log import read_questions
from components.event_log.log_spec import question_spec
from components.example_gen.encoding import encode, join_batches, question_columns
from components.files.spreadsheet import for_spreadsheet
from components.reasons.ranking import asked_in, find_reasons
from components.reasons.wording import Wording
from serving.client.answers import outputs_of

if TYPE_CHECKING:
    from components.config.root import Config
    from components.reasons.ranking import Asked, Reason
    from serving.client import Answer, Client

REASONS = "reasons"
_REASON = pl.Struct(
    {"feature": pl.String, "direction": pl.String, "weight": pl.Float64, "text": pl.String}
)

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
        asked: the same as rows, for the words of reasons; empty unless they were wanted.
    """

    keys: pl.DataFrame
    examples: list[bytes]
    asked: list[Asked] = field(default_factory=list)


def questions_from_log(
    config: Config,
    events: Sequence[str],
    outcomes: Sequence[str] = (),
    *,
    as_of: str | None = None,
    for_reasons: bool = False,
) -> Questions:
    """Joins events and questions point in time, by the code that made the training examples.

    Args:
        config: the configuration that the model was trained with.
        events: files, folders or patterns.
        outcomes: the same for the table of questions; labels in it are not read.
        as_of: instead of `outcomes`, one moment for every learner and unit in the events.
        for_reasons: whether to keep what `explain_questions` words its reasons from.

    Raises:
        LogError: the files cannot be used.
        MasteryError: see `read_questions`.
    """
    part = read_questions(config, events, outcomes, as_of=as_of)
    spec = question_spec(config)
    inputs = question_columns(config)
    examples: list[bytes] = []
    asked: list[Asked] = []
    for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
        examples += encode(batch, inputs)
        asked += asked_in(batch, config) if for_reasons else []

    order = part.outcomes[ORDER].arg_sort()
    keys = part.outcomes.select(LEARNER, UNIT, AS_OF)[order]
    return Questions(
        keys,
        [examples[place] for place in order],
        [asked[place] for place in order] if for_reasons else [],
    )


def predict_questions(client: Client, questions: Questions) -> pl.DataFrame:
    """Returns a row per question, in their order.

    Columns: `learner_id`, `unit_id`, `as_of`; then `predicted_class` and a `probability_<class>`
    per class, or `prediction`; then `basis`; then what the version says beside: `answer_text`,
    `prediction_set` (classes, separated by a vertical bar), `interval_low` and `interval_high`,
    `unfamiliar`, and a `decision_<name>` per decision.

    Raises:
        PredictError: the server did not answer.

    >>> from serving.client import connect
    >>> keys = {"learner_id": ["ann"], "unit_id": ["algebra"], "as_of": [7]}
    >>> with connect(SERVER, model="sample") as client:
    ...     answers = predict_questions(client, Questions(pl.DataFrame(keys), EXAMPLES))
    >>> answers.select("learner_id", "predicted_class", "basis").row(0)
    ('ann', 'high', 'prior')
    """
    learners = questions.keys[LEARNER].to_list()
    return questions.keys.hstack(_columns(client.predict(questions.examples, learners)))


def explain_questions(
    client: Client, questions: Questions, config: Config, language: str | None = None
) -> pl.DataFrame:
    """Returns the same with the reasons, in the words of the configuration.

    Further columns: `explained_class`, of a classification; `reasons`, the most important first,
    each with `feature`, `direction`, `weight` (what it adds to the probability of that class, or to
    the number) and `text`.

    Args:
        client: of a model that explains its answers.
        questions: made with `for_reasons=True`.
        config: that the questions were made with.
        language: of the texts; by default the first of `reasons.languages`.

    Raises:
        PredictError: the server did not answer, or the version cannot explain.
        MasteryError: the configuration has no such language.
    """
    known = config.reasons.languages
    language = known[0] if language is None else language
    if language not in known:
        raise MasteryError(
            f"--language {language}: expected one of {', '.join(known)} (reasons.languages of the "
            f"configuration){did_you_mean(language, known)}."
        )
    is_regression = config.label.task == "regression"
    learners = questions.keys[LEARNER].to_list()
    explanations = client.explain(questions.examples, None if is_regression else "", learners)
    found = find_reasons(outputs_of(explanations), questions.asked, Wording.of(config))

    columns = _columns([each.answer for each in explanations])
    if not is_regression:
        classes = [each.explained_class for each in explanations]
        columns.append(pl.Series(EXPLAINED_CLASS, classes, pl.String))
    rows = [[_shown(reason, language) for reason in each.towards] for each in found]
    columns.append(pl.Series(REASONS, rows, pl.List(_REASON)))
    return questions.keys.hstack(columns)


def _shown(reason: Reason, language: str) -> dict[str, Any]:
    said = reason.as_json()
    return {**{name: said[name] for name in _REASON.to_schema()}, "text": reason.text[language]}


def _columns(answers: list[Answer]) -> list[pl.Series]:
    """Returns what answers say, a column for each part that they have."""
    basis = pl.Series(BASIS, [answer.basis for answer in answers], pl.String)
    columns = [*_predictions(answers), basis]

    sets = [None if each.prediction_set is None else "|".join(each.prediction_set)
            for each in answers]  # fmt: skip
    texts: dict[str, list[str | None]] = {
        ANSWER_TEXT: [each.answer_text for each in answers],
        PREDICTION_SET: sets,
        UNFAMILIAR: [each.unfamiliar for each in answers],
    }
    columns += [
        pl.Series(name, values, pl.String)
        for name, values in texts.items()
        if any(value is not None for value in values)
    ]
    intervals = [each.prediction_interval for each in answers]
    if any(intervals):
        ends = [(None, None) if each is None else each for each in intervals]
        columns.append(pl.Series("interval_low", [low for low, _ in ends], pl.Float32))
        columns.append(pl.Series("interval_high", [high for _, high in ends], pl.Float32))
    for name in dict.fromkeys(name for each in answers for name in each.decisions):
        taken = [each.decisions.get(name) for each in answers]
        columns.append(pl.Series(decision_output(name), taken, pl.Boolean))
    return columns


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

    Reasons are sentences, separated by semicolons, in CSV and the table, and a list in JSON lines.
    Ids and classes are made harmless for the reader of the format: CSV for a spreadsheet
    (`components.files.spreadsheet`), the table for a terminal. JSON lines keep them as they are.
    """
    times = [name for name, dtype in answers.schema.items() if isinstance(dtype, pl.Datetime)]
    plain = answers.with_columns(
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for name in times
    )
    if format_ == "jsonl":
        return plain.write_ndjson()
    if REASONS in plain.columns:
        sentences = pl.col(REASONS).list.eval(pl.element().struct.field("text")).list.join("; ")
        plain = plain.with_columns(sentences)
    return for_spreadsheet(plain).write_csv() if format_ == "csv" else _table(plain)


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
