"""The questions that a model is asked: the same examples in one batch and alone, through both signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from components.contracts.names import EXAMPLES, PREDICT_STEPS, SERVING_DEFAULT
from components.serving_check.requests import Inputs, decode, dense, expressible, predict_request

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Question:
    """Requests to one signature, and the rows that their answers stand for, in order."""

    where: str
    requests: list[PredictRequest]
    rows: Rows


@dataclass(frozen=True)
class Interview:
    """Makes questions of serialized examples, for one model."""

    model_name: str
    inputs: Inputs
    dtypes: Mapping[str, str]  # of the inputs of `predict_steps`

    def together(self, examples: Sequence[bytes]) -> list[Question]:
        """Asks each signature about all examples at once."""
        rows, possible = np.arange(len(examples)), self._expressible(examples)
        return [
            Question(f"{SERVING_DEFAULT} in a batch", [self._default(examples)], rows),
            *self._unless_empty(
                f"{PREDICT_STEPS} in a batch", examples, [possible] if possible.size else []
            ),
        ]

    def alone(self, examples: Sequence[bytes], rows: Rows) -> list[Question]:
        """Asks each signature about some rows of the examples, one row a request."""
        possible = np.intersect1d(rows, self._expressible(examples))
        return [
            Question(
                f"{SERVING_DEFAULT} alone", [self._default([examples[row]]) for row in rows], rows
            ),
            *self._unless_empty(
                f"{PREDICT_STEPS} alone", examples, [possible[[at]] for at in range(possible.size)]
            ),
        ]

    def _expressible(self, examples: Sequence[bytes]) -> Rows:
        return np.flatnonzero(expressible(decode(examples), self.inputs, self.dtypes))

    def _unless_empty(
        self, where: str, examples: Sequence[bytes], requests: Sequence[Rows]
    ) -> list[Question]:
        """Asks `predict_steps` about rows, each item of `requests` one request; nothing when there is none."""
        if not requests:
            return []
        asked = [self._steps([examples[row] for row in rows]) for rows in requests]
        return [Question(where, asked, np.concatenate(requests))]

    def _default(self, examples: Sequence[bytes]) -> PredictRequest:
        return predict_request(
            self.model_name, SERVING_DEFAULT, {EXAMPLES: np.array(examples, dtype=object)}
        )

    def _steps(self, examples: Sequence[bytes]) -> PredictRequest:
        return predict_request(
            self.model_name, PREDICT_STEPS, dense(decode(examples), self.inputs, self.dtypes)
        )
