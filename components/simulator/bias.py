"""A bias that is planted in a simulated log: one group is judged more harshly, or recorded less.

Without it, gender has no effect on anything. The group leaves a trace in its events in both cases,
so that a model which never sees the gender learns the bias all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import MasteryError
from components.simulator import learner_model as model

if TYPE_CHECKING:
    from components.simulator.sequences import Sequences

LABELS, RECORDS = BIASES = ("labels", "records")
COLUMN, GROUP = "gender", "female"  # whom it is against

HARSH = 0.5  # labels: chance to be judged one class lower than one is
LOST = 0.6  # records: share of the events that are lost
_STREAM = 2  # a stream of random numbers of its own: all else is as without a bias


def require_bias(name: str | None) -> None:
    """Checks the name of a bias; None is none.

    Raises:
        MasteryError: there is no such bias.
    """
    if name is not None and name not in BIASES:
        raise MasteryError(f"Expected one of the biases {', '.join(BIASES)}, found {name!r}.")


def planted(sequences: Sequences, bias: str | None, seed: int, chunk: int) -> Sequences:
    """Returns sequences with a bias against one group; the same ones without a bias.

    Args:
        sequences: of all learners of a chunk.
        bias: `labels`: with the chance `HARSH` a class is recorded one lower than it is, and the
            player tells no speed. `records`: the share `LOST` of the events is lost at random.
        seed: of the log.
        chunk: which one this is.
    """
    if bias is None:
        return sequences
    rng = np.random.default_rng([seed, chunk, _STREAM])
    group = [*model.ATTRIBUTES[COLUMN]].index(GROUP)
    is_hit = sequences.attributes[COLUMN] == group

    if bias == LABELS:
        is_lower = is_hit & (rng.random(len(is_hit)) < HARSH)
        label = np.maximum(sequences.label - is_lower, 0)
        speed = np.where(is_hit[:, np.newaxis], np.nan, sequences.speed)
        return replace(sequences, label=label, speed=speed)
    lost = is_hit[:, np.newaxis] & (rng.random(sequences.time.shape) < LOST)
    return _with_losses(sequences, lost)


def _with_losses(sequences: Sequences, lost: np.ndarray) -> Sequences:
    """Returns sequences without the lost events, [B, T]: what is left moves to the front."""
    order = np.argsort(lost, axis=1, kind="stable")
    steps = ("time", "wait", "event_type", "component", "dwell", "completed", "correct", "speed")
    moved: dict[str, Any] = {
        name: np.take_along_axis(getattr(sequences, name), order, axis=1) for name in steps
    }

    place = np.arange(lost.shape[1])
    before, events = (
        ((place < count[:, np.newaxis]) & ~lost).sum(axis=1)
        for count in (sequences.before, sequences.events)
    )
    return replace(sequences, before=before, events=events, **moved)
