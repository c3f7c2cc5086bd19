"""Answers a batch of examples: by the pushed SavedModel in this process, or by a server."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from components.command.program import quiet_imports
from components.contracts.names import (
    ANSWER_TEXT,
    BASIS,
    CLASSES,
    EXAMPLES,
    EXPLAIN,
    EXPLAINED_CLASS,
    PREDICTED_CLASS,
    PREDICTION,
    PREDICTION_INTERVAL,
    PREDICTION_SET,
    PROBABILITIES,
    SERVING_DEFAULT,
    UNFAMILIAR,
    decision_output,
)
from components.errors import MasteryError
from serving.answers.need import expected_needs, needs_in_range
from serving.client.answers import outputs_of

if TYPE_CHECKING:
    from serving.client import Answer, Client
    from serving.server.servable import LoadedModel

EXAMPLES_PER_CALL = 1024  # of the graph: more rows need memory and save no time
_DECISION = decision_output("")
Outputs = dict[str, Any]  # by name, one row per example


class Model(Protocol):
    """What answers; travels to the workers, which load or connect once per process."""

    def outputs(self, examples: Sequence[bytes]) -> Outputs:
        """Returns the outputs of `serving_default` for serialized `tf.Example`s."""

    def explain(self, examples: Sequence[bytes], classes: Sequence[str] | None) -> Outputs:
        """Returns those of `explain`, for the named class of each; None for a regression."""


@dataclass(frozen=True)
class LocalModel:
    """A pushed version's portable SavedModel, loaded in this process.

    Attributes:
        folder: the version's.
    """

    folder: str

    def outputs(self, examples: Sequence[bytes]) -> Outputs:
        """Returns the outputs of `serving_default`, `EXAMPLES_PER_CALL` examples at a time.

        Raises:
            VersionError: the graph could do more than compute.
        """
        model = _load(self.folder)
        signature = model.signature(SERVING_DEFAULT)
        parts = []
        for start in range(0, len(examples), EXAMPLES_PER_CALL):
            batch = np.array(examples[start : start + EXAMPLES_PER_CALL], dtype=object)
            parts.append(model.run(signature, {EXAMPLES: batch}))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def explain(self, examples: Sequence[bytes], classes: Sequence[str] | None) -> Outputs:
        """Returns the outputs of `explain` in one call.

        Raises:
            VersionError: the graph could do more than compute.
            MasteryError: the version cannot explain.
        """
        model = _load(self.folder)
        if EXPLAIN not in model.signatures:
            raise MasteryError(
                f"{self.folder}: expected a version that explains its answers, found no signature "
                f"{EXPLAIN}; score with --reasons none."
            )
        inputs = {EXAMPLES: np.array(examples, dtype=object)}
        if classes is not None:
            inputs[EXPLAINED_CLASS] = np.array([name.encode() for name in classes], dtype=object)
        return model.run(model.signature(EXPLAIN), inputs)


@dataclass(frozen=True)
class ServedModel:
    """A version on a server; the token, if it needs one, is in `$MASTERY_SERVE_TOKEN`.

    Attributes:
        server: its address, for REST or gRPC.
        name: the model's.
        version: the number of the version to ask.
        batch: examples in a request.
    """

    server: str
    name: str
    version: int
    batch: int = 64

    def outputs(self, examples: Sequence[bytes]) -> Outputs:
        """Returns the outputs of `serving_default`.

        Raises:
            PredictError: the server did not answer.
        """
        return _as_outputs(_connect(self).predict(examples))

    def explain(self, examples: Sequence[bytes], classes: Sequence[str] | None) -> Outputs:
        """Returns the outputs of `explain`.

        Raises:
            PredictError: the server did not answer, or the version cannot explain.
        """
        return outputs_of(_connect(self).explain(examples, classes))


def _as_outputs(answers: Sequence[Answer]) -> Outputs:
    """Returns answers as the outputs that they were parsed from, as far as they are stored."""
    first = answers[0]
    outputs: Outputs = {BASIS: [answer.basis for answer in answers]}
    for name in first.decisions:
        outputs[decision_output(name)] = [answer.decisions[name] for answer in answers]
    for name in (ANSWER_TEXT, UNFAMILIAR, PREDICTION_INTERVAL):
        if getattr(first, name) is not None:
            outputs[name] = [getattr(answer, name) for answer in answers]
    if first.prediction is not None:
        return outputs | {PREDICTION: np.array([answer.prediction for answer in answers])}

    classes = [*(first.probabilities or {})]
    outputs[CLASSES] = [classes]
    outputs[PREDICTED_CLASS] = [answer.predicted_class for answer in answers]
    if first.prediction_set is not None:
        outputs[PREDICTION_SET] = [
            [name in (answer.prediction_set or ()) for name in classes] for answer in answers
        ]
    rows = [[*(answer.probabilities or {}).values()] for answer in answers]
    return outputs | {PROBABILITIES: np.array(rows)}


@lru_cache(maxsize=1)
def _load(folder: str) -> LoadedModel:
    with quiet_imports():
        from serving.server.servable import LoadedModel

    return LoadedModel(Path(folder))


@lru_cache(maxsize=1)
def _connect(model: ServedModel) -> Client:
    from serving.client import connect
    from serving.server.server_settings import TOKEN, read_token

    token = read_token(os.environ, TOKEN)
    return connect(model.server, model.name, version=model.version, batch=model.batch, token=token)


@dataclass(frozen=True)
class LabelRange:
    """The lowest and the highest number that the label of a regression can be."""

    lowest: float
    highest: float


def answer(model: Model, examples: Sequence[bytes], label_range: LabelRange | None) -> pl.DataFrame:
    """Returns a row per example, with the columns of `answers` that the model decides.

    Reasons are not among them; see `serving.answers.scoring.reasons`.

    Raises:
        MasteryError: the model answered with something that is no number.
    """
    outputs = model.outputs(examples)
    columns: dict[str, Any] = {"basis": _text(outputs[BASIS])}
    if PREDICTION in outputs:
        numbers = np.asarray(outputs[PREDICTION], np.float64).reshape(-1)
        assert label_range is not None, "a regression is scored with a range"
        columns["need"] = needs_in_range(numbers, label_range.lowest, label_range.highest)
        columns["prediction"] = numbers
        columns["probabilities"] = pl.Series(["[]"] * len(numbers), dtype=pl.String)
    else:
        numbers = np.asarray(outputs[PROBABILITIES], np.float32)
        columns["need"] = expected_needs(numbers)
        columns["predicted_class"] = _text(outputs[PREDICTED_CLASS])
        columns["probabilities"] = pl.Series(numbers).arr.to_list()
    if not np.isfinite(numbers).all():
        raise MasteryError(
            f"the model answered {np.count_nonzero(~np.isfinite(numbers)):,} times with something "
            "that is no finite number. Nothing of this batch was written; train it again."
        )
    return pl.DataFrame({**columns, **_beside(outputs)})


def _beside(outputs: Outputs) -> dict[str, pl.Series]:
    """Returns how sure the answers are and what they decide, as far as the version says it."""
    columns = {name: _text(outputs[name]) for name in (ANSWER_TEXT, UNFAMILIAR) if name in outputs}
    if PREDICTION_SET in outputs:
        columns[PREDICTION_SET] = _chosen(
            outputs[PREDICTION_SET], _text(outputs[CLASSES][0]).to_list()
        )
    if PREDICTION_INTERVAL in outputs:
        ends = np.asarray(outputs[PREDICTION_INTERVAL], np.float64).reshape(-1, 2)
        texts = [_interval(low, high) for low, high in ends.tolist()]
        columns[PREDICTION_INTERVAL] = pl.Series(texts, dtype=pl.String)
    names = [name for name in outputs if name.startswith(_DECISION)]
    if names:
        taken = np.stack([np.asarray(outputs[name], bool) for name in names], axis=1)
        columns["decisions"] = _chosen(taken, [name.removeprefix(_DECISION) for name in names])
    return columns


def _interval(low: float, high: float) -> str | None:
    """Returns an interval as JSON, which has no infinite numbers: None for one without an end."""
    return json.dumps([low, high]) if np.isfinite([low, high]).all() else None


def _chosen(is_chosen: Any, names: Sequence[str]) -> pl.Series:
    """Returns the names that are chosen in each row, as JSON; few of them differ."""
    rows = np.asarray(is_chosen, bool)
    texts: dict[bytes, str] = {}
    for row in rows:
        key = row.tobytes()
        if key not in texts:
            found = [name for name, chosen in zip(names, row, strict=True) if chosen]
            texts[key] = json.dumps(found, ensure_ascii=False)
    return pl.Series([texts[row.tobytes()] for row in rows], dtype=pl.String)


def _text(values: Sequence[bytes | str]) -> pl.Series:
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    return pl.Series(texts, dtype=pl.String)
