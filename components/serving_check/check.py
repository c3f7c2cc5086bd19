"""Replays test examples against a SavedModel and compares the answers with the evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from components.contracts.calibration import Calibration
from components.contracts.model_card import ModelCard
from components.contracts.names import (
    ANSWER_TEXT,
    AS_OF,
    BASIS,
    BASIS_PRIOR,
    CLASSES,
    DECISION_PREFIX,
    LEARNER,
    PREDICT_STEPS,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    UNFAMILIAR,
    UNIT,
    decision_output,
)
from components.model_version.exports import exports
from components.model_version.safe_graph import graph_problems
from components.serving_check.explained import (
    ALONE_EXPLAINED,
    MOST_EXPLAINED,
    explanation_problems,
)
from components.serving_check.gpu_export import check_gpu_export
from components.serving_check.graph_contract import (
    contract_problems,
    explains,
    input_dtypes,
    read_graph,
)
from components.serving_check.questions import (
    Interview,
    ModelInputs,
    Question,
    cold_start,
    decode,
    only_inputs,
    wrong_types,
)
from components.serving_check.replay import ServingError, replay

if TYPE_CHECKING:
    from components.contracts.calibration import ChosenPoint
    from components.serving_check.standby import AnsweringProcess, FreshProcess

ALONE = 6  # the fewest examples that are also sent alone, besides in a batch with all others
TOLERANCE = 1e-5  # of a probability, or of a regression's answer; relative for answers above 1
WORST = 10  # differences that are listed

Array = np.ndarray[Any, Any]
Answers = dict[str, Array]  # values by the output's name, [n] or [n, classes]; text as str


def check_serving(
    model: Path,
    chosen: pl.DataFrame,
    examples: Sequence[bytes],
    warmup: int,
    process: AnsweringProcess,
) -> list[PredictRequest]:
    """Checks a model against its evaluation; returns requests to warm up a server with.

    Args:
        model: a SavedModel with our signatures and its card.
        chosen: the Evaluator's predictions for n examples.
        examples: those n examples, serialized, in the same order.
        warmup: how many requests to return, alternating between the signatures; fewer if there are
            fewer examples.
        process: answers as a server would.

    Raises:
        ContractError: the model's card is missing or cannot be used.
        ServingError: the model breaks the contract, does not load, or its answers differ from the
            evaluation.
    """
    card, signature = _card_and_signature(model)
    points = Calibration.read(model).decisions if card.config.get("decisions") else []
    inputs = ModelInputs.of(card)
    dtypes = input_dtypes(signature)
    known = only_inputs(examples, inputs)
    _fail_on(wrong_types(decode(known), inputs, dtypes), model)

    interview = Interview(card.name, inputs, dtypes, names_class=bool(card.classes))
    few = max(ALONE, -(-warmup // 2))
    rows = np.unique(np.linspace(0, len(known) - 1, few).round().astype(np.int64))
    alone = interview.alone(known, rows)
    questions = [*interview.together(known), *alone]
    reasons = _about_reasons(interview, known) if explains(card) else []
    questions += reasons
    cold = interview.together([cold_start(known[0], inputs)])

    answers = ask(process, model, [*questions, *cold])
    warm_answers = answers[: len(questions)]
    cold_answers = answers[len(questions) :]
    problems: list[str] = []
    for question, found in zip([*questions, *cold], answers, strict=True):
        problems += unusable(question, found, card.classes)
        problems += wrong_decisions(question.where, found, card.classes, points)
    problems += _cold_start_problems(cold, cold_answers, card.classes)
    evaluated = expected_answers(chosen, card.classes)
    problems += wrong_decisions("the Evaluator", evaluated, card.classes, points)
    if reasons:
        problems += explanation_problems(reasons, warm_answers[-len(reasons) :])
    _fail_on(problems, model)
    _fail_on_skew(questions, warm_answers, chosen, card.classes, _thresholds(model))

    plain = len(questions) - len(reasons)
    check_gpu_export(model, questions[:plain], warm_answers[:plain], ask)

    in_turn = chain.from_iterable(zip_longest(*(question.requests for question in alone)))
    return [request for request in in_turn if request is not None][:warmup]


def _about_reasons(interview: Interview, examples: Sequence[bytes]) -> list[Question]:
    """Asks for explanations of some examples, evenly spread, and of some of these alone."""
    rows = np.unique(np.linspace(0, len(examples) - 1, MOST_EXPLAINED).round().astype(np.int64))
    alone = np.unique(np.linspace(0, len(rows) - 1, ALONE_EXPLAINED).round().astype(np.int64))
    return interview.explained(examples, rows, rows[alone])


def ask(
    process: AnsweringProcess | FreshProcess,
    model: Path,
    questions: Sequence[Question],
    device: str = "without a GPU",
) -> list[Answers]:
    """Returns the answers to each question, in the order of its rows; see `replay`.

    Raises:
        ServingError: the model cannot be loaded in a fresh process, or fails on a request there.
    """
    requests = [request for question in questions for request in question.requests]
    responses = iter(replay(process, model, requests, device))
    return [_joined([next(responses) for _ in question.requests]) for question in questions]


def expected_answers(predictions: pl.DataFrame, classes: Sequence[str]) -> Answers:
    """Returns the Evaluator's predictions in the form of a server's answers."""
    more = {UNFAMILIAR: predictions[UNFAMILIAR].to_numpy()} if UNFAMILIAR in predictions else {}
    if PREDICTION_INTERVAL in predictions:
        more[PREDICTION_INTERVAL] = predictions[PREDICTION_INTERVAL].list.to_array(2).to_numpy()
    if PREDICTION_SET in predictions:
        sets = predictions[PREDICTION_SET].list.to_array(len(classes))
        more[PREDICTION_SET] = sets.to_numpy()
    if not classes:
        return {name: predictions[name].to_numpy() for name in (PREDICTION, BASIS)} | more

    row = pl.Array(pl.Float64, len(classes))
    decisions = [name for name in predictions.columns if name.startswith(DECISION_PREFIX)]
    return more | {
        **{name: predictions[name].to_numpy() for name in decisions},
        PREDICTED_CLASS: predictions[PREDICTED_CLASS].to_numpy(),
        BASIS: predictions[BASIS].to_numpy(),
        PROBABILITIES: predictions[PROBABILITIES].cast(row).to_numpy(),
        CLASSES: np.array([list(classes)] * len(predictions), dtype=object),
    }


@dataclass(frozen=True)
class Difference:
    """One row for which an output is not as expected.

    Attributes:
        row: index of the example.
        where: the signature, and how it was asked.
        output: name of the output.
        expected: its value in the evaluation, as text.
        found: its value in the answer, as text.
        size: how far apart the two are, to sort by.
    """

    row: int
    where: str
    output: str
    expected: str
    found: str
    size: float


def compare(
    question: Question,
    expected: Answers,
    found: Answers,
    classes: Sequence[str],
    thresholds: Sequence[float] = (),
) -> Iterator[Difference]:
    """Yields the rows that differ by more than the tolerance, output by output.

    Args:
        question: what was asked.
        expected: answers for all rows of the examples.
        found: answers to the question's rows.
        classes: the label's classes in the order of the probabilities; none for a regression.
        thresholds: of prediction sets: a probability that is one of them within the tolerance may
            be on either side.
    """
    wanted = {name: values[question.rows] for name, values in expected.items()}
    for output, distance in _distances(wanted, found, classes, thresholds).items():
        for place in np.flatnonzero(distance > TOLERANCE):
            yield Difference(
                int(question.rows[place]),
                question.where,
                output,
                _shown(wanted[output][place]),
                _shown(found[output][place]),
                float(distance[place]),
            )


def unusable(question: Question, found: Answers, classes: Sequence[str]) -> Iterator[str]:
    """Yields what a client cannot use, such as NaN, or probabilities that do not add up to 1."""
    numbers = found[PROBABILITIES] if classes else found[PREDICTION][:, None]
    finite = np.asarray(np.isfinite(numbers).all(axis=1))
    if not finite.all():
        rows = f"{(~finite).sum()} of {len(finite)} rows"
        yield f"{question.where}: expected finite numbers, found NaN or infinite ones in {rows}"
    if not classes:
        return

    off = np.abs(numbers[finite].sum(axis=1) - 1)
    if (off > TOLERANCE).any():
        worst = numbers[finite].sum(axis=1)[off.argmax()]
        yield f"{question.where}: expected probabilities that add up to 1, found {worst:.6f}"
    if not most_probable(numbers[finite], found[PREDICTED_CLASS][finite], classes).all():
        yield (
            f"{question.where}: expected the most probable class as {PREDICTED_CLASS}, "
            "found another"
        )


def wrong_decisions(
    where: str, found: Answers, classes: Sequence[str], points: Sequence[ChosenPoint]
) -> Iterator[str]:
    """Yields decisions that do not follow from their own probabilities and recorded points."""
    for point in points:
        output = decision_output(point.name)
        probabilities = found[PROBABILITIES][:, classes.index(point.class_)].astype(np.float32)
        expected = probabilities >= np.float32(point.threshold)
        if output not in found:  # an evaluation of an earlier version
            continue
        wrong = np.flatnonzero(found[output] != expected)
        if len(wrong):
            row = wrong[0]
            yield (
                f"{where}, {output}: expected {expected[row]} at a probability of "
                f"{probabilities[row]:.6f} and a threshold of {point.threshold:.6f}, found "
                f"{found[output][row]}, in {len(wrong)} of {len(expected)} rows"
            )


def most_probable(probabilities: Array, named: Array, classes: Sequence[str]) -> Array:
    """Returns which rows name the most probable class, or one that is as probable within tolerance.

    Args:
        probabilities: [n, C].
        named: the class that each row names, [n].
        classes: the C names.
    """
    is_named = named[:, None] == np.array(classes, dtype=object)
    own = np.where(is_named, probabilities, -np.inf).max(axis=1)
    return np.asarray(own >= probabilities.max(axis=1) - 2 * TOLERANCE)


def describe(differences: Sequence[Difference], chosen: pl.DataFrame) -> list[str]:
    """Returns a line for each of the worst differences, with the keys of its row."""
    keys = chosen.select(LEARNER, UNIT, AS_OF).rows()
    lines = []
    for item in sorted(differences, key=lambda item: (-item.size, item.row))[:WORST]:
        learner, unit, as_of = keys[item.row]
        lines.append(
            f"learner {learner}, unit {unit}, as_of {as_of}, {item.where}, {item.output}: "
            f"expected {item.expected}, found {item.found}"
        )
    return lines


def _card_and_signature(model: Path) -> tuple[ModelCard, SignatureDef]:
    """Returns a model's card and its signature `predict_steps`; fails on graphs out of contract."""
    graph = read_graph(model)
    if graph is None:
        raise ServingError(f"{model}: expected a SavedModel that a server can load, found none.")

    card = ModelCard.read(model)
    _fail_on(contract_problems(graph, card), model)

    for folder in set(exports(model).values()) - {"."}:  # for GPUs
        other = read_graph(model / folder)
        problems = [f"no SavedModel in {folder}"] if other is None else graph_problems(other)
        _fail_on(problems, model / folder)
    return card, graph.signature_def[PREDICT_STEPS]


def _cold_start_problems(
    questions: Sequence[Question], answers: Sequence[Answers], classes: Sequence[str]
) -> Iterator[str]:
    for question, found in zip(questions, answers, strict=True):
        where = f"{question.where}, no events"
        if found[BASIS].tolist() != [BASIS_PRIOR]:
            yield f"{where}: expected basis {BASIS_PRIOR}, found {', '.join(found[BASIS])}"
        for item in compare(question, answers[0], found, classes):
            yield f"{where}, {item.output}: expected {item.expected}, found {item.found}"


def _fail_on(problems: Sequence[str], model: Path) -> None:
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise ServingError(f"{model}: this model cannot be served:\n{lines}")


def _fail_on_skew(
    questions: Sequence[Question],
    answers: Sequence[Answers],
    chosen: pl.DataFrame,
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    """Compares all answers with the evaluation, then with the answer to the first question.

    The first question has all rows in one batch.
    """
    references = (
        (expected_answers(chosen, classes), "the Evaluator"),
        (answers[0], questions[0].where),
    )
    for expected, source in references:
        differences: list[Difference] = []
        for question, found in zip(questions, answers, strict=True):
            differences += compare(question, expected, found, classes, thresholds)
        if not differences:
            continue

        rows = len({item.row for item in differences})
        lines = "\n".join(f"  - {line}" for line in describe(differences, chosen))
        raise ServingError(
            f"For {rows} of {chosen.height} test examples the served model's answer differs from "
            f"that of {source} (tolerance {TOLERANCE:g}); the worst:\n{lines}\n"
            "The graph that is served differs from the one that was judged; nothing is pushed."
        )


def _thresholds(model: Path) -> list[float]:
    """Returns the thresholds of a model's prediction sets."""
    if not (model / Calibration.FILE).exists():
        return []
    conformal = Calibration.read(model).conformal
    cells = conformal.cells if conformal else []
    return sorted({cell.threshold for cell in cells if cell.threshold is not None})


def _distances(
    wanted: Answers, found: Answers, classes: Sequence[str], thresholds: Sequence[float]
) -> Answers:
    """Returns how far each row [n] is off, by output; 0 or infinite for text."""
    distances = {BASIS: _zero_if(wanted[BASIS] == found[BASIS])}
    if UNFAMILIAR in wanted:
        distances[UNFAMILIAR] = _zero_if(wanted[UNFAMILIAR] == found[UNFAMILIAR])
    if not classes:
        for name in {PREDICTION, PREDICTION_INTERVAL} & set(wanted):
            scale = np.maximum(np.abs(wanted[name].astype(np.float64)), 1.0)
            off = _distance(wanted[name], found[name]) / scale
            distances[name] = off.reshape(len(off), -1).max(axis=1)
        return distances

    if PREDICTION_SET in wanted:
        distances |= _distances_of_sets(wanted, found, thresholds)
    probable = most_probable(wanted[PROBABILITIES], found[PREDICTED_CLASS], classes)
    # At its threshold a probability that differs in the last bits is decided the other way.
    is_same = (wanted[PROBABILITIES].astype(np.float32) == found[PROBABILITIES]).all(axis=1)
    decisions = [name for name in wanted if name.startswith(DECISION_PREFIX)]
    return distances | {
        **{name: _zero_if((wanted[name] == found[name]) | ~is_same) for name in decisions},
        CLASSES: _zero_if((wanted[CLASSES] == found[CLASSES]).all(axis=1)),
        PROBABILITIES: _distance(wanted[PROBABILITIES], found[PROBABILITIES]).max(axis=1),
        PREDICTED_CLASS: _zero_if(probable),
    }


def _distances_of_sets(wanted: Answers, found: Answers, thresholds: Sequence[float]) -> Answers:
    """Returns the distances of prediction sets, and of their text where the sets are the same."""
    said = wanted[PROBABILITIES].astype(np.float64)
    is_open = said >= said.max(axis=1, keepdims=True) - 2 * TOLERANCE
    if len(thresholds):
        place = np.searchsorted(thresholds, said - 2 * TOLERANCE)
        nearest = np.append(thresholds, np.inf)[place]
        is_open |= nearest <= said + 2 * TOLERANCE

    differs = wanted[PREDICTION_SET] != found[PREDICTION_SET]
    distances = {PREDICTION_SET: _zero_if(~(differs & ~is_open).any(axis=1))}
    if ANSWER_TEXT in wanted:
        same = wanted[ANSWER_TEXT] == found[ANSWER_TEXT]
        distances[ANSWER_TEXT] = _zero_if(same | differs.any(axis=1))
    return distances


def _zero_if(equal: Array) -> Array:
    """Returns the distance of text: 0 if it is equal, else infinite."""
    return np.where(equal, 0.0, np.inf)


def _distance(expected: Array, found: Array) -> Array:
    distance = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return np.where(np.isnan(distance), np.inf, distance)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return f"{value:.6f}" if isinstance(value, float | np.floating) else str(value)


def _joined(responses: Sequence[PredictResponse]) -> Answers:
    outputs = [
        {name: tf.make_ndarray(tensor) for name, tensor in item.outputs.items()}
        for item in responses
    ]
    return {
        name: _as_text(np.concatenate(_as_long([item[name] for item in outputs])))
        for name in outputs[0]
    }


def _as_long(parts: Sequence[Array]) -> Sequence[Array]:
    """Pads values by step [n, T, S] to the longest T; returns others as they are."""
    if parts[0].ndim < 3:
        return parts
    longest = max(part.shape[1] for part in parts)
    return [np.pad(part, [(0, 0), (0, longest - part.shape[1]), (0, 0)]) for part in parts]


def _as_text(values: Array) -> Array:
    """Decodes text, which arrives as bytes; returns numbers unchanged."""
    if values.dtype != object:
        return values
    return np.array([item.decode() for item in values.ravel()], dtype=object).reshape(values.shape)
