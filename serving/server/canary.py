"""Which of two versions answers a learner: the same one each time, by the canary's share.

A request that names neither a version nor a label is answered by the stable version and the canary,
in the shares of `routing.json`. A hash of the learner decides, together with the two versions: as
long as these stay, so does the version of each learner; a larger share keeps the learners that were
in the smaller one. Another pair of versions divides the learners anew, so that it is not always the
same ones who get what is new.

A server knows learners by the header `X-Learner` (by gRPC: metadata), with a name per row,
separated by commas, or one for all rows. Only its hash is used, and it is not logged, so a
pseudonym will do. Without it the hash of the row's input takes its place: the same question has the
same version, but a learner with another event may get the other one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.serving_state import CANARY, STABLE, Routing
from serving.client.calls import LEARNER_HEADER
from serving.prediction_log.row_hashes import RowHasher
from serving.server.request_error import invalid

if TYPE_CHECKING:
    from serving.server.model_signatures import Array, Arrays, Signature


@dataclass(frozen=True)
class Split:
    """Who answers requests that name neither a version nor a label.

    Attributes:
        stable: the version that answers.
        canary: the version that answers some learners in its place; None without one.
        share: percent of the learners.
    """

    stable: int
    canary: int | None = None
    share: int = 0

    @cached_property
    def _seed(self) -> Any:
        return sha256(f"{self.stable} {self.canary} ".encode())

    def takes(self, key: bytes) -> bool:
        """Returns whether the canary answers a learner.

        >>> split = Split(stable=1, canary=2, share=50)
        >>> [split.takes(name) for name in (b"ann", b"ben", b"cleo")]
        [False, True, True]
        """
        digest = self._seed.copy()
        digest.update(key)
        return int.from_bytes(digest.digest()[:8], "big") * 100 < self.share << 64


def split_of(routing: Routing, labels: Mapping[str, int]) -> Split | None:
    """Returns the split that a `routing.json` asks for; None where no version is stable.

    Args:
        routing: the file.
        labels: those in effect, of versions that are available. A canary that is not gets nothing.
    """
    routes = {route.label: route for route in routing.routes}
    if STABLE not in routes or STABLE not in labels:
        return None
    canary = routes.get(CANARY)
    if canary is None or labels.get(CANARY) != canary.version:
        return Split(labels[STABLE])
    return Split(labels[STABLE], canary.version, canary.percent)


def learner_keys(
    named: str | None, signature: Signature, inputs: Arrays, rows: int
) -> Sequence[bytes]:
    """Returns what stands for the learner of each row.

    Args:
        named: the header, if there is one.
        signature: of the request.
        inputs: arrays by name, each [rows, ...] if the signature is row-wise.
        rows: their number; 1 for a signature without rows.

    Raises:
        RequestError: the header has another number of names.
    """
    if named is not None:
        names = [name.strip().encode() for name in named.split(",")]
        if len(names) not in (1, rows):
            raise invalid(
                f"{LEARNER_HEADER}: expected a name for each of {rows} rows, separated by commas, "
                f"or one for all; found {len(names)}."
            )
        return names * rows if len(names) == 1 else names
    if not signature.is_row_wise:
        return RowHasher().hash({name: values[None] for name, values in inputs.items()})
    return RowHasher(signature.step_inputs).hash(inputs)


def can_answer_for(canary: Signature, stable: Signature) -> bool:
    """Returns whether a signature takes what the other one takes, and answers what it answers."""
    takes = {name: (spec.enum, spec.shape) for name, spec in canary.inputs.items()}
    is_asked = {name: (spec.enum, spec.shape) for name, spec in stable.inputs.items()}
    gives = {name: (spec.enum, spec.shape) for name, spec in canary.outputs.items()}
    has_all = all(
        gives.get(name) == (spec.enum, spec.shape) for name, spec in stable.outputs.items()
    )
    return takes == is_asked and has_all and canary.is_row_wise == stable.is_row_wise


def select(arrays: Arrays, places: Sequence[int]) -> Arrays:
    """Returns some rows of arrays [rows, ...]."""
    chosen = np.asarray(places)
    return {name: values[chosen] for name, values in arrays.items()}


def join(parts: Sequence[tuple[Sequence[int], Arrays]], rows: int) -> Arrays | None:
    """Returns the rows of several answers in their order; None if they do not fit together.

    Args:
        parts: places of rows, and their outputs; names beyond those of the first are left out.
        rows: the number of all rows.
    """
    joined: Arrays = {}
    for name, first in parts[0][1].items():
        whole: Array = np.empty((rows, *first.shape[1:]), first.dtype)
        for places, outputs in parts:
            values = outputs[name]
            if values.shape[1:] != first.shape[1:] or values.dtype != first.dtype:
                return None
            whole[np.asarray(places)] = values
        joined[name] = whole
    return joined
