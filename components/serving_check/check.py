"""Replays test examples against a SavedModel and finds out whether a server would answer what was evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from components.contracts.model_card import ModelCard
from components.contracts.names import BASIS, BASIS_PRIOR, PREDICT_STEPS
from components.model_version.exports import exports
from components.model_version.safe_graph import graph_problems
from components.serving_check.comparison import (
    TOLERANCE,
    compare,
    describe,
    expected_answers,
    unusable,
)
from components.serving_check.contract import contract_problems, input_dtypes, read_graph
from components.serving_check.questions import Interview, Question
from components.serving_check.requests import Inputs, cold_start, decode, only_inputs, wrong_types
from components.serving_check.server import Answers, ServingError, ask

ALONE = 6  # examples, at least, that are sent alone as well as in a batch with all others


def check_serving(
    model: Path, chosen: pl.DataFrame, examples: Sequence[bytes], warmup: int
) -> list[PredictRequest]:
    """Checks a model against its evaluation, and returns `warmup` of the requests that it answered well.

    Args:
        model: a SavedModel with our signatures and `assets.extra/mastery.json`.
        chosen: the Evaluator's predictions for n examples.
        examples: those n, serialized, in the same order.
        warmup: how many requests to return, of both signatures in turn; fewer when there are fewer examples.

    Raises:
        ServingError: the model breaks the contract, does not load, or answers otherwise than evaluated.
    """
    config, signature = _notes_and_signature(model)
    inputs, classes = Inputs.of(config), config["label"]["classes"]
    known, dtypes = only_inputs(examples, inputs), input_dtypes(signature)
    _fail_on(wrong_types(decode(known), inputs, dtypes), model)
    interview = Interview(config["name"], inputs, dtypes)
    rows = np.unique(
        np.linspace(0, len(known) - 1, max(ALONE, -(-warmup // 2))).round().astype(np.int64)
    )
    alone = interview.alone(known, rows)
    questions = [*interview.together(known), *alone]
    cold = interview.together([cold_start(known[0], inputs)])
    answers = ask(model, [*questions, *cold])
    asked = zip([*questions, *cold], answers, strict=True)
    problems = [line for question, found in asked for line in unusable(question, found, classes)]
    _fail_on([*problems, *_cold_start_problems(cold, answers[len(questions) :], classes)], model)
    _fail_on_skew(questions, answers[: len(questions)], chosen, classes)
    in_turn = chain.from_iterable(zip_longest(*(question.requests for question in alone)))
    return [request for request in in_turn if request is not None][:warmup]


def _notes_and_signature(model: Path) -> tuple[dict[str, Any], SignatureDef]:
    """Returns the model's configuration and its signature `predict_steps`, if its graph keeps the contract."""
    graph = read_graph(model)
    if graph is None:
        raise ServingError(f"{model}: expected a SavedModel that a server can load, found none.")
    notes = model / ModelCard.FILE
    if not notes.is_file():
        raise ServingError(
            f"{notes}: expected the Trainer's notes on how the model is fed, found no such file."
        )
    config: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))["config"]
    _fail_on(contract_problems(graph, config), model)

    for folder in set(exports(model).values()) - {"."}:  # those for GPUs cannot be asked here
        other = read_graph(model / folder)
        _fail_on(
            [f"no SavedModel in {folder}"] if other is None else graph_problems(other),
            model / folder,
        )
    return config, graph.signature_def[PREDICT_STEPS]


def _cold_start_problems(
    questions: Sequence[Question], answers: Sequence[Answers], classes: Sequence[str]
) -> Iterator[str]:
    for question, found in zip(questions, answers, strict=True):
        if found[BASIS].tolist() != [BASIS_PRIOR]:
            yield f"{question.where}, no events: expected basis {BASIS_PRIOR}, found {', '.join(found[BASIS])}"
        for item in compare(question, answers[0], found, classes):
            yield f"{question.where}, no events, {item.output}: expected {item.expected}, found {item.found}"


def _fail_on(problems: Sequence[str], model: Path) -> None:
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise ServingError(f"{model}: this model cannot be served:\n{lines}")


def _fail_on_skew(
    questions: Sequence[Question],
    answers: Sequence[Answers],
    chosen: pl.DataFrame,
    classes: Sequence[str],
) -> None:
    """Compares every answer with the evaluation; if all are well, with the first question's, which has all rows."""
    evaluated, served = expected_answers(chosen, classes), answers[0]
    asked = list(zip(questions, answers, strict=True))
    for expected, by in ((evaluated, "the Evaluator"), (served, questions[0].where)):
        differences = [
            item
            for question, found in asked
            for item in compare(question, expected, found, classes)
        ]
        if differences:
            rows = len({item.row for item in differences})
            raise ServingError(
                "\n".join(
                    [
                        f"The served model answers {rows} of {chosen.height} test examples otherwise than {by} "
                        f"(tolerance {TOLERANCE:g}); the worst:",
                        *(f"  - {line}" for line in describe(differences, chosen)),
                        "The graph that is served differs from the one that was judged; nothing is pushed.",
                    ]
                )
            )
