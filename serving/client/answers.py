"""What a model of ours answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.names import BASIS, CLASSES, PREDICTED_CLASS, PREDICTION, PROBABILITIES
from serving.client.errors import PredictError


@dataclass(frozen=True)
class Answer:
    """The answer for one example.

    Attributes:
        basis: `sequence`, or `prior` for a learner with too few events.
        predicted_class: the most probable class; None from a regression.
        probabilities: by class, lowest class first; empty from a regression.
        prediction: the predicted number; None from a classification.
    """

    basis: str
    predicted_class: str | None = None
    probabilities: Mapping[str, float] | None = None
    prediction: float | None = None


def read_answers(outputs: Mapping[str, Sequence[Any]], count: int) -> list[Answer]:
    """Returns the answers in the order of the examples.

    Args:
        outputs: the columns of `serving_default`, text as str: `classes` and `probabilities` [B][C],
            `predicted_class` and `basis` [B]; or `prediction` and `basis` [B].
        count: B, how many were asked for.

    Raises:
        PredictError: an output is missing, or has another length.
    """
    names = (
        (PREDICTION, BASIS)
        if PREDICTION in outputs
        else (CLASSES, PROBABILITIES, PREDICTED_CLASS, BASIS)
    )
    lengths = {name: len(outputs[name]) if name in outputs else None for name in names}
    if set(lengths.values()) != {count}:
        raise PredictError(
            f"expected {count} answers in each of {', '.join(names)}, found {lengths}."
        )
    if PREDICTION in outputs:
        return [
            Answer(basis=basis, prediction=number)
            for number, basis in zip(outputs[PREDICTION], outputs[BASIS], strict=True)
        ]
    return [
        Answer(basis, predicted, dict(zip(classes, probabilities, strict=True)))
        for classes, probabilities, predicted, basis in zip(
            *(outputs[name] for name in names), strict=True
        )
    ]
