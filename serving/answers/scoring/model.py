"""Answers a batch of examples: by the pushed SavedModel in this process, or by a server."""

from __future__ import annotations

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
    BASIS,
    EXAMPLES,
    PREDICTED_CLASS,
    PREDICTION,
    PROBABILITIES,
    SERVING_DEFAULT,
)
from components.errors import MasteryError
from serving.answers.need import expected_needs, needs_in_range

if TYPE_CHECKING:
    from serving.client import Client
    from serving.server.servable import LoadedModel

EXAMPLES_PER_CALL = 1024  # of the graph: more rows need memory and save no time
Outputs = dict[str, Any]  # by name, one row per example


class Model(Protocol):
    """What answers; travels to the workers, which load or connect once per process."""

    def outputs(self, examples: Sequence[bytes]) -> Outputs:
        """Returns the outputs of `serving_default` for serialized `tf.Example`s."""


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
        answers = _connect(self).predict(examples)
        outputs: Outputs = {BASIS: [answer.basis for answer in answers]}
        if answers[0].prediction is not None:
            return outputs | {PREDICTION: np.array([answer.prediction for answer in answers])}
        outputs[PREDICTED_CLASS] = [answer.predicted_class for answer in answers]
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
    columns["reasons"] = _reasons(outputs, len(examples))
    return pl.DataFrame(columns)


def _reasons(outputs: Outputs, count: int) -> pl.Series:  # noqa: ARG001 - the signature to come
    """Returns why the model answered so, as JSON: nothing, for a model that does not say."""
    return pl.Series(["[]"] * count, dtype=pl.String)


def _text(values: Sequence[bytes | str]) -> pl.Series:
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    return pl.Series(texts, dtype=pl.String)
