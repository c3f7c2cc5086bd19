"""The exact posterior of the class at `as_of`, given all that a log shows before it: the forward algorithm."""

from __future__ import annotations

import numpy as np

from components.simulator import learners as model
from components.simulator.learners import Floats
from components.simulator.sequences import Sequences


def posterior(sequences: Sequences) -> Floats:
    """Returns `p(class at as_of | events before as_of, job level)`, `[B, class]`, as if every sequence were recorded.

    Lengths, times and components do not depend on the class, so they enter only through learning, forgetting and
    difficulty. Values lost at random drop out of the product. The one approximation is that dwell counts as
    continuous though it is rounded to a tenth of a second.
    """
    likelihood = np.exp(_log_likelihood(sequences))
    belief = model.START[sequences.attributes["job_level"]]
    since_previous = np.zeros(len(belief))
    for step in range(model.EVENTS_BEFORE[1]):
        seen = belief * likelihood[:, step]
        seen /= seen.sum(axis=1, keepdims=True)
        gap = sequences.wait[:, step]
        moved = _rise(seen, model.rises(sequences.event_type[:, step], since_previous))
        moved = _rise(moved[:, ::-1], model.falls(gap))[:, ::-1]
        belief = np.where((step < sequences.before)[:, None], moved, belief)
        since_previous = gap
    return belief


def _rise(belief: Floats, chance: Floats) -> Floats:
    """Moves the share `chance`, `[B]`, of every class but the last up by one."""
    moving = belief[:, :-1] * chance[:, None]
    return belief + np.pad(moving, ((0, 0), (1, 0))) - np.pad(moving, ((0, 0), (0, 1)))


def _log_likelihood(sequences: Sequences) -> Floats:
    """Returns `log p(event | class)` up to a constant per event, `[B, T, class]`, steps before `as_of` only."""
    steps = slice(model.EVENTS_BEFORE[1])
    kind, completed = sequences.event_type[:, steps], sequences.completed[:, steps]
    correct, speed, dwell = (
        sequences.correct[:, steps],
        sequences.speed[:, steps],
        sequences.dwell[:, steps],
    )
    typical = model.DWELL_MEDIAN[kind][..., None] * model.DWELL_FACTOR
    deviation = (np.log(dwell)[..., None] - np.log(typical)) / model.DWELL_SIGMA
    terms = (
        -0.5 * np.square(deviation),
        _log_bernoulli(completed, np.broadcast_to(model.COMPLETED, deviation.shape)),
        _log_bernoulli(correct, model.KNOWS.T[sequences.component[:, steps]]),
        np.where(
            np.isnan(speed)[..., None],
            0.0,
            np.log(model.SPEED.T)[np.searchsorted(model.SPEEDS, speed) % 5],
        ),
    )
    total = np.log(model.TYPE.T)[kind]
    for term in terms:
        total += np.nan_to_num(term)  # a missing value says nothing
    return total


def _log_bernoulli(value: Floats, chance: Floats) -> Floats:
    """Returns `log p(value)`, `[B, T, class]`; NaN where `value`, `[B, T]`, is missing."""
    return np.log(np.where(value[..., None] == 1, chance, 1 - chance)) + 0 * value[..., None]
