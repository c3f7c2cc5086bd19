"""What a model answers and what was true, as columns; anything else than the contract is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from components.config.data import Label
from components.contracts.names import BASIS, CLASSES, PREDICTED_CLASS, PREDICTION, PROBABILITIES
from components.errors import MasteryError

Arrays = Mapping[str, np.ndarray[Any, Any]]


def read_answers(answers: Arrays, classes: Sequence[str]) -> pl.DataFrame:
    """Returns the outputs of `serving_default` as columns.

    Args:
        answers: `probabilities` float [B, C], `classes` bytes [B, C], `predicted_class` and `basis` bytes [B]; or
            `prediction` float [B] and `basis`.
        classes: the configured ones, in whose order the probabilities are returned; none for a regression.

    Raises:
        MasteryError: an output is missing, the classes are others, or an answer is not a finite number.
    """
    number, *texts = (
        (PROBABILITIES, BASIS, PREDICTED_CLASS, CLASSES) if classes else (PREDICTION, BASIS)
    )
    missing = [name for name in (number, *texts) if name not in answers]
    if missing:
        raise MasteryError(
            f"The model was made for another task: expected outputs {missing}, found {[*answers]}."
        )
    values = answers[number].astype(np.float32)
    bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
    if bad:
        raise MasteryError(
            f"The model answers {bad} of {len(values)} examples with NaN or infinity; train it anew."
        )
    basis = pl.Series(BASIS, answers[BASIS].tolist(), pl.Binary).cast(pl.String)
    if not classes:
        return pl.DataFrame([pl.Series(PREDICTION, values), basis])
    order = _class_order(answers[CLASSES], classes)
    probabilities = pl.Series(PROBABILITIES, values[:, order]).arr.to_list()
    predicted = pl.Series(PREDICTED_CLASS, answers[PREDICTED_CLASS].tolist(), pl.Binary).cast(
        pl.String
    )
    return pl.DataFrame([probabilities, predicted, basis])


def _class_order(rows: np.ndarray[Any, Any], classes: Sequence[str]) -> list[int]:
    """Returns where each of the configured classes stands among the model's."""
    found = [name.decode() for name in rows[0]]
    if sorted(found) != sorted(classes):
        raise MasteryError(f"The model has other classes: expected {[*classes]}, found {found}.")
    return [found.index(name) for name in classes]


def check_label(column: pl.Series, label: Label) -> pl.Series:
    """Returns the labels of examples, as text or float64.

    Raises:
        MasteryError: a label is missing, or is none of the classes.
    """
    missing = column.null_count()
    if missing:
        found = f"none in {missing} of {len(column)}"
        raise MasteryError(f"{label.column}: expected a label in every example, found {found}.")
    if not label.classes:
        return column.cast(pl.Float64)
    text = column.cast(pl.String)
    unknown = text.filter(~text.is_in(label.classes)).unique().sort().to_list()
    if unknown:
        raise MasteryError(
            f"{label.column}: expected one of {label.classes}, found {', '.join(unknown[:5])}."
        )
    return text


def probability_rows(column: pl.Series, classes: int) -> np.ndarray[Any, Any]:
    """Returns a column of lists of probabilities as an array [n, C]."""
    return column.list.to_array(classes).to_numpy()


def class_indices(names: pl.Series, classes: Sequence[str]) -> np.ndarray[Any, Any]:
    """Returns a column of class names as indices of the classes, [n]."""
    indices: np.ndarray[Any, Any] = (
        names.cast(pl.Enum(classes)).to_physical().cast(pl.Int64).to_numpy()
    )
    return indices
