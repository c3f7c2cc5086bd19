"""Asks a model for explanations of test examples, a class at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from components.contracts.names import (
    ATTRIBUTIONS,
    BASIS,
    BASIS_PRIOR,
    CLASSES,
    DIRECTIONS,
    EXAMPLES,
    EXPLAIN,
    EXPLAINED_CLASS,
    EXPLAINED_FEATURES,
    LEARNER,
    PREDICTION,
    PROBABILITIES,
    STEP_ATTRIBUTIONS,
    TYPICAL_ANSWER,
)
from components.evaluator.loaded_signature import Predict, load_signature
from components.evaluator.scoring import windows_of_split

BATCH = 32  # examples explained at once: each becomes as many rows as there are points of the path

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Chosen:
    """Test examples that are explained.

    Attributes:
        examples: serialized `tf.Example`s, n of them.
        learners: index of each one's learner, [n].
    """

    examples: list[bytes]
    learners: Ints


@dataclass(frozen=True)
class Explanations:
    """Why a model gives n examples a probability of one class, or a number.

    Attributes:
        features: names of the F features; those of the S features of steps come first.
        answers: the probability of the class, or the predicted number, [n].
        typical: the same for the average learner of each one's group, [n].
        attributions: what each feature adds, [n, F].
        directions: above 0 where values are above the typical ones, 0 for words, [n, F].
        of_steps: what each feature of steps adds in each step, [T, S] of each example; the last
            rows are padding where a batch has longer sequences.
    """

    features: list[str]
    answers: Floats
    typical: Floats
    attributions: Floats
    directions: Floats
    of_steps: list[Floats]

    @property
    def completeness(self) -> float:
        """The largest distance of an example's attributions, added up, from what they explain."""
        explained = self.attributions.sum(axis=1, dtype=np.float64)
        return float(np.abs(explained - (self.answers - self.typical)).max(initial=0.0))


def choose_examples(split: Path, predictions: pl.DataFrame, count: int) -> Chosen:
    """Returns at most `count` examples that were answered from their sequence, spread evenly.

    Args:
        split: folder of the test split.
        predictions: of a model for all of it, in its order.
        count: how many.
    """
    rows = predictions.with_row_index("row").filter(pl.col(BASIS) != BASIS_PRIOR)
    places = np.unique(np.linspace(0, max(rows.height - 1, 0), count).round().astype(int))
    chosen = rows[places[: rows.height]]

    wanted = set(chosen["row"].to_list())
    records = enumerate(chain.from_iterable(windows_of_split(split)))
    examples = [example for place, example in records if place in wanted]
    learners = chosen[LEARNER].rank("dense").to_numpy().astype(int) - 1
    return Chosen(examples, learners)


@contextmanager
def open_explainer(model: Path) -> Iterator[Predict | None]:
    """Yields the signature of a model that explains; None for a model that has none."""
    with ExitStack() as stack:
        try:
            predict = stack.enter_context(load_signature(model, EXPLAIN))
        except KeyError:
            predict = None
        yield predict


def explain(predict: Predict, examples: Sequence[bytes], class_: str | None) -> Explanations:
    """Returns explanations of examples, in their order.

    Args:
        predict: the signature `explain`.
        examples: serialized, at least one.
        class_: the class whose probability is explained; None in a regression.
    """
    parts = [
        predict(_request(examples[start : start + BATCH], class_))
        for start in range(0, len(examples), BATCH)
    ]

    def joined(name: str) -> Any:
        return np.concatenate([part[name] for part in parts])

    if class_ is None:
        answers = joined(PREDICTION)
    else:
        names = [name.decode() for name in parts[0][CLASSES][0]]
        answers = joined(PROBABILITIES)[:, names.index(class_)]
    features = [name.decode() for name in parts[0][EXPLAINED_FEATURES][0]]
    of_steps = [steps for part in parts for steps in part[STEP_ATTRIBUTIONS]]
    return Explanations(
        features,
        answers,
        joined(TYPICAL_ANSWER),
        joined(ATTRIBUTIONS),
        joined(DIRECTIONS),
        of_steps,
    )


def _request(examples: Sequence[bytes], class_: str | None) -> dict[str, Any]:
    request = {EXAMPLES: np.array(examples, object)}
    if class_ is not None:
        request[EXPLAINED_CLASS] = np.array([class_.encode()] * len(examples), object)
    return request
