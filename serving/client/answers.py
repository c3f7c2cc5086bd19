"""Answers and explanations as the client gives them, from the outputs of a model's signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contracts.names import (
    ANSWER_TEXT,
    ATTRIBUTIONS,
    BASIS,
    CLASSES,
    DIRECTIONS,
    EXPLAINED_CLASS,
    EXPLAINED_FEATURES,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
    UNFAMILIAR,
    decision_output,
)
from components.html_table import HtmlTable
from serving.client.calls import PredictError

Outputs = Mapping[str, Sequence[Any]]  # columns by name, one value per example, text as str

_DECISION = decision_output("")
_EXPLAINED = (EXPLAINED_FEATURES, ATTRIBUTIONS, DIRECTIONS, STEP_ATTRIBUTIONS, TYPICAL_ANSWER)


@dataclass(frozen=True)
class Answer:
    """The answer for one example.

    Versions that were pushed earlier may not say what stands after `prediction`: then it is None,
    or empty.

    Attributes:
        basis: `sequence`; `prior` for a learner with too few events; `unfamiliar` for one who is
            unlike those of the fit.
        predicted_class: the most probable class; None from a regression.
        probabilities: by class, lowest class first; None from a regression.
        prediction: the predicted number; None from a classification.
        prediction_set: the classes that together hold the promised coverage.
        answer_text: the set in words: a class, "partial or proficient", or "not sure".
        unfamiliar: what is unlike the learners of the fit, joined by ", "; "" for nothing.
        decisions: whether each decision is taken, by its name.
        prediction_interval: lowest and highest number with the promised coverage; of a regression.
    """

    basis: str
    predicted_class: str | None = None
    probabilities: Mapping[str, float] | None = None
    prediction: float | None = None
    prediction_set: tuple[str, ...] | None = None
    answer_text: str | None = None
    unfamiliar: str | None = None
    decisions: Mapping[str, bool] = field(default_factory=dict)
    prediction_interval: tuple[float, float] | None = None

    def _repr_html_(self) -> str:
        return answers_table([self])._repr_html_()


@dataclass(frozen=True)
class Explanation:
    """An answer with what each feature adds to it, against the average learner of the group.

    `components.reasons` puts it into words; `serving.predict` does so for a whole log.

    Attributes:
        answer: as `predict` gives it.
        explained_class: whose probability is explained; None from a regression.
        typical_answer: that of the average learner: with all attributions it adds up to the answer.
        attributions: what each feature adds, by its name: those of steps, then of the context, then
            summaries of the sequence.
        directions: above 0 where a number is above the typical one, by feature.
        step_attributions: the parts of each step, by step feature; oldest step first, and after the
            last one zeros, up to the longest sequence of the request.

    >>> answer = Answer("sequence", "low", {"low": 0.7, "high": 0.3})
    >>> found = Explanation(answer, "low", typical_answer=0.5, attributions={"correct": 0.2},
    ...                     directions={"correct": -1.0}, step_attributions=[{"correct": 0.2}])
    >>> round(found.typical_answer + sum(found.attributions.values()), 2)
    0.7
    """

    answer: Answer
    explained_class: str | None
    typical_answer: float
    attributions: Mapping[str, float]
    directions: Mapping[str, float]
    step_attributions: Sequence[Mapping[str, float]]

    def _repr_html_(self) -> str:
        rows = [
            [name, f"{value:+.3f}"]
            for name, value in sorted(self.attributions.items(), key=lambda item: -abs(item[1]))
        ]
        about = self.explained_class or "the number"
        caption = f"What moves {about} from the typical learner's {self.typical_answer:.3f}"
        return HtmlTable(caption, ["Feature", "Adds"], rows, {1})._repr_html_()


def answers_table(
    answers: Sequence[Answer], names: Sequence[str] | None = None, *, caption: str = "Answers"
) -> HtmlTable:
    """Returns answers as a table for notebooks.

    Args:
        answers: those of one model.
        names: who each is about; default: its number, from 1.
        caption: what the table is about.

    >>> answer = Answer("sequence", "low", {"low": 0.7, "high": 0.3}, answer_text="not sure")
    >>> answers_table([answer], ["Ana"]).rows
    [['Ana', 'not sure', '0.700', '0.300', 'sequence', '']]
    """
    classes = [*dict.fromkeys(name for each in answers for name in each.probabilities or {})]
    names = names or [str(number) for number in range(1, len(answers) + 1)]
    rows = [
        [
            name,
            each.answer_text or each.predicted_class or f"{each.prediction:.3f}",
            *(f"{(each.probabilities or {}).get(item, math.nan):.3f}" for item in classes),
            each.basis,
            ", ".join(decision for decision, taken in each.decisions.items() if taken),
        ]
        for name, each in zip(names, answers, strict=True)
    ]
    header = ["Learner", "Answer", *classes, "Basis", "Decisions"]
    return HtmlTable(caption, header, rows, range(2, 2 + len(classes)))


def parse_answers(outputs: Outputs, count: int) -> list[Answer]:
    """Returns the answers in the order of the examples.

    Args:
        outputs: columns of `serving_default`, text as str: `classes` and `probabilities` [B][C],
            `predicted_class` and `basis` [B]; or `prediction` and `basis` [B]. What else an
            `Answer` holds is taken from the columns that are there.
        count: B, the number of examples.

    Raises:
        PredictError: an output is missing, or has another length.

    >>> parse_answers({"prediction": [0.8], "basis": ["sequence"]}, count=1)[0].prediction
    0.8
    """
    is_regression = PREDICTION in outputs
    classification = (CLASSES, PROBABILITIES, PREDICTED_CLASS, BASIS)
    needed = (PREDICTION, BASIS) if is_regression else classification
    optional = (PREDICTION_SET, ANSWER_TEXT, UNFAMILIAR, PREDICTION_INTERVAL)
    decisions = {
        name.removeprefix(_DECISION): values
        for name, values in outputs.items()
        if name.startswith(_DECISION)
    }
    _require_length(outputs, needed, count, "answers")
    more = (*(name for name in optional if name in outputs), *map(decision_output, decisions))
    _require_length(outputs, more, count, "answers")

    answers = []
    for row in range(count):
        one = {name: outputs[name][row] for name in (*needed, *optional) if name in outputs}
        taken = {name: bool(values[row]) for name, values in decisions.items()}
        answers.append(_answer(one, taken))
    return answers


def _answer(one: Mapping[str, Any], decisions: Mapping[str, bool]) -> Answer:
    classes = one.get(CLASSES, ())
    chosen = one.get(PREDICTION_SET)
    interval = one.get(PREDICTION_INTERVAL)
    is_regression = PREDICTION in one
    return Answer(
        basis=one[BASIS],
        predicted_class=one.get(PREDICTED_CLASS),
        probabilities=None
        if is_regression
        else dict(zip(classes, one[PROBABILITIES], strict=True)),
        prediction=one.get(PREDICTION),
        prediction_set=None
        if chosen is None
        else tuple(name for name, is_in in zip(classes, chosen, strict=True) if is_in),
        answer_text=one.get(ANSWER_TEXT),
        unfamiliar=one.get(UNFAMILIAR),
        decisions=decisions,
        prediction_interval=None if interval is None else (interval[0], interval[1]),
    )


def parse_explanations(outputs: Outputs, count: int) -> list[Explanation]:
    """Returns the explanations in the order of the examples.

    Args:
        outputs: columns of `explain` or `explain_steps`, as `parse_answers` takes them, and:
            `explained_features`, `attributions`, `directions` [B][N], `step_attributions`
            [B][T][S], `typical_answer` [B]; of a classification also `explained_class` [B].
        count: B, the number of examples.

    Raises:
        PredictError: an output is missing, or has another length.
    """
    answers = parse_answers(outputs, count)
    classified = () if PREDICTION in outputs else (EXPLAINED_CLASS,)
    _require_length(outputs, (*_EXPLAINED, *classified), count, "explanations")

    explanations = []
    for row, answer in enumerate(answers):
        names = outputs[EXPLAINED_FEATURES][row]
        steps = outputs[STEP_ATTRIBUTIONS][row]
        explanations.append(
            Explanation(
                answer=answer,
                explained_class=outputs[EXPLAINED_CLASS][row] if classified else None,
                typical_answer=outputs[TYPICAL_ANSWER][row],
                attributions=dict(zip(names, outputs[ATTRIBUTIONS][row], strict=True)),
                directions=dict(zip(names, outputs[DIRECTIONS][row], strict=True)),
                # The features of steps come first.
                step_attributions=[dict(zip(names, step, strict=False)) for step in steps],
            )
        )
    return explanations


def outputs_of(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """Returns explanations as the columns that `components.reasons.ranking` reads.

    Sequences of several requests are padded to the longest one.
    """
    longest = max((len(each.step_attributions) for each in explanations), default=0)
    width = max((len(step) for each in explanations for step in each.step_attributions), default=0)
    columns: dict[str, Any] = {
        BASIS: [each.answer.basis for each in explanations],
        EXPLAINED_FEATURES: [[*each.attributions] for each in explanations],
        ATTRIBUTIONS: [[*each.attributions.values()] for each in explanations],
        DIRECTIONS: [[*each.directions.values()] for each in explanations],
        STEP_ATTRIBUTIONS: [
            [[*step.values()] for step in each.step_attributions]
            + [[0.0] * width] * (longest - len(each.step_attributions))
            for each in explanations
        ],
    }
    if any(each.answer.prediction is not None for each in explanations):
        columns[PREDICTION] = [each.answer.prediction for each in explanations]
        columns[TYPICAL_ANSWER] = [each.typical_answer for each in explanations]
    return columns


def _require_length(outputs: Outputs, names: Sequence[str], count: int, what: str) -> None:
    lengths = {name: len(outputs[name]) if name in outputs else None for name in names}
    if set(lengths.values()) - {count}:
        raise PredictError(
            f"expected {count} {what} in each of {', '.join(names)}, found {lengths}."
        )
